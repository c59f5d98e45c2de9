"""The interchange's decisions: which manager gets which task, and what follows when a manager comes, speaks, is silent or goes.

Pure: no socket, process, thread or clock. The shell (`interchange.py`, or the simulator) calls it with messages and the time, and sends what is in `out`,
in that order: the driver is told where a task goes before its manager gets it, and a manager gets a function before the tasks that name it.

```
            ┌ queue.py     what waits, and which is next
            ├ filling.py   who gets plain tasks ──┐
core.py ────┼ granting.py  who gets others ───────┴ placement.py  which of several · gangs.py  several at once
            ├ members.py   who is there ──── nodes.py  what each has · ghosts.py  what is being ended · limbo.py  who may come back
            └ accounts.py  which outcomes have arrived
```

Where an attempt is: in a queue (`Offer`), with one manager (`Placed`), or gone (`Delivered`, `Lost`, or cancelled). It is in one place at a time.
Segments of big values are the shell's matter alone: it sends `Pull` when it sees a task with sizes in `out` and has room for it,
and hands a `BigOutcome` over when all its chunks have come; numbers of messages with outcomes need not come in order for that reason.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from plait.executors.htex import messages as m
from plait.executors.htex.answers import answer, fits_nowhere
from plait.executors.htex.check import check
from plait.executors.htex.filling import RETRACT_S, Filler
from plait.executors.htex.members import Members
from plait.executors.htex.placement import as_policy
from plait.executors.htex.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plait.executors.htex.messages import Ask, AttemptId, Message, OfferedTask, OutcomeItem
    from plait.executors.htex.nodes import ManagerState
    from plait.executors.htex.state import Conn

#: Seconds after which the order of tasks that ask is looked at anew, although nothing has happened.
_REVIEW_S = 1.0


class InterchangeCore(State):
    """The state of an interchange.

    Args:
        epoch: names this life.
        cores_per_worker: of a plain task.
        memory_per_worker: bytes likewise; 0 when they are not counted.
        heartbeat_period_s, heartbeat_threshold_s: when managers are to speak, and when they are given up.
        policy: which of several managers is next; None for the default. See `placement`.
        forgiving: whether a policy that fails is told of, and replaced by the default, instead of being the end.
        expected: managers that earlier lives knew, after a restart.
        now_s: the time.
        plait, python: versions of the driver, to compare managers with; empty for whatever comes.
    """

    def __init__(
        self,
        *,
        epoch: str,
        cores_per_worker: float = 1.0,
        memory_per_worker: int = 0,
        heartbeat_period_s: float,
        heartbeat_threshold_s: float,
        policy: Any = None,
        forgiving: bool = False,
        expected: Iterable[str] = (),
        now_s: float = 0.0,
        plait: str = "",
        python: str = "",
    ) -> None:
        super().__init__(cores_per_worker, memory_per_worker)
        self._filler = Filler(self, as_policy(policy), self._policy_failed if forgiving else None)
        self._members = Members(
            self, self._filler, epoch=epoch, period_s=heartbeat_period_s, threshold_s=heartbeat_threshold_s, expected=expected,
            plait=plait, python=python, now_s=now_s,
        )  # fmt: skip
        self._reviewed_s = now_s
        self._from_driver: dict[type[Message], Callable[[Any, bytes, float], None]] = {
            m.Offer: self._offer, m.Taken: self._taken, m.Function: self._function, m.Cancel: self._cancel, m.OfferAgain: self._offer_again,
            m.Hold: self._hold, m.DrainBlock: self._drain_block, m.Query: self._query,
        }  # fmt: skip
        self._from_manager: dict[type[Message], Callable[[ManagerState, Any, bytes, float], None]] = {
            m.Outcomes: self._outcomes, m.Heartbeat: self._heartbeat, m.BigOutcome: self._big_outcome, m.Returned: self._returned,
            m.Draining: self._draining, m.Leaving: self._leaving,
        }  # fmt: skip

    def _policy_failed(self, error: Exception) -> None:
        text = (
            f"its manager_selector failed ({type(error).__name__}: {error}); the default chooses managers from now on"
        )
        self.out.append((None, m.Warn(text), b""))

    # ------------------------------------------------------------------ from the driver
    def from_driver(self, message: Message, payload: bytes, now_s: float) -> None:
        """The driver says something."""
        self._from_driver[type(message)](message, payload, now_s)
        if self.freed:
            self._members.settle_freed(now_s)

    def _offer(self, message: m.Offer, _: bytes, now_s: float) -> None:
        plain = self.queue.tasks
        if not plain:
            self.lanes.plain_begins(now_s)
        append = plain.append
        for item in message.items:
            ask = item[5]
            if ask is None:
                append(item)
            else:
                self.lanes.add(item, ask, now_s)

    def _taken(self, message: m.Taken, _: bytes, now_s: float) -> None:
        for manager in self.accounts.taken(message.seq):
            self.out.append((manager.conn, m.Taken(manager.taken_seq), b""))
        for manager in self.accounts.settled():
            self._members.drained(manager, now_s)

    def _function(self, message: m.Function, payload: bytes, _: float) -> None:
        self.functions[message.number] = payload

    def _cancel(self, message: m.Cancel, _: bytes, now_s: float) -> None:
        told: dict[ManagerState, list[AttemptId]] = {}
        plain: set[ManagerState] = set()
        for attempt in message.items:
            manager = self.placed.get(attempt[0])
            if manager is not None and manager.held[attempt[0]][1] == attempt[1]:
                if self.release(manager, attempt[0], ghost=True)[5] is None:
                    plain.add(manager)
                manager.owes.discard(attempt)
                self._members.limbo.unwanted(attempt)
                if attempt in manager.ghosts:
                    self._members.ghosts.add(manager, attempt, now_s)
                told.setdefault(manager, []).append(attempt)
            elif not self.lanes.cancel(attempt):
                self.queue.cancel(attempt)
                self._members.limbo.cancel(attempt, now_s)
        for manager, attempts in told.items():
            self.out.append((manager.conn, m.Cancel(attempts), b""))
            if manager in plain:
                self._members.ghosts.plain(manager, now_s)
            self._members.changed(manager, now_s)

    def _offer_again(self, message: m.OfferAgain, _: bytes, now_s: float) -> None:
        self._members.offer_again(message.manager, message.items, now_s)

    def _hold(self, message: m.Hold, _: bytes, __: float) -> None:
        self._members.hold(message.name, on=message.on)

    def _drain_block(self, message: m.DrainBlock, _: bytes, now_s: float) -> None:
        self._members.drain_block(message.block, message.reason, now_s, over=message.over)

    def _query(self, message: m.Query, _: bytes, now_s: float) -> None:
        self.out.append((None, m.Answer(message.number), answer(self, self._filler, message.what, now_s)))

    def fits_nowhere(self, ask: Ask, now_s: float) -> str:
        """Why no connected manager could ever take a task that asks for this, with the numbers; empty when one could."""
        return fits_nowhere(list(self.managers.values()), ask, now_s)

    # ------------------------------------------------------------------ from managers
    def connection_is_known(self, conn: Conn) -> bool:
        """Whether it is a manager's that registered."""
        return conn in self.conns

    def heard(self, conn: Conn, now_s: float) -> None:
        """Something else came from there: a part of a big value."""
        manager = self.conns.get(conn)
        if manager is not None:
            manager.heard_s = manager.moved_s = now_s

    def from_manager(self, conn: Conn, message: Message, payload: bytes, now_s: float) -> None:
        """A manager says something."""
        manager = self.conns.get(conn)
        if type(message) is m.Register:
            self._members.register(conn, message, now_s)
        elif manager is None:
            self._members.stranger(conn, now_s)
        else:
            manager.heard_s = now_s
            self._from_manager[type(message)](manager, message, payload, now_s)
        if self.freed:
            self._members.settle_freed(now_s)

    def _heartbeat(self, manager: ManagerState, message: m.Heartbeat, _: bytes, now_s: float) -> None:
        self.out.append((manager.conn, m.Heartbeat(message.sent_s, now_s), b""))

    def _outcomes(self, manager: ManagerState, message: m.Outcomes, _: bytes, now_s: float) -> None:
        items = message.items
        if manager.owes:
            manager.owes.difference_update((item[0], item[1]) for item in items)
        if not self._is_new(manager, message.seq, items, now_s):
            return
        held, placed = manager.held, self.placed
        others: list[OutcomeItem] = []
        busy_s = 0.0
        plain = 0
        for item in items:
            task = item[0]
            mine = held.get(task)
            if mine is None or mine[1] != item[1] or mine[5] is not None:
                others.append(item)
            else:
                del held[task], placed[task]
                busy_s += item[5] - item[4]
                plain += 1
        if plain:
            self._learn(plain, busy_s)
        if others:
            unwanted = {id(item) for item in others if not self._end_other(manager, item, now_s)}
            if unwanted:
                items = [item for item in items if id(item) not in unwanted]
        if items:
            manager.done += len(items)
            seq = self.accounts.delivered(manager, message.seq)
            self.out.append((None, m.Delivered(seq, manager.name, items), b""))
        self._delivered(manager, message.seq if not items else 0, now_s)

    def _big_outcome(self, manager: ManagerState, message: m.BigOutcome, payload: bytes, now_s: float) -> None:
        item = message.item
        manager.owes.discard((item[0], item[1]))
        if not self._is_new(manager, message.seq, [item], now_s):
            return
        wanted = self._end_other(manager, item, now_s)
        if wanted:
            manager.done += 1
            seq = self.accounts.delivered(manager, message.seq)
            self.out.append((None, m.BigDelivered(seq, manager.name, item, message.sizes), payload))
        self._delivered(manager, 0 if wanted else message.seq, now_s)

    def _is_new(self, manager: ManagerState, seq: int, items: list[OutcomeItem], now_s: float) -> bool:
        """Whether it has not come before; if it has and the driver has it, the manager is told once more."""
        if self.accounts.is_new(manager, seq):
            return True
        if manager.unclaimed:  # it named them as it came back, and they are over
            for item in items:
                self._members.limbo.given_back(manager, (item[0], item[1]))
            self._members.changed(manager, now_s)
        if seq <= manager.taken_seq:
            self.out.append((manager.conn, m.Taken(manager.taken_seq), b""))
        self._members.drained(manager, now_s)
        return False

    def _end_other(self, manager: ManagerState, item: OutcomeItem, now_s: float) -> bool:
        """How an attempt ended that asked for something or is not known; whether the driver wants to hear of it."""
        task, attempt = item[0], item[1]
        mine = manager.held.get(task)
        if mine is not None and mine[1] == attempt:
            used_s = max(0.0, item[5] - item[4])
            self.release(manager, task, used_s)
            if mine[5] is None:
                self._learn(1, used_s)
            return True
        self._members.ghosts.lay(manager, (task, attempt), now_s)
        return self._members.limbo.delivered(manager, (task, attempt))

    def _delivered(self, manager: ManagerState, settled_seq: int, now_s: float) -> None:
        """It has said how tasks ended; nothing of this message goes to the driver if its number is given."""
        manager.spoke_s = now_s
        manager.stuck = False
        if settled_seq and self.accounts.count_taken(manager, settled_seq):
            self.out.append((manager.conn, m.Taken(manager.taken_seq), b""))
        self._members.changed(manager, now_s)

    def _learn(self, count: int, busy_s: float) -> None:
        """Plain tasks took so long. Quick to believe in long ones, slow in short ones: too much sent in error costs more than a round trip."""
        before_s = self.mean_s
        mean_s = max(0.0, busy_s / count)
        self.mean_s = mean_s if not before_s else before_s + (0.5 if mean_s > before_s else 0.2) * (mean_s - before_s)
        self.lanes.charge("", (busy_s - count * before_s) * self.cores_per_worker)

    def _returned(self, manager: ManagerState, message: m.Returned, _: bytes, now_s: float) -> None:
        back: list[OfferedTask] = []
        for task, attempt in message.items:
            mine = manager.held.get(task)
            if mine is not None and mine[1] == attempt:
                back.append(self.release(manager, task))
            elif not self._members.ghosts.lay(manager, (task, attempt), now_s):
                self._members.limbo.given_back(manager, (task, attempt))
        if manager.gone:  # the last that it had, while it was draining
            return
        manager.spoke_s = now_s
        manager.recalled_s = -math.inf
        if back:
            manager.stuck = True
            self.requeue(back, now_s)
        self._members.changed(manager, now_s)

    def _draining(self, manager: ManagerState, message: m.Draining, _: bytes, now_s: float) -> None:
        self._members.draining(manager, message.reason, now_s)

    def _leaving(self, manager: ManagerState, message: m.Leaving, _: bytes, now_s: float) -> None:
        self._members.lose(manager, message.reason, "left", now_s, announced=True)

    # ------------------------------------------------------------------ placing, and time
    def place(self, now_s: float) -> bool:
        """Gives tasks to managers that have room. True if it stopped early, so that it wants to be called again soon."""
        return self._filler.place(now_s)

    def tick(self, now_s: float) -> None:
        """Time has passed: losses, tasks that are in the wrong place, the order of what waits. To be called a few times a second, see `next_tick_s`."""
        self._members.tick(now_s)
        if self.freed:
            self._members.settle_freed(now_s)
        if now_s - self._reviewed_s >= _REVIEW_S:
            self._reviewed_s = now_s
            self._filler.granter.review()
        self._filler.recall(now_s)

    def next_tick_s(self, now_s: float) -> float:
        """When `tick` should be called at the latest."""
        due_s = self._members.next_tick_s()
        if self.lanes.lanes:
            due_s = min(due_s, self._reviewed_s + _REVIEW_S)
        if self._filler.wants_recall:
            due_s = min(due_s, now_s + RETRACT_S)
        return max(due_s, now_s)

    # ------------------------------------------------------------------ for tests
    def check(self) -> None:
        """Holds the tables against each other.

        Raises:
            InternalConsistencyError: naming what does not fit.
        """
        check(self, self._filler)
