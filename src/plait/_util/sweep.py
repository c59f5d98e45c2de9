"""Killing everything below a process, faster than it can start more.

What starts a copy of itself and ends, over and over, is always one step ahead of who lists all processes, and then kills those that were listed.
Here the list is the expensive part only once. After that a look is at numbers that were not there before, and each is killed the moment
it is seen to belong. The kernel does not finish a fork of a process that has been sent SIGKILL, so a look that finds nothing new is the last.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Final

from plait._util import procs

if TYPE_CHECKING:
    from collections.abc import Collection

_OURS: Final = "ours"
_SPARED: Final = "spared"
_FOREIGN: Final = "foreign"


def kill_below(root: int, spare: Collection[int] = (), within_s: float = procs.KILL_S) -> bool:
    """Kills all descendants of a process, which must be the subreaper of what is below it, and stay.

    Args:
        root: number of the process.
        spare: processes to leave in peace with all below them.
        within_s: when to give up.

    Returns:
        Whether the last look found nothing new.
    """
    sweep = _Sweep(root, spare)
    deadline_s = time.monotonic() + within_s
    while sweep.look():
        if time.monotonic() >= deadline_s:
            return False
    return True


class _Sweep:
    """What is known of processes: whether they descend from the root, by number."""

    def __init__(self, root: int, spare: Collection[int]) -> None:
        self._fixed = {0: _FOREIGN, 1: _FOREIGN, **dict.fromkeys(spare, _SPARED), root: _OURS}
        self._sides: dict[int, str] = dict(self._fixed)

    def look(self) -> int:
        """Kills what has come since the last look; how many, and how many are not understood yet."""
        pids = procs.numbers()
        self._sides = self._fixed | {pid: self._sides[pid] for pid in pids if pid in self._sides}
        return sum(self._is_news(pid) for pid in pids if pid not in self._sides)

    def _is_news(self, pid: int) -> bool:
        """Finds the side of a process, its parents' before it, and kills it if it is ours. False when there was nothing to be done or learned."""
        process = procs.look(pid)
        if process is None:
            return True  # it has ended, and may have left another
        if process.parent not in self._sides:
            self._is_news(process.parent)
        side = self._sides.get(process.parent)
        if (
            side is None
        ):  # its parent has ended, and it has another now; or its parent cannot be seen by us, and is none of ours
            now = procs.look(pid)
            if now is not None and now.parent != process.parent:
                return True
            side = _FOREIGN
        self._sides[pid] = side
        if side != _OURS or not process.is_alive:
            return False
        procs.signal_all((pid,), signal.SIGKILL)
        return True
