"""Where attempts go, written down by the interchange and read by the driver, without waking it: a ring in memory that both share.

Before an attempt is sent to a manager, its place is written down, so that after a death of the interchange the driver knows who may have it.
A message over the socket would do, but it would wake the driver for each lone task, only to tell it what it does not need at that moment.
What is in the ring outlives whoever wrote it, however that ended.

Layout: two numbers of 8 bytes (bytes ever written, bytes ever read), then the ring. An entry is its length in 4 bytes and its body, rounded up to 8; one
that does not fit before the end of the ring begins at its start again. The reader looks after it has received something, so a system call lies between.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

import msgspec

from plait.executors.htex.messages import Placed
from plait.executors.pool.page import anonymous_file

#: Bytes of the file: some 90,000 places, and the driver looks several times a second.
FILE_BYTES: Final = 1 << 20
_HEAD: Final = 64
_WRITTEN, _READ = 0, 1
#: Instead of a length: the rest of the ring is not used.
_WRAP: Final = 0xFFFFFFFF

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Placed).decode


class Ring:
    """The ring, mapped.

    Args:
        fd: of its file; stays the caller's.

    Raises:
        OSError, ValueError: it is no such file.
    """

    __slots__ = ("_data", "_map", "_numbers", "_room")

    def __init__(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        if size != FILE_BYTES:
            raise ValueError(f"a file of {size} bytes for a ring of {FILE_BYTES}")
        self._map = mmap.mmap(fd, FILE_BYTES)
        view = memoryview(self._map)
        self._numbers = view[:_HEAD].cast("Q")
        self._data = view[_HEAD:]
        self._room = len(self._data)

    def note(self, message: Placed) -> bool:
        """Writes down who is about to get what; False when there is no room for it."""
        return self.write(_encode(message))

    def noted(self) -> list[Placed]:
        """What was written down since the last time."""
        found: list[Placed] = []
        for body in self.read():
            try:
                found.append(_decode(body))
            except (msgspec.DecodeError, ValueError):
                continue  # its writer ended in the middle
        return found

    def write(self, body: bytes) -> bool:
        """Writes an entry; False when there is no room for it."""
        length = len(body)
        whole = (4 + length + 7) & ~7
        written = self._numbers[_WRITTEN]
        at = written % self._room
        skipped = 0
        if at + whole > self._room:
            skipped = self._room - at
        if written + skipped + whole - self._numbers[_READ] > self._room:
            return False
        if skipped:
            self._data[at : at + 4] = _WRAP.to_bytes(4, "little")
            at = 0
        self._data[at + 4 : at + 4 + length] = body
        self._data[at : at + 4] = length.to_bytes(4, "little")
        self._numbers[_WRITTEN] = written + skipped + whole
        return True

    def read(self) -> list[bytes]:
        """The entries that were written since the last time."""
        read, written = self._numbers[_READ], self._numbers[_WRITTEN]
        bodies: list[bytes] = []
        if read == written:
            return bodies
        while read < written:
            at = read % self._room
            length = int.from_bytes(self._data[at : at + 4], "little")
            if length == _WRAP:
                read += self._room - at
                continue
            if at + 4 + length > self._room:
                break  # no writer of ours wrote this
            bodies.append(bytes(self._data[at + 4 : at + 4 + length]))
            read += (4 + length + 7) & ~7
        self._numbers[_READ] = written
        return bodies

    def close(self) -> None:
        """Unmaps it."""
        self._numbers.release()
        self._data.release()
        self._map.close()


def ring_file() -> int:
    """A descriptor of a new file for a ring."""
    return anonymous_file(FILE_BYTES)
