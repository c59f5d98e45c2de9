"""Processes by a mark in their environment, which everything that they start inherits, however it detaches itself (Linux).

What was started with an environment made anew does not carry it, and a program may write over the place where the system reads it.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final

from plait._util import procs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Seconds for which a process may be seen without an environment while it becomes another program.
EXEC_S: Final = 1.0
#: How many times processes that have come during a look are looked at too.
LOOKS: Final = 100

_HAS_PROC: Final = sys.platform == "linux"


def environ(pid: int) -> bytes:
    """The environment that a process was started with, each entry ended by a NUL; empty when there is none or it is not for us to see (Linux).

    A process that is just becoming another program has none for a moment: it is looked at again, for up to `EXEC_S`.
    """
    deadline_s = 0.0
    while True:
        try:
            found = _read_at_once(f"/proc/{pid}/environ")
            if found:
                return found
            facts = _read_at_once(f"/proc/{pid}/stat")
        except OSError:
            return b""  # gone, or of another user
        state, *fields = facts[facts.rindex(b")") + 2 :].split()
        memory, code, begin, end = (int(fields[number]) for number in (19, 22, 46, 47))
        is_whole = code != 0  # its address is written after those of the environment
        if state in b"ZX" or not memory or (is_whole and begin == end):
            return b""  # it has ended, is a thread of the kernel, or was given an empty environment
        now_s = time.monotonic()
        deadline_s = deadline_s or now_s + EXEC_S
        if now_s >= deadline_s:
            return b""
        time.sleep(0.0001)


def _read_at_once(path: str) -> bytes:
    """The content of a file of ``/proc``, by one call: what comes by several may be of two states, or be cut off where the first one ended."""
    size = 65536
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while len(data := os.pread(fd, size, 0)) == size:
            size *= 8
        return data
    finally:
        os.close(fd)


def carries(pid: int, marks: Iterable[bytes]) -> bool:
    """Whether a process has one of these entries, as ``NAME=value``, in the environment that it was started with (Linux).

    Bash, when it starts, has a NUL in place of each ``=`` for a moment.
    """
    entries = b"\0" + environ(pid).replace(b"=", b"\0")
    return any(b"\0" + mark.replace(b"=", b"\0") + b"\0" in entries for mark in marks)


def bearers(marks: Iterable[bytes], above: int = 0) -> Iterator[int]:
    """The processes that have one of these entries in their environment (Linux); others come after they are looked at, and are looked at too.

    So who ends each one as it is told ends those too that start another and end, over and over.

    Args:
        marks: whole entries, as ``NAME=value``.
        above: processes with lower numbers are passed over.
    """
    seen = {os.getpid()}
    for _ in range(LOOKS):
        fresh = [pid for pid in procs.numbers() if pid > above and pid not in seen] if _HAS_PROC else []
        if not fresh:
            return
        seen.update(fresh)
        for pid in fresh:
            if carries(pid, marks):
                yield pid
