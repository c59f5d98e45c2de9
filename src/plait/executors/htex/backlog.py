"""What waits for room on a connection: chunks of big values behind everything else."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from plait.executors.htex.messages import Chunk

if TYPE_CHECKING:
    from plait.executors.htex.messages import Message

#: Prefix and header, and payload.
Parts = tuple[bytes, bytes]


class Backlog:
    """Messages in the order in which they are to be sent.

    Attributes:
        bytes: that wait; 0 when nothing does.
    """

    __slots__ = ("_bulk", "_urgent", "bytes")

    def __init__(self) -> None:
        self._urgent: collections.deque[Parts] = collections.deque()
        self._bulk: collections.deque[Parts] = collections.deque()
        self.bytes = 0

    def put(self, message: Message, parts: Parts) -> None:
        """One more."""
        (self._bulk if type(message) is Chunk else self._urgent).append(parts)
        self.bytes += len(parts[0]) + len(parts[1])

    def first(self) -> Parts:
        """The next to be sent."""
        return self._urgent[0] if self._urgent else self._bulk[0]

    def pop(self) -> None:
        """The first was sent."""
        parts = (self._urgent or self._bulk).popleft()
        self.bytes -= len(parts[0]) + len(parts[1])

    def clear(self) -> None:
        """Forgets all."""
        self._urgent.clear()
        self._bulk.clear()
        self.bytes = 0
