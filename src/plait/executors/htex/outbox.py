"""A manager's attempts, and their outcomes on the way to the driver.

Payloads stay what they are: bytes, or files. Outcomes are kept until the interchange says that the driver has them,
so that after a lost connection, or a new interchange, they go out again.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait.errors import ExecutorError
from plait.executors.htex.messages import (
    REFUSED_BY_POOL,
    TIMED_OUT,
    WORKER_LOST,
    AttemptId,
    BigOutcome,
    GangItem,
    Grant,
    OutcomeItem,
    Outcomes,
)
from plait.executors.pool import wire
from plait.executors.pool.page import anonymous_file
from plait.model.resources import Resources
from plait.model.task import CANCELLED, EXEC_DONE, LAUNCHED
from plait.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plait.executors.pool.core import WorkerState
    from plait.model.events import EventTuple

#: Bytes up to which a result in a file goes along in its message rather than as chunks.
INLINE_BYTES: Final = 256 * 1024
#: Bytes of outcomes in one message, about.
_MESSAGE_BYTES: Final = 1024 * 1024
#: Bytes that an outcome needs besides its payload.
_ITEM_BYTES: Final = 100
#: Seconds for which a command may itself end with its walltime, and say so better; the payload does not tell whether it is one.
WALLTIME_SLACK_S: Final = 0.25

_encode = msgspec.msgpack.Encoder().encode


class Blob:
    """A function, as the pool wants it: the driver's number is as good a name as any digest."""

    __slots__ = ("data", "digest")

    def __init__(self, number: int, data: bytes) -> None:
        self.digest = number
        self.data = data


class Code:
    """What the attempts of one function have in common (`pool.core.RunnableApp`)."""

    __slots__ = ("blob",)
    kind: Final = "python"
    resources: Final = None
    walltime_s: Final = None

    def __init__(self, number: int, data: bytes) -> None:
        self.blob = Blob(number, data)


class Granted:
    """What is special about an attempt (`pool.core.RunnableDetails`). The interchange has found it a place: it goes before all plain ones here."""

    __slots__ = ("grant", "walltime_s")
    resources: Final = Resources(priority=0.0)

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self.walltime_s = None if grant.walltime_s is None else grant.walltime_s + WALLTIME_SLACK_S


class Attempt(msgspec.Struct, eq=False):
    """One attempt that the manager has (`pool.core.Runnable`)."""

    id: int
    attempt: int
    app: Code
    payload: Any  # bytes, or `Stored`
    details: Granted | None = None
    state: int = LAUNCHED

    def __str__(self) -> str:
        return f"task {self.id}"


def has_nodes(task: Attempt) -> bool:
    """Whether it runs over whole nodes."""
    return task.details is not None and bool(task.details.grant.hosts)


def gang_item(task: Attempt, hosts: Sequence[str]) -> GangItem:
    """What such a task has, for a registration: names of other managers, and indices of these hosts."""
    assert task.details is not None  # noqa: S101 - `has_nodes`
    grant = task.details.grant
    return task.id, task.attempt, list(grant.members), [hosts.index(host) for host in grant.hosts if host in hosts]


class Stored:
    """Segments of a task in an anonymous file, written as they come."""

    __slots__ = ("_fd", "sizes", "total")

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes
        self.total = wire.offsets(sizes)[-1]
        self._fd = anonymous_file(max(self.total, 1))

    def write(self, offset: int, data: bytes) -> None:
        """Puts bytes away, so far in."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, offset)
            view = view[done:]
            offset += done

    def file(self) -> int:
        """A descriptor of the file, to be closed by the caller."""
        return os.dup(self._fd)

    def whole(self) -> bytes:
        """What is in it."""
        return wire.read_whole(self._fd, self.total)

    def close(self) -> None:
        """Closes the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


class Big:
    """An outcome in a worker's file."""

    __slots__ = ("fd", "item", "sizes", "total")

    def __init__(self, item: OutcomeItem, sizes: list[int], fd: int) -> None:
        self.item = item
        self.sizes = sizes
        self.total = wire.offsets(sizes)[-1]
        self.fd = fd

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes from so far in."""
        return os.pread(self.fd, size, offset)

    def close(self) -> None:
        """Closes the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()


class Outbox:
    """The outlet of a manager's pool (`pool.outlet.Outlet`), and what is not known to have arrived.

    Args:
        hostname: of the node.

    Attributes:
        held: attempts that the manager has, by number of the task.
        bytes: of outcomes that are kept.
        offset_s: what the interchange's clock shows more than ours.
    """

    emit: Callable[[EventTuple], None] | None = None

    def __init__(self, hostname: str, deliver: Callable[[list[Any]], None]) -> None:
        self.deliver = deliver
        self.held: dict[int, Attempt] = {}
        self.bytes = 0
        self.offset_s = 0.0
        self._hostname = hostname
        self._seq = 0
        self._kept: deque[tuple[int, Outcomes | Big, int]] = deque()  # (number, what, bytes)

    # ------------------------------------------------------------------ what the pool says
    def take(
        self, worker: WorkerState, items: list[wire.OutcomeItem], files: list[int], outcomes: list[Any]
    ) -> tuple[int, float, list[int]]:
        """See `Outlet`."""
        pop, held = worker.held.pop, self.held
        number, offset_s = worker.number, self.offset_s
        next_file = done = 0
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
            done += 1
            busy_s += stop_s - start_s
            entry = pop(sequence, None)
            task: Any = entry[0] if entry is not None else None
            if task is None or task.state != LAUNCHED:  # cancelled
                if fd >= 0:
                    os.close(fd)
                continue
            task.state = EXEC_DONE
            del held[task.id]
            if sizes is not None and len(sizes) == 1 and sizes[0] <= INLINE_BYTES:
                payload, sizes = os.pread(fd, sizes[0], 0), None  # noqa: PLW2901 - as if it had been small
                os.close(fd)
            item = (task.id, task.attempt, status, payload, start_s + offset_s, stop_s + offset_s, number)
            outcomes.append(item if sizes is None else Big(item, sizes, fd))
        return done, busy_s, skipped

    def lost(self, task: Attempt, attempt: int, worker: int, how: str) -> OutcomeItem | None:
        """See `Outlet`."""
        return self._end(task, attempt, WORKER_LOST, (worker, self._hostname, how), worker)

    def timed_out(self, task: Attempt, attempt: int, worker: int) -> OutcomeItem | None:
        """See `Outlet`."""
        limit_s = task.details.grant.walltime_s if task.details is not None else None
        sentence = f"{task} ran longer than its walltime of {format_duration(limit_s or 0)}; its processes were ended"
        return self._end(task, attempt, TIMED_OUT, sentence, worker)

    def refused(self, task: Attempt, attempt: int, error: Exception) -> OutcomeItem | None:
        """See `Outlet`. When no worker can be started it is not the task's fault: the manager leaves, and others may run it."""
        if isinstance(error, ExecutorError):
            return self._end(task, attempt, REFUSED_BY_POOL, error.reason, -1)
        return self.lost(task, attempt, -1, str(error))

    def _end(self, task: Attempt, attempt: int, status: int, what: Any, worker: int) -> OutcomeItem | None:
        if task.state != LAUNCHED:
            return None
        task.state = EXEC_DONE
        del self.held[task.id]
        return task.id, attempt, status, _encode(what), 0.0, 0.0, worker

    # ------------------------------------------------------------------ what is held
    def drop(self, task: int, attempt: int) -> Attempt | None:
        """The manager does not have it any more."""
        held = self.held.get(task)
        if held is None or held.attempt != attempt:
            return None
        del self.held[task]
        held.state = CANCELLED
        return held

    def forget(self) -> None:
        """Nothing of what there was matters any more: another life begins."""
        for held in self.held.values():
            held.state = CANCELLED
        self.held.clear()
        self._kept.clear()
        self.bytes = 0
        self._seq = 0

    # ------------------------------------------------------------------ what is kept
    def add(self, outcomes: list[Any]) -> list[tuple[Outcomes | BigOutcome, Big | None]]:
        """Keeps outcomes; the messages that tell of them."""
        messages: list[tuple[Outcomes | BigOutcome, Big | None]] = []
        batch: list[OutcomeItem] = []
        size = 0
        for outcome in outcomes:
            if type(outcome) is Big:
                if batch:
                    messages.append(self._keep(Outcomes(0, batch), size))
                    batch, size = [], 0
                messages.append(self._keep(outcome, outcome.total + _ITEM_BYTES))
            elif outcome is not None:
                batch.append(outcome)
                size += len(outcome[3]) + _ITEM_BYTES
                if size >= _MESSAGE_BYTES:
                    messages.append(self._keep(Outcomes(0, batch), size))
                    batch, size = [], 0
        if batch:
            messages.append(self._keep(Outcomes(0, batch), size))
        return messages

    def _keep(self, what: Outcomes | Big, size: int) -> tuple[Outcomes | BigOutcome, Big | None]:
        self._seq += 1
        self.bytes += size
        self._kept.append((self._seq, what, size))
        return _message(self._seq, what)

    def taken(self, seq: int) -> list[Big]:
        """The driver has the messages up to that number; those of them that were big."""
        kept = self._kept
        big: list[Big] = []
        while kept and kept[0][0] <= seq:
            _, what, size = kept.popleft()
            self.bytes -= size
            if type(what) is Big:
                big.append(what)
        return big

    def all(self) -> list[tuple[Outcomes | BigOutcome, Big | None]]:
        """The messages of everything that is kept, oldest first."""
        return [_message(seq, what) for seq, what, _ in self._kept]

    def renumber(self) -> None:
        """Numbers what is kept from 1: a new interchange counts anew."""
        self._kept = deque((seq, what, size) for seq, (_, what, size) in enumerate(self._kept, 1))
        self._seq = len(self._kept)

    def finished(self) -> list[AttemptId]:
        """The attempts whose outcomes are kept."""
        items: list[OutcomeItem] = []
        for _, what, _ in self._kept:
            items.extend([what.item] if isinstance(what, Big) else what.items)
        return [(item[0], item[1]) for item in items]


def _message(seq: int, what: Outcomes | Big) -> tuple[Outcomes | BigOutcome, Big | None]:
    if isinstance(what, Big):
        return BigOutcome(seq, what.item, what.sizes), what
    return Outcomes(seq, what.items), None
