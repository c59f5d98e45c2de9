"""The engine: who waits for whom, and what follows from each thing that happens.

It decides and does nothing else: no thread, lock, clock, file or log call, and no future is touched.
The kernel calls one method for each thing that happened, holding its lock, and then does what the `Effects` say, without the lock.

Everything that spreads from task to task is a worklist, never a recursion: chains may be as long as memory allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.errors import DependencyError, JoinError, PoisonTask, PropagatedException, WorkerLost, text_of
from plait.model.task import (
    CANCELLED,
    DEP_FAIL,
    EXEC_DONE,
    FAILED,
    FINAL_FAILURE_STATES,
    FINAL_STATES,
    JOINING,
    LAUNCHED,
    MEMO_DONE,
    PENDING,
    Task,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STATES = (PENDING, LAUNCHED, JOINING, EXEC_DONE, FAILED, DEP_FAIL, MEMO_DONE, CANCELLED)
#: Tasks of a path to a root cause that are named; the others are counted.
_PATH_SHOWN = 6


class Effects:
    """What the kernel has to do.

    Attributes:
        settled: (task, result, error) of tasks that ended, parents before those that need them; the error of a cancelled task is None.
        ready: tasks to launch.
        later: (task, seconds) of tasks to launch after some time.
        stop: tasks whose running attempt is to be ended.
        joined: join tasks whose inner futures have all ended.
        dropped: what ended tasks had, to be let go without the kernel's lock: a finalizer of the user's may call apps.
    """

    __slots__ = ("dropped", "joined", "later", "ready", "settled", "stop")

    def __init__(self) -> None:
        self.settled: list[tuple[Task, Any, BaseException | None]] = []
        self.ready: list[Task] = []
        self.later: list[tuple[Task, float]] = []
        self.stop: list[Task] = []
        self.joined: list[Task] = []
        self.dropped: list[Any] = []


class Engine:
    """The tasks of one run.

    Args:
        retries: cost of failures that a task may gather and still be tried again.
        max_losses: attempts that a task may lose with a worker and still be tried again.
        keep: whether records of ended tasks stay in `tasks`.

    Attributes:
        tasks: records by id.
        counts: number of tasks in each state, ended ones included.
        apps: the same for each app, by its name.
        submitted: number of tasks ever submitted.
        stale: outcomes that came for an attempt that no longer counts.
    """

    def __init__(self, *, retries: float = 0, max_losses: int = 2, keep: bool = False) -> None:
        self.retries = retries
        self.max_losses = max_losses
        self.keep = keep
        self.tasks: dict[int, Task] = {}
        self.counts: dict[int, int] = dict.fromkeys(_STATES, 0)
        self.apps: dict[str, dict[int, int]] = {}
        self.submitted = 0
        self.stale = 0

    def unfinished(self) -> int:
        """Number of tasks that have not ended."""
        counts = self.counts
        return counts[PENDING] + counts[LAUNCHED] + counts[JOINING]

    # ------------------------------------------------------------------ submission
    def add(self, task: Task) -> None:
        """A task was submitted; it waits for nothing unless `wait_for` says so."""
        counts = self.app_counts(task.app.name)  # no call after this one: a signal comes before it or after all of it
        task.id = self.submitted
        self.submitted += 1
        self.tasks[task.id] = task
        self.counts[PENDING] += 1
        counts[PENDING] += 1

    def app_counts(self, name: str) -> dict[int, int]:
        """The counts of an app; made when it is the app's first task."""
        counts = self.apps.get(name)
        if counts is None:
            counts = self.apps[name] = dict.fromkeys(_STATES, 0)
        return counts

    def wait_for(self, task: Task, parents: Iterable[Task], others: int = 0) -> None:
        """The task needs these tasks of this engine, and ``others`` things of which `dependency_done` will tell."""
        waiting = others
        for parent in parents:
            if parent.state not in FINAL_STATES:
                waiting += 1
                if parent.dependants is None:
                    parent.dependants = [task]
                else:
                    parent.dependants.append(task)
            elif parent.state in FINAL_FAILURE_STATES or parent.state == CANCELLED:
                task.more().failures.append(parent)
        task.waiting += waiting

    def settle_waiting(self, task: Task, effects: Effects) -> None:
        """After `wait_for`: launches the task, or fails it, if nothing is left to wait for."""
        if task.waiting == 0 and task.state not in FINAL_STATES:
            start = len(effects.settled)
            self._inputs_ended(task, effects)
            self._spread(effects, start)

    def dependency_done(self, task: Task, effects: Effects) -> None:
        """Something that is not a task of this engine, and that the task needs, has ended."""
        if task.state in FINAL_STATES:
            return
        task.waiting -= 1
        self.settle_waiting(task, effects)

    def launch(self, task: Task) -> bool:
        """The task is about to be given to an executor; False when it must not be (it was cancelled meanwhile)."""
        if task.state != PENDING:
            return False
        self._move(task, LAUNCHED)
        task.attempt += 1
        return True

    # ------------------------------------------------------------------ outcomes
    def current(self, task: Task, attempt: int) -> bool:
        """Whether the attempt is the one that counts; others are counted as stale."""
        if task.attempt == attempt and task.state == LAUNCHED:
            return True
        self.stale += 1
        return False

    def succeed(self, task: Task, attempt: int, result: Any, effects: Effects) -> bool:
        """An attempt returned a result. False when it was stale."""
        if task.attempt != attempt or task.state != LAUNCHED:
            self.stale += 1
            return False
        # `_end` written out: this runs once per task
        counts = self.counts
        counts[LAUNCHED] -= 1
        counts[EXEC_DONE] += 1
        counts = self.apps[task.app.name]
        counts[LAUNCHED] -= 1
        counts[EXEC_DONE] += 1
        task.state = EXEC_DONE
        effects.dropped.append((task.args, task.kwargs, task.depends))
        task.args = task.kwargs = task.payload = task.depends = None
        if not self.keep:
            del self.tasks[task.id]
        effects.settled.append((task, result, None))
        if task.dependants is not None:
            self._spread(effects, len(effects.settled) - 1)
        return True

    def succeed_many(self, outcomes: Iterable[Any], effects: Effects) -> list[Any]:
        """Takes a batch of outcomes of an executor; `succeed` for each, written out, because it runs once per task.

        Args:
            outcomes: tuples that begin with task, attempt, how it ended (0 for a result), result.
            effects: where to write what follows.

        Returns:
            The outcomes that are no plain success: failures, bodies of join apps, stale ones.
        """
        rest: list[Any] = []
        tasks, keep, settled, dropped = self.tasks, self.keep, effects.settled, effects.dropped
        done: dict[str, int] = {}
        for outcome in outcomes:
            task, attempt, kind, result = outcome[:4]
            if kind or task.attempt != attempt or task.state != LAUNCHED or task.app.kind == "join":
                rest.append(outcome)
                continue
            name = task.app.name
            done[name] = done.get(name, 0) + 1
            task.state = EXEC_DONE
            dropped.append((task.args, task.kwargs, task.depends))
            task.args = task.kwargs = task.payload = task.depends = None
            if not keep:
                del tasks[task.id]
            settled.append((task, result, None))
            if task.dependants is not None:
                self._spread(effects, len(settled) - 1)
        if not tasks:  # a dictionary keeps the size that it once had
            self.tasks = {}
        for name, number in done.items():
            for counts in (self.counts, self.apps[name]):
                counts[LAUNCHED] -= number
                counts[EXEC_DONE] += number
        return rest

    def memoized(self, task: Task, result: Any, error: BaseException | None, effects: Effects) -> None:
        """An equal call ended earlier; its outcome is this task's."""
        if task.state == PENDING:
            self._end(task, MEMO_DONE if error is None else FAILED, result, error, effects)

    def fail(
        self, task: Task, attempt: int, error: BaseException, effects: Effects, *, cost: float = 1, final: bool = False
    ) -> bool:
        """An attempt raised. False when it was stale.

        Args:
            task: whose attempt it was.
            attempt: its number.
            error: what it raised.
            effects: where to write what follows.
            cost: what it takes from the budget of retries.
            final: whether to give up whatever is left of the budget.
        """
        if not self.current(task, attempt):
            return False
        task.fail_cost += cost
        policy = task.app.retry
        budget = self.retries if policy is None else policy.max
        if final or task.fail_cost > budget or (policy is not None and not isinstance(error, policy.on)):
            self._end(task, FAILED, None, error, effects)
            return True
        details = task.more()
        details.history.append(f"attempt {attempt}: {type(error).__name__}: {text_of(error)[:200]}")
        delay_s = 0.0
        if policy is not None:
            delay_s = policy.delay_s(len(details.history))
            details.resources = policy.next_resources(details.resources or task.app.resources)
        self._again(task, delay_s, effects)
        return True

    def fail_launch(self, task: Task, error: BaseException, effects: Effects) -> None:
        """The task could not be given to its executor at all; another try would end the same."""
        if task.state == PENDING:
            self._end(task, FAILED, None, error, effects)

    def lose(self, task: Task, attempt: int, loss: WorkerLost, effects: Effects) -> bool:
        """An attempt was lost with its worker.

        A loss that was announced (its block drained, or came to its end) counts for nothing.

        Returns:
            False when losses have no budget of their own: then the loss is a failure like others (`fail`).
        """
        if not self.current(task, attempt):
            return True
        if getattr(loss, "announced", False):
            self._again(task, 0.0, effects)
            return True
        budget = self.max_losses if task.app.max_losses is None else task.app.max_losses
        if budget == 0:
            return False
        details = task.more()
        details.losses.append(f"attempt {attempt} on worker {loss.worker_id} of {loss.hostname}: {loss.reason}")
        if len(details.losses) > budget:
            poison = PoisonTask(loss.worker_id, loss.hostname, loss.reason, details.losses)
            self._end(task, FAILED, None, poison, effects)
        else:
            self._again(task, 0.0, effects)
        return True

    def retry_now(self, task: Task, effects: Effects) -> None:
        """The time of waiting between two attempts is over."""
        if task.state == PENDING and task.details is not None and task.details.not_before is not None:
            task.details.not_before = None
            effects.ready.append(task)

    # ------------------------------------------------------------------ joins
    def join(self, task: Task, attempt: int, inner: Sequence[Task], others: int, effects: Effects) -> bool:
        """The body of a join app returned; its task now waits for these. False when it was stale."""
        if not self.current(task, attempt):
            return False
        self._move(task, JOINING)
        self.wait_for(task, inner, others)
        self.settle_waiting(task, effects)
        return True

    def joined(self, task: Task, result: Any, error: BaseException | None, effects: Effects) -> None:
        """All that a join task waited for has ended, and this is what came of it."""
        if task.state == JOINING:
            self._end(task, EXEC_DONE if error is None else FAILED, result, error, effects)

    # ------------------------------------------------------------------ cancelling
    def cancel(self, task: Task, reason: str, effects: Effects) -> bool:
        """Cancels the task and, for the same reason, all that need it. False when it has ended."""
        if task.state in FINAL_STATES:
            return False
        start = len(effects.settled)
        try:
            self._cancel_one(task, reason, effects)
            self._spread(effects, start)
        except (KeyboardInterrupt, SystemExit):  # a signal: what has begun is finished, or nothing was
            effects.stop[:] = [each for each in effects.stop if each.state == CANCELLED]
            self._spread(effects, start)
            raise
        return True

    def _cancel_one(self, task: Task, reason: str, effects: Effects) -> None:
        task.more().cancel_reason = reason
        if task.state == LAUNCHED:
            effects.stop.append(task)
        self._end(task, CANCELLED, None, None, effects, spread=False)

    # ------------------------------------------------------------------ the worklist
    def _spread(self, effects: Effects, start: int) -> None:
        """Tells those who wait for the tasks settled from ``start`` on; tasks that this settles join the same list."""
        settled = effects.settled
        at = start
        while at < len(settled):
            parent = settled[at][0]
            at += 1
            ok = parent.state in (EXEC_DONE, MEMO_DONE)
            for child in parent.dependants or ():
                if child.state in FINAL_STATES:
                    continue
                if parent.state == CANCELLED:
                    self._cancel_one(child, _follows(child, parent), effects)
                    continue
                if not ok:
                    child.more().failures.append(parent)
                child.waiting -= 1
                if child.waiting == 0:
                    self._inputs_ended(child, effects)
            parent.dependants = None

    def _inputs_ended(self, task: Task, effects: Effects) -> None:
        if task.state == JOINING:
            effects.joined.append(task)
            return
        failures = task.details.failures if task.details is not None else None
        if not failures:
            effects.ready.append(task)
            return
        failures.sort(key=_number)  # whichever ended first, the error is the same
        cancelled = [parent for parent in failures if parent.state == CANCELLED]
        if cancelled:
            self._cancel_one(task, _follows(task, cancelled[0]), effects)
        else:
            error = DependencyError([(root_cause(p), path_to(p)) for p in failures], task.id)
            self._end(task, DEP_FAIL, None, error, effects, spread=False)

    def dependency_failed(self, task: Task, failures: list[tuple[BaseException, str]], effects: Effects) -> None:
        """Things that are not tasks of this engine, and that the task needs, failed: (root cause, description) of each."""
        if task.state == PENDING:
            self._end(task, DEP_FAIL, None, DependencyError(failures, task.id), effects)

    def join_error(self, task: Task, failures: list[tuple[BaseException, str]]) -> JoinError:
        """The error of a join task some of whose inner futures failed."""
        return JoinError(failures, task.id)

    def _again(self, task: Task, delay_s: float, effects: Effects) -> None:
        self._move(task, PENDING)
        task.payload = None
        if delay_s > 0:
            task.more().not_before = delay_s
            effects.later.append((task, delay_s))
        else:
            effects.ready.append(task)

    def _end(
        self, task: Task, state: int, result: Any, error: BaseException | None, effects: Effects, *, spread: bool = True
    ) -> None:
        if error is not None:
            task.more().error = error
        effects.dropped.append((task.args, task.kwargs, task.depends))
        self._move(task, state)  # from here to its being settled nothing is called that a signal could follow
        task.args = task.kwargs = task.payload = task.depends = None
        if not self.keep:
            del self.tasks[task.id]
        effects.settled.append((task, result, error))
        if spread and task.dependants is not None:
            self._spread(effects, len(effects.settled) - 1)

    def _move(self, task: Task, state: int) -> None:
        before = task.state
        counts = self.counts
        counts[before] -= 1
        counts[state] += 1
        counts = self.apps[task.app.name]
        counts[before] -= 1
        counts[state] += 1
        task.state = state


def _number(task: Task) -> int:
    return task.id


def _follows(child: Task, parent: Task) -> str:
    """The sentence for a task that is cancelled with one that it needs; names the task at which it began."""
    relation = "which it waits for" if child.state == JOINING else "which it needs"
    details = parent.more()
    origin = child.more().cancel_origin = details.cancel_origin or str(parent)
    via = "" if origin == str(parent) else f" by way of {parent}"
    return f"{child} was cancelled because {origin}, {relation}{via}, was cancelled"


def root_cause(task: Task) -> BaseException:
    """The error at the start of a chain of failures."""
    error = failure_of(task)
    if isinstance(error, PropagatedException) and error.dependent_exceptions_tids:
        return error.dependent_exceptions_tids[0][0]  # never one of its kind: it was made by this function
    return error


def path_to(task: Task) -> str:
    """The chain of failed tasks that begins with ``task``, as text: ``task 7 (g) <- task 3 (f)``."""
    error = failure_of(task)
    if isinstance(error, PropagatedException) and error.dependent_exceptions_tids:
        return extend_path(str(task), error.dependent_exceptions_tids[0][1])
    return str(task)


def extend_path(head: str, rest: str) -> str:
    """One more task at the front of a path; in a long path those between are counted instead of named."""
    parts = [head, *rest.split(" <- ")]
    if len(parts) > _PATH_SHOWN:
        hidden = sum(int(p.split()[1]) if p.startswith("… ") else 1 for p in parts[3:-2])
        parts = [*parts[:3], f"… {hidden} more", *parts[-2:]]
    return " <- ".join(parts)


def failure_of(task: Task) -> BaseException:
    """The error of a task that failed."""
    error = task.details.error if task.details is not None else None
    return error if error is not None else RuntimeError(f"{task} failed")
