"""A router and dealers in the test's own process, all of them used by the test's thread."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import zmq

from plait.executors.htex import messages as m
from plait.executors.htex.link import Dealer, Router, endpoint, new_keys
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PORTS = (20000, 32000)  # below those that the system gives to others
HOST = "127.0.0.1"


class Net:
    """A router and what came to it, and the dealers and raw sockets of the test."""

    def __init__(self, *, encrypted: bool = True, bind: tuple[str, ...] = (HOST,), **options: Any) -> None:
        self.public, self.secret = new_keys() if encrypted else ("", "")
        self.bind = bind
        self.options = options
        self.keys: dict[str, tuple[str, str]] = {}
        self.got: list[tuple[bytes, str, m.Message, bytes]] = []
        self.dealers: list[Dealer] = []
        self.raw: list[tuple[zmq.Context, zmq.Socket]] = []
        self.router = self.listen(None)

    def listen(self, port: int | None) -> Router:
        """A router with this net's keys. It knows no blocks yet."""
        return Router(list(self.bind), port, PORTS, self.secret, self.public, **self.options)

    def restart(self, *, allow: bool = True) -> None:
        """The router ends, and another takes its place."""
        port = self.router.port
        self.router.close(0)
        wait_until(lambda: self._listen_again(port))
        for block, keys in self.keys.items() if allow else ():
            self.router.allow(block, keys[0])

    def _listen_again(self, port: int) -> bool:
        self.router = self.listen(port)
        return True

    def block(self, name: str = "b0") -> tuple[str, str]:
        """Keys of a block that may connect."""
        if not self.public:
            return "", ""
        if name not in self.keys:
            self.keys[name] = new_keys()
            self.router.allow(name, self.keys[name][0])
        return self.keys[name]

    def dealer(
        self,
        block: str = "b0",
        keys: tuple[str, str] | None = None,
        server: str | None = None,
        addresses: tuple[str, ...] = (HOST,),
        timeout_s: float = 10.0,
        **options: Any,
    ) -> Dealer:
        """A dealer that has connected; what its constructor raises is raised here."""
        keys = self.block(block) if keys is None else keys
        found: list[Any] = []

        def dial() -> None:
            try:
                found.append(
                    Dealer(
                        list(addresses),
                        self.router.port,
                        self.public if server is None else server,
                        *keys,
                        timeout_s,
                        **options,
                    )
                )
            except BaseException as error:
                found.append(error)

        thread = threading.Thread(target=dial)
        thread.start()
        try:
            wait_until(lambda: self.pump() or found, timeout_s + 10)
        finally:
            thread.join()
        if isinstance(found[0], BaseException):
            raise found[0]
        self.dealers.append(found[0])
        return found[0]

    def stranger(self, keys: tuple[str, str] | None = None, server: str | None = None, **options: Any) -> zmq.Socket:
        """A plain ZeroMQ socket that speaks to the router: with keys, or without any."""
        context = zmq.Context()
        sock = context.socket(zmq.DEALER)
        self.raw.append((context, sock))
        sock.linger = 0
        for name, value in options.items():
            setattr(sock, name, value)
        if keys is not None:
            sock.curve_publickey, sock.curve_secretkey = (key.encode() for key in keys)
            sock.curve_serverkey = (server or self.public).encode()
        sock.connect(endpoint(self.bind[0], self.router.port))
        return sock

    def pump(self) -> None:
        self.router.flush()
        while found := self.router.receive():
            self.got += found

    def until(self, cond: Callable[[], Any], timeout_s: float = 10.0) -> Any:
        """Waits for a fact while the router works."""

        def holds() -> Any:
            self.pump()
            return cond()

        return wait_until(holds, timeout_s, lambda: (self.router.counts, len(self.got)))

    def heard(self, number: float, timeout_s: float = 10.0) -> tuple[bytes, str]:
        """The connection and block from which a heartbeat with this number came."""
        return self.until(
            lambda: next(
                (each[:2] for each in self.got if isinstance(each[2], m.Heartbeat) and each[2].sent_s == number), None
            ),
            timeout_s,
        )

    def greet(self, dealer: Dealer, number: float) -> bytes:
        """The connection of a dealer, after it has said something."""
        dealer.reconnected()
        assert dealer.send(m.Heartbeat(number))
        return self.heard(number)[0]

    def hang_up(self) -> None:
        """Ends the plain sockets."""
        while self.raw:
            context, sock = self.raw.pop()
            sock.close(0)
            context.destroy(linger=0)

    def close(self) -> None:
        for dealer in self.dealers:
            dealer.close(0)
        self.hang_up()
        self.router.close(0)


@contextmanager
def net(**options: Any) -> Iterator[Net]:
    lab = Net(**options)
    try:
        yield lab
    finally:
        lab.close()


def take(dealer: Dealer, count: int, timeout_s: float = 10.0, pump: Callable[[], None] = lambda: None) -> list[Any]:
    """So many messages of a dealer."""
    found: list[Any] = []

    def enough() -> bool:
        pump()
        dealer.flush()
        found.extend(dealer.receive())
        return len(found) >= count

    wait_until(enough, timeout_s, lambda: (len(found), dealer.problems))
    return found


def register(block: str = "b0", name: str = "m1", **facts: Any) -> m.Register:
    values: dict[str, Any] = {
        "manager": name, "block": block, "hostname": "node", "pid": 1, "boot": "boot", "protocol": m.PROTOCOL, "plait": "0.1.0", "python": "3.11.7",
        "workers": 2, "cores": 2.0, "memory_bytes": 0, "disk_bytes": 0, "gpus": [], "walltime_left_s": None, "prefetch": 0, "draining": False,
        "holds": [], "finished": [],
    }  # fmt: skip
    return m.Register(**{**values, **facts})
