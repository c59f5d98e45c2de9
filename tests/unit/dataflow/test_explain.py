"""One sentence for each place where a task can stand."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from plait.dataflow.engine import Effects, Engine
from plait.dataflow.explain import explain, failure_sentence
from plait.errors import JoinError, RemoteError, WorkerLost
from plait.futures import AppFuture, DataFuture
from plait.model.files import File
from plait.model.task import AppSpec, Task


class House:
    """An engine with tasks, as the kernel would have it."""

    def __init__(self):
        self.engine, self.effects = Engine(retries=1, keep=True), Effects()

    def task(self, name, *needs, kind="python"):
        task = Task(AppSpec(lambda: None, name, kind), (), {}, None, 10.0)
        task.future = AppFuture(task)
        self.engine.add(task)
        task.depends = tuple(need.future if isinstance(need, Task) else need for need in needs) or None
        parents = [need for need in needs if isinstance(need, Task)]
        self.engine.wait_for(task, parents, len(needs) - len(parents))
        return task

    def run(self, task):
        assert self.engine.launch(task)
        return task

    def fail(self, task, error):
        while task.state in (0, 7):
            self.run(task) if task.state == 0 else None
            self.engine.fail(task, task.attempt, error, self.effects)


@pytest.fixture
def house():
    return House()


def said(task, now_s=12.5):
    return explain(task, now_s, lambda t: f"runs in attempt {t.attempt}")


def test_waiting_for_tasks(house):
    f, g = house.task("f"), house.task("g")
    assert said(f) == "task 0 (f) is about to be launched"
    assert said(house.task("h", f)) == "task 2 (h) waits for task 0 (f), which is pending"
    house.run(g)
    text = said(house.task("h", f, g))
    assert text == "task 3 (h) waits for task 0 (f), which is pending and task 1 (g), which is launched"


def test_many_are_counted(house):
    needs = [house.task("f") for _ in range(9)]
    assert said(house.task("g", *needs)).endswith("task 2 (f), which is pending and 6 more")


def test_waiting_for_files_and_for_futures_of_others(house):
    f = house.task("f")
    assert "waits for the file a.txt of task 0 (f)" in said(house.task("g", DataFuture(f.future, File("a.txt"))))
    assert "waits for <Future at" in said(house.task("h", Future()))


def test_running_and_what_was_before(house):
    f = house.run(house.task("f"))
    assert said(f) == "task 0 (f) runs in attempt 1"
    house.engine.fail(f, 1, ValueError("no"), house.effects)
    assert said(f).startswith("task 0 (f) is about to be launched; before that, attempt 1: ValueError: no")
    house.run(f)
    house.engine.lose(f, 2, WorkerLost(1, "host", "SIGKILL"), house.effects)
    house.run(f)
    assert said(f).endswith("attempt 2 on worker 1 of host: SIGKILL (and 1 more)")


def test_a_pause(house):
    f = house.task("f")
    f.more().not_before = 15.0
    assert said(f) == "task 0 (f) waits 2.5 s before attempt 1"
    assert "waits 0 ms" in said(f, 99)


def test_success(house):
    f = house.run(house.task("f"))
    house.engine.succeed(f, 1, None, house.effects)
    f.end_s = 14.0
    assert said(f) == "task 0 (f) succeeded in 4.0 s, from submission to result"


def test_success_from_memory(house):
    f = house.task("f")
    house.engine.memoized(f, 1, None, house.effects)
    assert said(f) == "task 0 (f) was not run: an equal call gave its result earlier in this run"


def test_failure_with_the_attempts(house):
    f = house.task("f")
    house.fail(f, ValueError("first line\nsecond"))
    assert (
        said(f)
        == "task 0 (f) failed in attempt 2 with ValueError: first line; earlier: attempt 1: ValueError: first line"
    )


def test_a_failure_that_spreads(house):
    f = house.task("f")
    g = house.task("g", f)
    h = house.task("h", g)
    house.fail(f, KeyError("k"))
    assert said(h) == "task 2 (h) did not run because of task 1 (g) <- task 0 (f): KeyError: 'k'"


def test_joins(house):
    f, j = house.task("f"), house.run(house.task("j", kind="join"))
    house.engine.join(j, 1, [f], 0, house.effects)
    j.depends = (f.future,)
    assert said(j) == "task 1 (j) ran, and waits for what it returned: task 0 (f), which is pending"
    f.future.set_result(1)
    assert said(j) == "task 1 (j) ran, and what it returned is done"
    error = JoinError([(ValueError("x"), "task 0 (f)")], 1)
    assert failure_sentence(j, error) == "task 1 (j) failed because of task 0 (f): ValueError: x"


def test_cancelled_with_its_reason(house):
    f = house.task("f")
    g = house.task("g", f)
    house.engine.cancel(f, "task 0 (f) was cancelled", house.effects)
    assert said(g) == "task 1 (g) was cancelled because task 0 (f), which it needs, was cancelled"


def test_an_error_that_could_not_be_rebuilt_is_told_by_its_own_name(house):
    f = house.task("f")
    error = RemoteError("lib.Odd", "Traceback …\nlib.Odd: it broke\n")
    assert failure_sentence(f, error) == "task 0 (f) failed with lib.Odd: lib.Odd: it broke"


def test_an_error_without_text(house):
    assert failure_sentence(house.task("f"), ValueError()) == "task 0 (f) failed with ValueError"
