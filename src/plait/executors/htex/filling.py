"""Who gets what now: the placing of tasks that wait on managers that have room.

Plain tasks
    While more wait than there are workers, managers are filled one after another, each with a large batch, in the order in which they got room:
    frames of many tasks cost the least, and no manager is looked at that has no room. Once fewer wait, they are divided among the free workers,
    in the order of the placement policy, and only what is left over waits behind running tasks.
    When in the end some manager has free workers while tasks wait behind running ones at another, these are called back (`recall`).
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from plait.executors.htex.granting import Granter
from plait.executors.htex.messages import Placed, Recall, Tasks
from plait.executors.htex.nodes import CREDIT_S, MAX_CREDIT
from plait.executors.htex.placement import PlacementPolicy, Ranking

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.executors.htex.messages import OfferedTask, SentTask
    from plait.executors.htex.nodes import ManagerState
    from plait.executors.htex.state import State

#: Tasks and bytes of arguments in one message to a manager.
BATCH_TASKS: Final = 256
BATCH_BYTES: Final = 256 * 1024
#: Messages with fewer tasks wait for the end of the round: more may come for the same manager.
_MIN_BATCH: Final = 32
#: Tasks that one call places at most.
PLACE_TASKS: Final = 16_384
#: Tasks for which a manager must have room before it gets any, while it has enough to do.
_REFILL_TASKS: Final = 64
#: Seconds of silence after which tasks that wait behind running ones are called back for free workers.
RETRACT_S: Final = 0.03
#: Seconds in which a manager should have answered a recall.
_RECALL_S: Final = 1.0


class Filler:
    """Places tasks.

    Args:
        state: the tables.
        policy: which of several managers is next.
        failed: what is told when it fails; see `placement.Ranking`.

    Attributes:
        line: managers with room for plain tasks.
        ranking: managers with free workers.
        granter: places tasks that ask.
    """

    def __init__(
        self, state: State, policy: PlacementPolicy, failed: Callable[[Exception], None] | None = None
    ) -> None:
        self._state = state
        self.ranking = Ranking(policy, failed)
        self._fills = bool(getattr(policy, "fills", False))
        self.line: deque[ManagerState] = deque()  # those with room for plain tasks
        self._overfull: dict[str, ManagerState] = {}  # those where plain tasks may wait behind others
        self._left_out: list[
            ManagerState
        ] = []  # of those in the line: what a policy that sees all of them does not want
        self._is_asked = False  # whether that was found out since somebody joined the line
        self._batches: dict[ManagerState, tuple[list[SentTask], int]] = {}  # small ones that are about to be sent
        self._recall_s = -math.inf
        self.granter = Granter(state, self, policy)

    # ------------------------------------------------------------------ who has room
    def each(self) -> int:
        """Plain tasks that may wait behind the one that a worker runs."""
        mean_s = self._state.mean_s
        if mean_s > CREDIT_S:
            return 0
        return 1 if mean_s <= 0 else min(MAX_CREDIT, int(CREDIT_S / mean_s))

    def touch(self, manager: ManagerState) -> None:
        """It may have more room than before, or be open or closed now."""
        self.ranking.update(manager)
        self.granter.grew(manager)
        if not manager.room and manager.is_open:
            credit = manager.credit(self.each())
            more = credit - manager.slots
            low = 1 if more < 4 else min(_REFILL_TASKS, more // 2)
            if len(manager.held) - len(manager.granted) <= credit - low:
                manager.room = True
                self.line.append(manager)
                self._is_asked = False

    def forget(self, manager: ManagerState) -> None:
        """It is gone."""
        manager.gone = True
        self.ranking.update(manager)
        self._overfull.pop(manager.name, None)
        self.granter.forget(manager)

    # ------------------------------------------------------------------ placing
    def place(self, now_s: float) -> bool:
        """Places what can be. True if it stopped early, so that it wants to be called again soon."""
        state = self._state
        lanes, queue = state.lanes, state.queue
        left = self.granter.place(now_s, PLACE_TASKS)
        if queue.tasks and not self.granter.plain_stopped:
            while left > 0 and queue.tasks and (self.line or self.ranking.managers):
                count = self.place_plain(now_s)
                if not count:
                    break
                left -= count
            lanes.plain_served(now_s)
        if not queue.tasks:
            lanes.plain_waits = False
        if self._batches:
            for manager in list(self._batches):
                self._flush(manager)
        self._ask_again()
        return left <= 0

    def _give(self, manager: ManagerState, items: list[OfferedTask], now_s: float) -> None:
        """Plain tasks go to a manager."""
        state = self._state
        manager.held.update([(item[0], item) for item in items])
        state.placed.update(dict.fromkeys([item[0] for item in items], manager))
        manager.spoke_s = now_s
        state.lanes.charge("", len(items) * state.mean_s * state.cores_per_worker)
        self.send(manager, cast("list[SentTask]", items))  # a plain task is sent as it was offered

    def send(self, manager: ManagerState, items: list[SentTask]) -> None:
        """Tasks that it holds now are sent to it, with others if they are few."""
        if manager.plain > manager.slots:
            self._overfull[manager.name] = manager
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
            self._flush(manager)

    def _flush(self, manager: ManagerState) -> None:
        items, _ = self._batches.pop(manager)
        self._put(manager, items)

    def _put(self, manager: ManagerState, items: list[SentTask]) -> None:
        out = self._state.out
        out.append((None, Placed(manager.name, [(item[0], item[1]) for item in items]), b""))
        self._state.send_functions(manager, {item[2] for item in items})
        out.append((manager.conn, Tasks(items), b""))

    # ------------------------------------------------------------------ plain tasks
    def place_plain(self, now_s: float) -> int:
        """A turn of plain tasks: how many were placed; 0 when there is no room."""
        queue, state = self._state.queue, self._state
        if len(queue.tasks) <= state.workers:
            count = self._divide(now_s)
            if count or not queue.tasks:
                return count
            share = len(queue.tasks) // (len(self.line) + 1) + 1
        else:
            share = BATCH_TASKS
        if self.ranking.sees_all and not self._is_asked:
            self._choose()
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

    def _choose(self) -> None:
        """Only those of the line get something that the policy names."""
        self._ask_again()
        managers = list(self.line)
        chosen = self.ranking.chosen([manager for manager in managers if manager.is_open])
        wanted = set(chosen)
        self.line = deque(chosen)
        self._left_out = [manager for manager in managers if manager not in wanted]
        self._is_asked = True

    def _ask_again(self) -> None:
        """The policy may have another opinion the next time."""
        self.line.extend(self._left_out)
        self._left_out.clear()
        self._is_asked = False

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

    # ------------------------------------------------------------------ taking back
    def recall(self, now_s: float) -> None:
        """Calls tasks back that wait behind running ones, where free workers, or tasks that are before them, could have their place."""
        if not self.wants_recall or now_s - self._recall_s < RETRACT_S / 2:
            return
        self._recall_s = now_s
        want = len(self._state.lanes) if self.granter.plain_stopped else sum(each.free_slots for each in self.ranking)
        for manager in list(self._overfull.values()):
            more = manager.plain - manager.slots
            if more <= 0:
                del self._overfull[manager.name]
            elif now_s - manager.spoke_s >= RETRACT_S and want > 0:
                want -= self.call_back(manager, min(more, want), now_s)

    @property
    def wants_recall(self) -> bool:
        """Whether some tasks wait in the wrong place."""
        return bool(self._overfull) and (
            self.granter.plain_stopped or (not self._state.queue.tasks and len(self.ranking) > 0)
        )

    def call_back(self, manager: ManagerState, count: int, now_s: float) -> int:
        """Asks for tasks that wait there; how many."""
        if count <= 0 or now_s - manager.recalled_s < _RECALL_S:
            return 0
        manager.recalled_s = now_s
        self._state.out.append((manager.conn, Recall(count), b""))
        return count
