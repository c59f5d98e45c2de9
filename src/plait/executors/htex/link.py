"""The TCP link between interchange and managers: the only file here that knows ZeroMQ.

```
interchange process                                     manager process
┌ thread of the interchange ┐                           ┌ thread of the manager ┐
│ Router ── ROUTER          │ ◀── CurveZMQ over TCP ──▶ │ DEALER ── Dealer      │
│   ├── ZAP: who may        │                           │   └── events: new     │
│   └── events: connections │                           │       connection, end │
└───────────────────────────┘                           └───────────────────────┘
  below each: ZeroMQ's own thread, which moves the bytes, encrypts, and does handshakes
```

Each end is used by one thread and never blocks. `fileno` is for poll, and tells that something *new* came; sending may take that sign away.
So: receive until there is nothing, send, and ask `has_input` before sleeping in poll.

A connection is known by the key that it proved to have, which names its block: a manager speaks for its own block and for no other.
Keys that are not on the list are refused, and without keys only loopback addresses are allowed (there a manager's word is taken for its block).

Nothing is dropped at a high-water mark: the router learns that a connection has no room or is gone, and keeps what waits (`flush`), chunks behind
everything else. What a connection held when it broke is lost, and whoever used it starts anew: registers, and sends again what was not acknowledged.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import select
import selectors
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import zmq
import zmq.utils.z85

from plait.errors import BadMessage, ConfigurationError, ExecutorError
from plait.executors.htex.addresses import is_loopback
from plait.executors.htex.backlog import Backlog
from plait.executors.htex.messages import FROM_MANAGER, TO_MANAGER, Message, Register
from plait.executors.htex.mischief import Mischief, Plan
from plait.executors.htex.problems import Problems
from plait.executors.htex.wire import from_parts, to_parts
from plait.limits import (
    CONNECT_S,
    DEALER_FRAME_BYTES,
    DEALER_MESSAGES,
    HANDSHAKE_S,
    LINGER_S,
    LINK_BACKLOG_BYTES,
    LINK_MESSAGES,
    LINK_SILENCE_S,
    LISTEN_BACKLOG,
    MAX_STRIKES,
    RECEIVE_BYTES,
    REDIAL_S,
    ROUTER_FRAME_BYTES,
    SPARE_FILES,
)

if TYPE_CHECKING:
    import collections
    from collections.abc import Sequence

#: What the router calls a connection: new for each.
Conn = bytes

_ZAP: Final = "inproc://zeromq.zap.01"
_EVENTS: Final = "inproc://events"
_DOMAIN: Final = b"plait"
_REFUSED: Final = os.strerror(errno.ECONNREFUSED).lower()
_EVENT: Final = struct.Struct("=HI")
_NOBLOCK: Final = int(zmq.NOBLOCK)
_POLLIN: Final = int(zmq.POLLIN)  # an enum would cost as much again as the question
_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
#: Bytes by which encryption lengthens a part, generously.
_OVERHEAD: Final = 1024
_WATCHED: Final = int(
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CONNECT_DELAYED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


def new_keys() -> tuple[str, str]:
    """A pair of CURVE keys, (public, secret), as Z85 text."""
    public, secret = zmq.curve_keypair()
    return public.decode("ascii"), secret.decode("ascii")


def endpoint(address: str, port: int) -> str:
    """ZeroMQ's way of writing it: ``tcp://[::1]:5000``."""
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


class _Peer(Backlog):
    """A connection as its end knows it, and what waits for it."""

    __slots__ = ("block", "fd", "is_shut", "strikes")

    def __init__(self, block: str = "", fd: int = -1) -> None:
        super().__init__()
        self.block = block
        self.fd = fd  # -1: closed, or not known
        self.strikes = 0
        self.is_shut = False  # it is not heard and gets nothing


class _End:
    """What both ends have: a context of their own, one descriptor for poll, and a thread that they belong to."""

    def __init__(self, name: str) -> None:
        self._context = zmq.Context()
        self._selector = selectors.DefaultSelector()  # its own descriptor becomes readable when one of those in it is
        self._problems = Problems()
        self._thread = 0
        plan = Plan()
        self._mischief: Mischief[Any] | None = Mischief(plan, name) if plan else None
        if self._mischief is not None:
            self._selector.register(self._mischief.fileno(), selectors.EVENT_READ)

    def fileno(self) -> int:
        """Becomes readable when something new has come; see `has_input`."""
        return self._selector.fileno()

    @property
    def problems(self) -> list[str]:
        """Sentences for the log; whoever takes them clears the list."""
        return self._problems.sentences

    @property
    def counts(self) -> collections.Counter[str]:
        """How often which kind of problem occurred."""
        return self._problems.counts

    def close(self, linger_s: float = LINGER_S) -> None:
        """Goes on sending what is left for as long as that, and ends."""
        if self._context.closed:
            return
        self._selector.close()
        if self._mischief is not None:
            self._mischief.close()
        self._context.destroy(linger=int(linger_s * 1000))

    def _owned(self) -> bool:
        """Whether this is the thread that used it first; for an assertion."""
        if not self._thread:
            self._thread = threading.get_ident()
        return self._thread == threading.get_ident()

    def _add(self, kind: str, sentence: str) -> None:
        self._problems.add(kind, sentence, time.monotonic())


class Router(_End):
    """The interchange's end.

    Args:
        bind: addresses to listen on.
        port: a fixed port; None for any in ``port_range``.
        port_range: the first, and the one after the last.
        server_secret, server_public: CURVE keys (Z85); empty for a link without encryption, which only loopback allows.
        max_frame_bytes: a connection that sends a larger part of a message is ended.
        max_connections: more are refused; None for what the limit of open files allows.

    Attributes:
        addresses, port: where it listens.
        problems: sentences for the log; whoever takes them clears the list.

    Raises:
        ConfigurationError: there are no keys and an address is not loopback.
        ExecutorError: it cannot listen there.
    """

    def __init__(
        self,
        bind: Sequence[str],
        port: int | None,
        port_range: tuple[int, int],
        server_secret: str,
        server_public: str,
        max_frame_bytes: int = ROUTER_FRAME_BYTES,
        max_connections: int | None = None,
    ) -> None:
        self.addresses = list(bind)
        self.port = 0
        self._encrypted = bool(server_secret)
        if not self._encrypted:
            _refuse_open_addresses(self.addresses)
        self._peers: dict[Conn, _Peer] = {}  # a cache: one that is missing is met again with its next message
        self._waiting: dict[Conn, _Peer] = {}  # those for whom something waits
        self._open: dict[int, _Peer | None] = {}  # descriptor of each connection -> who it is, once that has spoken
        self._keys: dict[bytes, str] = {}  # raw public key -> block
        self._blocks: dict[str, bytes] = {}
        self._aside = select.poll()  # what is looked at before messages are
        super().__init__("router")
        try:
            self._zap = _socket(self._context, zmq.ROUTER)
            self._zap.bind(_ZAP)
            self._socket = _tcp_socket(self._context, zmq.ROUTER, max_frame_bytes)
            self._socket.router_mandatory = True
            self._socket.setsockopt(zmq.BACKLOG, LISTEN_BACKLOG)
            if self._encrypted:
                self._socket.curve_server = True
                self._socket.curve_secretkey = server_secret.encode()
                self._socket.curve_publickey = server_public.encode()
                self._socket.zap_domain = _DOMAIN
                self._socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
            self._monitor = _monitor(self._context, self._socket, _EVENTS)
            self.port = self._bind(port, port_range)
            self._max_connections = max_connections or _room_for_connections()
            for each in (self._zap, self._monitor, self._socket):
                self._selector.register(each.FD, selectors.EVENT_READ)
            for each in (self._zap, self._monitor):
                self._aside.register(each.FD, select.POLLIN)
            self._authenticate()  # only who has looked in vain is told when something comes
            self._count()
            self.has_input()
        except BaseException:
            self.close(0)
            raise

    def _bind(self, port: int | None, port_range: tuple[int, int]) -> int:
        ports = [port] if port else list(range(*port_range))
        start = random.randrange(len(ports)) if ports else 0  # so that many interchanges of one host seldom meet
        failure = "there is no port in that range"
        for candidate in ports[start:] + ports[:start]:
            bound: list[str] = []
            try:
                for address in list(self.addresses):
                    self._socket.setsockopt(zmq.IPV6, int(":" in address))
                    try:
                        self._socket.bind(endpoint(address, candidate))
                    except zmq.ZMQError as error:
                        failure = f"{endpoint(address, candidate)}: {error.strerror}"
                        if error.errno != errno.EADDRNOTAVAIL or len(self.addresses) == 1:
                            raise
                        self.addresses.remove(address)  # its network went away since it was found; the others will do
                    else:
                        bound.append(endpoint(address, candidate))
            except zmq.ZMQError as error:
                for each in bound:
                    self._socket.unbind(each)
                if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                    break
            else:
                return candidate
        where = f"port {port}" if port else f"any port from {port_range[0]} to {port_range[1] - 1}"
        raise ExecutorError("interchange", f"it cannot listen on {', '.join(self.addresses)}, {where}: {failure}")

    # ------------------------------------------------------------------ who may connect
    def allow(self, block: str, public_key: str) -> None:
        """Lets managers with this key in, as members of the block. A key that the block had before is not valid any more.

        Raises:
            ConfigurationError: it is no key.
        """
        try:
            raw = zmq.utils.z85.decode(public_key)
        except (ValueError, KeyError, IndexError, struct.error):
            raw = b""
        if len(raw) != 32:
            raise ConfigurationError(f"the key of block {block!r} is no CURVE key")
        if self._blocks.get(block) == raw:
            return
        self.revoke(block)
        self.revoke(self._keys.get(raw, ""))
        self._keys[raw] = block
        self._blocks[block] = raw

    def revoke(self, block: str) -> None:
        """Nobody is let in as a member of the block any more, and connections that are in are ended."""
        raw = self._blocks.pop(block, None)
        if raw is None:
            return
        del self._keys[raw]
        for conn, peer in list(self._peers.items()):
            if peer.block == block:
                self._shut(conn, peer)

    def _authenticate(self) -> None:
        """Answers the questions of connections that are being made."""
        while True:
            try:
                parts = self._zap.recv_multipart(_NOBLOCK)
            except zmq.Again:
                return
            at = parts.index(b"") + 1
            version, request, _, address, _, mechanism = parts[at : at + 6]
            block = self._keys.get(parts[at + 6]) if mechanism == b"CURVE" else None
            if block is None:
                where = address.decode("ascii", "replace")
                self._add("key", f"a connection from {where} was refused: its key is not one of this run's")
                answer = [b"400", b"the key is not known here", b"", b""]
            else:
                answer = [b"200", b"", block.encode(), b""]
            self._zap.send_multipart([*parts[:at], version, request, *answer])

    # ------------------------------------------------------------------ connections
    @property
    def connections(self) -> int:
        """Those that are open, whether or not they have proved who they are."""
        return len(self._open)

    def _count(self) -> None:
        """Follows connections as they come and go."""
        while True:
            try:
                event, fd, _ = _next_event(self._monitor)
            except zmq.Again:
                return
            if event == zmq.EVENT_ACCEPTED:
                self._open[fd] = None
                if len(self._open) > self._max_connections:
                    self._add(
                        "full",
                        f"a connection was refused: there are {self._max_connections} already, as many as open files allow",
                    )
                    self._hang_up(fd)
            elif event == zmq.EVENT_DISCONNECTED:
                peer = self._open.pop(fd, None)
                if peer is not None:
                    peer.fd = -1
                else:
                    self._add(
                        "handshake",
                        "a connection ended that had said nothing: no manager of this run, or one that gave up",
                    )

    def _hang_up(self, fd: int) -> None:
        """Ends a connection. ZeroMQ notices as if the other end had."""
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as copy:
            if copy.family in {socket.AF_INET, socket.AF_INET6} and copy.getsockname()[1] == self.port:
                copy.shutdown(socket.SHUT_RDWR)

    def _meet(self, conn: Conn, frame: Any) -> _Peer:
        """A connection that was not known: whom its key belongs to."""
        block = _property(frame, "User-Id") if self._encrypted else ""
        fd = int(_property(frame, "__fd") or -1)
        peer = self._peers[conn] = _Peer(block, fd if fd in self._open else -1)
        if peer.fd >= 0:
            self._open[fd] = peer
        if len(self._peers) > 2 * len(self._open) + 64:
            self._forget_the_gone()
        if (self._encrypted and block not in self._blocks) or len(conn) != 5 or conn[0]:
            self._shut(conn, peer)  # revoked since it proved its key; or it chose its name itself, which ours do not
        return peer

    def _forget_the_gone(self) -> None:
        for conn, peer in list(self._peers.items()):
            if peer.fd < 0 and conn not in self._waiting:
                del self._peers[conn]

    def _strike(self, conn: Conn, peer: _Peer, error: BadMessage) -> None:
        peer.strikes += 1
        self._add("bad", f"a connection of block {peer.block!r} sent {error}; it was ignored")
        if peer.strikes > MAX_STRIKES:
            self._add("ended", f"a connection of block {peer.block!r} was ended after {peer.strikes} bad messages")
            self._shut(conn, peer)

    def _shut(self, conn: Conn, peer: _Peer) -> None:
        """Hears and tells a connection nothing any more, and ends it if it can."""
        peer.is_shut = True
        peer.clear()
        self._waiting.pop(conn, None)
        if peer.fd >= 0:
            self._hang_up(peer.fd)

    # ------------------------------------------------------------------ in
    def has_input(self) -> bool:
        """Whether there is something to `receive`; to be asked after having sent something, before sleeping in poll."""
        if self._mischief is not None and self._mischief.has_something_due(time.monotonic()):
            return True
        return bool(self._aside.poll(0)) or _has_input(self._socket)

    def receive(self, limit: int = 256) -> list[tuple[Conn, str, Message, bytes]]:
        """Messages that have come: (connection, its block, message, payload); empty when there are none left.

        What is no message of a manager is counted, and its sender's connection ended after some of them.
        """
        assert self._owned(), "a link is used by one thread"  # noqa: S101 - a check for tests
        if self._aside.poll(0):
            self._authenticate()
            self._count()
        found: list[tuple[Conn, str, Message, bytes]] = []
        receive, peers = self._socket.recv, self._peers
        room = RECEIVE_BYTES
        while len(found) < limit and room > 0:
            try:
                conn: bytes = receive(_NOBLOCK)
            except zmq.Again:
                break
            frame: Any = receive(_NOBLOCK, copy=False)
            payload, extra = _rest(self._socket) if frame.more else (b"", 0)
            peer = peers.get(conn)
            if peer is None:
                peer = self._meet(conn, frame)
            if peer.is_shut:
                continue
            try:
                message = from_parts(frame.bytes, payload, extra, FROM_MANAGER)
                if type(message) is Register:
                    self._check_block(peer, message)
            except BadMessage as error:
                self._strike(conn, peer, error)
                continue
            room -= len(payload)
            found.append((conn, peer.block, message, payload))
        if self._mischief is not None:
            return self._mischief.apply(((type(each[2]), each) for each in found), time.monotonic())
        return found

    def _check_block(self, peer: _Peer, message: Register) -> None:
        if not self._encrypted:
            peer.block = peer.block or message.block
        if message.block != peer.block:
            raise BadMessage(f"the registration of a manager of block {message.block!r}")

    # ------------------------------------------------------------------ out
    def send(self, conn: Conn, message: Message, payload: bytes = b"") -> bool:
        """Sends, or keeps until there is room (`flush`). False: the connection is gone.

        Raises:
            BadMessage: it is larger than managers take.
        """
        assert self._owned(), "a link is used by one thread"  # noqa: S101 - a check for tests
        peer = self._peers.get(conn)
        if peer is None or peer.is_shut:
            return False
        parts = to_parts(message, payload, DEALER_FRAME_BYTES)
        if conn not in self._waiting:
            sent = self._send(conn, parts)
            if sent is not None:
                return sent
            self._waiting[conn] = peer
        peer.put(message, parts)
        if peer.bytes > LINK_BACKLOG_BYTES:
            self._add(
                "deaf", f"a connection of block {peer.block!r} was ended: {peer.bytes} bytes waited for it to read"
            )
            self._shut(conn, peer)
            return False
        return True

    def flush(self) -> None:
        """Sends what has waited for room."""
        for conn, peer in list(self._waiting.items()):
            while peer.bytes and self._send(conn, peer.first()):
                peer.pop()
            if not peer.bytes:
                self._waiting.pop(conn, None)

    def lock(self) -> None:
        """Before managers are told to end: what a killed process would leave in the file system is removed. Here it is nothing."""

    def backlog_bytes(self, conn: Conn | None = None) -> int:
        """Bytes that wait for room on a connection, or on all."""
        if conn is None:
            return sum(peer.bytes for peer in self._waiting.values())
        peer = self._waiting.get(conn)
        return peer.bytes if peer is not None else 0

    def _send(self, conn: Conn, parts: tuple[bytes, bytes]) -> bool | None:
        """True: sent. False: the connection is gone, and what waited for it dropped. None: there is no room."""
        send = self._socket.send
        try:
            send(conn, _MORE)
        except zmq.Again:
            return None
        except zmq.ZMQError as error:
            if error.errno != errno.EHOSTUNREACH:
                raise
            peer = self._peers.pop(conn, None)
            if peer is not None:
                peer.clear()
            self._waiting.pop(conn, None)
            return False
        if parts[1]:
            send(parts[0], _MORE)
            send(parts[1], _NOBLOCK)
        else:
            send(parts[0], _NOBLOCK)
        return True


class Dealer(_End):
    """A manager's end: dials all addresses at once and keeps the first that answers. A connection that breaks is made again.

    Args:
        addresses, port: where the interchange may be reached.
        server_public: its CURVE key (Z85); empty for a link without encryption.
        public, secret: our own keys.
        probe_timeout_s: seconds in which one of the addresses must answer.
        max_frame_bytes: larger parts of messages end the connection.

    Attributes:
        address: the one that answered.
        due_s: when it wants to be asked although nothing comes; never.
        problems: sentences for the log; whoever takes them clears the list.

    Raises:
        ConnectionError: none answered; it says what became of each.
        ConnectionRefusedError: the same, where nobody listens at any of them.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        port: int,
        server_public: str,
        public: str,
        secret: str,
        probe_timeout_s: float = 30.0,
        max_frame_bytes: int = DEALER_FRAME_BYTES,
    ) -> None:
        super().__init__(f"dealer {public}")
        self.due_s = 0.0
        self._waits = Backlog()
        self._is_new = True
        keys = (server_public, public, secret)
        try:
            lines = [_Line(self._context, each, port, keys, max_frame_bytes) for each in dict.fromkeys(addresses)]
            self._line = self._first_to_answer(lines, port, probe_timeout_s)
            self._socket = self._line.socket
            for each in (self._socket, self._line.monitor):
                self._selector.register(each.FD, selectors.EVENT_READ)
            self.has_input()  # only who has looked in vain is told when something comes
        except BaseException:
            self.close(0)
            raise
        self.address = self._line.address

    def _first_to_answer(self, lines: list[_Line], port: int, timeout_s: float) -> _Line:
        poller = zmq.Poller()
        for line in lines:
            poller.register(line.monitor, zmq.POLLIN)
        deadline_s = time.monotonic() + timeout_s
        while (now_s := time.monotonic()) < deadline_s:
            for line in lines:
                line.listen(now_s)
                if line.is_up:
                    for other in lines:
                        if other is not line:
                            other.close()
                    return line
                line.tend(now_s)
            poller.poll(int(min(REDIAL_S[0], max(0.0, deadline_s - now_s)) * 1000))
        reasons = [line.why_not() for line in lines]
        listed = (
            "; ".join(f"{line.address}: {why}" for line, why in zip(lines, reasons, strict=True))
            or "no address was given"
        )
        refused = bool(lines) and all(why == _REFUSED for why in reasons)
        kind = ConnectionRefusedError if refused else ConnectionError
        raise kind(f"no interchange answered on port {port} within {timeout_s:g} s. {listed}")

    @property
    def is_up(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._line.is_up

    def reconnected(self) -> bool:
        """Whether there is a new connection since this was last asked, the first one included: the manager must register (again).

        Until it has asked, nothing is sent over a new connection that was meant for an earlier one.
        """
        line, now_s = self._line, time.monotonic()
        line.tend(now_s)
        if line.listen(now_s):
            self._is_new = True
            self._waits.clear()
        elif not line.is_up and self._waits.bytes:
            self._waits.clear()
            self._add("lost", f"the connection to {line.address} was lost; it is made again")
        if not (self._is_new and line.is_up):
            return False
        self._is_new = False
        return True

    def has_input(self) -> bool:
        """Whether there is something to `receive`; to be asked after having sent something, before sleeping in poll."""
        self._line.tend(time.monotonic())
        if self._mischief is not None and self._mischief.has_something_due(time.monotonic()):
            return True
        return _has_input(self._socket)

    def receive(self, limit: int = 256) -> list[tuple[Message, bytes]]:
        """Messages that have come: (message, payload); empty when there are none left."""
        assert self._owned(), "a link is used by one thread"  # noqa: S101 - a check for tests
        found: list[tuple[Message, bytes]] = []
        receive = self._socket.recv
        while len(found) < limit:
            try:
                frame: Any = receive(_NOBLOCK, copy=False)
            except zmq.Again:
                break
            payload, extra = _rest(self._socket) if frame.more else (b"", 0)
            try:
                found.append((from_parts(frame.bytes, payload, extra, TO_MANAGER), payload))
            except BadMessage as error:
                self._add("bad", f"the interchange sent {error}; it was ignored")
        if self._mischief is not None:
            return self._mischief.apply(((type(each[0]), each) for each in found), time.monotonic())
        return found

    def send(self, message: Message, payload: bytes = b"") -> bool:
        """Sends, or keeps until there is room (`flush`). False: there is no connection, or a new one that `reconnected` has not told of yet.

        Raises:
            BadMessage: it is larger than the interchange takes.
        """
        assert self._owned(), "a link is used by one thread"  # noqa: S101 - a check for tests
        if not self._line.is_up:
            return False
        parts = to_parts(message, payload, ROUTER_FRAME_BYTES)
        waits = self._waits
        if waits.bytes or not self._send(parts):
            waits.put(message, parts)
        return True

    def flush(self) -> None:
        """Sends what has waited for room."""
        waits = self._waits
        while waits.bytes and self._send(waits.first()):
            waits.pop()

    def backlog_bytes(self) -> int:
        """Bytes that wait for room."""
        return self._waits.bytes

    def _send(self, parts: tuple[bytes, bytes]) -> bool:
        send = self._socket.send
        try:
            send(parts[0], _MORE if parts[1] else _NOBLOCK)
        except zmq.Again:
            return False
        if parts[1]:
            send(parts[1], _NOBLOCK)
        return True


class _Line:
    """A socket that dials one address, and goes on dialling.

    Attributes:
        is_up: whether there is a connection, as far as events have been read.
    """

    _number = 0

    def __init__(
        self, context: zmq.Context[Any], address: str, port: int, keys: tuple[str, str, str], max_frame_bytes: int
    ) -> None:
        self.address = address
        self.is_up = False
        self._port = port
        self._why = ""
        self._ended_s: float | None = None  # when ZeroMQ gave up, unless it says that it tries again
        self._tries = 0
        _Line._number += 1
        sock = self.socket = _tcp_socket(context, zmq.DEALER, max_frame_bytes)
        sock.setsockopt(zmq.IPV6, int(":" in address))
        # Not `immediate`: that drops what came over a connection and was not read before it broke, such as the last word. So what
        # ZeroMQ holds for a broken connection goes over the next one, ahead of the registration; that it is little is why we hold the rest.
        sock.sndhwm = DEALER_MESSAGES
        sock.reconnect_ivl, sock.reconnect_ivl_max = (int(each * 1000) for each in REDIAL_S)
        sock.setsockopt(zmq.CONNECT_TIMEOUT, int(CONNECT_S * 1000))
        sock.setsockopt(
            zmq.HEARTBEAT_IVL, int(LINK_SILENCE_S * 1000 / 3)
        )  # a half-open connection is noticed by silence
        sock.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(LINK_SILENCE_S * 1000))
        if keys[0]:
            sock.curve_serverkey, sock.curve_publickey, sock.curve_secretkey = (each.encode() for each in keys)
        self.monitor = _monitor(context, sock, f"{_EVENTS}/{_Line._number}")
        self._dial()

    def _dial(self) -> None:
        try:
            self.socket.connect(endpoint(self.address, self._port))
        except zmq.ZMQError as error:
            self._why = str(error.strerror)
            self._ended_s = time.monotonic()

    def listen(self, now_s: float) -> bool:
        """Reads what happened; whether a connection was made."""
        made = False
        while True:
            try:
                event, value, _ = _next_event(self.monitor)
            except zmq.Again:
                return made
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                made = self.is_up = True
                self._tries = 0
                self._ended_s = None
            elif event == zmq.EVENT_CONNECTED:
                self._why = self._why or "something took the connection and did not answer"
                self._ended_s = None
            elif event in {zmq.EVENT_CONNECT_DELAYED, zmq.EVENT_CONNECT_RETRIED}:
                self._ended_s = None
            else:
                made = self.is_up = False
                self._ended_s = now_s
                self._why = _reason(event, value) or self._why

    def tend(self, now_s: float) -> None:
        """Dials again where ZeroMQ does not: after a refusal, or when a stranger had the port for a while."""
        if self._ended_s is None:
            return
        pause_s = min(REDIAL_S[0] * 2**self._tries, REDIAL_S[1])
        if now_s - self._ended_s < pause_s:
            return
        self._ended_s = now_s + random.uniform(0, pause_s / 2)
        self._tries = min(self._tries + 1, 10)
        with contextlib.suppress(zmq.ZMQError):
            self.socket.disconnect(endpoint(self.address, self._port))
        self._dial()

    def why_not(self) -> str:
        """What became of dialling."""
        if self._why:
            return self._why
        try:
            socket.create_connection((self.address, self._port), 0.5).close()
        except OSError as error:
            return str(error.strerror or error).lower()
        return "no answer in time"

    def close(self) -> None:
        """Ends it."""
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(0)


# ------------------------------------------------------------------ sockets
def _socket(context: zmq.Context[Any], kind: int) -> Any:
    """Lingering is always said: the default would wait for ever, for a peer that may never come."""
    sock = context.socket(kind)
    sock.linger = 0
    sock.sndhwm = sock.rcvhwm = 0
    return sock


def _tcp_socket(context: zmq.Context[Any], kind: int, max_frame_bytes: int) -> Any:
    sock = _socket(context, kind)
    sock.sndhwm = sock.rcvhwm = LINK_MESSAGES
    sock.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes + _OVERHEAD)
    sock.setsockopt(zmq.HANDSHAKE_IVL, int(HANDSHAKE_S * 1000))
    sock.setsockopt(zmq.TCP_MAXRT, int(LINK_SILENCE_S * 1000))
    sock.setsockopt(zmq.TCP_KEEPALIVE, 1)
    sock.setsockopt(zmq.TCP_KEEPALIVE_IDLE, int(LINK_SILENCE_S))
    sock.setsockopt(zmq.TCP_KEEPALIVE_INTVL, max(1, int(LINK_SILENCE_S / 3)))
    sock.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
    return sock


def _monitor(context: zmq.Context[Any], sock: Any, address: str) -> Any:
    """Where the events of a socket come out. Without a high-water mark: ZeroMQ's thread would wait for us there."""
    sock.monitor(address, _WATCHED)
    monitor = _socket(context, zmq.PAIR)
    monitor.connect(address)
    return monitor


def _next_event(monitor: Any) -> tuple[int, int, bytes]:
    """(event, its value, address); `zmq.Again` when there is none."""
    data, address = monitor.recv_multipart(_NOBLOCK)
    return (*_EVENT.unpack(data), address)


def _has_input(sock: Any) -> bool:
    return bool(sock.getsockopt(zmq.EVENTS) & _POLLIN)


def _property(frame: Any, name: str) -> str:
    """What the handshake told of the sender of a frame; empty if nothing."""
    try:
        return str(frame.get(name))
    except (zmq.ZMQError, UnicodeDecodeError):
        return ""


def _room_for_connections() -> int:
    """How many this process may have open, beside what it has and some to spare."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1_000_000
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    return max(1, soft - len(os.listdir(folder)) - SPARE_FILES)


def raise_open_files_limit() -> int:
    """Lets this process have as many open files as the system allows it; returns how many."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS names a hard limit that it does not accept
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


def _refuse_open_addresses(addresses: Sequence[str]) -> None:
    reachable = [address for address in addresses if not is_loopback(address)]
    if reachable:
        raise ConfigurationError(
            f"encrypted=False, address {', '.join(reachable)}: without encryption anyone who reaches that address could run code as you; "
            "leave encryption on, or use a loopback address"
        )


def _rest(sock: Any) -> tuple[bytes, int]:
    """(second part, number of parts after it). All parts are taken, however many: the next one begins another message."""
    payload: bytes = sock.recv(_NOBLOCK)
    extra = 0
    while sock.getsockopt(zmq.RCVMORE):
        sock.recv(_NOBLOCK)
        extra += 1
    return payload, extra


def _reason(event: int, value: int) -> str:
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return f"the interchange does not know our key ({value})"
    if event in {zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL}:
        return "something listens there that is not this run's interchange, or has another key"
    return ""
