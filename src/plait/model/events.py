"""What happened, as typed records: one stream for the journal, the progress display, reports and tests.

Each record travels as an array that begins with its number, so ``TaskSubmitted(...)`` and the tuple ``(1, ...)`` are the same bytes.
Tuples (`kind` numbers below) are written where an object would cost too much; a test holds the two forms against each other.
What happens to many tasks at once is one record (`TasksSubmitted`, `AttemptsStarted`, `TasksDone`); readers get it as single events.
Fields may be added at the end of a record, with a default; none is ever removed or changes its meaning (`SCHEMA_VERSION` counts such changes).

All times are seconds of the monotonic clock of the driver's host; `RunStarted` ties them to the wall clock.
"""

from __future__ import annotations

from typing import Any, Final, Union

import msgspec

from plait.model.task import TaskState

SCHEMA_VERSION: Final = 1

RUN_STARTED: Final = 0
TASK_SUBMITTED: Final = 1
ATTEMPT_STARTED: Final = 2
TASK_ENDED: Final = 3
ATTEMPT_FAILED: Final = 4
WORKER_STARTED: Final = 5
WORKER_ENDED: Final = 6
RUN_ENDED: Final = 7
TASK_JOINING: Final = 8
NOTE: Final = 9
TASKS_SUBMITTED: Final = 10
ATTEMPTS_STARTED: Final = 11
TASKS_DONE: Final = 12
BLOCK_REQUESTED: Final = 20
BLOCK_STATUS: Final = 21
BLOCK_UP: Final = 22
BLOCK_ENDED: Final = 23
BLOCKS_SCALED: Final = 24
MANAGER_STARTED: Final = 30
MANAGER_ENDED: Final = 31
INTERCHANGE_LOST: Final = 32


class Event(msgspec.Struct, array_like=True, frozen=True):
    """A fact that happened."""


class RunStarted(Event, tag=RUN_STARTED, frozen=True):
    """A kernel was loaded.

    Attributes:
        pid_space: within what its process number counts (a container's numbers are its own); empty in journals of versions that did not say.
    """

    t_s: float
    wall_time_s: float
    run_id: str
    schema: int
    plait_version: str
    python_version: str
    hostname: str
    pid: int
    name: str
    executors: list[str]
    pid_space: str = ""


class TaskSubmitted(Event, tag=TASK_SUBMITTED, frozen=True):
    """An app was called.

    Attributes:
        asks: resources that the call asks for, in words; empty for a worker's share of its node.
    """

    t_s: float
    task: int
    app: str
    depends: list[int] = []
    asks: str = ""


class AttemptStarted(Event, tag=ATTEMPT_STARTED, frozen=True):
    """An attempt was handed to a worker, or to a manager, which chooses the worker (then that is -1).

    Attributes:
        cores: that the task has asked for; 0 for a worker's share of its node.
    """

    t_s: float
    task: int
    attempt: int
    executor: str
    worker: int
    manager: str = ""
    cores: float = 0.0


class TaskEnded(Event, tag=TASK_ENDED, frozen=True):
    """A task came to its end.

    Attributes:
        state: number of the `model.task.TaskState`.
        start_s: when its last attempt began to run, where that is known.
        stop_s: when its last attempt ended on the worker, where that is known.
        worker: number of the worker; -1 for none.
        error: class and text of the error; empty for none.
        why: the sentence of `explain`, for tasks that did not succeed.
        traceback: of the error, as text, bounded.
    """

    t_s: float
    task: int
    state: int
    attempt: int
    start_s: float
    stop_s: float
    worker: int
    error: str = ""
    why: str = ""
    traceback: str = ""


class AttemptFailed(Event, tag=ATTEMPT_FAILED, frozen=True):
    """An attempt ended without a result, and the task goes on."""

    t_s: float
    task: int
    attempt: int
    lost: bool
    reason: str
    retry_in_s: float = 0.0


class WorkerStarted(Event, tag=WORKER_STARTED, frozen=True):
    """A worker is ready."""

    t_s: float
    executor: str
    worker: int
    pid: int


class WorkerEnded(Event, tag=WORKER_ENDED, frozen=True):
    """A worker is gone."""

    t_s: float
    executor: str
    worker: int
    reason: str


class RunEnded(Event, tag=RUN_ENDED, frozen=True):
    """A kernel was cleaned up."""

    t_s: float
    wall_time_s: float
    sentence: str


class TaskJoining(Event, tag=TASK_JOINING, frozen=True):
    """The body of a join app returned; the task waits for these tasks (-1 stands for a future that is no task)."""

    t_s: float
    task: int
    joins: list[int]


class Note(Event, tag=NOTE, frozen=True):
    """Something that people should know."""

    t_s: float
    text: str


class TasksSubmitted(Event, tag=TASKS_SUBMITTED, frozen=True):
    """`TaskSubmitted` for calls of one app that need nothing, in one record: for each its number and its time."""

    app: str
    tasks: list[int]
    times: list[float]

    def single(self) -> list[Event]:
        """The same as single events."""
        return [TaskSubmitted(t_s, task, self.app) for task, t_s in zip(self.tasks, self.times, strict=True)]


class AttemptsStarted(Event, tag=ATTEMPTS_STARTED, frozen=True):
    """`AttemptStarted` for the first attempts of tasks that were sent together."""

    t_s: float
    executor: str
    worker: int
    tasks: list[int]
    manager: str = ""
    cores: float = 0.0

    def single(self) -> list[Event]:
        """The same as single events."""
        return [
            AttemptStarted(self.t_s, task, 1, self.executor, self.worker, self.manager, self.cores)
            for task in self.tasks
        ]


class TasksDone(Event, tag=TASKS_DONE, frozen=True):
    """`TaskEnded` for tasks that succeeded at the first attempt, on one worker."""

    worker: int
    tasks: list[int]
    starts: list[float]
    stops: list[float]

    def single(self) -> list[Event]:
        """The same as single events."""
        done = int(TaskState.exec_done)
        return [
            TaskEnded(stop_s, task, done, 1, start_s, stop_s, self.worker)
            for task, start_s, stop_s in zip(self.tasks, self.starts, self.stops, strict=True)
        ]


class BlockRequested(Event, tag=BLOCK_REQUESTED, frozen=True):
    """An executor is about to ask its provider for a block."""

    t_s: float
    executor: str
    block: str


class BlockStatus(Event, tag=BLOCK_STATUS, frozen=True):
    """The job of a block changed its state.

    Attributes:
        state: number of the `model.jobs.JobState`.
    """

    t_s: float
    executor: str
    block: str
    job_id: str
    state: int
    message: str = ""


class BlockUp(Event, tag=BLOCK_UP, frozen=True):
    """The first manager of a block is connected.

    Attributes:
        took_s: seconds since the block was requested.
    """

    t_s: float
    executor: str
    block: str
    took_s: float


class BlockEnded(Event, tag=BLOCK_ENDED, frozen=True):
    """A block is over.

    Attributes:
        state: number of the `model.jobs.JobState`.
        message: why.
        exit_code: of its job; None when not known.
    """

    t_s: float
    executor: str
    block: str
    job_id: str
    state: int
    message: str = ""
    exit_code: int | None = None


class BlocksScaled(Event, tag=BLOCKS_SCALED, frozen=True):
    """It was decided to have more blocks, or fewer.

    Attributes:
        added, removed: names of blocks.
        why: the reason, as a sentence.
    """

    t_s: float
    executor: str
    added: list[str]
    removed: list[str]
    why: str


class ManagerStarted(Event, tag=MANAGER_STARTED, frozen=True):
    """A manager is connected: a node of a block can run tasks.

    Attributes:
        manager: its random name.
        workers: tasks that it can run at once.
        cores: of its node, for tasks; 0 in journals of versions that did not say.
    """

    t_s: float
    executor: str
    manager: str
    block: str
    hostname: str
    pid: int
    workers: int
    cores: float = 0.0


class ManagerEnded(Event, tag=MANAGER_ENDED, frozen=True):
    """A manager is no more.

    Attributes:
        how: ``lost``, ``drained``, ``left`` or ``refused``.
    """

    t_s: float
    executor: str
    manager: str
    how: str
    reason: str


class InterchangeLost(Event, tag=INTERCHANGE_LOST, frozen=True):
    """The interchange of an executor ended before its time."""

    t_s: float
    executor: str
    reason: str


AnyEvent = Union[  # noqa: UP007 - so many names read better in lines
    TasksSubmitted,
    AttemptsStarted,
    TasksDone,
    RunStarted,
    TaskSubmitted,
    AttemptStarted,
    TaskEnded,
    AttemptFailed,
    WorkerStarted,
    WorkerEnded,
    RunEnded,
    TaskJoining,
    Note,
    BlockRequested,
    BlockStatus,
    BlockUp,
    BlockEnded,
    BlocksScaled,
    ManagerStarted,
    ManagerEnded,
    InterchangeLost,
]
#: An event as the paths that run once per task write it.
EventTuple = tuple[Any, ...]
