"""The link between the interchange and managers on its own host: a Unix socket in place of CurveZMQ over TCP.

```
interchange                                                    managers
Links ─┬─ Router (`link.py`) ◀──── CurveZMQ over TCP ────────▶ Dealer       on other hosts
       └─ Door (`door.py`) ◀────── Unix socket, 0600 ────────▶ NearDealer   on this host
```

A message to another process through ZeroMQ wakes a thread of its own at each end, and is encrypted; through a Unix socket it wakes the process that
waits for it. That is some 15 µs each way instead of 150, and a quarter of the system calls.

Who may speak here: the socket is in a folder that only its owner enters, each end asks the system whose the other is, and a manager proves that it belongs
to a block by a token, which only the driver can make and which ends with the block's key. A manager that finds no such door, because it is on another
host or in another network namespace, dials by TCP. A connection that breaks is made again, and whoever used it starts anew, as with `link.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait.errors import BadMessage
from plait.executors.htex.backlog import Backlog
from plait.executors.htex.messages import TO_MANAGER, Message
from plait.executors.htex.mischief import Plan
from plait.executors.htex.stream import SOCKET_BYTES, Stream
from plait.executors.htex.wire import to_parts
from plait.limits import (
    DEALER_FRAME_BYTES,
    HANDSHAKE_S,
    LINGER_S,
    REDIAL_S,
    ROUTER_FRAME_BYTES,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from plait.executors.htex.settings import ManagerSettings
    from plait.executors.htex.stream import Frame

#: The file of the socket, in the private folder of the blocks.
FILE_NAME: Final = "interchange.sock"
#: Seconds that a manager waits for the door before it dials by TCP.
DOOR_S: Final = 2.0
COME_IN: Final = b"\x01"
_PEER: Final = struct.Struct("3i")
LENGTH: Final = struct.Struct("<H")

_encode = msgspec.msgpack.Encoder().encode


def this_host() -> str:
    """Names the running system and the network namespace of this process; empty where there is no such door."""
    if not hasattr(socket, "SO_PEERCRED"):
        return ""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}/{os.stat('/proc/self/ns/net').st_ino}"
    except OSError:
        return ""


def door_in(log_dir: str) -> tuple[str, str]:
    """Where an interchange that logs there is to have its door, and a secret for it; empty where there can be none."""
    if not log_dir or not this_host():
        return "", ""
    folder = os.path.join(log_dir, "blocks")
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    except OSError:
        return "", ""
    return os.path.join(folder, FILE_NAME), secrets.token_hex(32)


def token_of(secret: str, block: str, public_key: str) -> bytes:
    """What a block's managers show at the door: worth nothing without the driver's secret, nor for another block or key."""
    return hmac.digest(bytes.fromhex(secret), f"{block}\0{public_key}".encode(), hashlib.sha256)


class Line:
    """A connection: frames out, control before chunks of big values, and frames in."""

    __slots__ = ("_limit", "_waits", "stream")

    def __init__(self, sock: socket.socket, expected: Collection[type[Message]], takes: int, gives: int) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        self.stream = Stream(sock, expected, takes, takes_files=False)
        self._limit = gives
        self._waits = Backlog()

    def send(self, message: Message, payload: bytes) -> None:
        """Sends, or keeps.

        Raises:
            BadMessage: it is larger than the other end takes.
        """
        parts = to_parts(message, payload, self._limit)
        if self.stream.pending or self._waits.bytes:
            self._waits.put(message, parts)
        else:
            self.stream.put(*parts)

    def flush(self) -> None:
        """Sends what was kept, as far as there is room."""
        stream, waits = self.stream, self._waits
        if stream.pending:
            stream.flush()
        while waits.bytes and not stream.pending and not stream.ended:
            stream.put(*waits.first())
            waits.pop()

    @property
    def bytes(self) -> int:
        """Bytes that wait for room."""
        return self.stream.pending + self._waits.bytes

    def close(self) -> None:
        """Ends it."""
        self.stream.close()
        self._waits.clear()


class NearDealer:
    """A manager's end, used as a `Dealer` is.

    Args:
        path: of the interchange's socket.
        block, token: who we are.
        timeout_s: seconds in which it must let us in.

    Attributes:
        address: the path.
        problems: sentences for the log; whoever takes them clears the list.
        due_s: when something is to be done although nothing comes (`has_input` does it); 0 for never.

    Raises:
        OSError: it does not let us in.
    """

    def __init__(self, path: str, block: str, token: bytes, timeout_s: float = DOOR_S) -> None:
        self.address = path
        self.problems: list[str] = []
        self.due_s = 0.0
        hello = _encode((block, token))
        self._hello = LENGTH.pack(len(hello)) + hello
        self._line: Line | None = None
        self._sock: socket.socket
        self._is_in = self._was_in = False  # we are let in, or were once
        self._is_new = False
        self._tries = 0
        self._frames: list[Frame] = []
        self._poll = select.poll()
        self._epoll = select.epoll()  # a descriptor that stays when connections change
        try:
            self._dial()
            if not self._poll.poll(timeout_s * 1000) or self.has_input() or not self._is_in:
                raise ConnectionError(f"the interchange's socket {path} did not let us in")  # noqa: TRY301 - closed in one place
        except BaseException:
            self.close(0)
            raise

    def fileno(self) -> int:
        """Becomes readable when something has come, when there is room for what waits, or when there is a new connection."""
        return self._epoll.fileno()

    @property
    def is_up(self) -> bool:
        """Whether there is a connection."""
        return self._is_in

    def reconnected(self) -> bool:
        """As `Dealer.reconnected`."""
        was_new, self._is_new = self._is_new, False
        if was_new:
            self._epoll.modify(self._sock, select.EPOLLIN)
        return was_new

    def has_input(self) -> bool:
        """Whether there is something to `receive`."""
        if self._frames:
            return True
        line = self._line
        if line is None or (self.due_s and time.monotonic() >= self.due_s):
            self._tend()
            return False
        if not self._poll.poll(0):
            return False
        if not self._is_in:
            self._enter()
            return False
        try:
            frames = line.stream.receive()
        except BadMessage as error:
            self.problems.append(f"the interchange sent {error}; the connection was ended")
            frames = None
        if frames is None:
            self._hang_up()
            return False
        self._frames = frames
        return bool(frames)

    def receive(self) -> list[tuple[Message, bytes]]:
        """Messages that have come: (message, payload); empty when there are none left."""
        if not self._frames and not self.has_input():
            return []
        frames, self._frames = self._frames, []
        return [(message, payload) for message, payload, _ in frames]

    def send(self, message: Message, payload: bytes = b"") -> bool:
        """As `Dealer.send`."""
        line = self._line
        if line is None or not self._is_in or self._is_new:
            return False
        line.send(message, payload)
        if line.bytes:
            self._epoll.modify(self._sock, select.EPOLLIN | select.EPOLLOUT)
        return True

    def flush(self) -> None:
        """Sends what has waited for room."""
        line = self._line
        if line is not None and line.bytes:
            line.flush()
            if not line.bytes:
                self._epoll.modify(self._sock, select.EPOLLIN)

    def backlog_bytes(self) -> int:
        """Bytes that wait for room."""
        return self._line.bytes if self._line is not None else 0

    def close(self, linger_s: float = LINGER_S) -> None:
        """Goes on sending what is left for as long as that, and ends."""
        deadline_s = time.monotonic() + linger_s
        while self.backlog_bytes() and self._is_in and (left_s := deadline_s - time.monotonic()) > 0:
            select.select([], [self._sock], [], left_s)
            self.flush()
            if self._line is None or self._line.stream.ended:
                break
        lost = self._was_in and not self._is_in
        self._drop()
        self._epoll.close()
        if lost:
            self._tidy()

    # ------------------------------------------------------------------ connections
    def _dial(self) -> None:
        """Begins a connection.

        Raises:
            OSError: nobody listens there, or somebody else does.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            with folder_of(self.address) as short:
                sock.connect(short)
            if not is_ours(sock):
                raise ConnectionError(f"what listens at {self.address} is another user's")  # noqa: TRY301 - closed in one place
            sock.send(self._hello)
        except BaseException:
            sock.close()
            raise
        self._sock = sock
        self._line = Line(sock, TO_MANAGER, DEALER_FRAME_BYTES, ROUTER_FRAME_BYTES)
        self._poll.register(sock, select.POLLIN)
        self._epoll.register(sock, select.EPOLLIN)
        self.due_s = time.monotonic() + HANDSHAKE_S

    def _enter(self) -> None:
        """The answer to our greeting has come, or the end."""
        try:
            answer = self._sock.recv(1)
        except OSError:
            answer = b""
        if answer != COME_IN:
            self._hang_up()
            return
        self._is_in = self._was_in = self._is_new = True
        self._tries = 0
        self.due_s = 0.0
        # Until somebody has asked (`reconnected`) nothing is sent, so nothing comes: what has room gives a sign all the same.
        self._epoll.modify(self._sock, select.EPOLLIN | select.EPOLLOUT)

    def _tend(self) -> None:
        """Dials again when it is time, or gives up an attempt that takes too long."""
        now_s = time.monotonic()
        if now_s < self.due_s:
            return
        if self._line is not None:
            self._hang_up()
            return
        try:
            self._dial()
        except OSError:
            self._later(now_s)

    def _later(self, now_s: float) -> None:
        self.due_s = now_s + min(REDIAL_S[0] * 2**self._tries, REDIAL_S[1] / 5)
        self._tries = min(self._tries + 1, 10)

    def _hang_up(self) -> None:
        if self._is_in:
            self.problems.append("the connection was lost; it is made again")
        self._drop()
        self._later(time.monotonic())

    def _tidy(self) -> None:
        """Removes the socket of an interchange that was killed with its driver: there is nobody else who would."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, contextlib.suppress(OSError):
            sock.setblocking(False)
            try:
                with folder_of(self.address) as short:
                    sock.connect(short)
            except ConnectionRefusedError:
                os.unlink(self.address)

    def _drop(self) -> None:
        self._is_in = self._is_new = False
        if self._line is not None:
            self._poll.unregister(self._sock)
            self._epoll.unregister(self._sock)
            self._line.close()
            self._line = None


def dial_near(settings: ManagerSettings) -> NearDealer | None:
    """The door of an interchange on this host; None when there is none."""
    if not settings.near or settings.near_host != this_host() or Plan():
        return None
    try:
        return NearDealer(settings.near, settings.block, bytes.fromhex(settings.near_token))
    except OSError:
        return None


# ------------------------------------------------------------------ sockets
@contextlib.contextmanager
def folder_of(path: str) -> Any:
    """Another name for a path, short enough for a socket's address, however deep its folder is."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)


def is_ours(sock: socket.socket) -> bool:
    """Whether the other end is a process of this user."""
    uid: int = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[1]
    return uid == os.geteuid()
