"""Tasks as they are offered to the interchange, and what has become of them: the driver's table of what it has given away.

Pure: the link (`driver.py`) sends what this says and tells it what came back.

```
queue, special ──next_batch──▶ held ──Placed──▶ places ──outcome──▶ gone
 (not offered)                 (offered)        (with a manager)
```

The interchange is given no more than a window of tasks that have no place yet; the rest waits here, where a task costs nothing but its record.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Final

from plait.executors.htex.messages import Ask, OfferedTask
from plait.executors.htex.wishes import Wishes
from plait.executors.pool.core import is_plain, resources_of, walltime_of
from plait.limits import GRACE_S
from plait.model.task import LAUNCHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from plait.executors.htex.messages import AttemptId
    from plait.model.task import Task

#: Tasks without a place that the interchange may hold, and the bytes of their arguments.
WINDOW_TASKS: Final = 200_000
WINDOW_BYTES: Final = 256 * 1024 * 1024
#: Tasks and bytes of one message.
BATCH_TASKS: Final = 512
BATCH_BYTES: Final = 256 * 1024


class Offers:
    """What this driver has given to the interchange, and what waits.

    Args:
        number_of: the number of a task's function.

    Attributes:
        queue: plain tasks that were not offered yet; any thread may append.
        special: heap of the others: (priority, task's number, tie, task).
        held: tasks that were offered and have not come back, by number.
        places: name of the manager that each of them was placed on last, for those that were.
        counts: how many of them each manager has.
        unplaced: bytes of the arguments, for those that were not.
        waiting_bytes: the sum of these.
        wishes: what those that are special ask for.
    """

    def __init__(self, number_of: Callable[[Task], int]) -> None:
        self.queue: deque[Task] = deque()
        self.special: list[tuple[float, int, int, Task]] = []
        self.held: dict[int, Task] = {}
        self.places: dict[int, str] = {}
        self.counts: dict[str, int] = {}
        self.unplaced: dict[int, int] = {}
        self.waiting_bytes = 0
        self.wishes = Wishes()
        self._ties = 0
        self._number_of = number_of

    @property
    def queued(self) -> int:
        """Tasks that have no place, offered or not."""
        return len(self.queue) + len(self.special) + len(self.unplaced)

    def add_special(self, task: Task) -> None:
        """A task that asks for something waits in the order of priorities."""
        priority = resources_of(task).priority
        self.wishes.add(task)
        self._ties += 1
        heapq.heappush(self.special, (float("inf") if priority is None else priority, task.id, self._ties, task))

    def has_next(self) -> bool:
        """Whether there is something to offer, and room for it."""
        return (
            bool(self.queue or self.special) and len(self.unplaced) < WINDOW_TASKS and self.waiting_bytes < WINDOW_BYTES
        )

    def next_batch(self) -> list[OfferedTask]:
        """Tasks for one message, those that ask for something first; empty when there are none, or no room."""
        items: list[OfferedTask] = []
        if not self.has_next():
            return items
        room = min(BATCH_TASKS, WINDOW_TASKS - len(self.unplaced))
        size = 0
        while self.special and room > 0 and size < BATCH_BYTES:
            task = self.special[0][3]
            item = self.offer(task, ask_of(task))
            heapq.heappop(self.special)  # once it is held: a Ctrl-C may come between
            if item is None:
                self.wishes.drop(task.id)
            else:
                items.append(item)
                size += len(item[3])
                room -= 1
        queue, held, unplaced, number_of = self.queue, self.held, self.unplaced, self._number_of
        while queue and room > 0 and size < BATCH_BYTES:  # `offer` written out: this runs once per task
            task = queue[0]
            payload = task.payload
            if payload is None or task.state != LAUNCHED:  # cancelled meanwhile
                del queue[0]
                continue
            number = task.id
            held[number] = task
            del queue[0]  # no call in between, after which a Ctrl-C could find it in neither
            if type(payload) is bytes:
                unplaced[number] = length = len(payload)
                size += length
                self.waiting_bytes += length
                items.append((number, task.attempt, number_of(task), payload, None, None))
            else:
                unplaced[number] = 0
                items.append((number, task.attempt, number_of(task), b"", payload.sizes, None))
            room -= 1
        return items

    def offer(self, task: Task, ask: Ask | None) -> OfferedTask | None:
        """One task, which is held from now on; None when it was cancelled meanwhile."""
        payload = task.payload
        if payload is None or task.state != LAUNCHED:
            return None
        self.held[task.id] = task
        if type(payload) is bytes:
            self.unplaced[task.id] = len(payload)
            self.waiting_bytes += len(payload)
            return task.id, task.attempt, self._number_of(task), payload, None, ask
        self.unplaced[task.id] = 0
        return task.id, task.attempt, self._number_of(task), b"", payload.sizes, ask

    def placed(self, manager: str, items: Sequence[AttemptId]) -> None:
        """These are about to be sent to a manager; with an empty name, they came back from one and wait again."""
        if not manager:
            self._displaced(items)
            return
        places, unplaced, counts = self.places, self.unplaced, self.counts
        new = 0
        for number, _ in items:
            size = unplaced.pop(number, None)
            if size is not None:
                self.waiting_bytes -= size
            elif number in places:  # given back, and placed again
                counts[places[number]] -= 1
            else:
                continue  # cancelled meanwhile
            places[number] = manager
            new += 1
        counts[manager] = counts.get(manager, 0) + new
        if self.wishes.of:
            self.wishes.placed(manager, items)

    def _displaced(self, items: Iterable[AttemptId]) -> None:
        for number, attempt in items:
            task = self.held.get(number)
            place = self.places.pop(number, None) if task is not None and task.attempt == attempt else None
            if task is None or place is None:
                continue
            self.counts[place] -= 1
            self.wishes.displaced(number)
            payload = task.payload
            self.unplaced[number] = size = len(payload) if type(payload) is bytes else 0
            self.waiting_bytes += size

    def take(self, number: int, attempt: int) -> Task | None:
        """An attempt came back, in whatever way: its task, None when it is not held (any more)."""
        task = self.held.get(number)
        if task is None or task.attempt != attempt:
            return None
        del self.held[number]
        if self.wishes.of:
            self.wishes.drop(number)
        place = self.places.pop(number, None)
        if place is None:
            self.waiting_bytes -= self.unplaced.pop(number, 0)  # none where a Ctrl-C came while it was being offered
        else:
            self.counts[place] -= 1
        return task

    def forget(self, manager: str) -> None:
        """The manager is no more, and what it had came back."""
        if not self.counts.get(manager):
            self.counts.pop(manager, None)

    def again(self, managers: set[str]) -> tuple[dict[str, list[OfferedTask]], list[Task]]:
        """After a loss of the interchange: what is to be offered as placed on managers that may come back, and the tasks to be queued again."""
        placed: dict[str, list[OfferedTask]] = {}
        rest: list[Task] = []
        while self.queue and self.queue[0].id in self.held:  # a Ctrl-C came while it was being offered
            self.queue.popleft()
        while self.special and self.special[0][3].id in self.held:
            heapq.heappop(self.special)
        before = self.places
        tasks = list(self.held.values())
        self.held, self.places, self.counts, self.unplaced, self.waiting_bytes = {}, {}, {}, {}, 0
        self.wishes.all_displaced()
        for task in tasks:
            manager = before.get(task.id)
            if manager is None or manager not in managers:
                rest.append(task)
                continue
            item = self.offer(task, ask_of(task))
            if item is not None:
                placed.setdefault(manager, []).append(item)
                self.placed(manager, [(item[0], item[1])])
        for task in reversed(rest):
            if is_plain(task):
                self.queue.appendleft(task)
            else:
                self.add_special(task)
        return placed, rest


def ask_of(task: Task) -> Ask | None:
    """What a task asks for; None when a worker is all that it needs."""
    if is_plain(task):
        return None
    wants = resources_of(task)
    walltime_s = walltime_of(task)
    if walltime_s is not None and task.app.kind == "bash":
        walltime_s += (
            2 * GRACE_S
        )  # the runner keeps it, and cleans up by itself; the pool's limit is for a runner that cannot
    return Ask(
        cores=wants.cores,
        memory_bytes=wants.memory_bytes,
        gpus=wants.gpus,
        disk_bytes=wants.disk_bytes,
        walltime_s=walltime_s,
        priority=wants.priority,
        label=",".join(wants.labels),
        near=wants.near,
        nodes=wants.nodes,
        ranks=wants.ranks,
        ranks_per_node=wants.ranks_per_node,
        launcher_options=wants.launcher_options,
    )


def batches(items: Sequence[OfferedTask]) -> Iterable[Sequence[OfferedTask]]:
    """The items in messages of bounded size."""
    start = size = 0
    for at, item in enumerate(items):
        if at - start >= BATCH_TASKS or size >= BATCH_BYTES:
            yield items[start:at]
            start, size = at, 0
        size += len(item[3])
    if start < len(items):
        yield items[start:]
