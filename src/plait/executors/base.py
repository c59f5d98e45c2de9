"""The port through which the kernel uses executors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait._util.given import RemembersGiven
from plait.errors import InvalidResourceSpecification
from plait.model.resources import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plait.clock import Clock
    from plait.model.events import EventTuple
    from plait.model.resources import Resources
    from plait.model.task import Task

#: How an attempt ended: with a result, with an exception, with the loss of its worker (`errors.WorkerLost`), or by its walltime (an exception too).
OK: Final = 0
ERROR: Final = 1
LOST: Final = 2

#: (task, attempt, how it ended, result or exception, seconds when it began, when it ended, number of the worker; -1 and 0.0 where unknown)
Outcome = tuple["Task", int, int, Any, float, float, int]


@dataclass(frozen=True)
class ExecutorContext:
    """What an executor gets from the kernel at its start.

    Attributes:
        deliver: takes outcomes, in batches; may be called from any thread, and runs callbacks of users.
        emit: takes events; None when nobody listens.
        log_dir: where to put files of its own, made when it is asked for; None when nothing is to be written.
        clock: the time.
        strategy: how executors that obtain blocks scale: a name of `Config.strategy`, or a policy of its own.
        strategy_period_s: seconds between two decisions of it.
        max_idletime_s: seconds after which an idle block may be given back.
    """

    deliver: Callable[[list[Outcome]], None]
    emit: Callable[[EventTuple], None] | None
    log_dir: Callable[[str], str] | None
    clock: Clock
    strategy: Any = "simple"
    strategy_period_s: float = 5.0
    max_idletime_s: float = 120.0


@dataclass(frozen=True)
class ExecutorStatus:
    """A look at an executor.

    Attributes:
        workers: how many tasks it can run at once.
        running: how many attempts it has given to workers.
        queued: how many tasks wait in it.
    """

    workers: int
    running: int
    queued: int


class Executor(RemembersGiven, ABC):
    """Runs tasks that are ready. An executor belongs to one kernel, from `start` to `shutdown`."""

    label: str
    #: The run that it belongs to, once that has begun.
    run_id: str | None = None
    #: Whether `start` may be called again after `shutdown`, so that a configuration serves one run after another.
    restarts = False
    #: Whether a running attempt can be ended.
    ends_running_tasks = True
    #: Whether tasks run in the driver's process, so that nothing needs to be sent.
    in_process = False

    @abstractmethod
    def start(self, context: ExecutorContext) -> None:
        """Begins to work. Does not wait until workers are up."""

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Takes a task whose attempt is to be run. Never waits.

        Raises:
            SerializationError: the task cannot be sent.
            ExecutorError: the executor is broken.
        """

    def submit_simple(self, task: Task) -> None:
        """As `submit`, for a task with arguments of plain built-in types that asks for nothing."""
        self.submit(task)

    def submit_many(self, tasks: Sequence[Task]) -> list[tuple[Task, Exception]]:
        """Takes several simple ones (`submit_simple`) at once; those that it could not take, each with the reason."""
        refused: list[tuple[Task, Exception]] = []
        for task in tasks:
            try:
                self.submit_simple(task)
            except Exception as error:  # noqa: BLE001 - whatever stops a task is its outcome
                refused.append((task, error))
        return refused

    @abstractmethod
    def cancel(self, task: Task, attempt: int) -> bool:
        """Ends the attempt, queued or running; its outcome no longer matters. False when it runs and cannot be ended."""

    def drop(self, task: Task, attempt: int) -> bool:
        """What a run that ends does to the attempt instead of `cancel`: False when it is to have the time of `shutdown` to finish."""
        return self.cancel(task, attempt)

    @abstractmethod
    def status(self) -> ExecutorStatus:
        """How much it has to do."""

    @abstractmethod
    def shutdown(self, timeout_s: float) -> None:
        """Ends everything that it started, within the time. May be called more than once."""

    def check(self, resources: Resources) -> None:
        """Refuses what can never be given.

        Raises:
            InvalidResourceSpecification: with the numbers.
        """
        if resources != DEFAULT:
            raise InvalidResourceSpecification(
                {"resources"}, f"executor {self.label!r} ({type(self).__name__}) does not know resources of tasks"
            )

    def check_walltime(self, walltime_s: float) -> None:
        """Refuses an attempt that may take so many seconds where nothing that it could run on lasts as long.

        Raises:
            InvalidResourceSpecification: with the numbers.
        """

    def explain(self, task: Task) -> str:  # noqa: ARG002 - those that know more look at it
        """Where a launched task stands, as the end of the sentence "task 3 (f) …"."""
        status = self.status()
        return f"was given to executor {self.label!r}, where {status.running} tasks run and {status.queued} wait for {status.workers} workers"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(label={self.label!r})"
