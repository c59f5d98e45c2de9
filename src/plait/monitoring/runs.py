"""Runs on disk: finding them, and what each was when its journal was last written.

All that commands and reports know of a run comes from here, so a live run, an ended one and a crashed one are looked at in the same way.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plait._util import procs
from plait.errors import PlaitError
from plait.model.events import (
    AttemptFailed,
    AttemptStarted,
    Note,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskJoining,
    TaskSubmitted,
    WorkerEnded,
    WorkerStarted,
)
from plait.model.task import FINAL_STATES, JOINING, LAUNCHED, PENDING, TaskState
from plait.monitoring.blocks import Blocks
from plait.monitoring.journal import decoder, edge_frames, journal_files, read_journal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plait.model.events import Event

_NUMBER: Final = re.compile(r"[0-9]{3,7}")
#: Seconds by which a process may seem older than its run, for clocks that were set.
_CLOCK_SLACK_S: Final = 2.0

ENDED: Final = "ended"
LIVE: Final = "live"
CRASHED: Final = "crashed"
ELSEWHERE: Final = "elsewhere"  #: on another host, or in another container, which cannot be asked from here
UNREADABLE: Final = "unreadable"  #: its journal, or the beginning of that, cannot be read, so nothing is known of it


class RunNotFound(PlaitError):
    """There is no such run."""


# ------------------------------------------------------------------ finding
def find_runs(run_dir: str | os.PathLike[str]) -> list[str]:
    """Folders of the runs in a run directory that have a journal, oldest first."""
    base = os.fspath(run_dir)
    try:
        names = [name for name in os.listdir(base) if _NUMBER.fullmatch(name)]
    except OSError:
        return []
    folders = [os.path.join(base, name) for name in sorted(names, key=int)]
    return [folder for folder in folders if _has_journal(folder)]


def _is_closed(folder: str) -> bool:
    """Whether it is there and another user's."""
    return os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK)


def find_run(which: str = "last", run_dir: str | os.PathLike[str] = "runinfo") -> str:
    """The folder of a run.

    Args:
        which: ``last``, a number, or the path of the folder itself.
        run_dir: where numbered runs are.

    Raises:
        RunNotFound: saying what there is instead.
    """
    base = os.fspath(run_dir)
    if which != "last" and not which.isdecimal():
        if _has_journal(which):
            return which
        if _is_closed(which):
            raise RunNotFound(f"run {which}: you may not read this folder")
        inside = find_runs(which)
        hint = f"; it holds runs: name one, or use --run-dir {which}" if inside else ""
        raise RunNotFound(f"run {which}: expected `last`, a number, or a run's folder with a journal in it{hint}")
    runs = find_runs(base)
    if not runs:
        there = "has no run with a journal" if os.path.isdir(base) else "does not exist"
        if _is_closed(base):
            there = "cannot be read by you"
        raise RunNotFound(
            f"the folder {base} {there}; name another with --run-dir, or a run's own folder with --run "
            "(runs with initialize_logging=False leave no journal)"
        )
    if which == "last":
        return runs[-1]
    for folder in runs:
        if int(os.path.basename(folder)) == int(which):
            return folder
    first, last = os.path.basename(runs[0]), os.path.basename(runs[-1])
    raise RunNotFound(
        f"no run {which} in {base}, which has {len(runs)}, from {first} to {last}; `plait runs` lists them"
    )


def _has_journal(folder: str) -> bool:
    try:
        return bool(journal_files(folder))
    except OSError:
        return False


# ------------------------------------------------------------------ one run
class TaskHistory:
    """What the journal says of one task.

    Attributes:
        id: its number.
        app: name of its app.
        depends: tasks that it needs.
        asks: resources that it asks for, in words; empty for a worker's share of its node.
        joins: tasks that it waits for since its body returned; -1 stands for a future that is no task.
        submit_s: when it was submitted. All times are seconds of the run's own clock.
        state: number of its `TaskState`.
        attempt: number of the last attempt; 0 for none.
        executor: label of the executor that had it last.
        worker: number of the worker there; -1 for none.
        cores: that the last attempt has asked for; 0 for a worker's share of its node.
        manager: name of the manager that the last attempt was given to, which chose the worker; empty where workers are given tasks directly.
        sent_s: when the last attempt was handed to a worker or a manager; 0 if it was not.
        start_s: when the last attempt began to run; 0 where that is not known.
        stop_s: when it ended on the worker; 0 where that is not known.
        end_s: when the task came to its end; 0 if it has not.
        error: class and text of the error.
        why: the sentence on why it did not succeed.
        traceback: of the error, as text.
        failed_attempts: attempts that ended without a result, while the task went on.
    """

    __slots__ = (
        "app", "asks", "attempt", "cores", "depends", "end_s", "error", "executor", "failed_attempts", "id", "joins", "manager", "sent_s", "start_s", "state", "stop_s",
        "submit_s", "traceback", "why", "worker",
    )  # fmt: skip

    def __init__(self, number: int, app: str = "?", submit_s: float = 0.0, depends: list[int] | None = None) -> None:
        self.id = number
        self.app = app
        self.depends = depends or []
        self.asks = ""
        self.joins: list[int] = []
        self.submit_s = submit_s
        self.state = PENDING
        self.attempt = 0
        self.executor = ""
        self.worker = -1
        self.manager = ""
        self.cores = 0.0
        self.sent_s = self.start_s = self.stop_s = self.end_s = 0.0
        self.error = self.why = self.traceback = ""
        self.failed_attempts: list[AttemptFailed] = []

    @property
    def has_ended(self) -> bool:
        """Whether it came to an end, good or bad."""
        return self.state in FINAL_STATES

    @property
    def run_s(self) -> float | None:
        """Seconds for which the last attempt ran, where that is known."""
        return self.stop_s - self.start_s if self.start_s and self.stop_s else None

    @property
    def error_class(self) -> str:
        """Name of the class of the error."""
        return self.error.partition(":")[0]

    def __str__(self) -> str:
        return f"task {self.id} ({self.app})"


@dataclass
class WorkerHistory:
    """What the journal says of one worker."""

    executor: str
    number: int
    pid: int
    start_s: float
    end_s: float = 0.0
    reason: str = ""


@dataclass
class Run:
    """What the journal of a run says.

    Attributes:
        path: its folder.
        started: who, where and when; None in a journal whose first record is lost.
        ended: how it ended; None if it did not.
        tasks: by number.
        workers: in the order of their starts.
        blocks: of nodes, and what was decided about their number.
        notes: things that people should know, with their times.
        last_s: time of the last event.
    """

    path: str
    started: RunStarted | None = None
    ended: RunEnded | None = None
    tasks: dict[int, TaskHistory] = field(default_factory=dict)
    workers: list[WorkerHistory] = field(default_factory=list)
    blocks: Blocks = field(default_factory=Blocks)
    notes: list[Note] = field(default_factory=list)
    last_s: float = 0.0

    @property
    def name(self) -> str:
        """The folder's own name, which is the run's number."""
        return os.path.basename(os.path.normpath(self.path))

    @property
    def state(self) -> str:
        """`ENDED`, `LIVE`, `CRASHED`, `ELSEWHERE` or `UNREADABLE`."""
        return state_of(self.started, self.ended)

    def now_s(self) -> float:
        """The time of the run's own clock; when it is over, the time of its last event."""
        if self.state != LIVE or self.started is None:
            return self.last_s
        return max(self.last_s, self.started.t_s + time.time() - self.started.wall_time_s)

    def counts(self) -> dict[TaskState, int]:
        """Number of tasks in each state."""
        counts = Counter(task.state for task in self.tasks.values())
        return {state: counts.get(state, 0) for state in TaskState}

    def failures(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Failed tasks, grouped: (error, app) to (how many, number of the first)."""
        groups: dict[tuple[str, str], tuple[int, int]] = {}
        for task in self.tasks.values():
            if task.error:
                count, first = groups.get((task.error_class, task.app), (0, task.id))
                groups[task.error_class, task.app] = (count + 1, first)
        return groups

    def take(self, events: Iterable[Event]) -> None:
        """Follows what happened. Events of different threads may come a little out of order."""
        steps: dict[type, Any] = {
            TaskSubmitted: self._task_submitted,
            AttemptStarted: self._attempt_started,
            AttemptFailed: self._attempt_failed,
            TaskJoining: self._task_joining,
            TaskEnded: self._task_ended,
            WorkerStarted: self._worker_started,
            WorkerEnded: self._worker_ended,
            RunStarted: self._run_started,
            RunEnded: self._run_ended,
            Note: self.notes.append,
            **self.blocks.steps(),
        }
        for event in events:
            take = steps.get(type(event))
            if take is not None:
                take(event)
            stamp: float = getattr(event, "t_s", 0.0)
            self.last_s = max(self.last_s, stamp)

    def task(self, number: int) -> TaskHistory:
        """The task of that number; one without a past when the journal lost it."""
        task = self.tasks.get(number)
        if task is None:
            task = self.tasks[number] = TaskHistory(number)
        return task

    def _task_submitted(self, event: TaskSubmitted) -> None:
        task = self.task(event.task)
        task.app, task.submit_s, task.depends, task.asks = event.app, event.t_s, event.depends, event.asks

    def _attempt_started(self, event: AttemptStarted) -> None:
        task = self.task(event.task)
        if event.attempt < task.attempt:
            return
        task.executor, task.manager, task.cores = event.executor, event.manager, event.cores
        if not task.has_ended:
            task.state, task.attempt, task.worker = LAUNCHED, event.attempt, event.worker
        task.sent_s = event.t_s

    def _attempt_failed(self, event: AttemptFailed) -> None:
        task = self.task(event.task)
        task.failed_attempts.append(event)
        if not task.has_ended and event.attempt >= task.attempt:
            task.state = PENDING

    def _task_joining(self, event: TaskJoining) -> None:
        task = self.task(event.task)
        task.joins = event.joins
        if not task.has_ended:
            task.state = JOINING

    def _task_ended(self, event: TaskEnded) -> None:
        task = self.task(event.task)
        task.state, task.attempt, task.worker = event.state, event.attempt, event.worker
        task.start_s, task.stop_s, task.end_s = event.start_s, event.stop_s, event.t_s
        task.error, task.why, task.traceback = event.error, event.why, event.traceback

    def _worker_started(self, event: WorkerStarted) -> None:
        self.workers.append(WorkerHistory(event.executor, event.worker, event.pid, event.t_s))

    def _worker_ended(self, event: WorkerEnded) -> None:
        for worker in reversed(self.workers):
            if (worker.executor, worker.number) == (event.executor, event.worker):
                worker.end_s, worker.reason = event.t_s, event.reason
                return

    def _run_started(self, event: RunStarted) -> None:
        self.started = event

    def _run_ended(self, event: RunEnded) -> None:
        self.ended = event


def read_run(path: str) -> Run:
    """All that the journal in a run's folder says so far."""
    run = Run(path)
    run.take(read_journal(path))
    return run


@dataclass(frozen=True)
class RunLine:
    """A run in a list of runs."""

    path: str
    state: str
    started: RunStarted | None
    ended: RunEnded | None


def glance(path: str) -> RunLine:
    """How a run began and ended, without reading what lies between. One whose journal cannot be opened says so by its state, and hides no other."""
    started = ended = None
    decode = decoder()
    try:
        for body in edge_frames(path):
            for event in decode(body):
                if isinstance(event, RunStarted):
                    started = event
                elif isinstance(event, RunEnded):
                    ended = event
    except OSError:
        pass
    return RunLine(path, state_of(started, ended), started, ended)


def state_of(started: RunStarted | None, ended: RunEnded | None) -> str:
    """Whether a run is over, lives, crashed, or cannot be asked. It begins its journal before anything else, and that goes to disk at once."""
    if ended is not None:
        return ENDED
    if started is None:
        return UNREADABLE
    if started.hostname != platform.node():
        return ELSEWHERE
    if started.pid_space and started.pid_space != procs.number_space():
        return ELSEWHERE  # its number is another process here, or none
    return LIVE if _is_its_process(started) else CRASHED


def _is_its_process(started: RunStarted) -> bool:
    """Whether the process that wrote the journal lives: of that number, and not younger than the run."""
    if not procs.is_alive(started.pid):
        return False
    import psutil

    try:
        return bool(psutil.Process(started.pid).create_time() <= started.wall_time_s + _CLOCK_SLACK_S)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
