"""What is left of a pool whose zygote was killed.

While the zygote lives it finds everything below it, however it hides. When it is killed itself, its workers die with it (`die_with_parent`),
but what tasks started and detached becomes a child of somebody else. It is found by a mark in the environment, which everything inherits.
What a task started with an environment made anew does not carry it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Final

from plait._util import procs
from plait.executors.pool.egg import MARK

_KILL_S: Final = 2.0


def end_marked(mark: str, within_s: float = _KILL_S) -> list[int]:
    """Kills all processes with that mark, again and again until none is left; those that are left after the time, usually none."""
    wanted = f"{MARK}={mark}".encode()
    deadline_s = time.monotonic() + within_s
    while True:
        found = [pid for pid in _pids() if wanted in _environment(pid)]
        if not found or time.monotonic() >= deadline_s:
            return found
        procs.signal_all(found, signal.SIGKILL)
        time.sleep(0.001)


def _pids() -> list[int]:
    me = os.getpid()
    return (
        [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != me]
        if sys.platform == "linux"
        else []
    )


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []  # gone, or of another user
