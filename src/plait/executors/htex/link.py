"""The TCP link between interchange and managers: the only file here that knows ZeroMQ.

```
interchange process                                     manager process
┌ thread of the interchange ┐                           ┌ thread of the manager ┐
│ Router ── ROUTER          │ ◀── CurveZMQ over TCP ──▶ │ DEALER ── Dealer      │
│   ├── keys: ZAP           │                           │   └── events          │
│   └── events              │                           └───────────────────────┘
└───────────────────────────┘
```

Each end is used by one thread and never blocks; ZeroMQ's own thread below moves the bytes. `fileno` is for poll: it tells that something *new* came,
once. So take all (`receive`), and ask `has_input` after having sent something, before sleeping.

A connection is known by the key that it proved to have, which names its block: a manager speaks for its own block and for no other.
Without keys only loopback addresses are allowed.
"""

from __future__ import annotations

import collections
import errno
import ipaddress
import random
import selectors
import struct
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import zmq
import zmq.utils.z85

from plait.errors import BadMessage, ConfigurationError, ExecutorError
from plait.executors.htex.messages import FROM_MANAGER, TO_MANAGER, Chunk, Message, Register
from plait.executors.htex.wire import PREFIX, decode, encode
from plait.limits import (
    DEALER_FRAME_BYTES,
    HANDSHAKE_S,
    LINGER_S,
    LINK_MESSAGES,
    LINK_SILENCE_S,
    MAX_STRIKES,
    ROUTER_FRAME_BYTES,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

#: What the router calls a connection: new for each, never used again.
Conn = bytes

_ZAP: Final = "inproc://zeromq.zap.01"
_DOMAIN: Final = b"plait"
_EVENT: Final = struct.Struct("=HI")
_NOBLOCK: Final = int(zmq.NOBLOCK)
_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
#: Bytes by which encryption lengthens a part, generously.
_OVERHEAD: Final = 1024


def new_keys() -> tuple[str, str]:
    """A pair of CURVE keys, (public, secret), as Z85 text."""
    public, secret = zmq.curve_keypair()
    return public.decode("ascii"), secret.decode("ascii")


def is_loopback(address: str) -> bool:
    """Whether only processes of this host can reach an address."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return address == "localhost"


def endpoint(address: str, port: int) -> str:
    """``tcp://[::1]:5000``."""
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


class Problems:
    """Sentences for a log, each kind of them at most once in a while, with how often it happened meanwhile."""

    def __init__(self, every_s: float = 10.0) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.sentences: list[str] = []
        self._every_s = every_s
        self._said: dict[str, tuple[float, int]] = {}

    def add(self, kind: str, sentence: str) -> None:
        """Something of this kind happened."""
        self.counts[kind] += 1
        count, now_s = self.counts[kind], time.monotonic()
        said_s, said_count = self._said.get(kind, (-self._every_s, 0))
        if now_s - said_s < self._every_s:
            return
        self._said[kind] = (now_s, count)
        more = count - said_count - 1
        self.sentences.append(sentence + (f" (and {more} more of this kind)" if more > 0 else ""))


class _Peer:
    """A connection of the router, or the dealer's own: what does not fit into ZeroMQ's queue waits here, chunks behind everything else."""

    __slots__ = ("block", "bulk", "bytes", "control", "fd", "name", "strikes")

    def __init__(self, block: str, fd: int = -1, name: Any = None) -> None:
        self.block = block
        self.fd = fd
        self.name = name
        self.strikes = 0
        self.control: collections.deque[tuple[bytes, bytes]] = collections.deque()
        self.bulk: collections.deque[tuple[bytes, bytes]] = collections.deque()
        self.bytes = 0

    def put(self, message: Message, parts: tuple[bytes, bytes]) -> None:
        (self.bulk if type(message) is Chunk else self.control).append(parts)
        self.bytes += len(parts[0]) + len(parts[1])

    def first(self) -> tuple[bytes, bytes]:
        return self.control[0] if self.control else self.bulk[0]

    def pop(self) -> None:
        parts = (self.control or self.bulk).popleft()
        self.bytes -= len(parts[0]) + len(parts[1])


class Router:
    """The interchange's end.

    Args:
        bind: addresses to listen on.
        port: a fixed port; None for any in ``port_range``.
        port_range: the first, and the one after the last.
        server_secret, server_public: CURVE keys (Z85); empty for a link without encryption, which only loopback allows.
        max_frame_bytes: larger parts of messages end the connection.

    Attributes:
        addresses, port: where it listens.

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
    ) -> None:
        self.addresses = list(bind)
        self.port = 0
        self._encrypted = bool(server_secret)
        if not self._encrypted:
            _refuse_open_addresses(self.addresses)
        self._thread = threading.get_ident()
        self._peers: dict[Conn, _Peer] = {}
        self._waiting: dict[Conn, _Peer] = {}
        self._keys: dict[bytes, str] = {}  # raw public key -> block
        self._blocks: dict[str, bytes] = {}
        self._problems = Problems()
        self._context = zmq.Context()
        self._selector = selectors.DefaultSelector()
        try:
            self._zap = self._context.socket(zmq.ROUTER)
            self._zap.linger = 0
            self._zap.bind(_ZAP)
            self._socket = self._context.socket(zmq.ROUTER)
            _set_options(self._socket, max_frame_bytes)
            self._socket.router_mandatory = True
            if self._encrypted:
                self._socket.curve_server = True
                self._socket.curve_secretkey = server_secret.encode()
                self._socket.curve_publickey = server_public.encode()
                self._socket.zap_domain = _DOMAIN
                self._socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
            self.port = self._bind(port, port_range)
            for each in (self._zap, self._socket):
                self._selector.register(each.FD, selectors.EVENT_READ)
        except BaseException:
            self.close(0)
            raise

    def _bind(self, port: int | None, port_range: tuple[int, int]) -> int:
        ports = [port] if port else list(range(*port_range))
        start = random.randrange(len(ports)) if ports else 0
        failure = f"there is no port in {port_range}"
        for candidate in ports[start:] + ports[:start]:
            bound: list[str] = []
            try:
                for address in self.addresses:
                    self._socket.setsockopt(zmq.IPV6, int(":" in address))
                    self._socket.bind(endpoint(address, candidate))
                    bound.append(endpoint(address, candidate))
            except zmq.ZMQError as error:
                failure = f"{endpoint(self.addresses[len(bound)], candidate)}: {error.strerror}"
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
        """Lets managers with this key in, as members of the block. The block's earlier key is not valid any more."""
        self.revoke(block)
        raw = zmq.utils.z85.decode(public_key)
        self._keys[raw] = block
        self._blocks[block] = raw

    def revoke(self, block: str) -> None:
        """Nobody is let in as a member of the block, and those who are in are not heard any more."""
        raw = self._blocks.pop(block, None)
        if raw is None:
            return
        del self._keys[raw]
        for conn, peer in list(self._peers.items()):
            if peer.block == block:
                self._drop(conn, peer)

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
                self._problems.add("key", f"a connection from {where} was refused: its key is not known here")
                answer = [b"400", b"this key is not known here", b"", b""]
            else:
                answer = [b"200", b"", block.encode(), b""]
            self._zap.send_multipart([*parts[:at], version, request, *answer])

    # ------------------------------------------------------------------ in
    def fileno(self) -> int:
        """Becomes readable when something new has come; see `has_input`."""
        return self._selector.fileno()

    def has_input(self) -> bool:
        """Whether there is something to `receive`; to be asked after having sent something, before sleeping in poll."""
        return _has_input(self._socket) or _has_input(self._zap)

    def receive(self, limit: int = 256) -> list[tuple[Conn, str, Message, bytes]]:
        """Messages that have come: (connection, its block, message, payload); empty when there are none left.

        Anything that is not a message of a manager is counted, and its sender not heard any more after a few of them.
        """
        self._authenticate()
        found: list[tuple[Conn, str, Message, bytes]] = []
        receive, peers = self._socket.recv, self._peers
        more = zmq.RCVMORE
        getsockopt = self._socket.getsockopt
        while len(found) < limit:
            try:
                conn: bytes = receive(_NOBLOCK)
            except zmq.Again:
                break
            frame: Any = receive(_NOBLOCK, copy=False)
            payload = b""
            extra = 0
            if frame.more:
                payload = receive(_NOBLOCK)
                while getsockopt(more):
                    receive(_NOBLOCK)
                    extra += 1
            peer = peers.get(conn)
            if peer is None:
                peer = self._meet(conn, frame)
            if peer.strikes > MAX_STRIKES:
                continue
            try:
                message = _message(frame.bytes, payload, extra, FROM_MANAGER)
                if type(message) is Register:
                    self._check_block(peer, message)
            except BadMessage as error:
                self._strike(conn, peer, error)
                continue
            found.append((conn, peer.block, message, payload))
        return found

    def _meet(self, conn: Conn, frame: Any) -> _Peer:
        """A connection that was not known: whom its key belongs to."""
        try:
            block = frame.get("User-Id") if self._encrypted else ""
        except zmq.ZMQError:
            block = None
        peer = _Peer(block or "")
        if (self._encrypted and block not in self._blocks) or len(conn) != 5 or conn[0]:
            peer.strikes = MAX_STRIKES + 1  # revoked since, or a name of the peer's own choice, which ours do not have
        self._peers[conn] = peer
        return peer

    def _check_block(self, peer: _Peer, message: Register) -> None:
        if not self._encrypted:
            peer.block = peer.block or message.block
        if message.block != peer.block:
            raise BadMessage(f"a manager of block {peer.block!r} that says it is of block {message.block!r}")

    def _strike(self, conn: Conn, peer: _Peer, error: BadMessage) -> None:
        peer.strikes += 1
        self._problems.add("bad", f"block {peer.block!r} sent {error}; it was ignored")
        if peer.strikes > MAX_STRIKES:
            self._problems.add("dropped", f"a connection of block {peer.block!r} is not heard any more")
            self._drop(conn, peer)

    def _drop(self, conn: Conn, peer: _Peer) -> None:
        peer.strikes = MAX_STRIKES + 1
        peer.control.clear()
        peer.bulk.clear()
        peer.bytes = 0
        self._waiting.pop(conn, None)

    # ------------------------------------------------------------------ out
    def send(self, conn: Conn, message: Message, payload: bytes = b"") -> bool:
        """Sends, or keeps until there is room (`flush`). False: the connection is gone."""
        peer = self._peers.get(conn)
        if peer is None or peer.strikes > MAX_STRIKES:
            return False
        parts = (encode(message, len(payload)), payload)
        if conn not in self._waiting:
            sent = self._send(conn, parts)
            if sent is not None:
                return sent
            self._waiting[conn] = peer
        peer.put(message, parts)
        return True

    def flush(self) -> None:
        """Sends what has waited for room."""
        for conn, peer in list(self._waiting.items()):
            while peer.control or peer.bulk:
                sent = self._send(conn, peer.first())
                if sent is None:
                    break
                if not sent:
                    break
                peer.pop()
            else:
                self._waiting.pop(conn, None)

    def backlog_bytes(self, conn: Conn) -> int:
        """Bytes that wait for room on a connection."""
        peer = self._waiting.get(conn)
        return peer.bytes if peer is not None else 0

    def _send(self, conn: Conn, parts: tuple[bytes, bytes]) -> bool | None:
        """True: sent. False: the connection is gone. None: there is no room."""
        send = self._socket.send
        try:
            send(conn, _MORE)
        except zmq.Again:
            return None
        except zmq.ZMQError as error:
            if error.errno != errno.EHOSTUNREACH:
                raise
            self._peers.pop(conn, None)
            self._waiting.pop(conn, None)
            return False
        if parts[1]:
            send(parts[0], _MORE)
            send(parts[1], _NOBLOCK)
        else:
            send(parts[0], _NOBLOCK)
        return True

    @property
    def problems(self) -> list[str]:
        """Sentences for the log; whoever reads them clears the list."""
        return self._problems.sentences

    def close(self, linger_s: float = LINGER_S) -> None:
        """Sends what is left, for as long as that, and ends."""
        if not self._context.closed:
            self._selector.close()
            self._context.destroy(linger=int(linger_s * 1000))


class Dealer:
    """A manager's end: dials all addresses at once and keeps the first that answers.

    Args:
        addresses, port: where the interchange may be reached.
        server_public: its CURVE key (Z85); empty for a link without encryption.
        public, secret: our own keys.
        probe_timeout_s: seconds in which one of the addresses must answer.

    Attributes:
        address: the one that answered.

    Raises:
        ConnectionError: none answered; it says what became of each.
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
        self.address = ""
        self._keys = (server_public, public, secret)
        self._max_frame_bytes = max_frame_bytes
        self._problems = Problems()
        self._peer = _Peer("")
        self._connected = False
        self._context = zmq.Context()
        self._selector = selectors.DefaultSelector()
        try:
            self._socket, self._monitor = self._dial(list(dict.fromkeys(addresses)), port, probe_timeout_s)
            for each in (self._socket, self._monitor):
                self._selector.register(each.FD, selectors.EVENT_READ)
        except BaseException:
            self.close(0)
            raise

    def _dial(self, addresses: list[str], port: int, timeout_s: float) -> tuple[Any, Any]:
        poller = zmq.Poller()
        dialled: dict[Any, tuple[str, Any]] = {}  # monitor -> (address, socket)
        reasons = dict.fromkeys(addresses, "no connection")
        for address in addresses:
            sock = self._context.socket(zmq.DEALER)
            _set_options(sock, self._max_frame_bytes)
            sock.setsockopt(zmq.IPV6, int(":" in address))
            sock.reconnect_ivl = 100
            sock.reconnect_ivl_max = 5000
            sock.setsockopt(zmq.HEARTBEAT_IVL, int(LINK_SILENCE_S * 1000 / 3))
            sock.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(LINK_SILENCE_S * 1000))
            if self._keys[0]:
                sock.curve_serverkey, sock.curve_publickey, sock.curve_secretkey = (k.encode() for k in self._keys)
            monitor = sock.get_monitor_socket()
            monitor.linger = 0
            try:
                sock.connect(endpoint(address, port))
            except zmq.ZMQError as error:
                reasons[address] = str(error.strerror)
                sock.close(0)
                continue
            dialled[monitor] = (address, sock)
            poller.register(monitor, zmq.POLLIN)
        deadline_s = time.monotonic() + timeout_s
        while dialled and (left_s := deadline_s - time.monotonic()) > 0:
            for monitor, _ in poller.poll(int(left_s * 1000) + 1):
                address, sock = dialled[monitor]
                event, value = _event(monitor.recv_multipart(_NOBLOCK))
                if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    for other_monitor, (_, other) in dialled.items():
                        if other is not sock:
                            other.disable_monitor()
                            other_monitor.close(0)
                            other.close(0)
                    self.address = address
                    self._connected = True
                    return sock, monitor
                reasons[address] = _reason(event, value) or reasons[address]
        listed = "; ".join(f"{address}: {reason}" for address, reason in reasons.items())
        raise ConnectionError(f"the interchange did not answer on port {port} within {timeout_s:g} s. {listed}")

    def fileno(self) -> int:
        """Becomes readable when something new has come; see `has_input`."""
        return self._selector.fileno()

    def has_input(self) -> bool:
        """Whether there is something to `receive`; to be asked after having sent something, before sleeping in poll."""
        return _has_input(self._socket)

    def receive(self, limit: int = 256) -> list[tuple[Message, bytes]]:
        """Messages that have come: (message, payload); empty when there are none left."""
        self._listen()
        found: list[tuple[Message, bytes]] = []
        receive, getsockopt, more = self._socket.recv, self._socket.getsockopt, zmq.RCVMORE
        while len(found) < limit:
            try:
                frame: Any = receive(_NOBLOCK, copy=False)
            except zmq.Again:
                break
            payload = b""
            extra = 0
            if frame.more:
                payload = receive(_NOBLOCK)
                while getsockopt(more):
                    receive(_NOBLOCK)
                    extra += 1
            try:
                message = _message(frame.bytes, payload, extra, TO_MANAGER)
            except BadMessage as error:
                self._problems.add("bad", f"the interchange sent {error}; it was ignored")
                continue
            found.append((message, payload))
        return found

    def _listen(self) -> None:
        while True:
            try:
                parts = self._monitor.recv_multipart(_NOBLOCK)
            except zmq.Again:
                return
            event, _ = _event(parts)
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._connected = True

    def reconnected(self) -> bool:
        """Whether there is a new connection since this was last asked, the first one included: the manager must register (again)."""
        self._listen()
        answer, self._connected = self._connected, False
        return answer

    def send(self, message: Message, payload: bytes = b"") -> bool:
        """Sends, or keeps until there is room (`flush`)."""
        parts = (encode(message, len(payload)), payload)
        peer = self._peer
        if peer.control or peer.bulk or not self._send(parts):
            peer.put(message, parts)
        return True

    def flush(self) -> None:
        """Sends what has waited for room."""
        peer = self._peer
        while (peer.control or peer.bulk) and self._send(peer.first()):
            peer.pop()

    def backlog_bytes(self) -> int:
        """Bytes that wait for room."""
        return self._peer.bytes

    def _send(self, parts: tuple[bytes, bytes]) -> bool:
        send = self._socket.send
        try:
            send(parts[0], _MORE if parts[1] else _NOBLOCK)
        except zmq.Again:
            return False
        if parts[1]:
            send(parts[1], _NOBLOCK)
        return True

    @property
    def problems(self) -> list[str]:
        """Sentences for the log; whoever reads them clears the list."""
        return self._problems.sentences

    def close(self, linger_s: float = LINGER_S) -> None:
        """Sends what is left, for as long as that, and ends."""
        if not self._context.closed:
            self._selector.close()
            self._context.destroy(linger=int(linger_s * 1000))


def _message(data: bytes, payload: bytes, extra: int, expected: Collection[type[Message]]) -> Message:
    """The message of the parts that came; ``extra``: how many there were beyond two.

    Raises:
        BadMessage: it is none.
    """
    if extra:
        raise BadMessage(f"a message of {2 + extra} parts")
    message = decode(data, expected)
    if PREFIX.unpack_from(data)[5] != len(payload):
        raise BadMessage(f"a payload of {len(payload)} bytes, which are not those announced")
    return message


def _refuse_open_addresses(addresses: Sequence[str]) -> None:
    reachable = [address for address in addresses if not is_loopback(address)]
    if reachable:
        raise ConfigurationError(
            f"encrypted=False, address {', '.join(reachable)}: without encryption anyone who reaches that address could run code as you; "
            "leave encryption on, or use a loopback address"
        )


def _set_options(sock: Any, max_frame_bytes: int) -> None:
    sock.linger = int(LINGER_S * 1000)
    sock.sndhwm = sock.rcvhwm = LINK_MESSAGES
    sock.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes + _OVERHEAD)
    sock.setsockopt(zmq.HANDSHAKE_IVL, int(HANDSHAKE_S * 1000))
    sock.setsockopt(zmq.TCP_KEEPALIVE, 1)
    sock.setsockopt(zmq.TCP_KEEPALIVE_IDLE, int(LINK_SILENCE_S))
    sock.setsockopt(zmq.TCP_KEEPALIVE_INTVL, max(1, int(LINK_SILENCE_S / 3)))
    sock.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)


def _has_input(sock: Any) -> bool:
    return bool(sock.getsockopt(zmq.EVENTS) & zmq.POLLIN)


def _event(parts: list[bytes]) -> tuple[int, int]:
    event, value = _EVENT.unpack(parts[0])
    return event, value


def _reason(event: int, value: int) -> str:
    if event == zmq.EVENT_CONNECTED:
        return "connected, but no answer"
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return f"the interchange refused our key ({value})"
    if event in {zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL}:
        return "whoever listens there is not this run's interchange, or does not use our keys"
    return ""
