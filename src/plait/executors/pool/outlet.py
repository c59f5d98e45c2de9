"""What becomes of attempts that ended: objects and exceptions for the kernel of this process, or bytes for somebody else (`Outlet`)."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Protocol

from plait.errors import AppTimeout, DeserializationError, WorkerLost, text_of
from plait.executors.base import ERROR, LOST, OK
from plait.executors.pool import wire
from plait.executors.pool.core import walltime_of
from plait.model.units import format_duration
from plait.serialize import NONE_BYTES, detached, load_error, loads

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.executors.base import ExecutorContext, Outcome
    from plait.executors.pool.core import Runnable, WorkerState
    from plait.model.events import EventTuple


class Outlet(Protocol):
    """Makes outcomes of what the pool hears, and takes them. What an outcome is only the outlet knows.

    Attributes:
        emit: takes events; None when nobody listens.
        deliver: takes outcomes, in batches.
    """

    emit: Callable[[EventTuple], None] | None
    deliver: Callable[[list[Any]], None]

    def take(
        self, worker: WorkerState, items: list[wire.OutcomeItem], files: list[int], outcomes: list[Any]
    ) -> tuple[int, float, list[int]]:
        """Appends what a worker sent to ``outcomes`` and removes it from what the worker holds. The files are the outlet's to close.

        Returns:
            How many attempts ended, how many seconds they took together, and the numbers of those that the worker did not start.
        """
        ...

    def lost(self, task: Any, attempt: int, worker: int, how: str) -> Any:
        """The outcome of an attempt whose worker ended."""
        ...

    def timed_out(self, task: Any, attempt: int, worker: int) -> Any:
        """The outcome of an attempt that ran for too long."""
        ...

    def refused(self, task: Any, attempt: int, error: Exception) -> Any:
        """The outcome of an attempt that cannot be run."""
        ...


class ObjectOutlet:
    """Outcomes for the kernel of this process.

    Args:
        context: where they go, and events.
    """

    def __init__(self, context: ExecutorContext) -> None:
        self.emit = context.emit
        self.deliver: Callable[[list[Any]], None] = context.deliver
        self._hostname = socket.gethostname()

    def take(
        self, worker: WorkerState, items: list[wire.OutcomeItem], files: list[int], outcomes: list[Any]
    ) -> tuple[int, float, list[int]]:
        """See `Outlet`."""
        held = worker.held
        number = worker.number
        next_file = 0
        done = 0
        busy_s = 0.0
        skipped: list[int] = []
        for sequence, status, payload, sizes, start_s, stop_s in items:
            fd = -1
            if sizes is not None:
                fd = files[next_file]
                next_file += 1
            if status == wire.SKIPPED:
                skipped.append(sequence)
                continue
            entry = held.pop(sequence, None)
            done += 1
            busy_s += stop_s - start_s
            if entry is None:
                if fd >= 0:
                    os.close(fd)
                continue
            task, attempt = entry
            kind = OK
            value: Any = None
            try:
                if status == wire.RAISED:
                    kind = ERROR
                    value = load_error(payload if fd < 0 else wire.read_segments(fd, sizes or ())[0])
                elif fd >= 0:
                    value = wire.load_segments(fd, sizes or ())
                elif payload != NONE_BYTES:
                    value = loads(payload)
            except DeserializationError as error:
                kind, value = ERROR, detached(error)
            except BaseException as error:  # noqa: BLE001 - memory has run out, or the user's class raised KeyboardInterrupt: this task's end, not the thread's
                kind, value = ERROR, DeserializationError(f"{type(error).__name__}: {text_of(error)}")
            outcomes.append((task, attempt, kind, value, start_s, stop_s, number))
        return done, busy_s, skipped

    def lost(self, task: Any, attempt: int, worker: int, how: str) -> Outcome:
        """See `Outlet`."""
        return task, attempt, LOST, WorkerLost(worker, self._hostname, how), 0.0, 0.0, worker

    def timed_out(self, task: Runnable, attempt: int, worker: int) -> Any:
        """See `Outlet`."""
        limit = format_duration(walltime_of(task) or 0)
        error = AppTimeout(f"{task} ran longer than its walltime of {limit}; its processes were ended")
        return task, attempt, ERROR, error, 0.0, 0.0, worker

    def refused(self, task: Any, attempt: int, error: Exception) -> Outcome:
        """See `Outlet`."""
        return task, attempt, ERROR, error, 0.0, 0.0, -1
