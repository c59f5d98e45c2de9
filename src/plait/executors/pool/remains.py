"""What is left of a pool whose zygote was killed.

While the zygote lives it finds everything below it, however it hides. When it is killed itself, its workers die with it (`die_with_parent`),
but what tasks started and detached becomes a child of somebody else. It is found by a mark in the environment, which everything inherits.
What a task started with an environment made anew does not carry it.
"""

from __future__ import annotations

import signal
import time
from typing import Final

from plait._util import procs
from plait._util.marks import bearers
from plait.executors.pool.egg import MARK

_KILL_S: Final = 2.0
#: Seconds between two looks at who is left.
_LOOK_S: Final = 0.02


def end_marked(mark: str, within_s: float = _KILL_S, grace_s: float = 0.0) -> list[int]:
    """Kills all processes with that mark, again and again until none is left; those that are left after the time, usually none.

    Args:
        mark: what they have in their environment.
        within_s: seconds in which they have to be gone.
        grace_s: seconds that they have after a SIGTERM, before that.
    """
    marks = {f"{MARK}={mark}".encode()}
    if grace_s > 0 and (found := list(bearers(marks))):
        procs.signal_all(found, signal.SIGTERM)
        deadline_s = time.monotonic() + grace_s
        while any(bearers(marks)) and time.monotonic() < deadline_s:
            time.sleep(_LOOK_S)
    deadline_s = time.monotonic() + within_s
    while True:
        found = []
        for pid in bearers(marks):
            procs.signal_all((pid,), signal.SIGKILL)
            found.append(pid)
        if not found or time.monotonic() >= deadline_s:
            return found
        time.sleep(0.001)
