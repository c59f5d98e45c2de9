"""Simulated time: things that are to happen, in order."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    #: What is to be called, with the time and its argument.
    Act = Callable[[float, Any], None]
    #: (when, tie, what, argument)
    Entry = tuple[float, int, Act, Any]

#: Entries of a drawer from which on drawers are made smaller, and the mean below which they are made larger.
_FULL: Final = 8192
_EMPTY: Final = 16
#: By which they are made smaller or larger.
_FACTOR: Final = 8
#: Drawers over which the mean is taken.
_ROUND: Final = 256


class Clock:
    """What is to happen, and when. Things of one moment happen in the order in which they were asked for, so a simulation is the same each time.

    What is far away lies unsorted in drawers, one for each stretch of time, and a drawer is sorted when its time comes; what is asked for after that goes to
    a heap, which stays small. One heap of a million entries, of which most are the ends of long tasks, would be out of the processor's cache at each step.

    Attributes:
        now_s: the time.
        events: how many things have happened.
        stopped: whether nothing more is to happen.
    """

    __slots__ = (
        "_drawers",
        "_near",
        "_numbers",
        "_open",
        "_opened",
        "_per_s",
        "_sorted",
        "_tie",
        "_total",
        "events",
        "now_s",
        "stopped",
    )

    def __init__(self) -> None:
        self.now_s = 0.0
        self.events = 0
        self.stopped = False
        self._tie = 0
        self._sorted: list[Entry] = []  # of the open drawer, the next one last
        self._near: list[Entry] = []  # heap of those that came after it was opened
        self._drawers: dict[int, list[Entry]] = {}
        self._numbers: list[int] = []  # heap of the drawers that there are
        self._open = 0  # the one that is open
        self._per_s = 1.0  # drawers in a second
        self._opened = self._total = 0  # drawers that were opened, and what was in them

    def at(self, when_s: float, act: Act, arg: Any = None) -> None:
        """Has ``act(when_s, arg)`` called then."""
        self._tie = tie = self._tie + 1
        number = int(when_s * self._per_s)
        if number <= self._open:
            heappush(self._near, (when_s, tie, act, arg))
        else:
            drawer = self._drawers.get(number)
            if drawer is None:
                self._drawers[number] = [(when_s, tie, act, arg)]
                heappush(self._numbers, number)
            else:
                drawer.append((when_s, tie, act, arg))

    def run(self) -> None:
        """Lets time pass until it is stopped, or nothing is left to happen."""
        count = 0
        near = self._near
        while not self.stopped and (near or self._sorted or self._next_drawer()):
            ordered = self._sorted
            while (ordered or near) and not self.stopped:
                if near and (not ordered or near[0] < ordered[-1]):
                    now_s, _, act, arg = heappop(near)
                else:
                    now_s, _, act, arg = ordered.pop()
                self.now_s = now_s
                count += 1
                act(now_s, arg)
        self.events += count

    def _next_drawer(self) -> bool:
        """Opens the next one; False when there is none."""
        if not self._numbers:
            return False
        if self._opened == _ROUND:
            if self._total < _EMPTY * _ROUND and len(self._numbers) > 1:
                self._arrange(self._per_s / _FACTOR)
            self._opened = self._total = 0
        number = self._numbers[0]
        entries = self._drawers[number]
        if len(entries) > _FULL and entries[0][0] != entries[-1][0]:
            self._arrange(self._per_s * _FACTOR)
            number = self._numbers[0]
        heappop(self._numbers)
        self._sorted = entries = self._drawers.pop(number)
        self._open = number
        self._opened += 1
        self._total += len(entries)
        entries.sort(reverse=True)
        return True

    def _arrange(self, per_s: float) -> None:
        """Puts everything into drawers of another size."""
        self._per_s = per_s
        drawers: dict[int, list[Entry]] = {}
        for entries in self._drawers.values():
            for entry in entries:
                drawers.setdefault(int(entry[0] * per_s), []).append(entry)
        self._drawers = drawers
        self._numbers = list(drawers)
        heapify(self._numbers)
