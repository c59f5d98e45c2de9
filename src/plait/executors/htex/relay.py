"""Big values on their way through the interchange: files of the driver to managers, chunks of managers into files for the driver.

```
driver ──Data + file──▶ read by pieces ──Chunk──▶ manager      a window of them for each manager
driver ◀──file + BigDelivered── anonymous file ◀──Chunk── manager
```

What bounds the memory: the windows, and few files of the driver open at once (others are pulled later). Results are let in, in the order in which they
were announced, up to `RESULTS_BYTES` of them until the driver has taken them; their managers send nothing before.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from plait.errors import BadMessage
from plait.executors.htex.messages import RESULT_TOO_LARGE, BigOutcome, ChunkTaken, Outcomes, Pull
from plait.executors.htex.transfers import Incoming, Outgoing, Sender
from plait.executors.pool.page import anonymous_file
from plait.executors.pool.wire import offsets
from plait.limits import RESEND_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from plait.executors.htex.link import Conn
    from plait.executors.htex.messages import AttemptId, Chunk, Message, SentTask

#: Files of tasks that are open at once.
OPEN_FILES: Final = 64
#: Of these for one manager.
FILES_OF_ONE: Final = 4
#: Bytes of results that are being gathered, or that the driver has not taken yet; a single result may be larger.
RESULTS_BYTES: Final = 256 * 1024 * 1024
#: Files of them, likewise: a system bounds those that are on their way through sockets.
RESULTS_FILES: Final = 64
#: Bytes that may wait for room on a connection before it gets no more chunks.
BACKLOG_BYTES: Final = 1024 * 1024
#: Buffers of one value: far more than a real one has.
MAX_SEGMENTS: Final = 1_000_000
#: Bytes of one value, likewise.
MAX_BYTES: Final = 1 << 50

_encode = msgspec.msgpack.Encoder().encode


class _Task:
    """A task's segments: to be pulled, being pulled, or on their way to a manager."""

    __slots__ = ("conn", "fd", "pulled", "total")

    def __init__(self, conn: Conn, total: int) -> None:
        self.conn = conn
        self.total = total
        self.fd = -1
        self.pulled = False

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self.fd, size, offset)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


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


class Relay:
    """All big values that are on their way.

    Args:
        send: sends a message to a manager.
        backlog_bytes: bytes that wait for room on the way to a manager.
        ask_driver: sends a message to the driver.
        tell: tells the core of a result, as from its manager.
        max_result_bytes: larger results are refused; 0 for no limit.
    """

    def __init__(
        self,
        send: Callable[[Conn, Message, bytes], object],
        backlog_bytes: Callable[[Conn], int],
        ask_driver: Callable[[Message], object],
        tell: Callable[[Conn, Message], object],
        max_result_bytes: int = 0,
    ) -> None:
        self._send = send
        self._had: dict[
            Conn, set[int]
        ] = {}  # of each manager: numbers of messages whose results have come, and may come again
        self._backlog_bytes = backlog_bytes
        self._ask_driver = ask_driver
        self._tell = tell
        self._max_result_bytes = max_result_bytes
        self._tasks: dict[AttemptId, _Task] = {}
        self._wanted: dict[Conn, deque[AttemptId]] = {}  # still to be pulled
        self._pulled: dict[Conn, int] = {}  # of each manager: pulled, and not over
        self._pulls = 0
        self._senders: dict[Conn, Sender] = {}
        self._results: dict[AttemptId, _Result] = {}
        self._waiting: dict[AttemptId, _Result] = {}  # of `_results`: for room, in order
        self._complete: dict[AttemptId, _Result] = {}
        self._untaken: deque[tuple[int, int]] = deque()  # (number of the message to the driver, bytes)
        self._files = 0
        self._results_bytes = 0

    def __len__(self) -> int:
        return len(self._tasks) + len(self._results) + len(self._complete)

    @property
    def results_bytes(self) -> int:
        """Bytes of results for which there was room and which the driver has not taken."""
        return self._results_bytes

    # ------------------------------------------------------------------ tasks: files of the driver to managers
    def placed(self, conn: Conn, items: Iterable[SentTask]) -> None:
        """These tasks go to a manager now. The segments of those that have some are asked for when it is their turn."""
        for item in items:
            if item[4] is not None:
                key = item[0], item[1]
                self._end_task(key)
                self._tasks[key] = _Task(conn, offsets(item[4])[-1])
                self._wanted.setdefault(conn, deque()).append(key)
        if self._wanted:
            self._pull_more()

    def _pull_more(self) -> None:
        """Asks the driver for as many files as may be open, one manager after another."""
        now: list[AttemptId] = []
        turns = deque(self._wanted)
        while turns and self._pulls < OPEN_FILES:
            conn = turns.popleft()
            if self._pulled.get(conn, 0) >= FILES_OF_ONE:
                continue
            key = self._next_wanted(conn)
            if key is not None:
                now.append(key)
                turns.append(conn)
        if now:
            self._ask_driver(Pull(now))

    def _next_wanted(self, conn: Conn) -> AttemptId | None:
        waiting = self._wanted[conn]
        while waiting:
            key = waiting.popleft()
            task = self._tasks.get(key)
            if task is None or task.conn != conn or task.pulled:
                continue
            task.pulled = True
            self._pulls += 1
            self._pulled[conn] = self._pulled.get(conn, 0) + 1
            return key
        del self._wanted[conn]
        return None

    def data(self, key: AttemptId, fds: Sequence[int], now_s: float) -> None:
        """The driver sent the file of a task. It is closed when the manager has all of it, or at once when nobody wants it any more."""
        task = self._tasks.get(key)
        if task is None or not task.pulled or task.fd >= 0 or not fds:
            for fd in fds:
                os.close(fd)
            return
        task.fd = fds[0]
        for fd in fds[1:]:
            os.close(fd)
        if task.total <= 0:
            self._end_task(key)
            self._pull_more()
            return
        sender = self._senders.get(task.conn)
        if sender is None:
            sender = self._senders[task.conn] = Sender()
        sender.add(Outgoing(*key, task.total, task.read), now_s)

    def chunk_taken(self, conn: Conn, message: ChunkTaken, now_s: float) -> None:
        """A manager has put away a part of a task's segments."""
        sender = self._senders.get(conn)
        if sender is not None and sender.taken(message, now_s) is not None:
            self._end_task((message.task, message.attempt))
            self._pull_more()

    def pump(self, now_s: float) -> bool:
        """Sends the chunks that may be sent; whether there were any."""
        sent = False
        for conn, sender in self._senders.items():
            if self._backlog_bytes(conn) < BACKLOG_BYTES:
                for chunk, data in sender.pump(now_s):
                    self._send(conn, chunk, data)
                    sent = True
        return sent

    def _end_task(self, key: AttemptId) -> None:
        task = self._tasks.pop(key, None)
        if task is None:
            return
        sender = self._senders.get(task.conn)
        if sender is not None:
            sender.remove(key)
            if not len(sender):
                del self._senders[task.conn]
        task.close()
        if task.pulled:
            self._pulls -= 1
            left = self._pulled.pop(task.conn) - 1
            if left:
                self._pulled[task.conn] = left

    # ------------------------------------------------------------------ results: chunks of managers into files
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
        if message.seq in self._had.get(conn, ()):
            self._send(conn, ChunkTaken(*key, -1), b"")
            self._tell(conn, message)  # which knows that it had it
            return
        self._end_result(key)
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
            if self._files and (self._files >= RESULTS_FILES or self._results_bytes + total > RESULTS_BYTES):
                return
            del waiting[key]
            try:
                result.fd = anonymous_file(0)
            except OSError:  # too many files are open
                del self._results[key]
                self._refuse(result.conn, result.message)
                continue
            self._files += 1
            self._results_bytes += total
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
            self._end_result(key)
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
        if had:
            self._had[conn] = {each for each in had if each > number}

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
        self._results_bytes -= size

    def _end_result(self, key: AttemptId) -> _Result | None:
        result = self._results.pop(key, None)
        if result is None:
            return None
        if self._waiting.pop(key, None) is None:
            result.close()
            self._free(result.parts.total)
            self._admit()
        return result

    # ------------------------------------------------------------------ attempts and managers that are over
    def over(self, items: Iterable[AttemptId]) -> None:
        """These attempts have ended, or go to another manager: nothing more of their tasks is sent."""
        if self._tasks:
            for key in items:
                self._end_task(key)
            self._pull_more()

    def cancelled(self, items: Iterable[AttemptId]) -> None:
        """Nobody wants anything of these. In place of results that will not be complete the core is told that their messages have come."""
        for key in items if self._tasks or self._results else ():
            self._end_task(key)
            result = self._end_result(key)
            if result is not None:
                self._send(result.conn, ChunkTaken(*key, -1), b"")
                self._had.setdefault(result.conn, set()).add(result.message.seq)
                self._tell(result.conn, Outcomes(result.message.seq, []))
        self._pull_more()

    def manager_back(self, old: Conn, new: Conn, holds: Iterable[AttemptId]) -> None:
        """A manager has registered again. What it was sending it begins anew; what it still waits for goes on from where it was."""
        for key in [key for key, result in self._results.items() if result.conn == old]:
            self._end_result(key)
        if old in self._had:
            self._had[new] = self._had.pop(old)
        held = {(task, attempt) for task, attempt in holds}
        mine = [(key, task) for key, task in self._tasks.items() if task.conn == old]
        sender = self._senders.pop(old, None)
        parts = {transfer.id: transfer for transfer in sender.clear()} if sender is not None else {}
        for key, task in mine:
            if key not in held:
                self._end_task(key)
                continue
            task.conn = new
            if task.pulled:
                self._pulled[old] -= 1
                self._pulled[new] = self._pulled.get(new, 0) + 1
            else:
                self._wanted.setdefault(new, deque()).append(key)
            transfer = parts.get(key)
            if transfer is not None:
                transfer.sent = transfer.taken
                self._senders.setdefault(new, Sender()).add(transfer)
        if old != new:
            self._pulled.pop(old, None)
            self._wanted.pop(old, None)
        self._pull_more()

    def manager_gone(self, conn: Conn) -> None:
        """Nothing more comes from there, or is sent there."""
        self.manager_back(conn, conn, ())
        self._had.pop(conn, None)

    def close(self) -> None:
        """Closes all files."""
        for each in (*self._tasks.values(), *self._results.values(), *self._complete.values()):
            each.close()
