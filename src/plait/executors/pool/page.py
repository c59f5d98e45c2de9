"""A small page of memory that a worker and its pool share.

It answers, when a worker ends in whatever way: which task was it running, and which outcomes had it finished but not sent yet?
So a crash is blamed on the one task that ran, what was finished is delivered, and what had not begun goes to another worker.

Layout: numbers of 8 bytes, then the outcomes.

| index | written by | meaning |
|---|---|---|
| 0 | worker | sequence number of the task that runs or ran last |
| 1 | pool | first sequence number that must not be started … |
| 2 | pool | … and the one after the last such number |
| 3 | worker | outcomes that are in the page: their bytes times 65,536, plus their number |

How tasks are taken back without a lock: the pool writes 1 and 2, waits far longer than a store takes to become visible, and reads 0 again.
The worker writes 0, and reads 1 and 2 after it. So if 0 has not moved, the worker will see the numbers before it begins another task,
however long the system keeps it from running in between; if it has, the worker says itself what it skipped.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

from plait.limits import PAGE_BYTES

STARTED: Final = 0
REVOKED_FROM: Final = 1
REVOKED_TO: Final = 2
HELD: Final = 3

#: Where outcomes begin.
DATA: Final = 64


class Page:
    """The page, mapped."""

    __slots__ = ("_map", "data", "numbers")

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, PAGE_BYTES)
        view = memoryview(self._map)
        self.numbers = view[:DATA].cast("Q")
        self.data = view[DATA:]

    def outcomes(self) -> tuple[int, bytes]:
        """Number and bytes of the outcomes that were not sent."""
        used, count = divmod(self.numbers[HELD], 65536)
        return count, bytes(self.data[:used])

    def close(self) -> None:
        """Unmaps it."""
        self.numbers.release()
        self.data.release()
        self._map.close()


def anonymous_file(size: int) -> int:
    """A file without a name, of that size, as a descriptor: in memory where the system can, else in the temporary directory."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("plait", os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    if size:
        os.ftruncate(fd, size)
    return fd
