"""Time, as one object that can be replaced in tests and in simulation."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What plait asks about time; both in seconds."""

    def monotonic(self) -> float:
        """Time for durations and deadlines: never jumps."""
        ...

    def wall_time(self) -> float:
        """Time for people: seconds since 1970."""
        ...


class SystemClock:
    """The clock of this machine."""

    monotonic = staticmethod(time.monotonic)
    wall_time = staticmethod(time.time)
