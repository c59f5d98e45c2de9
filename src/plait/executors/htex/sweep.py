"""Ends what is left on this node of tasks over whole nodes.

Their launchers start processes that are nobody's children here: those of `srun` belong to the batch system, those of an `mpiexec` elsewhere to a helper of
its own. When a launcher is killed, these may go on. All of them have a variable in their environment that names the attempt.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from plait._util import procs
from plait._util.marks import bearers

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
    wanted = {f"{VARIABLE}={mark}".encode() for mark in marks}
    killed: set[int] = set()
    for _ in range(_ROUNDS):
        found = False
        for pid in bearers(wanted) if wanted else ():
            found = True
            procs.signal_all((pid,), signal.SIGKILL)
            killed.add(pid)
        if not found:
            break
    return len(killed)
