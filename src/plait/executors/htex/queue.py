"""Tasks that wait for a manager, and which of them is next.

Tasks that ask for nothing (`PlainQueue`) go in the order in which they came; they travel in batches.

Tasks that ask for something (`Lanes`) stand in lanes, one for all that ask for the same; within a lane they go in order. Which lane is next:

1. *Priority*: the lower number; no priority comes after all numbers. What counts is the rank among the priorities that wait now, so any numbers will do.
   A lane that got nothing for `AGING_S` rises by one rank, for as long as it gets nothing, so that none waits for ever.
2. *Fair share*: of the labels, the one that has used the fewest core seconds. A label that comes (back) begins where the least served of those that wait is,
   so nobody saves up turns by waiting.
3. *Submission*: the lower number of task.

Plain tasks take part in this as a lane without priority and with an empty label.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plait.executors.htex.messages import Ask, AttemptId, OfferedTask
    from plait.executors.htex.nodes import ManagerState

    #: What lanes are compared by: rank of the priority, core seconds of the label, number of the task.
    Key = tuple[float, float, int]

#: Seconds without being served after which a lane goes before the next better priority.
AGING_S: Final = 60.0
#: Labels that are remembered; beyond that only those that wait.
_MAX_LABELS: Final = 10_000
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
        while tasks and count > 0 and size < max_bytes:
            item = popleft()
            if cancelled and (item[0], item[1]) in cancelled:
                cancelled.remove((item[0], item[1]))
                continue
            items.append(item)
            count -= 1
            size += len(item[3])
            if item[4]:
                size += sum(item[4])
        if cancelled and not tasks:
            cancelled.clear()
        return items

    def attempts(self) -> set[AttemptId]:
        """All that wait."""
        return {(item[0], item[1]) for item in self.tasks} - self._cancelled


class Lane:
    """Tasks that ask for the same.

    Attributes:
        ask: what each of them asks for.
        tasks: they, by number, with the time when each came.
        served_s: when the last of them was placed.
        blocked: whether none but managers that have changed since can take one.
        able, able_of: managers that could take one if nothing else ran there, and the membership for which that was found.
    """

    __slots__ = ("able", "able_of", "ask", "blocked", "served_s", "tasks")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.tasks: OrderedDict[int, tuple[OfferedTask, float]] = OrderedDict()
        self.served_s = 0.0
        self.blocked = False
        self.able: list[ManagerState] = []
        self.able_of = -1

    @property
    def head(self) -> tuple[OfferedTask, float]:
        """The next task, and when it came."""
        return next(iter(self.tasks.values()))


class Lanes:
    """Tasks that ask for something.

    Attributes:
        lanes: those that have tasks, by what is asked for.
        served: core seconds that each label has used.
        news: whether something came or went since a pass over the lanes.
        plain_waits: whether plain tasks wait too, since when, and when they were served last.
    """

    __slots__ = (
        "_count",
        "_labels",
        "_levels",
        "_reached",
        "_where",
        "lanes",
        "news",
        "plain_since_s",
        "plain_waits",
        "served",
    )

    def __init__(self) -> None:
        self.lanes: dict[Ask, Lane] = {}
        self.served: dict[str, float] = {}
        self.news = False
        self.plain_waits = False
        self.plain_since_s = 0.0
        self._where: dict[int, tuple[Lane, int]] = {}  # task: its lane, its attempt
        self._labels: dict[str, int] = {}  # how many wait
        self._levels: list[float] | None = None  # priorities that wait
        self._reached = 0.0  # what the label that was served last had used

    def __len__(self) -> int:
        return len(self._where)

    # ------------------------------------------------------------------ in and out
    def add(self, item: OfferedTask, ask: Ask, now_s: float, *, front: bool = False) -> None:
        """A task comes, or comes back."""
        self.cancel_task(item[0])
        lane = self.lanes.get(ask)
        if lane is None:
            lane = self.lanes[ask] = Lane(ask)
            self._levels = None
        lane.tasks[item[0]] = (item, now_s)
        if front:
            lane.tasks.move_to_end(item[0], last=False)
        self._where[item[0]] = (lane, item[1])
        waiting = self._labels.get(ask.label, 0)
        self._labels[ask.label] = waiting + 1
        if not waiting:
            self._begin(ask.label)
        self.news = True

    def pop(self, lane: Lane, now_s: float) -> OfferedTask:
        """Takes the next task of a lane: it is placed."""
        task, (item, _) = lane.tasks.popitem(last=False)
        lane.served_s = now_s
        self._reached = self.served.get(lane.ask.label, 0.0)
        self._removed(lane, task)
        return item

    def cancel(self, attempt: AttemptId) -> bool:
        """This one is not to be placed; False if it is not here."""
        entry = self._where.get(attempt[0])
        if entry is None or entry[1] != attempt[1]:
            return False
        self.cancel_task(attempt[0])
        return True

    def cancel_task(self, task: int) -> None:
        """No attempt of this task is to be placed."""
        entry = self._where.get(task)
        if entry is not None:
            del entry[0].tasks[task]
            self._removed(entry[0], task)
            self.news = True

    def _removed(self, lane: Lane, task: int) -> None:
        del self._where[task]
        label = lane.ask.label
        self._labels[label] -= 1
        if not self._labels[label]:
            del self._labels[label]
        if not lane.tasks:
            del self.lanes[lane.ask]
            self._levels = None

    def look_again(self) -> None:
        """Tasks over several nodes may find room where they found none."""
        for lane in self.lanes.values():
            lane.blocked &= not lane.ask.nodes
        self.news = True

    def attempts(self) -> set[AttemptId]:
        """All that wait."""
        return {(task, attempt) for task, (_, attempt) in self._where.items()}

    # ------------------------------------------------------------------ fair share
    def _begin(self, label: str) -> None:
        """A label has something to do again: it does not get what it did not ask for meanwhile."""
        if len(self.served) > _MAX_LABELS:
            self.served = {other: self.served.get(other, 0.0) for other in (*self._labels, "")}
        others = [self.served.get(other, 0.0) for other in self._labels if other != label]
        if label and self.plain_waits:
            others.append(self.served.get("", 0.0))
        self.served[label] = max(self.served.get(label, 0.0), min(others, default=self._reached))

    def plain_begins(self, now_s: float) -> None:
        """Plain tasks wait, and did not before."""
        self.plain_waits = True
        self.plain_since_s = now_s
        if not self._labels.get(""):
            self._begin("")

    def plain_served(self, now_s: float) -> None:
        """Some plain tasks were placed."""
        self.plain_since_s = now_s
        self._reached = self.served.get("", 0.0)

    def charge(self, label: str, core_s: float) -> None:
        """A task of the label has used so much, or will have."""
        self.served[label] = self.served.get(label, 0.0) + core_s

    # ------------------------------------------------------------------ order
    def best(self, now_s: float, skip: set[Lane]) -> tuple[Key, Lane] | None:
        """The lane that is next, but for some."""
        found: tuple[Key, Lane] | None = None
        for lane in self.lanes.values():
            if lane not in skip:
                key = self.key(lane, now_s)
                if found is None or key < found[0]:
                    found = key, lane
        return found

    def key(self, lane: Lane, now_s: float) -> Key:
        """Its place in the order."""
        item, came_s = lane.head
        since_s = max(came_s, lane.served_s)
        ask = lane.ask
        return self._rank(ask.priority, now_s - since_s), self.served.get(ask.label, 0.0), item[0]

    def plain_key(self, now_s: float, task: int) -> Key:
        """The place of plain tasks, of which this one is the first."""
        return self._rank(None, now_s - self.plain_since_s), self.served.get("", 0.0), task

    def _rank(self, priority: float | None, waited_s: float) -> float:
        levels = self._levels
        if levels is None:
            levels = self._levels = sorted({ask.priority for ask in self.lanes if ask.priority is not None})
        rank = len(levels) if priority is None else levels.index(priority)
        return rank - int(waited_s / AGING_S)
