"""Big results on their way through the interchange: chunks of managers, gathered in anonymous files for the driver.

```
driver ◀──file + BigDelivered── anonymous file ◀──Chunk── manager
driver ──Taken──▶ room for the next      ──ChunkTaken(0)──▶ manager
```

What bounds the memory: results are let in, in the order in which they were announced, up to `RESULTS_BYTES` of them until the driver has taken them.
Their managers send nothing before.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from plait.errors import BadMessage
from plait.executors.htex.messages import RESULT_TOO_LARGE, BigOutcome, ChunkTaken, Outcomes
from plait.executors.htex.transfers import Incoming
from plait.executors.pool.page import anonymous_file
from plait.executors.pool.wire import offsets
from plait.limits import RESEND_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plait.executors.htex.link import Conn
    from plait.executors.htex.messages import AttemptId, Chunk, Message

#: Bytes of results that are being gathered, or that the driver has not taken yet; a single result may be larger.
RESULTS_BYTES: Final = 256 * 1024 * 1024
#: Files of them, likewise: a system bounds those that are on their way through sockets.
RESULTS_FILES: Final = 64
#: Buffers of one value: far more than a real one has.
MAX_SEGMENTS: Final = 1_000_000
#: Bytes of one value, likewise.
MAX_BYTES: Final = 1 << 50

_encode = msgspec.msgpack.Encoder().encode


class _Result:
    """A result that is being gathered, in a file."""

    __slots__ = ("conn", "fd", "message", "moved_s", "parts")

    def __init__(self, conn: Conn, message: BigOutcome, total: int) -> None:
        self.conn = conn
        self.message = message
        self.fd = -1  # until there is room
        self.moved_s = 0.0
        self.parts = Incoming(message.item[0], message.item[1], total, self._write)

    def _write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            done = os.pwrite(self.fd, view, offset)
            view, offset = view[done:], offset + done

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Results:
    """All big results that are on their way.

    Args:
        send: sends a message to a manager.
        tell: tells the core of a result, as from its manager.
        max_result_bytes: larger results are refused; 0 for no limit.

    Attributes:
        bytes: of the results for which there was room and which the driver has not taken.
    """

    def __init__(
        self,
        send: Callable[[Conn, Message, bytes], object],
        tell: Callable[[Conn, Message], object],
        max_result_bytes: int = 0,
    ) -> None:
        self._send = send
        self._tell = tell
        self._max_result_bytes = max_result_bytes
        self._results: dict[AttemptId, _Result] = {}
        self._waiting: dict[AttemptId, _Result] = {}  # of `_results`: for room, in order
        self._complete: dict[AttemptId, _Result] = {}
        self._untaken: deque[tuple[int, int]] = deque()  # (number of the message to the driver, bytes)
        self._files = 0
        self.bytes = 0
        # Of each manager: numbers of messages whose results have come, and may come again.
        self._had: dict[Conn, set[int]] = {}
        self._told: dict[Conn, int] = {}  # the number up to which it need not keep them

    def __len__(self) -> int:
        return len(self._results) + len(self._complete)

    def announced(self, conn: Conn, message: BigOutcome) -> None:
        """A manager wants to send a big result. The core is told when it is complete, or that it is too large.

        Raises:
            BadMessage: its sizes are nonsense.
        """
        key = message.item[0], message.item[1]
        sizes = message.sizes
        if not 0 < len(sizes) <= MAX_SEGMENTS or min(sizes) < 0 or sum(sizes) > MAX_BYTES:
            raise BadMessage(
                f"a result of {len(sizes)} segments of {min(sizes, default=0)} to {max(sizes, default=0)} bytes"
            )
        running = self._results.get(key)
        if running is not None and running.conn == conn and running.message.seq == message.seq:
            return  # the announcement came twice
        if message.seq <= self._told.get(conn, 0) or message.seq in self._had.get(conn, ()):
            self._send(conn, ChunkTaken(*key, -1), b"")
            self._tell(conn, message)  # which knows that it had it
            return
        self._end(key)
        if 0 < self._max_result_bytes < sum(sizes):
            self._refuse(conn, message)
            return
        self._results[key] = self._waiting[key] = _Result(conn, message, offsets(sizes)[-1])
        self._admit()

    def _refuse(self, conn: Conn, message: BigOutcome) -> None:
        task, attempt, _, _, began_s, ended_s, worker = message.item
        self._send(conn, ChunkTaken(task, attempt, -1), b"")
        payload = _encode((sum(message.sizes), self._max_result_bytes or RESULTS_BYTES))
        self._tell(conn, Outcomes(message.seq, [(task, attempt, RESULT_TOO_LARGE, payload, began_s, ended_s, worker)]))

    def _admit(self) -> None:
        """Lets come what there is room for."""
        waiting = self._waiting
        while waiting:
            key = next(iter(waiting))
            result = waiting[key]
            total = result.parts.total
            if self._files and (self._files >= RESULTS_FILES or self.bytes + total > RESULTS_BYTES):
                return
            del waiting[key]
            try:
                result.fd = anonymous_file(0)
            except OSError:  # too many files are open
                del self._results[key]
                self._refuse(result.conn, result.message)
                continue
            self._files += 1
            self.bytes += total
            if result.parts.is_complete:
                self._is_complete(key, result)
            else:
                self._send(result.conn, ChunkTaken(*key, 0), b"")

    def chunk(self, conn: Conn, message: Chunk, data: bytes, now_s: float) -> None:
        """A part of a result came. One that nobody waits for is ignored: its manager has been told already.

        Raises:
            BadMessage: it is not a part of that result.
        """
        key = message.task, message.attempt
        result = self._results.get(key)
        if result is None or result.conn != conn or result.fd < 0:
            return
        try:
            answer = result.parts.chunk(message.offset, data)
        except OSError:  # there is no more room for it here
            self._end(key)
            self._refuse(conn, result.message)
            return
        result.moved_s = now_s
        if answer is not None:
            self._send(conn, answer, b"")
        if result.parts.is_complete:
            self._is_complete(key, result)

    def _is_complete(self, key: AttemptId, result: _Result) -> None:
        del self._results[key]
        self._complete[key] = result
        self._had.setdefault(result.conn, set()).add(result.message.seq)
        self._tell(result.conn, result.message)

    def file(self, key: AttemptId, number: int) -> list[int]:
        """The file of a complete result, which the driver is told of by the message of this number; belongs to the caller."""
        result = self._complete.pop(key, None)
        if result is None:
            return []
        self._untaken.append((number, result.parts.total))
        return [result.fd]

    def forget_unused(self) -> None:
        """Results that are complete, and that the core did not want (it had them before)."""
        if not self._complete:
            return
        for result in self._complete.values():
            result.close()
            self._free(result.parts.total)
        self._complete.clear()
        self._admit()

    def driver_took(self, number: int) -> None:
        """The driver has everything up to this message."""
        untaken = self._untaken
        while untaken and untaken[0][0] <= number:
            self._free(untaken.popleft()[1])
        self._admit()

    def manager_told(self, conn: Conn, number: int) -> None:
        """The manager hears that it need not keep its messages up to this number."""
        had = self._had.get(conn)
        if had is not None:
            self._had[conn] = {each for each in had if each > number}
            self._told[conn] = max(number, self._told.get(conn, 0))

    def tick(self, now_s: float) -> None:
        """Reminds managers of results that do not come on: an answer of ours may have been lost."""
        for key, result in self._results.items():
            if result.fd < 0:
                continue
            if not result.moved_s:
                result.moved_s = now_s
            elif now_s - result.moved_s > RESEND_S:
                result.moved_s = now_s
                self._send(result.conn, ChunkTaken(*key, result.parts.got), b"")

    def _free(self, size: int) -> None:
        self._files -= 1
        self.bytes -= size

    def _end(self, key: AttemptId) -> _Result | None:
        result = self._results.pop(key, None)
        if result is None:
            return None
        if self._waiting.pop(key, None) is None:
            result.close()
            self._free(result.parts.total)
            self._admit()
        return result

    # ------------------------------------------------------------------ what is over
    def cancelled(self, items: Iterable[AttemptId]) -> None:
        """Nobody wants these. In place of results that will not be complete the core is told that their messages have come."""
        for key in items if self._results else ():
            result = self._end(key)
            if result is not None:
                self._send(result.conn, ChunkTaken(*key, -1), b"")
                self._had.setdefault(result.conn, set()).add(result.message.seq)
                self._tell(result.conn, Outcomes(result.message.seq, []))

    def manager_back(self, old: Conn, new: Conn) -> None:
        """A manager has registered again: what it was sending it announces anew."""
        for key in [key for key, result in self._results.items() if result.conn == old]:
            self._end(key)
        if old in self._had:
            self._had[new] = self._had.pop(old)
        if old in self._told:
            self._told[new] = self._told.pop(old)

    def manager_gone(self, conn: Conn) -> None:
        """Nothing more comes from there."""
        self.manager_back(conn, conn)
        self._had.pop(conn, None)
        self._told.pop(conn, None)

    def close(self) -> None:
        """Closes all files."""
        for each in (*self._results.values(), *self._complete.values()):
            each.close()
