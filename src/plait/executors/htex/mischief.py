"""Planned faults of a link, for tests: messages that are lost, come twice, overtake each other or come late.

A connection does none of this while it lasts; what is tried so is whether the protocol would stand it.

``PLAIT_FAULTS="link.drop.Outcomes:0.1,link.duplicate:0.05,link.reorder.Tasks:0.2,link.delay.Heartbeat:0.5,link.seed:7"``: an action, then
the kind of message (none: every kind), then how likely it is, or for ``delay`` the seconds. The same seed gives the same faults for the same messages.
"""

from __future__ import annotations

import heapq
import random
import socket
import threading
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from plait.executors.htex.messages import KINDS, Message
from plait.faults import fault

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

#: Seconds for which a message may be held back so that others overtake it.
REORDER_S: Final = 0.03
ACTIONS: Final = ("drop", "duplicate", "reorder", "delay")


class Plan:
    """Which faults are planned: (action, kind of message) -> argument."""

    __slots__ = ("_arguments", "seed")

    def __init__(self) -> None:
        self._arguments: dict[tuple[str, type[Message]], float] = {}
        self.seed = fault("link.seed") or "0"
        for action in ACTIONS:
            for kind in KINDS.values():
                argument = fault(f"link.{action}.{kind.__name__}") or fault(f"link.{action}")
                if argument:
                    self._arguments[action, kind] = float(argument)

    def __bool__(self) -> bool:
        return bool(self._arguments)

    def argument(self, action: str, kind: type[Message]) -> float:
        """How likely it is, or seconds; 0 when it is not planned."""
        return self._arguments.get((action, kind), 0.0)


class Mischief(Generic[T]):
    """Does to messages that came what is planned. Readable (`fileno`) when something that was held back is due.

    Args:
        plan: what is planned.
        end: a name of the end of the link, so that both ends do different things with one seed.
    """

    def __init__(self, plan: Plan, end: str) -> None:
        self._plan = plan
        self._random = random.Random(f"{plan.seed}/{end}")
        self._held: list[tuple[float, int, T]] = []
        self._number = 0
        self._timer: threading.Timer | None = None
        self._alarm, self._bell = socket.socketpair()
        self._alarm.setblocking(False)

    def fileno(self) -> int:
        """Becomes readable when something is due."""
        return self._alarm.fileno()

    def apply(self, came: Iterable[tuple[type[Message], T]], now_s: float) -> list[T]:
        """What comes out now, of what came and of what was held back."""
        found: list[T] = []
        for kind, item in came:
            late_s = self._plan.argument("delay", kind)
            if self._happens("drop", kind):
                continue
            if self._happens("reorder", kind):
                late_s += self._random.uniform(0.2, 1.0) * REORDER_S
            for _ in range(2 if self._happens("duplicate", kind) else 1):
                if late_s:
                    self._number += 1
                    heapq.heappush(self._held, (now_s + late_s, self._number, item))
                else:
                    found.append(item)
        while self._held and self._held[0][0] <= now_s:
            found.append(heapq.heappop(self._held)[2])
        self._set_alarm(now_s)
        return found

    def has_something_due(self, now_s: float) -> bool:
        """Whether `apply` would give something of what was held back."""
        return bool(self._held) and self._held[0][0] <= now_s

    def _happens(self, action: str, kind: type[Message]) -> bool:
        likely = self._plan.argument(action, kind)
        return bool(likely) and self._random.random() < likely

    def _set_alarm(self, now_s: float) -> None:
        try:
            while self._alarm.recv(64):
                pass
        except BlockingIOError:
            pass
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held:
            self._timer = threading.Timer(max(0.0, self._held[0][0] - now_s), self._bell.send, [b"x"])
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """Forgets what was held back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        self._alarm.close()
        self._bell.close()
