"""Attempts that were cancelled but may still run: what they were granted is not free before they are gone."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

from plait.executors.htex.messages import Cancel
from plait.limits import GRACE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.executors.htex.messages import AttemptId
    from plait.executors.htex.nodes import ManagerState
    from plait.executors.htex.state import State

#: Seconds after which a cancelled task's resources are free even if its manager did not say so.
GHOST_S: Final = 60.0
#: Seconds in which a manager kills what was cancelled.
KILL_S: Final = GRACE_S + 1.0
#: No attempt.
_NONE: Final = (-1, -1)


class Ghosts:
    """Cancelled attempts with resources.

    Args:
        state: the tables.
        changed: is told of a manager that may have more room.
    """

    __slots__ = ("_changed", "_due", "_state", "_ties")

    def __init__(self, state: State, changed: Callable[[ManagerState, float], None]) -> None:
        self._state = state
        self._changed = changed
        self._due: list[tuple[float, int, ManagerState, AttemptId]] = []
        self._ties = 0

    def add(self, manager: ManagerState, attempt: AttemptId, now_s: float) -> None:
        """A task that was granted something was cancelled: it is gone when its manager says so, or after a while."""
        self._push(now_s + GHOST_S, manager, attempt)

    def plain(self, manager: ManagerState, now_s: float) -> None:
        """Plain tasks were cancelled there. When they have ended is not said, so nobody gets the whole node for as long as killing takes."""
        manager.kills_s = now_s + KILL_S
        self._push(manager.kills_s, manager, _NONE)

    def reconnected(self, manager: ManagerState, now_s: float) -> None:
        """A manager is back: that its ghosts are gone may have been said over the connection that broke."""
        for attempt in manager.ghosts:
            self._push(now_s + KILL_S, manager, attempt)

    def unknown(self, manager: ManagerState, now_s: float) -> None:
        """Something may still be ended there of which nothing is known."""
        manager.settles_s = now_s + KILL_S
        self._push(manager.settles_s, manager, _NONE)

    def cancel_unknown(self, manager: ManagerState, attempts: list[AttemptId], now_s: float) -> None:
        """A manager has attempts that nobody wants, and what they were granted is not known."""
        if attempts:
            self._state.out.append((manager.conn, Cancel(attempts), b""))
            self.unknown(manager, now_s)

    def lay(self, manager: ManagerState, attempt: AttemptId, now_s: float) -> bool:
        """A manager says that an attempt is gone; False if it was none of these."""
        granted = manager.ghosts.pop(attempt, None)
        if granted is None:
            return False
        self._state.give_back(manager, granted)
        self._changed(manager, now_s)
        return True

    def tick(self, now_s: float) -> None:
        """Time has passed."""
        due = self._due
        while due and due[0][0] <= now_s:
            _, _, manager, attempt = heapq.heappop(due)
            if not manager.gone and not self.lay(manager, attempt, now_s):
                self._changed(manager, now_s)

    def next_s(self) -> float:
        """When the next one is due."""
        return self._due[0][0] if self._due else math.inf

    def _push(self, due_s: float, manager: ManagerState, attempt: AttemptId) -> None:
        self._ties += 1
        heapq.heappush(self._due, (due_s, self._ties, manager, attempt))
