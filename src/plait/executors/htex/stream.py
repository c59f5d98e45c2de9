"""One end of the socket pair between driver and interchange: messages out, messages in, files along with them, and never any waiting."""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Final

from plait.errors import BadMessage
from plait.executors.htex.wire import MAX_PAYLOAD_BYTES, StreamReader, encode
from plait.executors.pool.wire import receive_files, send_files

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from plait.executors.htex.messages import Message

#: A message, its payload and its files.
Frame = tuple["Message", bytes, list[int]]

#: Bytes of one read.
_READ_BYTES: Final = 1 << 16
#: Reads that are made in a row; then others have their turn.
_READS: Final = 32
#: Files that are taken at once: each stays open until its message has been dealt with.
_MAX_FILES: Final = 16
#: The system holds as much as it may, such as files that nobody has received yet.
_LATER: Final = {errno.ENOBUFS, errno.ENOMEM, getattr(errno, "ETOOMANYREFS", errno.ENOBUFS)}
#: Bytes that the system may hold for the other end.
SOCKET_BYTES: Final = 1 << 20


class Stream:
    """One end.

    Args:
        sock: the socket; belongs to this object from now on.
        expected: kinds of messages that may arrive.
        limit: bytes that a header or a payload may have at most.
        takes_files: whether files may come along with messages.

    Attributes:
        pending: bytes that the socket did not take yet.
        ended: whether the other end is gone.
    """

    __slots__ = ("_out", "_reader", "_sock", "_takes_files", "ended", "pending")

    def __init__(
        self,
        sock: socket.socket,
        expected: Collection[type[Message]],
        limit: int = MAX_PAYLOAD_BYTES,
        *,
        takes_files: bool = True,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._takes_files = takes_files
        self._reader = StreamReader(expected, limit)
        self._out: deque[tuple[memoryview, list[int]]] = deque()
        self.pending = 0
        self.ended = False

    def fileno(self) -> int:
        """To be polled: for reading always, for writing while something is `pending`."""
        return self._sock.fileno()

    def send(self, message: Message, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Sends a message, or keeps for later what the socket does not take. The files are closed once they went."""
        files = list(fds)
        head = encode(message, len(payload), len(files))
        self.put(head, payload, files)

    def put(self, head: bytes, payload: bytes, files: list[int] | None = None) -> None:
        """The same for a message that is bytes already: prefix and header, and payload."""
        files = files or []
        if self.ended:
            _close_all(files)
            return
        if not files and not self._out and len(payload) <= _READ_BYTES:
            data = head + payload
            sent = self._send(data, [])
            if sent < len(data) and not self.ended:
                self._out.append((memoryview(data)[sent:], []))
                self.pending += len(data) - sent
            return
        for part in (head, payload) if len(payload) > _READ_BYTES else (head + payload,):
            self._put(memoryview(part), files)
            files = []

    def _put(self, view: memoryview, fds: list[int]) -> None:
        if not self._out:
            sent = self._send(view, fds)
            if sent:
                _close_all(fds)
                fds = []
                view = view[sent:]
            if self.ended or not view:
                _close_all(fds)
                return
        self._out.append((view, fds))
        self.pending += len(view)

    def flush(self) -> None:
        """Sends what was kept, as far as the socket takes it."""
        while self._out:
            view, fds = self._out[0]
            sent = self._send(view, fds)
            if self.ended:
                self._drop()
                return
            if not sent:
                return
            _close_all(fds)
            self.pending -= sent
            if sent < len(view):
                self._out[0] = (view[sent:], [])
                return
            self._out.popleft()

    def _send(self, view: memoryview | bytes, fds: list[int]) -> int:
        try:
            return send_files(self._sock, [view], fds) if fds else self._sock.send(view)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in _LATER:
                return 0
            self.ended = True  # it is gone: reading tells, when all that it said has been read
            return 0

    def receive(self) -> list[Frame] | None:
        """What has arrived; None when there is nothing more and never will be.

        Raises:
            BadMessage: the bytes are not messages that may arrive here, or no more files may be open for those that come along. Nothing of it is left open.
        """
        frames: list[Frame] = []
        try:
            return self._receive(frames)
        except BadMessage:
            for _, _, fds in frames:
                _close_all(fds)
            raise

    def _receive(self, frames: list[Frame]) -> list[Frame] | None:
        files = 0
        for _ in range(_READS):
            try:
                data, fds = (
                    receive_files(self._sock, _READ_BYTES) if self._takes_files else (self._sock.recv(_READ_BYTES), [])
                )
            except BlockingIOError:
                break
            except ConnectionError:
                data, fds = b"", []
            if not data:
                self.ended = True
                return frames or None
            frames += self._reader.feed(data, fds)
            files += len(fds)
            if (len(data) < _READ_BYTES // 2 and not fds) or files >= _MAX_FILES:
                break  # most likely all that there was; the poll knows better
        return frames

    def close(self) -> None:
        """Closes the socket and all files that wait."""
        self.ended = True
        self._sock.close()
        self._reader.close()
        self._drop()

    def _drop(self) -> None:
        for _, fds in self._out:
            _close_all(fds)
        self._out.clear()
        self.pending = 0


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """The two ends, with room for much."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    return ours, theirs


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
