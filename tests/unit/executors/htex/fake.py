"""A scripted interchange: runs what it is offered by itself, and misbehaves when it is told to.

``fake.py [mode …] fd``. Modes: ``die:N`` ends by SIGKILL after N outcomes, once for each file ``die-<n>`` that it can make in the
working directory; ``broken`` says that it cannot work; ``silent`` takes tasks and does nothing; ``exit`` ends at once; ``lose`` loses each
first attempt; ``announce`` likewise, announced; ``garbage`` sends nonsense; ``loud`` sends places instead of writing them down.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time

import msgspec

from plait.executors.htex import messages as m
from plait.executors.htex.places import Ring
from plait.executors.htex.settings import InterchangeSettings
from plait.executors.htex.stream import Stream
from plait.executors.pool.wire import Segments, dump_value, load_segments
from plait.serialize import dump_error, load_function, loads

MANAGER = "m1"


class Fake:
    def __init__(self, fd: int, modes: list[str]) -> None:
        self.settings = msgspec.json.decode(sys.stdin.buffer.read(), type=InterchangeSettings)
        self.stream = Stream(socket.socket(fileno=fd), m.FROM_DRIVER)
        self.modes = modes
        self.functions: dict[int, object] = {}
        self.waiting: dict[tuple[int, int], tuple] = {}
        self.seq = 0
        self.done = 0
        self.ring: Ring | None = None

    def send(self, message: m.Message, payload: bytes = b"", fds=()) -> None:
        self.stream.send(message, payload, fds)
        while self.stream.pending:
            select.select([], [self.stream], [])
            self.stream.flush()

    def note(self, text: str) -> None:
        with open("fake.log", "a", encoding="utf-8") as file:
            file.write(text + "\n")

    def run(self) -> None:
        self.note(f"start {' '.join(self.settings.expected)}".strip())
        if "exit" in self.modes:
            print("it does not want to", file=sys.stderr)
            sys.exit(3)
        if "broken" in self.modes:
            self.send(m.Broken("the port is taken"))
            return
        self.send(m.Listening(self.settings.epoch, self.settings.bind, self.settings.port or 54321))
        if "garbage" in self.modes and self.may("garbage"):
            os.write(self.stream.fileno(), b"\0" * 100)
        self.send(
            m.ManagerUp(
                MANAGER,
                "0",
                "fakehost",
                os.getpid(),
                2,
                2.0,
                1 << 30,
                1 << 40,
                [],
                "0",
                "3",
                bool(self.settings.expected),
            )
        )
        while True:
            select.select([self.stream], [], [])
            frames = self.stream.receive()
            if frames is None:
                return
            for message, payload, fds in frames:
                if isinstance(message, m.Stop):
                    return
                getattr(self, f"on_{type(message).__name__.lower()}", self.ignore)(message, payload, fds)

    def ignore(self, message, payload, fds) -> None:
        self.note(type(message).__name__)

    def on_function(self, message, payload, fds) -> None:
        self.functions[message.number] = load_function(payload)

    def on_places(self, message, payload, fds) -> None:
        if "loud" not in self.modes:
            self.ring = Ring(fds[0])

    def placed(self, ids) -> None:
        if self.ring is None or not self.ring.note(m.Placed(MANAGER, ids)):
            self.send(m.Placed(MANAGER, ids))

    def on_hold(self, message, payload, fds) -> None:
        self.note(f"Hold {message.name} {message.on}")

    def on_allow(self, message, payload, fds) -> None:
        self.note(f"Allow {message.block} {bool(message.public_key)}")

    def on_cancel(self, message, payload, fds) -> None:
        self.note(f"Cancel {message.items}")

    def on_query(self, message, payload, fds) -> None:
        if "mute" not in self.modes:
            self.send(m.Answer(message.number), json.dumps([{"what": message.what}]).encode())

    def on_offeragain(self, message, payload, fds) -> None:
        self.note(f"OfferAgain {message.manager} {[item[0] for item in message.items]}")
        self.on_offer(message, payload, fds)

    def on_offer(self, message, payload, fds) -> None:
        ids = [(item[0], item[1]) for item in message.items]
        if type(message) is m.Offer and "unplaced" not in self.modes:
            self.placed(ids)
        if "silent" in self.modes:
            return
        for mode in ("lose", "announce"):
            if mode in self.modes:
                first = [each for each in ids if each[1] == 1]
                self.send(m.Lost(MANAGER, "fakehost", "0", "silent for 3 s", mode == "announce", first))
                message = m.Offer([item for item in message.items if item[1] != 1])
        small = []
        for item in message.items:
            if item[4] is not None:
                self.waiting[item[0], item[1]] = item
                self.send(m.Pull([(item[0], item[1])]))
            else:
                outcome, segments = self.run_task(item, loads(item[3]))
                if segments is None:
                    small.append(outcome)
                else:
                    self.big(outcome, segments)
                self.after_task(small)
        self.tell(small)

    def on_data(self, message, payload, fds) -> None:
        item = self.waiting.pop((message.task, message.attempt))
        outcome, segments = self.run_task(item, load_segments(fds[0], item[4]))
        if segments is None:
            self.tell([outcome])
        else:
            self.big(outcome, segments)

    def run_task(self, item, call):
        start = time.monotonic()
        segments = None
        try:
            value = self.functions[item[2]](*call[0], **call[1])
            status, data = m.DONE, dump_value(value)
            if isinstance(data, Segments):
                segments, data = data, b""
        except BaseException as error:
            status, data = m.RAISED, dump_error(error)
        return (item[0], item[1], status, data, start, time.monotonic(), 0), segments

    def tell(self, items) -> None:
        if items:
            self.seq += 1
            self.send(m.Delivered(self.seq, MANAGER, list(items)))
            items.clear()

    def big(self, outcome, segments) -> None:
        self.seq += 1
        self.send(m.BigDelivered(self.seq, MANAGER, outcome, segments.sizes), b"", [segments.file()])

    def after_task(self, small) -> None:
        self.done += 1
        for mode in self.modes:
            if mode.startswith("die:") and self.done == int(mode[4:]) and self.may("die"):
                self.tell(small)
                os.kill(os.getpid(), signal.SIGKILL)

    def may(self, what: str) -> bool:
        """Whether it is to do so in this life: as often as there are files for it."""
        for name in sorted(os.listdir(".")):
            if name.startswith(f"{what}-"):
                os.unlink(name)
                return True
        return False


if __name__ == "__main__":
    Fake(int(sys.argv[-1]), sys.argv[1:-1]).run()
