"""Big values on the link of a manager, both ways: in chunks, a window of them unacknowledged, so that memory stays bounded at both ends.

Pure: whoever owns the link sends what `Sender.pump` returns, and tells what came. Bytes come from and go to callables, which are files.

```
Sender                                         Receiver
  add(Outgoing) ── Chunk, Chunk, … ─────────▶    open(…) -> Incoming, which writes and says what to answer
  taken(…)      ◀── ChunkTaken(up to) ────────
```

All transfers of a link share one window and take turns, so a small value does not wait behind a large one, and what is urgent waits
behind one window at most. Of a task's value one chunk is sent before the other end has said that it takes it; of a result's, nothing (``asks``): the interchange
lets as many come as it has room for, and what has to wait must not fill the window of what may go on.
A connection keeps order and loses nothing while it lasts; if a chunk is missing all the same, the receiver
repeats its last acknowledgement, and the sender goes back to there.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from plait.errors import BadMessage
from plait.executors.htex.messages import AttemptId, Chunk, ChunkTaken
from plait.limits import CHUNK_BYTES, RESEND_S, WINDOW_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable


class Outgoing:
    """Segments on their way out.

    Args:
        task, attempt: whose they are.
        total: bytes, from the start of the first segment to the end of the last (`pool.wire.offsets`).
        read: returns so many bytes from so far in: ``read(offset, size)``.

    Attributes:
        sent: bytes that have been handed out by the sender.
        taken: bytes that the other end has put away.
        unwanted: the other end does not want the rest.
    """

    __slots__ = ("attempt", "has_turn", "moved_s", "read", "sent", "taken", "task", "total", "unwanted", "waits")

    def __init__(self, task: int, attempt: int, total: int, read: Callable[[int, int], bytes]) -> None:
        self.task = task
        self.attempt = attempt
        self.total = total
        self.read = read
        self.sent = 0
        self.taken = 0
        self.unwanted = False
        self.has_turn = False  # the rest is the sender's
        self.waits = False
        self.moved_s = 0.0

    @property
    def id(self) -> AttemptId:
        """Task and attempt."""
        return self.task, self.attempt

    @property
    def is_done(self) -> bool:
        """Whether all of it is at the other end, or what is not is not wanted."""
        return self.unwanted or self.taken >= self.total


class Sender:
    """All values that leave on one link.

    Attributes:
        in_flight: bytes sent and not acknowledged.
    """

    __slots__ = ("_chunk_bytes", "_resend_s", "_transfers", "_turns", "_window_bytes", "in_flight")

    def __init__(
        self, window_bytes: int = WINDOW_BYTES, chunk_bytes: int = CHUNK_BYTES, resend_s: float = RESEND_S
    ) -> None:
        self._window_bytes = window_bytes
        self._chunk_bytes = chunk_bytes
        self._resend_s = resend_s
        self._transfers: dict[AttemptId, Outgoing] = {}
        self._turns: collections.deque[Outgoing] = collections.deque()  # those that may send something
        self.in_flight = 0

    def __len__(self) -> int:
        return len(self._transfers)

    def add(self, transfer: Outgoing, now_s: float = 0.0, *, asks: bool = False) -> None:
        """Something to send; the message that announces it goes first. Without any bytes it is done already.

        Args:
            transfer: what.
            now_s: the time.
            asks: nothing is sent before the other end has said that it will take it (`ChunkTaken` up to byte 0).
        """
        if transfer.is_done or transfer.id in self._transfers:
            return
        transfer.moved_s = now_s
        transfer.waits = asks
        self._transfers[transfer.id] = transfer
        if not asks:
            self._queue(transfer)

    def pump(self, now_s: float = 0.0, limit: int = 64) -> list[tuple[Chunk, bytes]]:
        """Chunks to send now, no more than the window allows. What ``read`` raises is passed on; `remove` that transfer then."""
        found: list[tuple[Chunk, bytes]] = []
        turns = self._turns
        while turns and len(found) < limit:
            transfer = turns[0]
            size = min(self._chunk_bytes, transfer.total - transfer.sent)
            if self.in_flight and self.in_flight + size > self._window_bytes:
                break
            data = transfer.read(transfer.sent, size)
            if len(data) != size:
                raise BadMessage(f"segments of task {transfer.task} end before byte {transfer.sent + size}")
            found.append((Chunk(transfer.task, transfer.attempt, transfer.sent), data))
            transfer.sent += size
            self.in_flight += size
            turns.popleft()
            transfer.has_turn = False
            if transfer.taken:
                self._queue(transfer)
        if self.in_flight and not found:
            self._go_back_if_stuck(now_s)
        return found

    def taken(self, message: ChunkTaken, now_s: float = 0.0) -> Outgoing | None:
        """The other end has put something away. Returns the transfer if it is done now."""
        transfer = self._transfers.get((message.task, message.attempt))
        if transfer is None or message.upto > transfer.sent or message.upto < -1:
            return None  # over already, or nonsense
        transfer.waits = False
        if message.upto < 0:
            transfer.unwanted = True
            return self.remove(transfer.id)
        if message.upto > transfer.taken:
            self.in_flight -= message.upto - transfer.taken
            transfer.taken = message.upto
            transfer.moved_s = now_s
            if transfer.is_done:
                return self.remove(transfer.id)
            self._queue(transfer)
        elif message.upto == transfer.taken:
            self._go_back(transfer, now_s)
        return None

    def remove(self, attempt: AttemptId) -> Outgoing | None:
        """Sends no more of it."""
        transfer = self._transfers.pop(attempt, None)
        if transfer is None:
            return None
        self.in_flight -= transfer.sent - transfer.taken
        if transfer.has_turn:
            self._turns.remove(transfer)
        return transfer

    def clear(self) -> list[Outgoing]:
        """The connection is gone, and with it everything that was on its way. What is returned may be added again, to another link."""
        transfers = list(self._transfers.values())
        for transfer in transfers:
            transfer.sent = transfer.taken
            transfer.has_turn = False
        self._transfers.clear()
        self._turns.clear()
        self.in_flight = 0
        return transfers

    def _queue(self, transfer: Outgoing) -> None:
        if transfer.sent < transfer.total and not transfer.has_turn:
            transfer.has_turn = True
            self._turns.append(transfer)

    def _go_back(self, transfer: Outgoing, now_s: float) -> None:
        self.in_flight -= transfer.sent - transfer.taken
        transfer.sent = transfer.taken
        transfer.moved_s = now_s
        self._queue(transfer)

    def _go_back_if_stuck(self, now_s: float) -> None:
        for transfer in self._transfers.values():
            if now_s - transfer.moved_s > self._resend_s and not transfer.waits:
                self._go_back(transfer, now_s)


class Incoming:
    """Segments on their way in.

    Args:
        task, attempt: whose they are.
        total: bytes that will come.
        write: puts bytes away, so far in: ``write(offset, data)``.

    Attributes:
        got: bytes that have come.
        paused: nothing is acknowledged, so that no more than a window comes; see `resume`.
    """

    __slots__ = ("_acknowledged", "_asked_again", "attempt", "got", "paused", "task", "total", "write")

    def __init__(self, task: int, attempt: int, total: int, write: Callable[[int, bytes], object]) -> None:
        self.task = task
        self.attempt = attempt
        self.total = total
        self.write = write
        self.got = 0
        self.paused = False
        self._acknowledged = 0
        self._asked_again = False

    @property
    def id(self) -> AttemptId:
        """Task and attempt."""
        return self.task, self.attempt

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are there."""
        return self.got >= self.total

    def chunk(self, offset: int, data: bytes) -> ChunkTaken | None:
        """Puts a chunk away; returns what to answer.

        Raises:
            BadMessage: it reaches beyond the end. What ``write`` raises is passed on.
        """
        if offset < 0 or offset + len(data) > self.total:
            raise BadMessage(f"a chunk to byte {offset + len(data)} of {self.total}")
        if offset > self.got:  # one is missing: ask for it once
            again, self._asked_again = self._asked_again, True
            return None if again else ChunkTaken(self.task, self.attempt, self._note())
        if offset < self.got or not data:  # it came twice: perhaps because our answer was lost
            if data and offset + len(data) == self._acknowledged:
                return ChunkTaken(self.task, self.attempt, self._acknowledged)
            return None
        self.write(offset, data)
        self.got += len(data)
        self._asked_again = False
        # Each chunk is answered: transfers share a window, and ones that waited for more before they answer would close it for each other.
        return None if self.paused else ChunkTaken(self.task, self.attempt, self._note())

    def resume(self) -> ChunkTaken | None:
        """Ends a pause; returns what to answer."""
        self.paused = False
        if self.got == self._acknowledged:
            return None
        return ChunkTaken(self.task, self.attempt, self._note())

    def _note(self) -> int:
        self._acknowledged = self.got
        return self.got


class Receiver:
    """All values that come in on one link."""

    __slots__ = ("_transfers",)

    def __init__(self) -> None:
        self._transfers: dict[AttemptId, Incoming] = {}

    def __len__(self) -> int:
        return len(self._transfers)

    def open(self, task: int, attempt: int, total: int, write: Callable[[int, bytes], object]) -> Incoming:
        """Something that was announced. Without any bytes it is complete already."""
        transfer = Incoming(task, attempt, total, write)
        if not transfer.is_complete:
            self._transfers[transfer.id] = transfer
        return transfer

    def chunk(self, message: Chunk, data: bytes) -> tuple[Incoming | None, ChunkTaken | None]:
        """A chunk came: (the transfer if it is complete now, what to answer). One that nobody waits for is refused.

        Raises:
            BadMessage: it reaches beyond the end. What ``write`` raises is passed on; `remove` that transfer then.
        """
        transfer = self._transfers.get((message.task, message.attempt))
        if transfer is None:
            return None, ChunkTaken(message.task, message.attempt, -1)
        answer = transfer.chunk(message.offset, data)
        if not transfer.is_complete:
            return None, answer
        del self._transfers[transfer.id]
        return transfer, answer

    def get(self, attempt: AttemptId) -> Incoming | None:
        """The transfer of an attempt, if there is one."""
        return self._transfers.get(attempt)

    def remove(self, attempt: AttemptId) -> Incoming | None:
        """Nobody waits for it any more."""
        return self._transfers.pop(attempt, None)

    def clear(self) -> list[Incoming]:
        """The connection is gone, and with it everything that was on its way."""
        transfers = list(self._transfers.values())
        self._transfers.clear()
        return transfers
