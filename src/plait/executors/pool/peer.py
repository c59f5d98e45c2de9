"""A worker's end in the I/O thread: its socket and page, what still has to be sent, what arrived in part."""

from __future__ import annotations

import os
import select
from collections import deque
from typing import TYPE_CHECKING

from plait.executors.pool import wire

if TYPE_CHECKING:
    import socket

    from plait.executors.pool.core import WorkerState
    from plait.executors.pool.page import Page

#: Bytes of one read: the allocator gives more than 128 KiB by mapping fresh pages, which costs 40 µs each time.
_READ_BYTES = 1 << 16


class Peer:
    """One worker.

    Attributes:
        state: what the core knows of it.
        page: the memory shared with it.
        fd: of its socket, also after that was closed.
        out: frames, or rests of frames, that the socket did not take yet, with the files that go with them.
        reason: what it said before it ended.
        watched: whether the I/O thread still listens to it.
        sending: whether `send` is under way; where a signal ended it there, nobody knows what the worker has of the frame.
        rank: its place among the workers that there are at one time.
        stalled: whether the system cannot send now although the socket could take it (`wire.BUSY`): nothing tells when it can, so `flush` has to be tried.
    """

    __slots__ = ("_events", "_poll", "_reader", "_sock", "fd", "out", "page", "rank", "reason", "sending", "stalled", "state", "watched")  # fmt: skip

    def __init__(self, state: WorkerState, sock: socket.socket, page: Page, poll: select.poll, rank: int = 0) -> None:
        self.state = state
        self.page = page
        self.fd = sock.fileno()
        self.out: deque[tuple[memoryview, list[int]]] = deque()
        self.reason = ""
        self.watched = True
        self.rank = rank
        self.sending = False
        self.stalled = False
        self._events = select.POLLIN  # without what waits to be sent
        self._sock = sock
        self._poll = poll
        self._reader = wire.FrameReader()
        poll.register(self.fd, select.POLLIN)

    def send(self, data: bytes, fds: list[int]) -> None:
        """Sends a whole frame, or keeps for later what the socket does not take; the files are closed once they went."""
        self.sending = True
        view = memoryview(data)
        if not self.out:
            try:
                sent = wire.send_files(self._sock, [view], fds) if fds else self._sock.send(view)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                if error.errno not in wire.BUSY:  # it is gone: its end will be reported
                    _close_all(fds)
                    self.sending = False
                    return
                self.stalled = True
                sent = 0
            if sent:
                _close_all(fds)
                fds = []
            view = view[sent:]
            if view and not self.stalled:
                self._listen(self._events | select.POLLOUT)
        if view:
            self.out.append((view, fds))
        self.sending = False

    def flush(self) -> None:
        """Sends what was kept, as far as the socket takes it."""
        self.stalled = False
        while self.out:
            view, fds = self.out[0]
            try:
                sent = wire.send_files(self._sock, [view], fds)
            except BlockingIOError:
                self._listen(self._events | select.POLLOUT)
                return
            except OSError as error:
                self.stalled = error.errno in wire.BUSY
                if not self.stalled:
                    self._forget_unsent()
                break
            _close_all(fds)
            if sent < len(view):
                self.out[0] = (view[sent:], [])
                self._listen(self._events | select.POLLOUT)
                return
            self.out.popleft()
        self._listen(self._events)

    def receive(self) -> list[tuple[int, bytes, list[int]]] | None:
        """The frames that have arrived: (kind, body, files); None when there is no more and never will be.

        Raises:
            BadMessage: it sent something else.
        """
        try:
            data, fds = wire.receive_files(self._sock, _READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        return self._reader.feed(data, fds) if data else None

    def has_more(self) -> bool:
        """Whether something can be read now."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def hold_up(self, *, on: bool) -> None:
        """Has the I/O thread not read what it sends for a while; its end is noticed all the same."""
        self._events = 0 if on else select.POLLIN
        self._listen(self._events | (select.POLLOUT if self.out and not self.stalled else 0))

    def unwatch(self) -> None:
        """Has the I/O thread not listen to it any more."""
        if self.watched:
            self.watched = False
            self._poll.unregister(self.fd)

    def close(self) -> None:
        """Closes everything."""
        self.unwatch()
        self._sock.close()
        self._reader.close()
        self._forget_unsent()
        self.page.close()

    def forget(self) -> None:
        """In a forked child of the driver: the socket is the driver's."""
        self._sock.close()

    def _forget_unsent(self) -> None:
        for _, fds in self.out:
            _close_all(fds)
        self.out.clear()

    def _listen(self, events: int) -> None:
        if self.watched:
            self._poll.modify(self.fd, events)


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
