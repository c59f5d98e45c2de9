"""Tasks that wait for a manager."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plait.executors.htex.messages import AttemptId, OfferedTask

#: Cancelled tasks that may lie in a queue before it is cleared of them.
_MIN_SWEEP: Final = 1024


class PlainQueue:
    """Tasks that ask for nothing, in order.

    Cancelling does not look for the task: its name is remembered until it comes up, or until so many are remembered that one pass over the queue is worth it.
    """

    __slots__ = ("_cancelled", "tasks")

    def __init__(self) -> None:
        self.tasks: deque[OfferedTask] = deque()
        self._cancelled: set[AttemptId] = set()

    def __len__(self) -> int:
        return len(self.tasks)

    def cancel(self, attempt: AttemptId) -> None:
        """This one is not to be placed, if it is here."""
        if not self.tasks:
            return
        cancelled = self._cancelled
        cancelled.add(attempt)
        if len(cancelled) >= max(_MIN_SWEEP, len(self.tasks) // 2):
            self.tasks = deque(item for item in self.tasks if (item[0], item[1]) not in cancelled)
            cancelled.clear()

    def put_back(self, items: Iterable[OfferedTask]) -> None:
        """These were taken, but not begun: they are next, in their order."""
        self.tasks.extendleft(reversed(list(items)))

    def take(self, count: int, max_bytes: int) -> list[OfferedTask]:
        """The next ones, up to so many, and no more after so many bytes."""
        tasks, cancelled = self.tasks, self._cancelled
        popleft = tasks.popleft
        items: list[OfferedTask] = []
        size = 0
        while tasks and len(items) < count and size < max_bytes:
            item = popleft()
            if cancelled and (item[0], item[1]) in cancelled:
                cancelled.remove((item[0], item[1]))
                continue
            items.append(item)
            size += len(item[3])
            if item[4]:
                size += sum(item[4])
        if not tasks:
            cancelled.clear()
        return items
