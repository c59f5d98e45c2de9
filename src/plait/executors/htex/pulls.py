"""Big arguments on their way through the interchange: files of the driver, read by pieces, as chunks to the managers that got the tasks.

```
driver ◀──Pull── interchange
driver ──Data + file──▶ read by pieces ──Chunk──▶ manager
```

What bounds the memory: a window of chunks for each manager. Few files are open at once; the others are pulled when it is their turn, one manager after another.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final

from plait.executors.htex.messages import Pull
from plait.executors.htex.transfers import Outgoing, Sender
from plait.executors.pool.wire import offsets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from plait.executors.htex.link import Conn
    from plait.executors.htex.messages import AttemptId, ChunkTaken, Message, SentTask

#: Files of tasks that are open at once.
OPEN_FILES: Final = 64
#: Of these for one manager.
FILES_OF_ONE: Final = 4
#: Bytes that may wait for room on a connection before it gets no more chunks.
BACKLOG_BYTES: Final = 1024 * 1024


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


class Pulls:
    """All big arguments that are on their way.

    Args:
        send: sends a message to a manager.
        backlog_bytes: bytes that wait for room on the way to a manager.
        ask_driver: sends a message to the driver.
    """

    def __init__(
        self,
        send: Callable[[Conn, Message, bytes], object],
        backlog_bytes: Callable[[Conn], int],
        ask_driver: Callable[[Message], object],
    ) -> None:
        self._send = send
        self._backlog_bytes = backlog_bytes
        self._ask_driver = ask_driver
        self._tasks: dict[AttemptId, _Task] = {}
        self._wanted: dict[Conn, deque[AttemptId]] = {}  # still to be pulled; whose turn it is next comes first
        self._pulled: dict[Conn, int] = {}  # of each manager: pulled, and not over
        self._pulls = 0
        self._senders: dict[Conn, Sender] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def placed(self, conn: Conn, items: Iterable[SentTask]) -> None:
        """These tasks go to a manager now. The segments of those that have some are asked for when it is their turn."""
        for item in items:
            if item[4] is not None:
                key = item[0], item[1]
                self._end(key)
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
                self._wanted[conn] = self._wanted.pop(conn)
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
            self._end(key)
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
            self._end((message.task, message.attempt))
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

    def _end(self, key: AttemptId) -> None:
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

    # ------------------------------------------------------------------ what is over
    def over(self, items: Iterable[AttemptId]) -> None:
        """These attempts have ended, or go to another manager: nothing more is sent."""
        if self._tasks:
            for key in items:
                self._end(key)
            self._pull_more()

    def manager_back(self, old: Conn, new: Conn, holds: Iterable[AttemptId], now_s: float) -> None:
        """A manager has registered again. What it still waits for goes on from where it was."""
        held = {(task, attempt) for task, attempt in holds} if self._tasks else set()
        mine = [(key, task) for key, task in self._tasks.items() if task.conn == old]
        sender = self._senders.pop(old, None)
        parts = {transfer.id: transfer for transfer in sender.clear()} if sender is not None else {}
        for key, task in mine:
            if key not in held:
                self._end(key)
                continue
            task.conn = new
            if task.pulled:
                self._pulled[old] -= 1
                self._pulled[new] = self._pulled.get(new, 0) + 1
            else:
                self._wanted.setdefault(new, deque()).append(key)
            transfer = parts.get(key)
            if transfer is not None:
                self._senders.setdefault(new, Sender()).add(transfer, now_s)
        if old != new:
            self._pulled.pop(old, None)
            self._wanted.pop(old, None)
        self._pull_more()

    def manager_gone(self, conn: Conn) -> None:
        """Nothing more is sent there."""
        self.manager_back(conn, conn, (), 0.0)

    def close(self) -> None:
        """Closes all files."""
        for task in self._tasks.values():
            task.close()
