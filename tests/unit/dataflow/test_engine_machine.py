"""The engine under everything that can happen, in any order, late and doubled messages included.

The machine plays the kernel: it does what the effects say when it likes, and holds the engine against a model that knows only
what users know: who needs whom, what was reported, and what must follow from it.
"""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plait.dataflow.check import check
from plait.dataflow.engine import Effects, Engine, path_to, root_cause
from plait.dataflow.retry import Retry
from plait.errors import DependencyError, PoisonTask, WorkerLost
from plait.model.task import (
    CANCELLED,
    DEP_FAIL,
    EXEC_DONE,
    FAILED,
    FINAL_STATES,
    JOINING,
    LAUNCHED,
    MEMO_DONE,
    PENDING,
    TRANSITIONS,
    AppSpec,
    Task,
)  # fmt: skip

GOOD = frozenset({EXEC_DONE, MEMO_DONE})


class EngineMachine(RuleBasedStateMachine):
    @initialize(retries=st.integers(0, 2), max_losses=st.integers(0, 2), keep=st.booleans())
    def begin(self, retries, max_losses, keep):
        self.engine = Engine(retries=retries, max_losses=max_losses, keep=keep)
        self.tasks: list[Task] = []
        self.parents: dict[Task, list[Task]] = {}  # tasks that it needs
        self.foreign: dict[Task, int] = {}  # things outside of the engine that have not ended
        self.failing: dict[Task, list] = {}  # foreign failures that are known but not told yet
        self.inner: dict[Task, list[Task]] = {}  # tasks that a join waits for
        self.states: dict[Task, list[int]] = {}
        self.settled: dict[Task, tuple] = {}
        self.ready: list[Task] = []
        self.later: list[Task] = []
        self.joined: list[Task] = []
        self.was_running: set[Task] = set()
        self.stale = 0
        self.user_cancelled: set[Task] = set()

    # -- doing what the effects say
    def apply(self, effects: Effects) -> None:
        for task, result, error in effects.settled:
            assert task not in self.settled, f"{task!r} was settled twice"
            assert task.state in FINAL_STATES
            assert (error is None) == (task.state in GOOD or task.state == CANCELLED)
            self.settled[task] = (result, error)
        for task in effects.ready:
            if task.state == PENDING:
                assert task not in self.ready, f"{task!r} would be launched twice"
                self.ready.append(task)
        for task, seconds in effects.later:
            assert seconds > 0
            assert task not in self.later
            assert task not in self.ready
            self.later.append(task)
        for task in effects.joined:
            assert task not in self.joined
            self.joined.append(task)
        for task in effects.stop:
            assert task.state == CANCELLED
            assert task in self.was_running, f"{task!r} is to be stopped, but no attempt of it ran"
        self.ready = [t for t in self.ready if t.state == PENDING]
        self.later = [t for t in self.later if t.state == PENDING]
        self.joined = [t for t in self.joined if t.state == JOINING]
        self.was_running = {t for t in self.tasks if t.state == LAUNCHED}
        for task in self.tasks:
            seen = self.states[task]
            if task.state != seen[-1]:
                seen.append(task.state)

    def some(self, data, state: int) -> Task:
        return data.draw(st.sampled_from([t for t in self.tasks if t.state == state]), label="task")

    def has(self, state: int) -> bool:
        return any(t.state == state for t in self.tasks)

    # -- what users do
    @rule(
        data=st.data(),
        others=st.sampled_from([0, 0, 0, 1, 2]),
        own=st.sampled_from([None, "policy", "delay", "no losses"]),
    )
    def submit(self, data, others, own):
        retry = {"policy": Retry(max=1, on=(ValueError,)), "delay": Retry(max=2, backoff_s=1)}.get(own)
        task = Task(
            AppSpec(lambda: None, "f", retry=retry, max_losses=0 if own == "no losses" else None), (1,), {}, None, 0.0
        )
        parents = data.draw(st.lists(st.sampled_from(self.tasks), max_size=4), label="parents") if self.tasks else []
        self.tasks.append(task)
        self.parents[task], self.foreign[task], self.states[task] = parents, others, [PENDING]
        effects = Effects()
        self.engine.add(task)
        self.engine.wait_for(task, parents, others)
        self.engine.settle_waiting(task, effects)
        self.apply(effects)

    @precondition(lambda self: self.ready)
    @rule()
    def launch_all(self):
        for task in self.ready:
            assert self.engine.launch(task)
        self.ready = []
        self.apply(Effects())

    @precondition(lambda self: len(self.tasks) > 5)  # early on it leaves little to look at
    @rule(data=st.data())
    def cancel(self, data):
        task = data.draw(st.sampled_from(self.tasks), label="task")
        ended, effects = task.state in FINAL_STATES, Effects()
        assert self.engine.cancel(task, "told to", effects) is not ended
        if not ended:
            self.user_cancelled.add(task)
            assert effects.settled[0][0] is task
        self.apply(effects)

    # -- what the world does
    @precondition(lambda self: any(self.foreign[t] for t in self.tasks))
    @rule(data=st.data(), fails=st.booleans())
    def foreign_dependency_ends(self, data, fails):
        task = data.draw(st.sampled_from([t for t in self.tasks if self.foreign[t]]), label="task")
        self.foreign[task] -= 1
        effects = Effects()
        if fails and task.state == PENDING:
            self.foreign[task] = 0
            self.engine.dependency_failed(task, [(OSError("outside"), "a future")], effects)
            assert task.state == DEP_FAIL
        else:
            self.engine.dependency_done(task, effects)
        self.apply(effects)

    @precondition(lambda self: self.ready)
    @rule(data=st.data())
    def launch(self, data):
        task = data.draw(st.sampled_from(self.ready), label="task")
        self.ready.remove(task)
        before = task.attempt
        assert self.engine.launch(task)
        assert task.attempt == before + 1, "attempts are numbered upwards"
        self.apply(Effects())

    @precondition(lambda self: self.ready)
    @rule(data=st.data(), how=st.sampled_from(["result", "error", "cannot"]))
    def end_before_the_launch(self, data, how):
        task = data.draw(st.sampled_from(self.ready), label="task")
        effects = Effects()
        if how == "cannot":
            self.engine.fail_launch(task, OSError("no"), effects)
        else:
            self.engine.memoized(task, 1, None if how == "result" else OSError("no"), effects)
        assert task.state == (MEMO_DONE if how == "result" else FAILED)
        self.apply(effects)

    @precondition(lambda self: self.has(LAUNCHED))
    @rule(data=st.data())
    def succeed(self, data):
        task, effects = self.some(data, LAUNCHED), Effects()
        assert self.engine.succeed(task, task.attempt, task.id, effects)
        assert task.state == EXEC_DONE
        self.apply(effects)

    @precondition(lambda self: self.has(LAUNCHED))
    @rule(
        data=st.data(),
        error=st.sampled_from([ValueError("v"), KeyError("k")]),
        cost=st.sampled_from([0, 1, 1, 1, 5]),
        final=st.booleans(),
    )
    def fail(self, data, error, cost, final):
        task, effects = self.some(data, LAUNCHED), Effects()
        spent, policy = task.fail_cost + cost, task.app.retry
        may_retry = (
            not final
            and spent <= (self.engine.retries if policy is None else policy.max)
            and (policy is None or isinstance(error, policy.on))
        )
        assert self.engine.fail(task, task.attempt, error, effects, cost=cost, final=final)
        assert task.state == (PENDING if may_retry else FAILED)
        self.apply(effects)

    @precondition(lambda self: self.has(LAUNCHED))
    @rule(data=st.data())
    def lose(self, data):
        task, effects, loss = self.some(data, LAUNCHED), Effects(), WorkerLost(1, "host", "SIGKILL")
        budget = self.engine.max_losses if task.app.max_losses is None else task.app.max_losses
        lost = len(task.details.losses) if task.details is not None else 0
        if not self.engine.lose(task, task.attempt, loss, effects):
            assert budget == 0
            assert self.engine.fail(task, task.attempt, loss, effects)
        else:
            assert task.state == (PENDING if lost < budget else FAILED)
            assert task.state == PENDING or isinstance(effects.settled[0][2], PoisonTask)
        self.apply(effects)

    @precondition(lambda self: self.has(LAUNCHED))
    @rule(data=st.data(), others=st.integers(0, 1))
    def join(self, data, others):
        task, effects = self.some(data, LAUNCHED), Effects()
        # A body can return futures of tasks submitted later, but none that waits for itself: users cannot make such a circle.
        free = [t for t in self.tasks if t is not task and not self.needs(t, task)]
        inner = data.draw(st.lists(st.sampled_from(free), max_size=3), label="inner") if free else []
        self.inner[task], self.foreign[task] = inner, others
        assert self.engine.join(task, task.attempt, inner, others, effects)
        self.apply(effects)

    @precondition(lambda self: self.joined)
    @rule(data=st.data())
    def deliver_joined(self, data):
        task, effects = data.draw(st.sampled_from(self.joined), label="task"), Effects()
        bad = [t for t in self.inner[task] if t.state not in GOOD]
        failures = [(root_cause(t), path_to(t)) for t in bad if t.state != CANCELLED]
        error = self.engine.join_error(task, failures) if bad else None
        self.engine.joined(task, 1, error, effects)
        assert task.state == (FAILED if bad else EXEC_DONE)
        self.apply(effects)

    @precondition(lambda self: self.later)
    @rule(data=st.data())
    def time_passes(self, data):
        task, effects = data.draw(st.sampled_from(self.later), label="task"), Effects()
        self.later.remove(task)
        self.engine.retry_now(task, effects)
        assert effects.ready == [task]
        self.apply(effects)

    @precondition(lambda self: any(t.attempt for t in self.tasks))
    @rule(data=st.data(), what=st.sampled_from(["succeed", "fail", "lose", "join"]))
    def outcome_of_an_old_attempt(self, data, what):
        running = [t for t in self.tasks if t.state == LAUNCHED]
        task = data.draw(st.sampled_from(running or [t for t in self.tasks if t.attempt]), label="task")
        attempt = data.draw(st.integers(0, task.attempt - 1), label="attempt") if running else task.attempt
        effects, before = Effects(), self.seen_from_outside(task)
        if what == "succeed":
            assert not self.engine.succeed(task, attempt, 1, effects)
        elif what == "fail":
            assert not self.engine.fail(task, attempt, ValueError(), effects)
        elif what == "lose":
            assert self.engine.lose(task, attempt, WorkerLost(1, "host"), effects)
        else:
            assert not self.engine.join(task, attempt, self.tasks[:1], 1, effects)
        self.stale += 1
        self.nothing_follows(effects)
        assert before == self.seen_from_outside(task)

    @precondition(lambda self: any(t.state != PENDING for t in self.tasks))
    @rule(
        data=st.data(), what=st.sampled_from(["joined", "retry", "dependency failed", "memoized", "cannot", "launch"])
    )
    def message_that_comes_too_late(self, data, what):
        task = data.draw(st.sampled_from([t for t in self.tasks if t.state != PENDING]), label="task")
        effects, before = Effects(), self.seen_from_outside(task)
        if what == "joined":
            if task.state != JOINING:
                self.engine.joined(task, 1, None, effects)
        elif what == "retry":
            self.engine.retry_now(task, effects)
        elif what == "dependency failed":
            self.engine.dependency_failed(task, [(ValueError(), "x")], effects)
        elif what == "memoized":
            self.engine.memoized(task, 1, None, effects)
        elif what == "cannot":
            self.engine.fail_launch(task, ValueError(), effects)
        else:
            assert not self.engine.launch(task)
        self.nothing_follows(effects)
        assert before == self.seen_from_outside(task)

    @staticmethod
    def seen_from_outside(task: Task) -> tuple:
        return (
            task.state,
            task.attempt,
            task.waiting,
            task.fail_cost,
            list(task.details.losses) if task.details else None,
        )

    @staticmethod
    def nothing_follows(effects: Effects) -> None:
        assert not any(getattr(effects, name) for name in Effects.__slots__)

    # -- what must always hold
    def needs(self, task: Task, other: Task) -> bool:
        """Whether the task waits for the other, through whatever is between."""
        seen, todo = set(), [task]
        while todo:
            at = todo.pop()
            if at is other:
                return True
            if at not in seen:
                seen.add(at)
                todo += [*self.parents[at], *self.inner.get(at, ())]
        return False

    @invariant()
    def cross_references_fit(self):
        check(self.engine)

    @invariant()
    def counts_are_those_of_the_model(self):
        for state, number in self.engine.counts.items():
            assert number == sum(t.state == state for t in self.tasks)
        assert self.engine.submitted == len(self.tasks)
        assert [t.id for t in self.tasks] == list(range(len(self.tasks)))
        assert self.engine.stale == self.stale
        kept = self.tasks if self.engine.keep else [t for t in self.tasks if t.state not in FINAL_STATES]
        assert list(self.engine.tasks.values()) == kept

    @invariant()
    def states_follow_each_other_as_written_down(self):
        for task, seen in self.states.items():
            for before, after in itertools.pairwise(seen):
                assert after in TRANSITIONS[before], f"{task!r}: {seen}"

    @invariant()
    def what_has_ended_was_settled(self):
        assert set(self.settled) == {t for t in self.tasks if t.state in FINAL_STATES}

    @invariant()
    def each_task_is_where_its_inputs_put_it(self):
        for task in self.tasks:
            inputs = self.parents[task]
            if task.state == PENDING and not task.attempt:
                open_inputs = [p for p in inputs if p.state not in FINAL_STATES]
                if not open_inputs and not self.foreign[task]:
                    assert all(p.state in GOOD for p in inputs), f"{task!r} should have ended with its inputs"
                    assert task in self.ready, f"{task!r} has its inputs, but nobody launches it"
                else:
                    assert task.waiting == len(open_inputs) + self.foreign[task]
                    assert task not in self.ready
            elif task.state == PENDING:
                assert (task in self.ready) != (task in self.later), f"{task!r} is to be tried again, but nobody will"
            elif task.state == JOINING:
                waits = any(t.state not in FINAL_STATES for t in self.inner[task]) or self.foreign[task]
                assert bool(waits) != (task in self.joined), f"{task!r} has what it waits for, but nobody is told"
            elif task.state in {LAUNCHED, EXEC_DONE, MEMO_DONE}:
                assert all(p.state in GOOD for p in inputs), f"{task!r} ran without its inputs"

    @invariant()
    def failures_and_cancels_have_their_reason(self):
        for task in self.tasks:
            inputs = [*self.parents[task], *self.inner.get(task, ())]
            if task.state == CANCELLED:
                assert task.details.cancel_reason
                cancelled = any(p.state == CANCELLED for p in inputs)
                assert cancelled or task in self.user_cancelled
                if task not in self.user_cancelled:
                    assert f"{task} was cancelled because " in task.details.cancel_reason
            elif task.state == DEP_FAIL:
                error = self.settled[task][1]
                assert isinstance(error, DependencyError)
                assert error.task_id == task.id
                assert not any(isinstance(cause, DependencyError) for cause, _ in error.dependent_exceptions_tids)
                assert len(str(error)) < 1_000

    @invariant()
    def a_cancel_reaches_all_that_waited(self):
        for task in self.tasks:
            if task.state in {PENDING, JOINING} and not task.attempt:
                at_submission = [
                    p
                    for p in self.parents[task]
                    if p.state == CANCELLED and p not in (task.details.failures if task.details else ())
                ]
                assert not at_submission, f"{task!r} waits on, though {at_submission} was cancelled"

    # -- in the end everything ends
    def teardown(self):
        if not hasattr(self, "tasks"):
            return
        for _ in range(10 * len(self.tasks) + 10):
            if all(t.state in FINAL_STATES for t in self.tasks):
                break
            for task in self.tasks:
                self.push(task)
        for hold in (
            self.cross_references_fit,
            self.what_has_ended_was_settled,
            self.failures_and_cancels_have_their_reason,
        ):
            hold()
        assert set(self.settled) == set(self.tasks), "not every task ended, though everything that it needs has"

    def push(self, task: Task) -> None:
        """The next thing that a well-meaning world does for a task."""
        effects = Effects()
        if self.foreign[task]:
            self.foreign[task] -= 1
            self.engine.dependency_done(task, effects)
        elif task in self.later:
            self.later.remove(task)
            self.engine.retry_now(task, effects)
        elif task in self.ready:
            self.ready.remove(task)
            self.engine.launch(task)
        elif task.state == LAUNCHED:
            self.engine.succeed(task, task.attempt, 1, effects)
        elif task in self.joined:
            self.engine.joined(task, 1, None, effects)
        self.apply(effects)


EngineMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True)
TestEngineMachine = EngineMachine.TestCase
