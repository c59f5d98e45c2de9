"""Tasks that ask for something: which manager each of them gets, and what happens when none has room.

Placing
    They are placed one by one, in the order of `queue`, each on a manager where it fits. A lane that fits nowhere now is blocked,
    and looked at again only for managers whose room has grown since.

Reservation and backfill
    What comes after a blocked task may go before it, or a node would idle. So that the task does not wait for ever for enough to be free at once,
    the first blocked one reserves the manager that will have room for it soonest: that one gets nothing new, except what certainly ends
    before the reservation's time, because the walltimes of all that runs there say so. There is one reservation at a time.
    A task that needs no more than a worker and its share reserves nothing: plain tasks that come after it just wait until a worker is free.
    A task that no connected manager could ever take holds up nobody.
    For a task over whole nodes it is as many managers of one block, those that will be empty first (`gangs`); where one manager gives away the nodes
    of its block, it is as many of these, and smaller tasks go on with the others.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

import msgspec

from plait.executors.capacity import TOLERANCE
from plait.executors.htex import gangs

if TYPE_CHECKING:
    from plait.executors.htex.filling import Filler
    from plait.executors.htex.messages import Ask
    from plait.executors.htex.nodes import ManagerState
    from plait.executors.htex.placement import PlacementPolicy, Ranked
    from plait.executors.htex.queue import Lane
    from plait.executors.htex.state import State

#: Times that one call goes over the lanes at most.
_ROUNDS: Final = 4
#: Managers among which the one to reserve is chosen.
_CANDIDATES: Final = 64
#: Managers with free workers up to which those where a task fits are sought out, however little it asks for.
_FEW: Final = 64
#: Core seconds that a task is charged in advance at least, when it is not known how long tasks take.
_MIN_CHARGE_S: Final = 0.001


class Reservation:
    """Managers that are kept free for a task, or nodes of one.

    Attributes:
        managers: which ones; one, unless the task is to have several whole nodes.
        hosts: of what the manager gives away, the nodes that are kept; empty where it is the manager itself.
        lane, task: for whom.
        expected_s: when it will have room, as it looks.
        latest_s: when at the latest; infinite when not known.
    """

    __slots__ = ("expected_s", "hosts", "lane", "latest_s", "managers", "task")

    def __init__(self, managers: list[ManagerState], lane: Lane, expected_s: float, latest_s: float) -> None:
        self.managers = managers
        self.hosts: frozenset[int] = frozenset()
        if managers[0].hosts and lane.ask.nodes:
            self.hosts = managers[0].kept_hosts = gangs.soonest_hosts(managers[0], lane.ask.nodes)
        else:
            for manager in managers:
                manager.reserve(on=True)
        self.lane = lane
        self.task = lane.head[0][0]
        self.expected_s = expected_s
        self.latest_s = latest_s

    @property
    def manager(self) -> ManagerState:
        """The first of them."""
        return self.managers[0]

    def end(self) -> None:
        """They are kept no more."""
        for manager in self.managers:
            manager.kept_hosts = frozenset()
            manager.reserve(on=False)


class Granter:
    """Places tasks that ask.

    Args:
        state: the tables.
        filler: places the others, and sends.
        policy: which of several managers is next.

    Attributes:
        reservation: the one there is.
        plain_stopped: whether plain tasks wait because one that asks is before them and waits for any worker.
    """

    def __init__(self, state: State, filler: Filler, policy: PlacementPolicy) -> None:
        self._state = state
        self._filler = filler
        self._ranking = filler.ranking
        self._near_wait_s = float(getattr(policy, "near_wait_s", 0.0))
        self._grown: dict[str, ManagerState] = {}  # those that may fit now what did not fit before
        self._looked_at: dict[str, ManagerState] = {}  # the same, in this round
        self._candidates: dict[Lane, list[Ranked]] = {}  # where tasks of a lane fit, in this round
        self._left_out: dict[
            str, ManagerState
        ] = {}  # where some would have fitted, had a policy that sees all managers named them
        self._turn = 0
        self.reservation: Reservation | None = None
        self.plain_stopped = False

    def grew(self, manager: ManagerState) -> None:
        """It may have more room than before, or may get nothing any more."""
        if not manager.is_open:
            self._state.lanes.news |= manager.reserved or bool(manager.kept_hosts)
        elif self._state.lanes.lanes:
            self._grown[manager.name] = manager

    def forget(self, manager: ManagerState) -> None:
        """It is gone."""
        for managers in (self._grown, self._looked_at, self._left_out):
            managers.pop(manager.name, None)
        if self.reservation is not None and manager in self.reservation.managers:
            self._release()
            self._state.lanes.news = True

    def review(self) -> None:
        """A while has passed: the order of what waits, and whom a policy leaves out, may be other ones."""
        self._state.lanes.news = bool(self._state.lanes.lanes)
        self._grown.update(self._left_out)
        self._left_out.clear()

    def place(self, now_s: float, left: int) -> int:
        """Places up to so many, plain ones in their turn. Returns how many more may be placed."""
        lanes = self._state.lanes
        if lanes.lanes:
            for _ in range(_ROUNDS):  # a reservation that ends makes room for those that were looked at before
                if left > 0 and (lanes.news or self._grown):
                    left = self._place_in_order(now_s, left)
        else:
            self._grown.clear()
            self.plain_stopped = False
            self._release()
        return left

    # ------------------------------------------------------------------ in order
    def _place_in_order(self, now_s: float, left: int) -> int:
        """All that wait, lane by lane, plain tasks in their turn. Returns how many more may be placed."""
        lanes, queue = self._state.lanes, self._state.queue
        done: set[Lane] = set()
        plain_open, first = True, True
        self.plain_stopped = False
        self._look_at_reservation(now_s)
        self._looked_at, self._grown = self._grown, {}
        self._candidates.clear()
        lanes.news = False
        while left > 0:
            best = lanes.best(now_s, done)
            if plain_open and queue.tasks and (best is None or lanes.plain_key(now_s, queue.tasks[0][0]) < best[0]):
                count = self._filler.place_plain(now_s)
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
                if self._is_light(lane.ask) and not self._ranking.managers:
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
        reservation = self.reservation
        if reservation is not None and reservation.lane is lane and reservation.task == lane.head[0][0]:
            return True
        able = self._able(lane, now_s)
        if lane.ask.nodes and not any(manager.hosts for manager in able):
            return not self._state.gangs_wait and bool(self._blocks(lane, able, now_s))
        return any(manager.is_open and manager.could_ever(lane.ask, now_s) for manager in able)

    @staticmethod
    def _blocks(lane: Lane, able: list[ManagerState], now_s: float) -> list[list[ManagerState]]:
        """Blocks that have enough nodes for a task of the lane."""
        usable = [each for each in able if each.is_open and each.could_ever(lane.ask, now_s)]
        return [block for block in gangs.by_block(usable).values() if len(block) >= lane.ask.nodes]

    def _is_light(self, ask: Ask) -> bool:
        """Whether it needs no more than a plain task."""
        state = self._state
        return (
            not ask.gpus
            and not ask.disk_bytes
            and not ask.nodes
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
        if not (manager.reserved or manager.kept_hosts) or 0 < lane.ask.nodes <= manager.unkept_hosts:
            return True
        return self._may_go_before(lane, now_s)

    def _may_go_before(self, lane: Lane, now_s: float) -> bool:
        """Whether the next task of the lane may have what is reserved."""
        reservation = self.reservation
        if reservation is None or reservation.lane is lane:
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
            if lane.ask.nodes and self._place_gang(lane, now_s):
                return True
            lane.blocked = True
            return False
        self._grant(manager, lane, now_s)
        return True

    def _place_gang(self, lane: Lane, now_s: float) -> bool:
        """The next task of the lane goes to several managers, if as many of one block are empty."""
        if self._state.gangs_wait:
            return False
        pool = self._able(lane, now_s)
        if lane.blocked:  # only where somebody became empty since
            places = self._state.places
            blocks = {manager.block for manager in self._looked_at.values() if manager.is_empty(now_s)}
            pool = [each for block in blocks for each in places.get(block, {}).values() if each.block == block]
        ask = lane.ask
        free = [
            each
            for each in pool
            if each.is_open
            and not each.hosts
            and each.is_empty(now_s)
            and (not each.reserved or self._may_go_before(lane, now_s))
            and each.could_ever(ask, now_s)
        ]
        chosen = gangs.choose(free, ask.nodes, ask.near)
        if chosen:
            self._grant(chosen[0], lane, now_s, chosen[1:])
        return bool(chosen)

    def _find(self, lane: Lane, now_s: float) -> ManagerState | None:
        """The first manager in the policy's order where it fits."""
        try:
            return self._first(lane, now_s)
        except Exception as error:  # noqa: BLE001 - a policy of the user's, or ranks of it that cannot be compared
            self._ranking.give_up(error)
            return self._first(lane, now_s)

    def _first(self, lane: Lane, now_s: float) -> ManagerState | None:
        if self._ranking.is_other:  # ranks of the one and of the other cannot be compared
            self._ranking.is_other = False
            self._candidates.clear()
        heap = self._candidates.get(lane)
        if heap is None:
            if lane.blocked:
                pool = list(self._looked_at.values())
            elif self._is_light(lane.ask) and len(self._ranking) > _FEW:
                return self._search(lane, now_s)
            else:
                pool = self._able(lane, now_s)
            fitting = [manager for manager in pool if self._may(manager, lane, now_s)]
            heap = self._candidates[lane] = self._ranking.heap(fitting)
            if len(heap) < len(fitting):
                self._left_out.update((manager.name, manager) for manager in fitting)
        while heap:
            _, number, version, manager = heap[0]
            if not self._may(manager, lane, now_s):
                heapq.heappop(heap)
            elif version != manager.version:
                heapq.heapreplace(heap, (self._ranking.rank(manager), number, manager.version, manager))
            else:
                return manager
        return None

    def _search(self, lane: Lane, now_s: float) -> ManagerState | None:
        """The same for a task that fits almost anywhere, when there are many."""
        ranking = self._ranking
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
        manager = self._ranking.best([each for each in near.values() if self._may(each, lane, now_s)])
        if manager is not None or not near or now_s - lane.head[1] >= self._near_wait_s:
            return manager, False
        return None, any(each.is_open and each.could_ever(lane.ask, now_s) for each in near.values())

    def _grant(
        self, manager: ManagerState, lane: Lane, now_s: float, members: list[ManagerState] | None = None
    ) -> None:
        """The next task of the lane goes there; with these others, where it has several managers."""
        state = self._state
        mean_s = state.special_mean_s or state.mean_s
        item = state.lanes.pop(lane, now_s)
        granted, grant = manager.take(lane.ask, now_s, mean_s)
        if members is not None:
            granted.gang = gangs.Gang((item[0], item[1]), manager, members)
            everybody = (manager, *members)
            granted.weight = sum(each.cores for each in everybody)
            grant = msgspec.structs.replace(
                grant, hosts=tuple(each.node for each in everybody), members=tuple(each.name for each in members)
            )
            for each in members:
                self._ranking.update(each)
        granted.charged_s = granted.weight * max(mean_s, _MIN_CHARGE_S)
        state.lanes.charge(lane.ask.label, granted.charged_s)
        manager.held[item[0]] = item
        manager.granted[item[0]] = granted
        manager.recount()
        manager.spoke_s = now_s
        state.placed[item[0]] = manager
        if self.reservation is not None and self.reservation.task == item[0]:
            self._release()
        self._ranking.update(manager)
        self._filler.send(manager, [(*item[:5], grant)])

    # ------------------------------------------------------------------ reservation
    def _look_at_reservation(self, now_s: float) -> None:
        """Whether it still makes sense."""
        reservation = self.reservation
        if reservation is not None and (
            not all(manager.is_open for manager in reservation.managers)
            or now_s + (reservation.lane.ask.walltime_s or 0.0)
            > min(manager.ends_s for manager in reservation.managers)
            or reservation.lane.tasks.keys().isdisjoint({reservation.task})
        ):
            self._release()

    def _release(self) -> None:
        reservation, self.reservation = self.reservation, None
        if reservation is not None:
            reservation.end()
            for manager in reservation.managers:
                if not manager.gone:
                    self._filler.touch(manager)

    def _reserve(self, lane: Lane, now_s: float) -> None:
        """Keeps a manager free for the next task of the lane, or several."""
        reservation = self.reservation
        if reservation is not None:
            if reservation.lane is lane and reservation.task == lane.head[0][0]:
                return
            self._release()
        able = some = self._able(lane, now_s)
        if len(able) > _CANDIDATES:  # others the next time
            start = self._turn = self._turn % len(able)
            self._turn += _CANDIDATES
            some = able[start : self._turn] + able[: max(0, self._turn - len(able))]
        state = self._state
        mean_s = state.special_mean_s or state.mean_s
        best: tuple[float, float, list[ManagerState]] | None = None
        for manager in some:
            if manager.is_open and manager.could_ever(lane.ask, now_s) and (manager.hosts or not lane.ask.nodes):
                expected_s, latest_s = manager.when_fits(lane.ask, now_s, mean_s)
                if expected_s < (math.inf if best is None else best[0]):
                    best = expected_s, latest_s, [manager]
        if lane.ask.nodes and best is None and not state.gangs_wait:
            best = self._soonest(lane, able, now_s, mean_s)
        if best is None:
            return
        expected_s, latest_s, managers = best
        self.reservation = Reservation(managers, lane, expected_s, latest_s)
        for manager in managers:
            self._ranking.update(manager)
            if manager.reserved:
                self._filler.call_back(manager, manager.plain - manager.slots, now_s)

    def _soonest(
        self, lane: Lane, able: list[ManagerState], now_s: float, mean_s: float
    ) -> tuple[float, float, list[ManagerState]] | None:
        """As many managers of one block, of those where it takes the shortest time until all are empty."""
        candidates: list[ManagerState] = []
        for block in self._blocks(lane, able, now_s):
            candidates += block
            if len(candidates) >= _CANDIDATES:
                break
        return gangs.soonest(candidates, lane.ask, now_s, mean_s)
