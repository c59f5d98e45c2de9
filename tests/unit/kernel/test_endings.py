from __future__ import annotations

import concurrent.futures
import logging
import traceback
from types import SimpleNamespace

import pytest

from plait.dataflow.memo import BasicMemoizer
from plait.dataflow.record import TaskRecord
from plait.errors import DependencyError, MissingOutputs
from plait.executors.base import ERROR, OK
from plait.futures import AppFuture, DataFuture, PlaitFuture
from plait.kernel.endings import Endings
from plait.model.events import ATTEMPT_FAILED, TASK_ENDED, TASKS_DONE
from plait.model.files import File
from plait.model.task import DEP_FAIL, EXEC_DONE, FAILED, AppSpec, Task


def ended(number, state=EXEC_DONE, attempt=1, kind="python", **options):
    task = Task(AppSpec(abs, "abs", kind, **options), (), {}, None, 0.0, id=number, state=state, attempt=attempt)
    task.future = AppFuture(task)
    return task


def endings(memoizer=None, *, keep=False):
    found = Endings(memoizer or BasicMemoizer(), TaskRecord, keep=keep)
    events = []
    found.emit = events.append
    return found, events


def test_successes_of_one_worker_are_one_event():
    what, events = endings()
    tasks = [ended(n) for n in range(4)]
    what.note_successes([(t, 1, OK, None, 1.0, 2.0, 0 if t.id < 3 else 1) for t in tasks])
    assert events == [
        (TASKS_DONE, 0, [0, 1, 2], [1.0] * 3, [2.0] * 3),
        (TASKS_DONE, 1, [3], [1.0], [2.0]),
    ]


def test_later_attempts_failures_and_stale_outcomes_are_told_apart():
    what, events = endings()
    again, failed, stale = ended(1, attempt=2), ended(2, FAILED), ended(3, attempt=2)
    what.note_successes(
        [(again, 2, OK, None, 1.0, 2.0, 0), (failed, 1, ERROR, None, 1.0, 2.0, 0), (stale, 1, OK, None, 1.0, 2.0, 0)]
    )
    assert events == [(TASK_ENDED, 2.0, 1, EXEC_DONE, 2, 1.0, 2.0, 0)]
    what.emit = None
    what.note_successes([(again, 2, OK, None, 1.0, 2.0, 0)])
    assert len(events) == 1


def test_an_attempt_that_failed_is_told_with_its_reason():
    what, events = endings()
    what.note_attempt(ended(4), 1, ValueError("bad"), lost=True)
    assert events[0][0] == ATTEMPT_FAILED
    assert events[0][2:] == (4, 1, True, "ValueError: bad", 0.0)


def test_futures_are_set_and_those_with_callbacks_are_given_back():
    what, _ = endings()
    plain, called, failed = ended(1), ended(2), ended(3, FAILED)
    futures = [task.future for task in (plain, called, failed)]
    seen = []
    futures[1].add_done_callback(seen.append)
    error = ValueError("bad")
    back = what.publish_all([(plain, 5, None), (called, 6, None), (failed, None, error)])
    assert back == [futures[1]]
    assert [futures[0].result(), futures[1].result(), futures[2].exception()] == [5, 6, error]
    assert plain.future is None
    assert failed.end_s is not None
    assert what.failures == {("ValueError", "abs"): [1, 3]}


class AnswersAnything(Exception):
    def __getattr__(self, name):
        return {}[name]


@pytest.mark.parametrize(
    "error", [AnswersAnything("odd"), SyntaxError("odd", ("file", 1, 2, 345))], ids=["notes", "line"]
)
def test_an_error_whose_traceback_cannot_be_had_ends_its_task_all_the_same(error):
    what, events = endings()
    failed, other = ended(1, FAILED), ended(2)
    futures = [failed.future, other.future]
    what.publish_all([(failed, None, error), (other, 5, None)])
    assert futures[0].exception() is error
    assert futures[1].result() == 5
    assert "odd" in events[0][-1]


def test_whoever_waits_for_a_task_or_for_its_file_finds_the_other_ended_too(monkeypatch, tmp_path):
    what, _ = endings()
    task = ended(1)
    task.owner = SimpleNamespace(check_waiting=lambda _: None)
    files = [File(tmp_path / name) for name in ("looked at", "waited for", "missing")]
    for file in files[:2]:
        (tmp_path / file.filename).write_text("")
    details = task.more()
    details.outputs = looked_at, waited_for, missing = [DataFuture(task.future, file) for file in files]
    assert concurrent.futures.wait([waited_for], 0).not_done
    order = []
    publish = PlaitFuture._publish
    monkeypatch.setattr(PlaitFuture, "_publish", lambda self, *how: (order.append(self), publish(self, *how)))
    app = task.future
    what.publish_all([(task, 5, None)])
    assert order == [looked_at, missing, app, waited_for]
    assert (looked_at.result(), waited_for.result()) == tuple(files[:2])
    assert isinstance(missing.exception(), MissingOutputs)


@pytest.mark.parametrize("at", range(6))
def test_after_a_signal_in_the_middle_it_is_done_again_and_nothing_is_forgotten(monkeypatch, at):
    what, _ = endings()
    tasks = [ended(number, EXEC_DONE if number == 1 else FAILED) for number in range(4)]
    for task in tasks:
        task.owner = SimpleNamespace(check_waiting=lambda _: None)
        task.more().outputs = [DataFuture(task.future, File("there"))]
    files = [task.details.outputs[0] for task in tasks]
    futures = [task.future for task in tasks]
    assert concurrent.futures.wait(files[::2], 0).not_done
    seen = []
    for future in [*futures, *files]:
        future.add_done_callback(seen.append)
    publish, count = PlaitFuture._publish, iter(range(100))

    def interrupted(self, *how):
        publish(self, *how)
        if next(count) == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(PlaitFuture, "_publish", interrupted)
    settled = [(task, 5, None) if task.state == EXEC_DONE else (task, None, KeyError(task.id)) for task in tasks]
    called = []
    with pytest.raises(KeyboardInterrupt):
        what.publish_all(settled, called)
    what.publish_all(settled, called)
    assert all(future.done() for future in [*futures, *files])
    for future in called:
        future._run_callbacks()
    assert sorted(map(id, seen)) == sorted(map(id, [*futures, *files]))
    assert what.failures == {("KeyError", "abs"): [3, 0]}


def test_what_is_kept_keeps_its_future():
    what, _ = endings(keep=True)
    task = ended(1)
    what.publish_all([(task, 5, None)])
    assert task.future.result() == 5


def test_a_memoizer_that_fails_harms_nobody(caplog):
    class Bad(BasicMemoizer):
        def update_memo_result(self, task, result):
            raise RuntimeError("no")

    what, _ = endings(Bad())
    task = ended(1, cache=True)
    future = task.future
    with caplog.at_level(logging.ERROR, "plait"):
        what.publish_all([(task, 5, None)])
    assert future.result() == 5
    assert "the memoizer failed for task 1 (abs)" in caplog.text


def test_thousands_that_fail_for_one_cause_are_told_as_python_would_and_it_is_looked_at_once(monkeypatch):
    what, events = endings()
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise ValueError("root") from first
    except ValueError as caught:
        root = caught
    tasks = [ended(number, DEP_FAIL) for number in range(3)]
    errors = [DependencyError([(root, "task 9 (f)")], task.id) for task in tasks]
    expected = ["".join(traceback.format_exception(error)) for error in errors]
    looked_at = []
    original = traceback.format_exception
    monkeypatch.setattr(traceback, "format_exception", lambda *args: looked_at.append(args) or original(*args))
    what.publish_all([(task, None, error) for task, error in zip(tasks, errors, strict=True)])
    assert [event[10] for event in events] == expected
    assert len(looked_at) == 1
