"""The gate: holds up calls while too many tasks are unfinished (``Config(max_pending=…)``).

Only threads of the program wait. A thread that brings outcomes, or runs a task, passes: what others wait for may depend on it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from plait._util.threads import is_ours

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds after which a waiting call looks by itself; it is woken when tasks end.
_LOOK_S: Final = 1.0


class Gate:
    """Counts what is unfinished, and lets calls through while there is room.

    Args:
        limit: how many tasks may be unfinished.
        unfinished: how many are.
    """

    def __init__(self, limit: int, unfinished: Callable[[], int]) -> None:
        self._limit = limit
        self._unfinished = unfinished
        self._condition = threading.Condition()
        self._waiting = 0
        self._open = False

    def wait(self) -> None:
        """Returns when there is room for a call."""
        if self._unfinished() < self._limit or is_ours():
            return
        with self._condition:
            self._waiting += 1
            try:
                while not self._open and self._unfinished() >= self._limit:
                    self._condition.wait(_LOOK_S)
            finally:
                self._waiting -= 1

    def look(self) -> None:
        """Some tasks ended."""
        if self._waiting:
            with self._condition:
                self._condition.notify_all()

    def open(self) -> None:
        """Nobody waits any longer: the run ends."""
        self._open = True
        self.look()
