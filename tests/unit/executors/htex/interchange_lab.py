"""A real interchange process between a driver and managers that a test plays."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from plait.executors.htex import messages as m
from plait.executors.htex.link import Dealer, new_keys
from plait.executors.htex.settings import InterchangeSettings
from plait.executors.htex.stream import Stream, socket_pair
from tests.support import ROOT, wait_until

if TYPE_CHECKING:
    from plait.executors.htex.messages import Message

M = TypeVar("M", bound=m.Message)


class Player:
    """Something that takes messages and remembers them."""

    def __init__(self) -> None:
        self.messages: list[tuple[Message, bytes, list[int]]] = []

    def take(self) -> None:
        raise NotImplementedError

    def all(self, kind: type[M]) -> list[M]:
        self.take()
        return [message for message, _, _ in self.messages if isinstance(message, kind)]

    def wait(self, kind: type[M], count: int = 1, timeout_s: float = 10.0) -> M:
        """The count-th message of a kind."""
        wait_until(
            lambda: len(self.all(kind)) >= count, timeout_s, lambda: [type(x[0]).__name__ for x in self.messages]
        )
        return self.all(kind)[count - 1]

    def payload(self, message: Message) -> bytes:
        return next(payload for each, payload, _ in self.messages if each is message)

    def files(self, message: Message) -> list[int]:
        return next(fds for each, _, fds in self.messages if each is message)


class Lab(Player):
    """The driver, and whom it started."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.public, self.secret = new_keys()
        self.settings = InterchangeSettings(
            label="lab", run_id="run", bind=["127.0.0.1"], port=None, port_range=(20000, 60000), server_public=self.public,
            server_secret=self.secret, heartbeat_period_s=1.0, heartbeat_threshold_s=5.0, cores_per_worker=1.0, memory_per_worker=0,
            policy=b"", packs=False, expected=[], epoch="epoch-1",
        )  # fmt: skip
        self.settings = msgspec.structs.replace(self.settings, **changes)
        ours, theirs = socket_pair()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "plait.executors.htex.interchange", str(theirs.fileno())],
            pass_fds=[theirs.fileno()], stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        theirs.close()
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(self.settings))
        self.process.stdin.close()
        self.stream = Stream(ours, m.TO_DRIVER)
        self.managers: list[Manager] = []
        self.gone = False

    def take(self) -> None:
        self.stream.flush()
        frames = None if self.gone else self.stream.receive()
        if frames is None:
            self.gone = True
        else:
            self.messages += frames

    def send(self, message: Message, payload: bytes = b"", fds: tuple[int, ...] = ()) -> None:
        self.stream.send(message, payload, fds)

    def manager(self, name: str, block: str = "b0", keys: tuple[str, str] | None = None, **facts: Any) -> Manager:
        """A manager that has connected; its block's key is allowed first."""
        listening = self.wait(m.Listening)
        if keys is None:
            keys = new_keys() if self.public else ("", "")
            if self.public:
                self.send(m.Allow(block, keys[0]))
        manager = Manager(name, block, Dealer(listening.addresses, listening.port, self.public, *keys, 10.0), **facts)
        manager.keys = keys
        self.managers.append(manager)
        return manager

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def close(self) -> None:
        for manager in self.managers:
            manager.dealer.close(0)
        for _, _, fds in self.messages:
            for fd in fds:
                os.close(fd)
        self.stream.close()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stderr is not None
            self.process.stderr.close()


class Manager(Player):
    """A manager without workers: it does what the test says."""

    def __init__(self, name: str, block: str, dealer: Dealer, workers: int = 2, **facts: Any) -> None:
        super().__init__()
        self.dealer = dealer
        self.keys = ("", "")
        self.seq = 0
        version = ".".join(str(n) for n in sys.version_info[:3])
        self.register = m.Register(
            manager=name, block=block, hostname="node", pid=1, boot="boot", protocol=m.PROTOCOL, plait="0.1.0", python=version, workers=workers,
            cores=float(workers), memory_bytes=0, disk_bytes=0, gpus=[], walltime_left_s=None, prefetch=0, draining=False, holds=[], finished=[],
        )  # fmt: skip
        self.register = msgspec.structs.replace(self.register, **facts)

    def take(self) -> None:
        self.dealer.flush()
        while True:
            found = self.dealer.receive()
            self.messages += [(message, payload, []) for message, payload in found]
            if not found:
                return

    def send(self, message: Message, payload: bytes = b"") -> None:
        self.dealer.send(message, payload)

    def registered(self, **facts: Any) -> Manager:
        """Registers and waits for the welcome."""
        count = len(self.all(m.Welcome)) + 1
        self.send(msgspec.structs.replace(self.register, **facts))
        self.wait(m.Welcome, count)
        return self

    def tasks(self) -> list[m.SentTask]:
        return [item for message in self.all(m.Tasks) for item in message.items]

    def finish(self, *items: m.AttemptId, payload: bytes = b"result", status: int = m.DONE) -> int:
        """Says that attempts ended; the number of the message."""
        self.seq += 1
        self.send(m.Outcomes(self.seq, [(task, attempt, status, payload, 1.0, 1.001, 0) for task, attempt in items]))
        return self.seq
