"""Ends what is left on this node of tasks over whole nodes.

Their launchers start processes that are nobody's children here: those of `srun` belong to the batch system, those of an `mpiexec` elsewhere to a helper of
its own. When a launcher is killed, these may go on. All of them have a variable in their environment that names the attempt.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

#: The variable; its value is `mark_of`.
VARIABLE: Final = "PLAIT_GANG"
#: Times to look: what was found may have started others before it was ended.
_ROUNDS: Final = 5


def mark_of(run_id: str, label: str, task: int, attempt: int) -> str:
    """Names an attempt, unlike any other of this user's."""
    return f"{run_id}.{label}.{task}.{attempt}"


def sweep(marks: Collection[str]) -> int:
    """Kills this user's processes of these attempts; how many there were. Nothing where the system does not tell environments."""
    wanted = [f"{VARIABLE}={mark}\0".encode() for mark in marks]
    killed: set[int] = set()
    for _ in range(_ROUNDS):
        found = [pid for pid in _own_pids() if any(mark in _environ(pid) for mark in wanted)]
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            except OSError:
                pass  # it has ended
        if not found:
            break
    return len(killed)


def _own_pids() -> list[int]:
    me, uid = os.getpid(), os.getuid()
    pids = []
    try:
        entries = list(os.scandir("/proc"))
    except OSError:
        return []
    for entry in entries:
        if entry.name.isdecimal() and int(entry.name) != me:
            try:
                if entry.stat().st_uid == uid:
                    pids.append(int(entry.name))
            except OSError:
                continue
    return pids


def _environ(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""  # it has ended
