"""Which messages with outcomes have come, which of them the driver has taken, and who must be told.

A manager numbers its messages with outcomes from 1 and keeps each until it is told that the driver has it. They need not come in order: one that is
followed by chunks is handed over when the last of them is there, later ones in the meantime. What came before is recognised by its number and dropped.
The interchange numbers what it delivers to the driver itself; the driver's answer goes back to each manager as the number up to which all its messages are taken.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plait.executors.htex.nodes import ManagerState


class Accounts:
    """The numbers of messages with outcomes, from managers and to the driver."""

    __slots__ = ("_settled", "_waiting", "seq")

    def __init__(self) -> None:
        self.seq = 0  # of the last message delivered to the driver
        self._waiting: deque[tuple[int, ManagerState, int]] = deque()
        self._settled: list[ManagerState] = []  # those that drain, and whose last message was just taken

    @property
    def untaken(self) -> int:
        """Messages that the driver has not taken."""
        return len(self._waiting)

    @staticmethod
    def is_new(manager: ManagerState, seq: int) -> bool:
        """Counts a manager's message in; False if it has come before."""
        if seq == manager.last_seq + 1 and not manager.ahead:
            manager.last_seq = seq
            return True
        if seq <= manager.last_seq or seq in manager.ahead:
            return False
        manager.ahead.add(seq)
        while manager.last_seq + 1 in manager.ahead:
            manager.last_seq += 1
            manager.ahead.remove(manager.last_seq)
        return True

    def delivered(self, manager: ManagerState, seq: int) -> int:
        """A manager's message is on its way to the driver, under the number that is returned."""
        self.seq += 1
        manager.untaken += 1
        self._waiting.append((self.seq, manager, seq))
        return self.seq

    def taken(self, upto: int) -> list[ManagerState]:
        """The driver has everything up to this number of ours: the managers that are to be told."""
        waiting = self._waiting
        told: dict[ManagerState, None] = {}
        while waiting and waiting[0][0] <= upto:
            _, manager, seq = waiting.popleft()
            manager.untaken -= 1
            if not manager.untaken and manager.draining is not None:
                self._settled.append(manager)
            if self.count_taken(manager, seq):
                told[manager] = None
        return [manager for manager in told if not manager.gone]

    def settled(self) -> list[ManagerState]:
        """Managers that drain, and of whom the driver has everything since this was last asked."""
        settled, self._settled = self._settled, []
        return settled

    @staticmethod
    def count_taken(manager: ManagerState, seq: int) -> bool:
        """One message of a manager needs no keeping; True when the number up to which that is so has risen."""
        if seq != manager.taken_seq + 1:
            if seq > manager.taken_seq:
                manager.taken_ahead.add(seq)
            return False
        manager.taken_seq = seq
        while manager.taken_seq + 1 in manager.taken_ahead:
            manager.taken_seq += 1
            manager.taken_ahead.remove(manager.taken_seq)
        return True
