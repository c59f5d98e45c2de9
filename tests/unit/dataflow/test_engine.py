"""What the engine decides, case by case. `test_engine_machine.py` tries all orders."""

from __future__ import annotations

import gc
import itertools
import pickle
import time

import pytest

from plait.dataflow.check import check
from plait.dataflow.engine import Effects, Engine, path_to, root_cause
from plait.dataflow.retry import Retry
from plait.errors import DependencyError, JoinError, ManagerLost, PoisonTask, WorkerLost
from plait.model.resources import Resources
from plait.model.task import (
    CANCELLED,
    DEP_FAIL,
    EXEC_DONE,
    FAILED,
    JOINING,
    LAUNCHED,
    MEMO_DONE,
    PENDING,
    AppSpec,
    Task,
)

ERROR = ValueError("wrong")


class Bench:
    """An engine with its effects gathered."""

    def __init__(self, **options):
        self.engine = Engine(**options)
        self.effects = Effects()

    def submit(self, *parents, others=0, **app) -> Task:
        task = Task(AppSpec(lambda: None, "f", **app), (1,), {}, self, 0.0)
        self.engine.add(task)
        self.engine.wait_for(task, parents, others)
        self.engine.settle_waiting(task, self.effects)
        return task

    def launched(self, *parents, **app) -> Task:
        task = self.submit(*parents, **app)
        assert self.engine.launch(task)
        return task

    def succeed(self, task, result=None):
        if task.state == PENDING:
            assert self.engine.launch(task)
        return self.engine.succeed(task, task.attempt, result, self.effects)

    def fail(self, task, error=ERROR, **options):
        if task.state == PENDING:
            assert self.engine.launch(task)
        return self.engine.fail(task, task.attempt, error, self.effects, **options)

    def lose(self, task, reason="SIGKILL"):
        if task.state == PENDING:
            assert self.engine.launch(task)
        return self.engine.lose(task, task.attempt, WorkerLost(3, "node1", reason), self.effects)

    def cancel(self, task, reason="told to"):
        return self.engine.cancel(task, reason, self.effects)

    def join(self, task, *inner, others=0):
        return self.engine.join(task, task.attempt, inner, others, self.effects)

    @property
    def settled(self) -> list[Task]:
        return [task for task, _, _ in self.effects.settled]

    def error(self, task):
        return next(error for t, _, error in self.effects.settled if t is task)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    check(made.engine)


# ------------------------------------------------------------------ from submission to the end
def test_a_task_without_inputs_is_ready_at_once(bench):
    task = bench.submit()
    assert bench.effects.ready == [task]
    assert (task.id, task.state) == (0, PENDING)
    assert bench.engine.launch(task)
    assert (task.attempt, task.state) == (1, LAUNCHED)
    assert not bench.engine.launch(task)
    assert bench.succeed(task, 5)
    assert bench.effects.settled == [(task, 5, None)]
    assert task.args is task.kwargs is None
    assert bench.engine.tasks == {}
    assert bench.engine.counts[EXEC_DONE] == 1
    assert bench.engine.submitted == 1


def test_records_are_kept_when_asked():
    bench = Bench(keep=True)
    tasks = [bench.submit() for _ in range(3)]
    bench.succeed(tasks[0])
    bench.fail(tasks[1])
    bench.cancel(tasks[2])
    assert list(bench.engine.tasks.values()) == tasks
    check(bench.engine)


def test_a_task_waits_for_each_of_its_inputs(bench):
    a, b = bench.launched(), bench.launched()
    c = bench.submit(a, b, a, others=1)
    assert c.waiting == 4
    bench.succeed(a)
    bench.succeed(b)
    assert c not in bench.effects.ready
    bench.engine.dependency_done(c, bench.effects)
    assert bench.effects.ready[-1] is c
    assert bench.effects.ready.count(c) == 1


def test_inputs_that_have_ended_are_not_waited_for(bench):
    a = bench.launched()
    bench.succeed(a)
    assert bench.submit(a) in bench.effects.ready


def test_an_input_that_has_failed_fails_the_task_at_submission(bench):
    a = bench.launched()
    bench.fail(a)
    b = bench.submit(a)
    assert b.state == DEP_FAIL
    assert bench.error(b).__cause__ is ERROR
    assert not bench.engine.launch(b)


def test_a_failure_waits_for_the_other_inputs(bench):
    a, b = bench.launched(), bench.launched()
    c = bench.submit(a, b)
    bench.fail(a)
    assert c.state == PENDING
    bench.fail(b, KeyError("k"))
    assert c.state == DEP_FAIL
    assert [str(path) for _, path in bench.error(c).dependent_exceptions_tids] == ["task 0 (f)", "task 1 (f)"]
    assert bench.error(c).task_id == c.id


def test_the_first_of_several_failures_is_that_of_the_first_input_whichever_ended_first(bench):
    first, second = bench.launched(), bench.launched()
    child = bench.submit(second, first)
    bench.fail(second, KeyError("second"))
    bench.fail(first, ValueError("first"))
    assert [str(error) for error, _ in bench.error(child).dependent_exceptions_tids] == ["first", "'second'"]


def test_other_branches_go_on(bench):
    a, b = bench.launched(), bench.launched()
    c, d = bench.submit(a), bench.submit(b)
    bench.fail(a)
    bench.succeed(b)
    assert c.state == DEP_FAIL
    assert d in bench.effects.ready


def test_foreign_failures_fail_the_task(bench):
    a = bench.submit(others=1)
    b = bench.submit(a)
    bench.engine.dependency_failed(a, [(ERROR, "a future of another kind")], bench.effects)
    assert a.state == b.state == DEP_FAIL
    assert bench.error(b).dependent_exceptions_tids == [(ERROR, "task 0 (f) <- a future of another kind")]


def test_memoized(bench):
    a, b = bench.submit(), bench.submit()
    c, d = bench.submit(a), bench.submit(b)
    bench.engine.memoized(a, 5, None, bench.effects)
    bench.engine.memoized(b, None, ERROR, bench.effects)
    assert (a.state, b.state, d.state) == (MEMO_DONE, FAILED, DEP_FAIL)
    assert c in bench.effects.ready
    bench.engine.memoized(a, 6, None, bench.effects)
    assert bench.settled.count(a) == 1


def test_a_task_that_cannot_be_launched_is_not_tried_again():
    bench = Bench(retries=3)
    a = bench.submit()
    b = bench.submit(a)
    bench.engine.fail_launch(a, ERROR, bench.effects)
    assert (a.state, b.state) == (FAILED, DEP_FAIL)
    assert a.attempt == 0
    bench.engine.fail_launch(a, ERROR, bench.effects)
    assert bench.settled == [a, b]


# ------------------------------------------------------------------ retries and losses
def test_failures_spend_the_budget():
    bench = Bench(retries=2)
    a = bench.submit()
    for attempt in (1, 2):
        bench.fail(a)
        assert (a.state, a.attempt) == (PENDING, attempt)
        assert len(bench.effects.ready) == attempt + 1
    bench.fail(a)
    assert a.state == FAILED
    assert bench.error(a) is ERROR
    assert a.details.history == ["attempt 1: ValueError: wrong", "attempt 2: ValueError: wrong"]


@pytest.mark.parametrize(
    ("options", "state"),
    [({"cost": 2}, PENDING), ({"cost": 2.1}, FAILED), ({"cost": 0}, PENDING), ({"final": True}, FAILED)],
)
def test_costs(options, state):
    bench = Bench(retries=2)
    a = bench.submit()
    bench.fail(a, **options)
    assert a.state == state


def test_a_policy_of_its_own():
    bench = Bench(retries=5)
    a = bench.submit(
        retry=Retry(max=2, backoff_s=1, on=(ValueError,), escalate={"memory": 2.0}),
        resources=Resources(memory_bytes=100),
    )
    bench.fail(a)
    assert bench.effects.later == [(a, 1)]
    assert a.details.resources.memory_bytes == 200
    assert bench.effects.ready == [a], "the second attempt is later"
    bench.engine.retry_now(a, bench.effects)
    bench.engine.retry_now(a, bench.effects)
    assert bench.effects.ready == [a, a]
    bench.fail(a)
    assert bench.effects.later[1:] == [(a, 2)]
    assert a.details.resources.memory_bytes == 400
    bench.engine.retry_now(a, bench.effects)
    bench.fail(a)
    assert a.state == FAILED
    b = bench.submit(retry=Retry(max=2, on=(ValueError,)))
    bench.fail(b, KeyError())
    assert b.state == FAILED


def test_a_wait_between_attempts_ends_with_a_cancel(bench):
    a = bench.submit(retry=Retry(max=1, backoff_s=1))
    bench.fail(a)
    bench.cancel(a)
    bench.engine.retry_now(a, bench.effects)
    assert bench.effects.ready == [a]
    assert bench.effects.stop == []


def test_losses_have_a_budget_of_their_own():
    bench = Bench(retries=0, max_losses=2)
    a = bench.submit()
    for _ in range(2):
        assert bench.lose(a)
        assert a.state == PENDING
    assert bench.lose(a, "SIGSEGV")
    error = bench.error(a)
    assert isinstance(error, PoisonTask)
    assert error.places == [
        "attempt 1 on worker 3 of node1: SIGKILL",
        "attempt 2 on worker 3 of node1: SIGKILL",
        "attempt 3 on worker 3 of node1: SIGSEGV",
    ]
    assert a.fail_cost == 0


def test_a_loss_without_a_budget_is_a_failure(bench):
    a = bench.submit(max_losses=0)
    assert not bench.lose(a)
    assert a.state == LAUNCHED, "the kernel calls fail() next"
    bench.fail(a, WorkerLost(3, "node1"))
    assert a.state == FAILED


@pytest.mark.parametrize("budget", [0, 1])
def test_a_loss_that_was_announced_counts_for_nothing(bench, budget):
    a = bench.submit(max_losses=budget)
    for _ in range(5):
        bench.engine.launch(a)
        assert bench.engine.lose(a, a.attempt, ManagerLost("m1", "node1", "drained", announced=True), bench.effects)
        assert a.state == PENDING
    assert a.details is None or not a.details.losses


def test_outcomes_of_old_attempts_are_counted_and_dropped():
    bench = Bench(retries=1, max_losses=1)
    a = bench.launched()
    bench.lose(a)
    bench.engine.launch(a)
    old = (a, 1)
    assert not bench.engine.succeed(*old, 5, bench.effects)
    assert not bench.engine.fail(*old, ERROR, bench.effects)
    assert bench.engine.lose(*old, WorkerLost(1, "h"), bench.effects)
    assert not bench.engine.join(*old, [], 0, bench.effects)
    assert bench.engine.stale == 4
    assert (a.state, a.attempt, bench.settled) == (LAUNCHED, 2, [])
    bench.succeed(a)
    assert not bench.engine.succeed(a, 2, 5, bench.effects)
    assert bench.settled == [a]


# ------------------------------------------------------------------ joins
def test_a_join_waits_for_what_its_body_returned(bench):
    a, inner, done = bench.launched(), bench.launched(), bench.launched()
    bench.succeed(done)
    assert bench.join(a, inner, done, others=1)
    assert (a.state, a.waiting) == (JOINING, 2)
    bench.succeed(inner)
    assert bench.effects.joined == []
    bench.engine.dependency_done(a, bench.effects)
    assert bench.effects.joined == [a]
    bench.engine.joined(a, [1], None, bench.effects)
    bench.engine.joined(a, [2], None, bench.effects)
    assert (a, [1], None) in bench.effects.settled
    assert bench.settled.count(a) == 1
    assert a.state == EXEC_DONE


def test_a_join_of_nothing_is_joined_at_once(bench):
    a = bench.launched()
    assert bench.join(a)
    assert bench.effects.joined == [a]
    bench.engine.joined(a, [], None, bench.effects)


def test_a_join_of_failures(bench):
    a, inner = bench.launched(), bench.launched()
    bench.join(a, inner)
    bench.fail(inner)
    assert bench.effects.joined == [a]
    assert a.details.failures == [inner]
    error = bench.engine.join_error(a, [(root_cause(inner), path_to(inner))])
    assert isinstance(error, JoinError)
    b = bench.submit(a)
    bench.engine.joined(a, None, error, bench.effects)
    assert a.state == FAILED
    assert root_cause(b) is ERROR
    assert path_to(b) == "task 2 (f) <- task 0 (f) <- task 1 (f)"


# ------------------------------------------------------------------ cancelling
def test_cancelling_takes_along_all_that_need_it(bench):
    a = bench.launched()
    b = bench.submit(a)
    other = bench.launched()
    c, d = bench.submit(b, other), bench.launched()
    bench.join(d, c)
    assert bench.cancel(a, "told to")
    assert [t.state for t in (a, b, c, d)] == [CANCELLED] * 4
    assert bench.settled == [a, b, c, d]
    assert bench.effects.stop == [a]
    assert a.details.cancel_reason == "told to"
    assert b.details.cancel_reason == "task 1 (f) was cancelled because task 0 (f), which it needs, was cancelled"
    assert (
        c.details.cancel_reason
        == "task 3 (f) was cancelled because task 0 (f), which it needs by way of task 1 (f), was cancelled"
    )
    assert (
        d.details.cancel_reason
        == "task 4 (f) was cancelled because task 0 (f), which it waits for by way of task 3 (f), was cancelled"
    )
    assert not bench.cancel(a)
    bench.succeed(other)
    assert bench.effects.ready.count(c) == 0


def test_a_task_that_needs_a_cancelled_one_is_cancelled_at_submission(bench):
    a = bench.submit()
    bench.cancel(a)
    b = bench.submit(a)
    assert b.state == CANCELLED
    assert b.details.cancel_reason == "task 1 (f) was cancelled because task 0 (f), which it needs, was cancelled"


def test_a_cancel_is_stronger_than_a_failure(bench):
    a, b = bench.launched(), bench.launched()
    bench.fail(a)
    bench.cancel(b)
    assert bench.submit(a, b).state == CANCELLED


# ------------------------------------------------------------------ long and wide graphs
DEEP = 100_000  # a recursion would end at 1,000


def chain(bench, length=DEEP) -> list[Task]:
    tasks = [bench.launched()]
    for _ in range(length - 1):
        tasks.append(bench.submit(tasks[-1]))
    return tasks


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_a_long_chain_ends_without_recursion(end):
    bench = Bench()
    tasks = chain(bench)
    before = time.process_time()
    getattr(bench, end)(tasks[0])
    assert time.process_time() - before < 10
    assert bench.settled == tasks
    last = tasks[-1]
    text = str(bench.error(last)) if end == "fail" else last.details.cancel_reason
    assert len(text) < 300
    assert "task 0 (f)" in text
    check(bench.engine)
    bench.effects = None
    del tasks[:-1]
    gc.collect()
    del tasks, last  # letting go of a chain must not recurse either
    gc.collect()


def test_a_long_chain_succeeds_step_by_step():
    bench = Bench()
    tasks = chain(bench)
    for task in tasks:
        assert task.waiting == 0
        bench.succeed(task)
    assert bench.engine.counts[EXEC_DONE] == DEEP


def test_nested_joins_end_without_recursion():
    bench = Bench()
    tasks = [bench.launched() for _ in range(20_000)]
    for outer, inner in itertools.pairwise(tasks):
        bench.join(outer, inner)
    bench.succeed(tasks[-1])
    while bench.effects.joined:
        bench.engine.joined(bench.effects.joined.pop(), 1, None, bench.effects)
    assert len(bench.settled) == len(tasks)
    assert bench.engine.counts[EXEC_DONE] == len(tasks)


def test_many_inputs_and_many_dependants(bench):
    inputs = [bench.launched() for _ in range(5_000)]
    middle = bench.submit(*inputs)
    outputs = [bench.submit(middle) for _ in range(5_000)]
    assert middle.waiting == 5_000
    for task in inputs:
        bench.succeed(task)
    assert bench.effects.ready[-1] is middle
    bench.succeed(middle)
    assert bench.effects.ready[-5_000:] == outputs


def test_the_error_at_the_end_of_a_chain_names_the_root_and_can_be_sent():
    bench = Bench()
    tasks = chain(bench, 2_000)
    bench.fail(tasks[0])
    error = bench.error(tasks[-1])
    assert isinstance(error, DependencyError)
    assert error.__cause__ is ERROR
    (cause, path), *rest = error.dependent_exceptions_tids
    assert cause is ERROR
    assert not rest
    assert path == "task 1998 (f) <- task 1997 (f) <- task 1996 (f) <- … 1994 more <- task 1 (f) <- task 0 (f)"
    data = pickle.dumps(error)
    assert len(data) < 1_000
    assert str(pickle.loads(data)) == str(error)


@pytest.mark.parametrize(
    ("length", "path"),
    [
        (2, "task 0 (f)"),
        (7, " <- ".join(f"task {n} (f)" for n in (5, 4, 3, 2, 1, 0))),
        (8, "task 6 (f) <- task 5 (f) <- task 4 (f) <- … 2 more <- task 1 (f) <- task 0 (f)"),
    ],
)
def test_short_paths_are_named_in_full(bench, length, path):
    tasks = chain(bench, length)
    bench.fail(tasks[0])
    assert bench.error(tasks[-1]).dependent_exceptions_tids[0][1] == path
