"""The interchange's end of the link to managers on its own host (`near`), and all its links together.

```
            ┌─ Router (`link.py`) ◀── CurveZMQ ──▶ managers on other hosts
exchange ── Links
            └─ Door ◀──────────────── Unix socket ▶ managers on this host
```
"""

from __future__ import annotations

import contextlib
import hmac
import os
import select
import socket
import stat
import time
from typing import TYPE_CHECKING, Final

import msgspec

from plait.errors import BadMessage
from plait.executors.htex.messages import FROM_MANAGER, Message, Register
from plait.executors.htex.mischief import Plan
from plait.executors.htex.near import COME_IN, LENGTH, Line, folder_of, is_ours, token_of
from plait.executors.htex.problems import Problems
from plait.limits import (
    DEALER_FRAME_BYTES,
    HANDSHAKE_S,
    LINGER_S,
    LINK_BACKLOG_BYTES,
    LISTEN_BACKLOG,
    ROUTER_FRAME_BYTES,
)

if TYPE_CHECKING:
    import collections

    from plait.executors.htex.link import Conn, Router
    from plait.executors.htex.settings import InterchangeSettings

#: Connections that may be there without having shown a token.
MAX_UNPROVEN: Final = 256
#: Bytes of a greeting.
_HELLO_BYTES: Final = 1024

_decode_hello = msgspec.msgpack.Decoder(tuple[str, bytes]).decode


class _Guest(Line):
    """A manager's connection as the door knows it."""

    __slots__ = ("block", "conn", "hello", "proven", "since_s", "sock", "waits_for_room")

    def __init__(self, sock: socket.socket, conn: Conn, now_s: float) -> None:
        super().__init__(sock, FROM_MANAGER, ROUTER_FRAME_BYTES, DEALER_FRAME_BYTES)
        self.sock = sock
        self.conn = conn
        self.since_s = now_s
        self.hello = b""
        self.proven = False
        self.block = ""
        self.waits_for_room = False


class Door:
    """The interchange's end.

    Args:
        path: of the socket; its folder must be this user's alone.
        secret: what tokens are made with.
        is_open: blocks have no keys, and need not be allowed: each token is good.
        epoll: where the sockets are registered; whoever polls it calls `read` for those that are ready.

    Attributes:
        problems: what went wrong, for the log.

    Raises:
        OSError: it cannot listen there.
    """

    def __init__(self, path: str, secret: str, *, is_open: bool, epoll: select.epoll) -> None:
        self.problems = Problems()
        self._path = path
        self._secret = secret
        self._is_open = is_open
        self._epoll = epoll
        self._keys: dict[str, str] = {}  # public key -> block
        self._tokens: dict[str, tuple[str, bytes]] = {}  # block -> its key and token
        self._guests: dict[int, _Guest] = {}  # by descriptor
        self._by_conn: dict[Conn, _Guest] = {}  # those that were let in
        self._waiting: dict[int, _Guest] = {}
        self._unproven = 0
        self._number = 0
        self._listener = listen_at(path)
        epoll.register(self._listener, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._guests)

    def allow(self, block: str, public_key: str) -> None:
        """As `Router.allow`."""
        known = self._tokens.get(block)
        if known is not None and known[0] == public_key:
            return
        self.revoke(block)
        self.revoke(self._keys.get(public_key, ""))
        self._keys[public_key] = block
        self._tokens[block] = public_key, token_of(self._secret, block, public_key)

    def revoke(self, block: str) -> None:
        """As `Router.revoke`."""
        known = self._tokens.pop(block, None)
        if known is None:
            return
        del self._keys[known[0]]
        for guest in list(self._by_conn.values()):
            if guest.block == block:
                self._end(guest)

    def read(self, fd: int, events: int, found: list[tuple[Conn, str, Message, bytes]]) -> None:
        """Takes what has come on a socket of the epoll."""
        if fd == self._listener.fileno():
            self._accept()
            return
        guest = self._guests.get(fd)
        if guest is None or not events & ~select.EPOLLOUT:
            return  # there is room again: `flush` follows
        if not guest.proven:
            self._prove(guest)
            return
        try:
            frames = guest.stream.receive()
            for message, payload, _ in frames or ():
                if type(message) is Register:
                    self._check_block(guest, message)
                found.append((guest.conn, guest.block, message, payload))
        except BadMessage as error:
            self._add("bad", f"a manager of block {guest.block!r} on this host sent {error}; its connection was ended")
            frames = None
        if frames is None:
            self._end(guest)

    def send(self, conn: Conn, message: Message, payload: bytes) -> bool:
        """As `Router.send`."""
        guest = self._by_conn.get(conn)
        if guest is None:
            return False
        guest.send(message, payload)
        if guest.bytes:
            self._waiting[guest.sock.fileno()] = guest
            if not guest.waits_for_room:
                guest.waits_for_room = True
                self._epoll.modify(guest.sock, select.EPOLLIN | select.EPOLLOUT)
            if guest.bytes > LINK_BACKLOG_BYTES:
                self._add(
                    "deaf",
                    f"a connection of block {guest.block!r} was ended: {guest.bytes} bytes waited for it to read",
                )
                self._end(guest)
                return False
        return True

    def flush(self) -> None:
        """Sends what has waited for room."""
        if not self._waiting:
            return
        for fd, guest in list(self._waiting.items()):
            guest.flush()
            if not guest.bytes:
                del self._waiting[fd]
                guest.waits_for_room = False
                self._epoll.modify(guest.sock, select.EPOLLIN)

    def backlog_bytes(self, conn: Conn | None) -> int:
        """As `Router.backlog_bytes`."""
        if conn is None:
            return sum(guest.bytes for guest in self._waiting.values())
        guest = self._by_conn.get(conn)
        return guest.bytes if guest is not None else 0

    def lock(self) -> None:
        """Removes the socket: nobody comes in any more."""
        if self._listener.fileno() >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            self._listener.close()

    def close(self) -> None:
        """Ends all connections, and removes the socket."""
        self.lock()
        for guest in list(self._guests.values()):
            self._end(guest)

    # ------------------------------------------------------------------ who comes and goes
    def _accept(self) -> None:
        now_s = time.monotonic()
        for guest in list(self._guests.values()) if self._unproven else ():
            if not guest.proven and now_s - guest.since_s > HANDSHAKE_S:
                self._end(guest)
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # nobody (any more), or no more files may be open
                return
            if not is_ours(sock) or self._unproven >= MAX_UNPROVEN:
                self._add("key", "a connection on this host was refused: it is another user's, or one of too many")
                sock.close()
                continue
            sock.setblocking(False)
            self._number += 1
            self._unproven += 1
            guest = self._guests[sock.fileno()] = _Guest(sock, b"near" + self._number.to_bytes(8, "big"), now_s)
            self._epoll.register(sock, select.EPOLLIN)

    def _prove(self, guest: _Guest) -> None:
        """Reads who it says it is."""
        try:
            guest.hello += guest.sock.recv(_HELLO_BYTES + 1 - len(guest.hello))
        except BlockingIOError:
            return
        except OSError:
            self._end(guest)
            return
        hello = guest.hello
        whole = LENGTH.unpack_from(hello)[0] + LENGTH.size if len(hello) >= LENGTH.size else _HELLO_BYTES
        if hello and len(hello) < whole <= _HELLO_BYTES and not self._is_over(guest):
            return
        try:
            block, token = _decode_hello(hello[LENGTH.size : whole])
        except (msgspec.DecodeError, ValueError):
            block, token = "", b""
        expected = token_of(self._secret, block, "") if self._is_open else self._tokens.get(block, ("", b""))[1]
        if len(hello) != whole or not expected or not hmac.compare_digest(token, expected):
            self._add("key", "a connection on this host was refused: its token is not one of this run's")
            self._end(guest)
            return
        guest.block = block
        guest.proven = True
        self._unproven -= 1
        self._by_conn[guest.conn] = guest
        with contextlib.suppress(OSError):  # it is gone: reading tells
            guest.sock.send(COME_IN)

    @staticmethod
    def _is_over(guest: _Guest) -> bool:
        """Whether it will say nothing more."""
        try:
            return not guest.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    @staticmethod
    def _check_block(guest: _Guest, message: Register) -> None:
        if message.block != guest.block:
            raise BadMessage(f"the registration of a manager of block {message.block!r}")

    def _end(self, guest: _Guest) -> None:
        fd = guest.sock.fileno()
        if self._guests.pop(fd, None) is None:
            return
        if not guest.proven:
            self._unproven -= 1
        self._by_conn.pop(guest.conn, None)
        self._waiting.pop(fd, None)
        self._epoll.unregister(fd)
        guest.close()

    def _add(self, kind: str, sentence: str) -> None:
        self.problems.add(kind, sentence, time.monotonic())


class Links:
    """All links of the interchange, used as a `Router` is: managers on this host by the door, others by TCP.

    Args:
        router: for the others; it is used where there is a choice.
        path, secret, is_open: as for `Door`.

    Raises:
        OSError: there can be no door.
    """

    def __init__(self, router: Router, path: str, secret: str, *, is_open: bool) -> None:
        self._router = router
        self._epoll = select.epoll()
        try:
            self._door = Door(path, secret, is_open=is_open, epoll=self._epoll)
        except BaseException:
            self._epoll.close()
            raise
        self._router_fd = router.fileno()
        self._epoll.register(self._router_fd, select.EPOLLIN)
        self._router_used = True  # then it must be asked whether something came, see `Router.has_input`
        self._router_has_input = False
        self.addresses, self.port = router.addresses, router.port

    def fileno(self) -> int:
        """Becomes readable when something has come, or when there is room for what waits."""
        return self._epoll.fileno()

    def allow(self, block: str, public_key: str) -> None:
        """See `Router`."""
        self._router.allow(block, public_key)
        self._door.allow(block, public_key)

    def revoke(self, block: str) -> None:
        """See `Router`."""
        self._router.revoke(block)
        self._door.revoke(block)

    @property
    def connections(self) -> int:
        """See `Router`."""
        return self._router.connections + len(self._door)

    @property
    def problems(self) -> list[str]:
        """See `Router`."""
        ours = self._door.problems.sentences
        if ours:
            self._router.problems.extend(ours)
            ours.clear()
        return self._router.problems

    @property
    def counts(self) -> collections.Counter[str]:
        """See `Router`."""
        return self._router.counts + self._door.problems.counts

    def has_input(self) -> bool:
        """See `Router`; of the door the descriptor tells."""
        if self._router_used:
            self._router_used = False
            self._router_has_input = self._router.has_input()
        return self._router_has_input

    def receive(self, limit: int = 256) -> list[tuple[Conn, str, Message, bytes]]:
        """See `Router`."""
        found: list[tuple[Conn, str, Message, bytes]] = []
        router_spoke = self._router_has_input
        for fd, events in self._epoll.poll(0):
            if fd == self._router_fd:
                router_spoke = True
            else:
                self._door.read(fd, events, found)
        if router_spoke:
            self._router_used = True
            self._router_has_input = False
            found += self._router.receive(limit)
        return found

    def send(self, conn: Conn, message: Message, payload: bytes = b"") -> bool:
        """See `Router`."""
        if len(conn) > 5:
            return self._door.send(conn, message, payload)
        self._router_used = True
        return self._router.send(conn, message, payload)

    def flush(self) -> None:
        """See `Router`."""
        self._door.flush()
        self._router.flush()

    def backlog_bytes(self, conn: Conn | None = None) -> int:
        """See `Router`."""
        if conn is None:
            return self._door.backlog_bytes(None) + self._router.backlog_bytes()
        return self._door.backlog_bytes(conn) if len(conn) > 5 else self._router.backlog_bytes(conn)

    def lock(self) -> None:
        """See `Router`."""
        self._door.lock()

    def close(self, linger_s: float = LINGER_S) -> None:
        """See `Router`."""
        self._door.close()
        self._epoll.close()
        self._router.close(linger_s)


def with_door(router: Router, settings: InterchangeSettings) -> Router | Links:
    """The router, and a door for managers on this host where there can be one. Planned faults are those of TCP, so there is none beside them."""
    if not settings.near or Plan():
        return router
    try:
        return Links(router, settings.near, settings.near_secret, is_open=not settings.server_secret)
    except OSError:  # the file system knows no sockets, or the folder is not ours alone
        return router


def listen_at(path: str) -> socket.socket:
    """A socket for a path, in place of what another life left there.

    Raises:
        OSError: not there, or others may enter the folder.
    """
    folder = os.path.dirname(path)
    info = os.lstat(folder)
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise PermissionError(f"{folder} is not this user's alone")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with folder_of(path) as short:
            sock.bind(short)
        os.chmod(path, 0o600)
        sock.listen(LISTEN_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
