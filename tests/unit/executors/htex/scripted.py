"""An interchange that does what a test tells it to, on a real link, and managers that it serves."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

from plait.executors.htex import messages as m
from plait.executors.htex.link import Router, new_keys
from plait.executors.htex.settings import ManagerSettings
from plait.serialize import FunctionBlob, dump_plain, load_error, loads
from tests.support import SRC, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_S = 20.0


def settings(**changes: Any) -> ManagerSettings:
    """What a manager is told."""
    return ManagerSettings(
        **{
            "label": "htex", "run_id": "run", "block": "7", "addresses": ["127.0.0.1"], "port": 1, "server_public": "", "public": "",
            "secret": "", "probe_timeout_s": 10.0, "max_workers": 2, "cores_per_worker": 0.1, "mem_per_worker_gb": None, "cpu_affinity": "none",
            "accelerators": [], "prefetch": 0, "drain_after_s": None, "walltime_s": None, "path": list(sys.path), "cwd": os.getcwd(),
            "log_dir": "", **changes,
        }
    )  # fmt: skip


class Interchange:
    """The script's side. Nothing happens by itself, except that heartbeats are answered and outcomes acknowledged."""

    def __init__(self, *, encrypted: bool = True, threshold_s: float = 20.0, period_s: float = 0.5) -> None:
        self.server = new_keys() if encrypted else ("", "")
        self.block = new_keys() if encrypted else ("", "")
        self.period_s, self.threshold_s = period_s, threshold_s
        self.epoch = "first"
        self.answers = True  # heartbeats, registrations
        self.ahead_s = 0.0  # by which its clock is ahead of ours
        self.heard_s = 0.0
        self.acknowledges = True
        self.conn: bytes = b""
        self.registers: list[m.Register] = []
        self.got: list[m.Message] = []  # everything but outcomes and heartbeats
        self.items: list[m.OutcomeItem] = []
        self.seqs: list[int] = []
        self.big: dict[int, bytearray] = {}
        self.functions: dict[Any, int] = {}
        self.beats = 0
        self.next_task = 0
        self.port = 0
        self.open()

    def open(self) -> None:
        """Listens; after `close` a new life on the same port."""
        public, secret = self.server
        self.router = Router(["127.0.0.1"], self.port or None, (20000, 60000), secret, public)
        self.port = self.router.port
        if secret:
            self.router.allow("7", self.block[0])

    def close(self) -> None:
        self.router.close(0)

    def now_s(self) -> float:
        return time.monotonic() + self.ahead_s

    def settings(self, **changes: Any) -> ManagerSettings:
        public, secret = self.block
        return settings(port=self.port, server_public=self.server[0], public=public, secret=secret, **changes)

    # ------------------------------------------------------------------ in
    def pump(self) -> None:
        """Takes what has come."""
        self.router.flush()
        for conn, block, message, payload in self.router.receive():
            self.heard_s = self.now_s()
            assert block in {"7", ""}
            self._take(conn, message, payload)

    def _take(self, conn: bytes, message: m.Message, payload: bytes) -> None:
        if isinstance(message, m.Heartbeat):
            self.beats += 1
            if self.answers:
                self.router.send(conn, m.Heartbeat(message.sent_s, self.now_s()))
        elif isinstance(message, m.Register):
            self.conn = conn
            self.registers.append(message)
            if self.answers:
                self.welcome()
        elif isinstance(message, m.Outcomes):
            self.items += message.items
            self._acknowledge(message.seq)
        elif isinstance(message, m.BigOutcome):
            self.items.append(message.item)
            self.got.append(message)
            self.big[message.item[0]] = bytearray()
            self.send(m.ChunkTaken(message.item[0], message.item[1], 0))
            self._acknowledge(message.seq, also=False)
        elif isinstance(message, m.Chunk):
            area = self.big[message.task]
            assert message.offset == len(area)
            area += payload
            self.send(m.ChunkTaken(message.task, message.attempt, len(area)))
        else:
            self.got.append(message)

    def _acknowledge(self, seq: int, *, also: bool = True) -> None:
        self.seqs.append(seq)
        if self.acknowledges and also:
            self.router.send(self.conn, m.Taken(seq))  # it may be gone by now

    def until(self, condition: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
        """Serves until that is so."""

        def look() -> Any:
            self.pump()
            return condition()

        return wait_until(look, timeout_s, lambda: (self.got, self.items, self.registers))

    def message(self, kind: type, timeout_s: float = WAIT_S) -> Any:
        """The next message of that kind, which is taken out."""
        return self.until(lambda: self._find(kind), timeout_s)

    def _find(self, kind: type) -> Any:
        for each in self.got:
            if isinstance(each, kind):
                self.got.remove(each)
                return each
        return None

    def registered(self, count: int = 1) -> m.Register:
        self.until(lambda: len(self.registers) >= count)
        return self.registers[count - 1]

    def outcomes(self, count: int) -> list[m.OutcomeItem]:
        """The next so many outcomes, which are taken out."""
        self.until(lambda: len(self.items) >= count)
        found, self.items = self.items[:count], self.items[count:]
        return found

    def results(self, count: int) -> dict[int, Any]:
        """Of the next so many outcomes: task -> result, or error."""
        return {item[0]: value_of(item) for item in self.outcomes(count)}

    # ------------------------------------------------------------------ out
    def send(self, message: m.Message, payload: bytes = b"") -> None:
        assert self.router.send(self.conn, message, payload)

    def welcome(self) -> None:
        self.send(m.Welcome(self.epoch, self.period_s, self.threshold_s, self.now_s()))

    def function(self, function: Callable[..., Any]) -> int:
        """Sends a function unless it was sent; its number."""
        blob = FunctionBlob(function)
        number = self.functions.setdefault(blob.digest, len(self.functions))
        self.send(m.Function(number), blob.data)
        return number

    def run(
        self, function: Callable[..., Any], *calls: tuple[Any, ...], grant: m.Grant | None = None, attempt: int = 1
    ) -> list[int]:
        """Sends tasks, one for each tuple of arguments; their numbers."""
        number = self.function(function)
        items = []
        for arguments in calls:
            items.append((self.next_task, attempt, number, dump_plain((arguments, {})), None, grant))
            self.next_task += 1
        self.send(m.Tasks(items))
        return [item[0] for item in items]


def value_of(item: m.OutcomeItem) -> Any:
    """What the driver would make of it."""
    _, _, status, payload, *_ = item
    if status == m.DONE:
        return loads(payload)
    if status == m.RAISED:
        return load_error(payload)
    return status, msgspec.msgpack.decode(payload)


class Manager:
    """A manager as a process."""

    def __init__(self, settings: ManagerSettings, env: dict[str, str] | None = None) -> None:
        self.errors = open("errors.txt", "ab+", buffering=0)  # noqa: SIM115 - closed by close
        self.process = subprocess.Popen(
            [sys.executable, "-m", "plait.executors.htex.manager", "-"],
            stdin=subprocess.PIPE,
            stdout=self.errors,
            stderr=self.errors,
            env={**os.environ, "PYTHONPATH": str(SRC.parent), **(env or {})},
        )
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(settings))
        self.process.stdin.close()
        self.pid = self.process.pid

    def text(self) -> str:
        """What it said on standard error."""
        self.errors.seek(0)
        return self.errors.read().decode()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.errors.close()


@contextlib.contextmanager
def serving(interchange: Interchange, **changes: Any) -> Iterator[Manager]:
    """A manager that the interchange has welcomed."""
    manager = Manager(interchange.settings(**changes))
    try:
        interchange.until(lambda: interchange.registers or manager.process.poll() is not None)
        assert interchange.registers, manager.text()
        yield manager
    finally:
        manager.close()


def ended(interchange: Interchange, manager: Manager, timeout_s: float = WAIT_S) -> int:
    """Serves until the manager ended; its exit status."""
    interchange.until(lambda: manager.process.poll() is not None, timeout_s)
    return int(manager.process.returncode)


@contextlib.contextmanager
def in_background(interchange: Interchange) -> Iterator[None]:
    """Serves in a thread."""
    over = threading.Event()

    def serve() -> None:
        while not over.wait(0.001):
            interchange.pump()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
