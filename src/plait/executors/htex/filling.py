"""Who gets what now: the placing of tasks that wait on managers that have room.

Plain tasks
    While more wait than there are workers, managers are filled one after another, each with a large batch, in the order in which they got room:
    frames of many tasks cost the least, and no manager is looked at that has no room. Once fewer wait, they are divided among the free workers,
    in the order of the placement policy, and only what is left over waits behind running tasks.
    When in the end some manager has free workers while tasks wait behind running ones at another, these are called back (`recall`).

Tasks that ask for something
    They are placed one by one, in the order of `queue`, each on a manager where it fits. A lane that fits nowhere now is blocked,
    and looked at again only for managers whose room has grown since.

Reservation and backfill
    What comes after a blocked task may go before it, or a node would idle. So that the task does not wait for ever for enough to be free at once,
    the first blocked one reserves the manager that will have room for it soonest: that one gets nothing new, except what certainly ends
    before the reservation's time, because the walltimes of all that runs there say so. There is one reservation at a time.
    A task that needs no more than a worker and its share reserves nothing: plain tasks that come after it just wait until a worker is free.
    A task that no connected manager could ever take holds up nobody.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from plait.executors.capacity import TOLERANCE
from plait.executors.htex.messages import Placed, Recall, Tasks
from plait.executors.htex.nodes import CREDIT_S, MAX_CREDIT
from plait.executors.htex.placement import PlacementPolicy, Ranking

if TYPE_CHECKING:
    from plait.executors.htex.messages import Ask, OfferedTask, SentTask
    from plait.executors.htex.nodes import ManagerState
    from plait.executors.htex.placement import Ranked
    from plait.executors.htex.queue import Lane
    from plait.executors.htex.state import State

#: Tasks and bytes of arguments in one message to a manager.
BATCH_TASKS: Final = 256
BATCH_BYTES: Final = 256 * 1024
#: Messages with fewer tasks wait for the end of the round: more may come for the same manager.
_MIN_BATCH: Final = 32
#: Tasks that one call places at most.
PLACE_TASKS: Final = 16_384
#: Times that one call goes over the lanes at most.
_ROUNDS: Final = 4
#: Tasks for which a manager must have room before it gets any, while it has enough to do.
_REFILL_TASKS: Final = 64
#: Seconds of silence after which tasks that wait behind running ones are called back for free workers.
RETRACT_S: Final = 0.03
#: Seconds in which a manager should have answered a recall.
_RECALL_S: Final = 1.0
#: Managers among which the one to reserve is chosen.
_CANDIDATES: Final = 256
#: Managers with free workers up to which those where a task fits are sought out, however little it asks for.
_FEW: Final = 64
#: Core seconds that a task is charged in advance at least, when it is not known how long tasks take.
_MIN_CHARGE_S: Final = 0.001


class Reservation:
    """A manager that is kept free for a task.

    Attributes:
        manager: which one.
        lane, task: for whom.
        expected_s: when it will have room, as it looks.
        latest_s: when at the latest; infinite when not known.
    """

    __slots__ = ("expected_s", "lane", "latest_s", "manager", "task")

    def __init__(self, manager: ManagerState, lane: Lane, expected_s: float, latest_s: float) -> None:
        self.manager = manager
        self.lane = lane
        self.task = lane.head[0][0]
        self.expected_s = expected_s
        self.latest_s = latest_s


class Filler:
    """Places tasks.

    Args:
        state: the tables.
        policy: which of several managers is next.

    Attributes:
        line: managers with room for plain tasks.
        ranking: managers with free workers.
        reservation: the one there is.
        plain_stopped: whether plain tasks wait because one that asks is before them and waits for any worker.
    """

    def __init__(self, state: State, policy: PlacementPolicy) -> None:
        self._state = state
        self.ranking = Ranking(policy)
        self._fills = bool(getattr(policy, "fills", False))
        self._near_wait_s = float(getattr(policy, "near_wait_s", 0.0))
        self.line: deque[ManagerState] = deque()  # those with room for plain tasks
        self._grown: dict[str, ManagerState] = {}  # those that may fit now what did not fit before
        self._looked_at: dict[str, ManagerState] = {}  # the same, in this round
        self._candidates: dict[Lane, list[Ranked]] = {}  # where tasks of a lane fit, in this round
        self._overfull: dict[str, ManagerState] = {}  # those where plain tasks may wait behind others
        self._batches: dict[ManagerState, tuple[list[SentTask], int]] = {}  # small ones that are about to be sent
        self._turn = 0
        self._recall_s = -math.inf
        self.reservation: Reservation | None = None
        self.plain_stopped = False

    # ------------------------------------------------------------------ who has room
    def each(self) -> int:
        """Plain tasks that may wait behind the one that a worker runs."""
        mean_s = self._state.mean_s
        return 1 if mean_s <= 0 else min(MAX_CREDIT, int(CREDIT_S / mean_s))

    def touch(self, manager: ManagerState) -> None:
        """It may have more room than before, or be open or closed now."""
        self.ranking.update(manager)
        if not manager.is_open:
            self._state.lanes.news |= manager.reserved
            return
        if self._state.lanes.lanes:
            self._grown[manager.name] = manager
        if not manager.room:
            credit = manager.credit(self.each())
            more = credit - manager.slots
            low = 1 if more < 4 else min(_REFILL_TASKS, more // 2)
            if len(manager.held) - len(manager.granted) <= credit - low:
                manager.room = True
                self.line.append(manager)

    def forget(self, manager: ManagerState) -> None:
        """It is gone."""
        manager.gone = True
        self.ranking.update(manager)
        self._grown.pop(manager.name, None)
        self._looked_at.pop(manager.name, None)
        self._overfull.pop(manager.name, None)
        if self.reservation is not None and self.reservation.manager is manager:
            self.reservation = None
            self._state.lanes.news = True

    # ------------------------------------------------------------------ placing
    def place(self, now_s: float) -> bool:
        """Places what can be. True if it stopped early, so that it wants to be called again soon."""
        state = self._state
        lanes, queue = state.lanes, state.queue
        left = PLACE_TASKS
        if self.reservation is not None and not lanes.lanes:
            self._release()
        if lanes.lanes:
            for _ in range(_ROUNDS):  # a reservation that ends makes room for those that were looked at before
                if left > 0 and (lanes.news or self._grown):
                    left = self._place_in_order(now_s, left)
        elif self._grown:
            self._grown.clear()
            self.plain_stopped = False
        if queue.tasks and (not lanes.lanes or not self.plain_stopped):
            while left > 0 and queue.tasks:
                count = self._place_plain(now_s)
                if not count:
                    break
                left -= count
            lanes.plain_served(now_s)
        if not queue.tasks:
            lanes.plain_waits = False
        if self._batches:
            for manager in list(self._batches):
                self._send(manager)
        return left <= 0

    def _give(self, manager: ManagerState, items: list[OfferedTask], now_s: float) -> None:
        """Plain tasks go to a manager."""
        state = self._state
        manager.held.update([(item[0], item) for item in items])
        state.placed.update(dict.fromkeys([item[0] for item in items], manager))
        manager.spoke_s = now_s
        if len(manager.held) > manager.slots:
            self._overfull[manager.name] = manager
        state.lanes.charge("", len(items) * state.mean_s * state.cores_per_worker)
        self._add(manager, cast("list[SentTask]", items))  # a plain task is sent as it was offered

    def _add(self, manager: ManagerState, items: list[SentTask]) -> None:
        before = self._batches.get(manager)
        if before is None and len(items) >= _MIN_BATCH:
            self._put(manager, items)
            return
        size = sum([len(item[3]) for item in items])
        if before is not None:
            before[0].extend(items)
            items = before[0]
            size += before[1]
        self._batches[manager] = (items, size)
        if len(items) >= BATCH_TASKS or size >= BATCH_BYTES:
            self._send(manager)

    def _send(self, manager: ManagerState) -> None:
        items, _ = self._batches.pop(manager)
        self._put(manager, items)

    def _put(self, manager: ManagerState, items: list[SentTask]) -> None:
        out = self._state.out
        out.append((None, Placed(manager.name, [(item[0], item[1]) for item in items]), b""))
        self._state.send_functions(manager, {item[2] for item in items})
        out.append((manager.conn, Tasks(items), b""))

    # ------------------------------------------------------------------ plain tasks
    def _place_plain(self, now_s: float) -> int:
        """A turn of plain tasks: how many were placed; 0 when there is no room."""
        queue, state = self._state.queue, self._state
        if len(queue.tasks) <= state.workers:
            count = self._divide(now_s)
            if count or not queue.tasks:
                return count
            share = len(queue.tasks) // (len(self.line) + 1) + 1
        else:
            share = BATCH_TASKS
        line, each = self.line, self.each()
        while line:
            manager = line.popleft()
            manager.room = False
            if not manager.is_open:
                continue
            room = manager.credit(each) - len(manager.held) + len(manager.granted)
            if room <= 0:
                continue
            items = queue.take(min(room, share), BATCH_BYTES)
            if room > len(items):
                manager.room = True
                line.append(manager)
            if items:
                self._give(manager, items, now_s)
                self.ranking.update(manager)
            return len(items)
        return 0

    def _divide(self, now_s: float) -> int:
        """Few are left: they go to free workers, in the policy's order."""
        queue, ranking = self._state.queue, self.ranking
        aside: list[ManagerState] = []
        placed = 0
        while queue.tasks:
            manager = ranking.take()
            if manager is None:
                break
            free = manager.free_slots
            if not free:
                aside.append(manager)
                continue
            count = free if self._fills else min(free, len(queue.tasks) // (len(ranking) + 1) or 1)
            items = queue.take(count, BATCH_BYTES)
            if items:
                self._give(manager, items, now_s)
                placed += len(items)
            ranking.update(manager)
        for manager in aside:
            ranking.update(manager)
        return placed

    # ------------------------------------------------------------------ tasks that ask
    def _place_in_order(self, now_s: float, left: int) -> int:
        """All that wait, lane by lane, plain tasks in their turn. Returns how many more may be placed."""
        lanes, queue = self._state.lanes, self._state.queue
        done: set[Lane] = set()
        plain_open, first = True, True
        self.plain_stopped = False
        self._look_at_reservation()
        self._looked_at, self._grown = self._grown, {}
        self._candidates.clear()
        lanes.news = False
        while left > 0:
            best = lanes.best(now_s, done)
            if plain_open and queue.tasks and (best is None or lanes.plain_key(now_s, queue.tasks[0][0]) < best[0]):
                count = self._place_plain(now_s)
                left -= count
                lanes.plain_served(now_s)
                plain_open = count > 0
                continue
            if best is None:
                break
            lane = best[1]
            if self._place_head(lane, now_s):
                left -= 1
                continue
            done.add(lane)
            if first and lane.blocked and self._state_of(lane, now_s):
                first = False
                if self._is_light(lane.ask) and not self.ranking.managers:
                    self._release()
                    self.plain_stopped = plain_open
                    plain_open = False
                else:
                    self._reserve(lane, now_s)
        if left <= 0:
            lanes.news = True
            self._grown.update(self._looked_at)
        self._looked_at = {}
        return left

    def _state_of(self, lane: Lane, now_s: float) -> bool:
        """Whether somebody could take it who is open."""
        return any(manager.is_open and manager.could_ever(lane.ask, now_s) for manager in self._able(lane, now_s))

    def _is_light(self, ask: Ask) -> bool:
        """Whether it needs no more than a plain task."""
        state = self._state
        return (
            not ask.gpus
            and not ask.disk_bytes
            and ask.cores <= max(1.0, state.cores_per_worker) + TOLERANCE
            and ask.memory_bytes <= state.memory_per_worker
        )

    def _able(self, lane: Lane, now_s: float) -> list[ManagerState]:
        state = self._state
        if lane.able_of != state.membership:
            lane.able_of = state.membership
            lane.able = state.able(lane.ask, now_s)
        return lane.able

    def _may(self, manager: ManagerState, lane: Lane, now_s: float) -> bool:
        """Whether the next task of the lane can go there now."""
        if not manager.is_open or not manager.fits(lane.ask, now_s):
            return False
        reservation = self.reservation
        if reservation is None or reservation.manager is not manager or reservation.lane is lane:
            return True
        walltime_s = lane.ask.walltime_s
        return walltime_s is not None and now_s + walltime_s <= reservation.latest_s < math.inf

    def _place_head(self, lane: Lane, now_s: float) -> bool:
        manager = None
        if lane.ask.near:
            manager, waits = self._near(lane, now_s)
            if waits:
                return False
        if manager is None:
            manager = self._find(lane, now_s)
        if manager is None:
            lane.blocked = True
            return False
        self._grant(manager, lane, now_s)
        return True

    def _find(self, lane: Lane, now_s: float) -> ManagerState | None:
        """The first manager in the policy's order where it fits."""
        heap = self._candidates.get(lane)
        if heap is None:
            if lane.blocked:
                pool = list(self._looked_at.values())
            elif self._is_light(lane.ask) and len(self.ranking) > _FEW:
                return self._search(lane, now_s)
            else:
                pool = self._able(lane, now_s)
            heap = self.ranking.heap([manager for manager in pool if self._may(manager, lane, now_s)])
            self._candidates[lane] = heap
        while heap:
            _, number, version, manager = heap[0]
            if not self._may(manager, lane, now_s):
                heapq.heappop(heap)
            elif version != manager.version:
                heapq.heapreplace(heap, (self.ranking.rank(manager), number, manager.version, manager))
            else:
                return manager
        return None

    def _search(self, lane: Lane, now_s: float) -> ManagerState | None:
        """The same for a task that fits almost anywhere, when there are many."""
        ranking = self.ranking
        aside: list[ManagerState] = []
        manager = ranking.take()
        while manager is not None and not self._may(manager, lane, now_s):
            aside.append(manager)
            manager = ranking.take()
        for each in aside:
            ranking.update(each)
        if manager is not None:
            ranking.update(manager)
        elif self.reservation is not None and self._may(self.reservation.manager, lane, now_s):
            return self.reservation.manager
        return manager

    def _near(self, lane: Lane, now_s: float) -> tuple[ManagerState | None, bool]:
        """A manager near the data of the lane's tasks, and whether to wait for one."""
        places = self._state.places
        near = {name: manager for place in lane.ask.near for name, manager in places.get(place, {}).items()}
        manager = self.ranking.best([each for each in near.values() if self._may(each, lane, now_s)])
        if manager is not None or not near or now_s - lane.head[1] >= self._near_wait_s:
            return manager, False
        return None, any(each.is_open and each.could_ever(lane.ask, now_s) for each in near.values())

    def _grant(self, manager: ManagerState, lane: Lane, now_s: float) -> None:
        """The next task of the lane goes there."""
        state = self._state
        mean_s = state.special_mean_s or state.mean_s
        item = state.lanes.pop(lane, now_s)
        granted, grant = manager.take(lane.ask, now_s, mean_s)
        granted.charged_s = lane.ask.cores * max(mean_s, _MIN_CHARGE_S)
        state.lanes.charge(lane.ask.label, granted.charged_s)
        manager.held[item[0]] = item
        manager.granted[item[0]] = granted
        manager.recount()
        manager.spoke_s = now_s
        state.placed[item[0]] = manager
        if self.reservation is not None and self.reservation.task == item[0]:
            self._release()
        self.ranking.update(manager)
        if manager.plain > manager.slots:
            self._overfull[manager.name] = manager
        self._add(manager, [(*item[:5], grant)])

    # ------------------------------------------------------------------ reservation
    def _look_at_reservation(self) -> None:
        """Whether it still makes sense."""
        reservation = self.reservation
        if reservation is not None and (
            not reservation.manager.is_open or reservation.lane.tasks.keys().isdisjoint({reservation.task})
        ):
            self._release()

    def _release(self) -> None:
        if self.reservation is not None:
            manager = self.reservation.manager
            self.reservation = None
            manager.reserved = False
            self.touch(manager)

    def _reserve(self, lane: Lane, now_s: float) -> None:
        """Keeps a manager free for the next task of the lane."""
        reservation = self.reservation
        if reservation is not None:
            if reservation.lane is lane and reservation.task == lane.head[0][0]:
                return
            self._release()
        able = self._able(lane, now_s)
        if len(able) > _CANDIDATES:
            start = self._turn % len(able)
            self._turn += _CANDIDATES
            able = (able[start:] + able[:start])[:_CANDIDATES]
        state = self._state
        mean_s = state.special_mean_s or state.mean_s
        best: tuple[float, float, ManagerState] | None = None
        for manager in able:
            if manager.is_open and manager.could_ever(lane.ask, now_s):
                expected_s, latest_s = manager.when_fits(lane.ask, now_s, mean_s)
                if expected_s < (math.inf if best is None else best[0]):
                    best = expected_s, latest_s, manager
        if best is None:
            return
        expected_s, latest_s, manager = best
        self.reservation = Reservation(manager, lane, expected_s, latest_s)
        manager.reserved = True
        self.ranking.update(manager)
        self._call_back(manager, manager.plain - manager.slots, now_s)

    # ------------------------------------------------------------------ taking back
    def recall(self, now_s: float) -> None:
        """Calls tasks back that wait behind running ones, where free workers, or tasks that are before them, could have their place."""
        if not self.wants_recall or now_s - self._recall_s < RETRACT_S / 2:
            return
        self._recall_s = now_s
        want = len(self._state.lanes) if self.plain_stopped else sum(each.free_slots for each in self.ranking)
        for manager in list(self._overfull.values()):
            more = manager.plain - manager.slots
            if more <= 0:
                del self._overfull[manager.name]
            elif now_s - manager.spoke_s >= RETRACT_S and want > 0:
                want -= self._call_back(manager, min(more, want), now_s)

    @property
    def wants_recall(self) -> bool:
        """Whether some tasks wait in the wrong place."""
        return bool(self._overfull) and (self.plain_stopped or (not self._state.queue.tasks and len(self.ranking) > 0))

    def _call_back(self, manager: ManagerState, count: int, now_s: float) -> int:
        if count <= 0 or now_s - manager.recalled_s < _RECALL_S:
            return 0
        manager.recalled_s = now_s
        self._state.out.append((manager.conn, Recall(count), b""))
        return count
