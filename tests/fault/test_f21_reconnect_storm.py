"""F21: the interchange is started again, and hundreds of managers come back at one moment: nothing is lost, nothing comes twice."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest
import zmq

from plait.executors.htex import messages as m
from plait.executors.htex.link import new_keys
from plait.executors.htex.wire import decode, encode
from tests.support import wait_until
from tests.unit.executors.htex.interchange_lab import Lab
from tests.unit.executors.htex.link_lab import register

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 200
KEYS = new_keys()


class Crowd:
    """Managers without workers, all in this thread, on plain sockets that dial again by themselves."""

    def __init__(self, lab: Lab) -> None:
        self.held: list[list[m.AttemptId]] = [[] for _ in range(COUNT)]
        self.finished: list[list[m.AttemptId]] = [[] for _ in range(COUNT)]
        self.welcomed: set[int] = set()
        self._asked_s = 0.0
        self._nth = 0
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._sockets: list[zmq.Socket] = []
        port = lab.wait(m.Listening).port
        for _ in range(COUNT):
            sock = self._context.socket(zmq.DEALER)
            sock.linger = 0
            sock.reconnect_ivl = 20
            sock.curve_publickey, sock.curve_secretkey = (key.encode() for key in KEYS)
            sock.curve_serverkey = lab.public.encode()
            sock.connect(f"tcp://127.0.0.1:{port}")
            self._poller.register(sock, zmq.POLLIN)
            self._sockets.append(sock)

    def register(self) -> None:
        """Those who are not welcome yet say who they are and what they have."""
        self._asked_s = time.monotonic()
        self._nth += 1
        python = ".".join(map(str, sys.version_info[:3]))
        for number, finished in enumerate(self.finished):
            if number in self.welcomed:
                continue
            holds = [item for item in self.held[number] if item not in finished]
            self.send(
                number, register("b0", f"m{number}", python=python, holds=holds, finished=finished, nth=self._nth)
            )

    def all_welcome(self) -> bool:
        """Whether all are; what was said over a connection that had ended is said again."""
        if time.monotonic() > self._asked_s + 3.0:
            self.register()
        return len(self.welcomed) == COUNT

    def send(self, number: int, message: m.Message) -> None:
        self._sockets[number].send(encode(message))

    def pump(self) -> None:
        """Takes what came."""
        for sock, _ in self._poller.poll(0):
            number = self._sockets.index(sock)
            message = decode(sock.recv_multipart()[0], m.TO_MANAGER)
            if isinstance(message, m.Welcome):
                self.welcomed.add(number)
            elif isinstance(message, m.Tasks):
                self.held[number] += [(item[0], item[1]) for item in message.items]

    def until(self, cond: Callable[[], bool], lab: Lab) -> None:
        """Waits for a fact while all of them work."""

        def holds() -> bool:
            self.pump()
            lab.take()
            return cond()

        wait_until(holds, 60, lambda: (len(self.welcomed), len(lab.messages)))

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def labs():
    made: list[Lab] = []

    def start(**changes) -> Lab:
        made.append(Lab(heartbeat_threshold_s=60.0, **changes))
        made[-1].send(m.Allow("b0", KEYS[0]))
        return made[-1]

    yield start
    for lab in made:
        lab.close()


def delivered(lab: Lab) -> list[m.AttemptId]:
    return [(item[0], item[1]) for message in lab.all(m.Delivered) for item in message.items]


def test_nothing_is_lost_and_nothing_comes_twice(labs):
    lab = labs()
    crowd = Crowd(lab)
    try:
        crowd.register()
        crowd.until(crowd.all_welcome, lab)
        lab.send(m.Function(1), b"function")
        lab.send(m.Offer([(number, 1, 1, b"arguments", None, None) for number in range(1, 2 * COUNT + 1)]))
        crowd.until(lambda: sum(map(len, crowd.held)) == 2 * COUNT, lab)
        placed = [list(items) for items in crowd.held]
        everything = sorted(item for items in placed for item in items)
        assert len(set(everything)) == 2 * COUNT

        lab.process.kill()
        lab.process.wait()
        crowd.finished = [items[:1] for items in placed]  # they ended while nobody could be told
        crowd.welcomed.clear()
        crowd.register()
        again = labs(
            port=lab.wait(m.Listening).port, server_public=lab.public, server_secret=lab.secret, epoch="epoch-2",
            expected=[f"m{number}" for number in range(COUNT)],
        )  # fmt: skip
        again.send(m.Function(1), b"function")
        for number, items in enumerate(placed):
            offered = [(task, attempt, 1, b"arguments", None, None) for task, attempt in items]
            again.send(m.OfferAgain(f"m{number}", offered))
        crowd.until(crowd.all_welcome, again)
        for number, items in enumerate(placed):
            for seq, (task, attempt) in enumerate(items, 1):
                crowd.send(number, m.Outcomes(seq, [(task, attempt, m.DONE, b"result", 1.0, 1.001, 0)]))
        crowd.until(lambda: len(delivered(again)) >= 2 * COUNT, again)
        again.send(m.Query(1, "queue"))
        again.wait(m.Answer)
        assert sorted(delivered(again)) == everything
        assert crowd.held == placed  # nothing was sent to anybody again
        assert again.all(m.Lost) == []
        assert len({message.manager for message in again.all(m.ManagerUp)}) == COUNT
    finally:
        crowd.close()
