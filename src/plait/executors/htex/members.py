"""Who is there: managers come, come back, are silent for too long, drain and leave; and what then becomes of their tasks.

Losses
    A manager that was silent for the threshold is lost: its attempts are reported to the driver, which decides about new ones, and its name is
    remembered, so that it is told so when it speaks again. Nothing else is looked at, so a loss costs what the manager held and not what is queued.
    When the interchange itself stood still, everybody's time begins anew: silence is only held against a manager if we were listening.

Coming back
    A manager that registers again over another connection says what it has and what it has finished. What we believed there and is neither was
    lost on the wire, so it never began: it is placed again, as the same attempt. What it has and we do not want any more is cancelled.
    Over the same connection nothing is lost, and what was sent meanwhile may not have reached it yet: nothing is concluded.
    All the same a manager that holds tasks and delivers nothing for long is asked now and then to register again (`WhoAreYou`),
    and if we sent it nothing meanwhile, what it says is compared as above.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

from plait.executors.htex import messages as m
from plait.executors.htex.ghosts import Ghosts
from plait.executors.htex.limbo import Limbo
from plait.executors.htex.nodes import ManagerState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plait.executors.htex.filling import Filler
    from plait.executors.htex.gangs import Gang
    from plait.executors.htex.messages import AttemptId, OfferedTask
    from plait.executors.htex.nodes import Granted
    from plait.executors.htex.state import Conn, State

#: Seconds after which at the latest a manager that holds tasks and is quiet is asked whether it does.
_MAX_AUDIT_S: Final = 3600.0
#: Names of managers that are gone which are remembered.
_MAX_NAMES: Final = 100_000
#: Packages that one warning names.
_MAX_PACKAGES: Final = 20
#: Seconds in which one connection is asked once who it is.
_ASK_S: Final = 1.0
#: Seconds in which a manager whose block is said to be over must show that it lives.
DOUBT_S: Final = 3.0
_MAX_ASKED: Final = 10_000


class Members:
    """The managers.

    Args:
        state, filler: the tables, and who is told when something changed.
        epoch: this life of the interchange.
        period_s, threshold_s: of heartbeats.
        expected: managers that earlier lives knew.
        plait, python: versions of the driver; empty for whatever comes.
        now_s: the time.
    """

    def __init__(
        self,
        state: State,
        filler: Filler,
        *,
        epoch: str,
        period_s: float,
        threshold_s: float,
        expected: Iterable[str],
        plait: str,
        python: str,
        now_s: float,
    ) -> None:
        self._state = state
        self._filler = filler
        self._epoch = epoch
        self._period_s = period_s
        self._threshold_s = threshold_s
        self._plait = plait
        self._python = python
        self._due: list[tuple[float, int, ManagerState]] = []  # when to look whether one is lost
        self._ties = 0
        self._late_s = max(1.0, min(period_s, threshold_s / 4))  # between two ticks: then it was we who stood still
        self._tick_s = now_s
        self._resumed_s = -math.inf
        self._lost: dict[str, str] = {}
        self._ended: dict[str, str] = {}  # those that drained or left
        self._lost_conns: dict[Conn, str] = {}
        self._asked: dict[Conn, float] = {}
        self._held_names: set[str] = set()
        self._draining_blocks: dict[str, str] = {}
        self._doubts: dict[str, float] = {}  # managers whose block is said to be over, and when they were asked
        self._warned: set[str] = set()
        self.ghosts = Ghosts(state, self.changed)
        self.limbo = Limbo(state, self.ghosts, self.changed, expected, threshold_s, now_s)

    # ------------------------------------------------------------------ coming
    def register(self, conn: Conn, r: m.Register, now_s: float) -> None:
        """A manager comes, or comes back."""
        state = self._state
        if refusal := self._refusal(r):
            state.out.append((conn, m.Refused(refusal), b""))
            state.out.append((None, m.ManagerGone(r.manager, r.block, r.hostname, "refused", refusal), b""))
            self._warn(f"A manager on {r.hostname} (block {r.block}) was refused: {refusal}")
            return
        if r.manager in self._ended:  # it was told so over an earlier connection
            state.out.append((conn, m.Stop(self._ended[r.manager]), b""))
            return
        if r.manager in self._lost:
            state.out.append((conn, m.DeclaredLost(self._lost[r.manager], r.manager), b""))
            return
        manager = state.managers.get(r.manager)
        if manager is not None and r.nth < manager.nth:  # of an earlier connection: read late
            return
        self._lost_conns.pop(conn, None)
        self._asked.pop(conn, None)
        other = state.conns.get(conn)
        if other is not None and other.name != r.manager:
            self.lose(other, f"it came back as {r.manager}", "lost", now_s, announced=False, tell=False)
        same_conn = manager is not None and manager.conn == conn
        again = manager is not None
        if manager is None:
            manager = self._enter(r, conn, now_s)
        else:
            self._leave_places(manager)
            state.conns.pop(manager.conn, None)
            manager.describe(r, conn, now_s)
        self._enter_places(manager)
        manager.owes = set(r.finished)
        state.membership += 1
        state.conns[conn] = manager
        state.out.append((conn, m.Welcome(self._epoch, self._period_s, self._threshold_s, now_s), b""))
        if same_conn:
            self._reconcile_same(manager, r, now_s)
        else:
            up = m.ManagerUp(
                r.manager, r.block, r.hostname, r.pid, r.workers, r.cores, r.memory_bytes, r.disk_bytes, r.gpus, r.plait, r.python, again or r.manager in self.limbo.missing, max(1, len(r.hosts))
            )  # fmt: skip
            state.out.append((None, up, b""))
            self._reconcile(manager, r, now_s)
        # Of others nobody waits for the outcome: it is here, and that may be on its way to the manager, which then does not send it again.
        manager.owes = {each for each in manager.owes if manager.expects(*each)}
        self.limbo.is_back(r.manager)
        if r.draining and manager.draining is None:
            manager.draining = "it was draining when it registered"
        if manager.draining is None and manager.block in self._draining_blocks:
            manager.draining = self._draining_blocks[manager.block]
        if manager.draining is not None and not r.draining:
            state.out.append((conn, m.Drain(manager.draining), b""))
        self._open_or_close(manager)
        self.drained(manager, now_s)

    def _refusal(self, r: m.Register) -> str:
        if r.protocol != m.PROTOCOL:
            return f"it speaks protocol version {r.protocol} (plait {r.plait}), the driver version {m.PROTOCOL} (plait {self._plait})"
        if self._python and r.python and self._python != r.python:
            if self._python.split(".")[:2] != r.python.split(".")[:2]:
                return (
                    f"it runs Python {r.python}, the driver Python {self._python}: code cannot be passed between them"
                )
            self._warn(f"Managers run Python {r.python}, the driver Python {self._python}.")
        if self._plait and r.plait and self._plait != r.plait:
            self._warn(f"Managers run plait {r.plait}, the driver plait {self._plait}.")
        if r.packages:
            shown = "; ".join(r.packages[:_MAX_PACKAGES])
            more = f"; and {len(r.packages) - _MAX_PACKAGES} more" if len(r.packages) > _MAX_PACKAGES else ""
            self._warn(f"Managers have other versions of packages than the driver: {shown}{more}.")
        return ""

    def _warn(self, text: str) -> None:
        if text not in self._warned and len(self._warned) < _MAX_NAMES:
            self._warned.add(text)
            self._state.out.append((None, m.Warn(text), b""))

    def _enter(self, r: m.Register, conn: Conn, now_s: float) -> ManagerState:
        state = self._state
        manager = ManagerState(r, conn, now_s, state.cores_per_worker, state.memory_per_worker)
        manager.audit_s = self._threshold_s
        if r.nth > 1:  # from an earlier life: it may still be killing what was cancelled then
            self.ghosts.unknown(manager, now_s)
        state.managers[r.manager] = manager
        gang = state.awaited.pop(r.manager, None)
        if gang is not None:
            gang.add(manager)
        self._push_due(manager, now_s + self._threshold_s)
        return manager

    def _enter_places(self, manager: ManagerState) -> None:
        for place in {manager.name, manager.block, manager.hostname}:
            self._state.places.setdefault(place, {})[manager.name] = manager

    def _leave_places(self, manager: ManagerState) -> None:
        places = self._state.places
        for place in {manager.name, manager.block, manager.hostname}:
            there = places.get(place)
            if there is not None and there.pop(manager.name, None) is not None and not there:
                del places[place]

    def _reconcile(self, manager: ManagerState, r: m.Register, now_s: float) -> None:
        """Compares what a manager says it has with what we know."""
        state = self._state
        manager.known.clear()
        manager.asks = 0
        has, done = dict(r.holds), dict(r.finished)
        lost = [item for item in manager.held.values() if has.get(item[0]) != item[1] and done.get(item[0]) != item[1]]
        for item in lost:
            state.release(manager, item[0])
        state.requeue(lost, now_s)
        self.ghosts.reconnected(manager, now_s)
        unknown = {
            task: attempt
            for task, attempt in has.items()
            if task not in manager.held or manager.held[task][1] != attempt
        }
        if not self.limbo.returned(manager, r, unknown, now_s):
            unwanted = [attempt for attempt in unknown.items() if attempt not in manager.ghosts]
            self.ghosts.cancel_unknown(manager, unwanted, now_s)
            self._cancel_there(manager, list(manager.ghosts))
        manager.recount()

    def _reconcile_same(self, manager: ManagerState, r: m.Register, now_s: float) -> None:
        """The same over the same connection, where what was sent lately is still on its way."""
        state = self._state
        has, done = dict(r.holds), dict(r.finished)
        lost = [item for item in manager.held.values() if has.get(item[0]) != item[1] and done.get(item[0]) != item[1]]
        asks, manager.asks = manager.asks, 0
        # It was not us who asked, or more than once, and this may be the answer to the first time; or something was sent since.
        if asks != 1 or manager.asked_s <= manager.spoke_s:
            # Of big tasks it drops what is not complete, and the rest of them is not sent. One that was granted something waits to be asked about:
            # that it is gone is said late, and could be taken to be about the same attempt placed anew.
            lost = [item for item in lost if item[4] is not None and item[5] is None]
            unwanted = [(item[0], item[1]) for item in lost]
        else:
            unwanted = [
                (task, number)
                for task, number in has.items()
                if task not in manager.held and task not in manager.unclaimed
            ]
            manager.audit_s = self._threshold_s if lost or unwanted else min(2 * manager.audit_s, _MAX_AUDIT_S)
        for item in lost:
            state.release(manager, item[0])
        self._cancel_there(manager, unwanted)
        state.requeue(lost, now_s)

    def _cancel_there(self, manager: ManagerState, attempts: list[AttemptId]) -> None:
        if attempts:
            self._state.out.append((manager.conn, m.Cancel(attempts), b""))

    def _open_or_close(self, manager: ManagerState) -> None:
        """Whether it may get something has changed, perhaps."""
        state = self._state
        manager.on_hold = manager.name in self._held_names or manager.block in self._held_names
        counted = manager.workers if manager.is_open else 0
        # Not summed up anew: thousands of managers register at about the same time.
        state.workers += counted - manager.counted
        manager.counted = counted
        self._filler.touch(manager)

    def changed(self, manager: ManagerState, now_s: float) -> None:
        """It holds less than before, or may get more."""
        if not manager.held:
            manager.idle_since_s = now_s
        self._filler.touch(manager)
        if manager.draining is not None:
            self.drained(manager, now_s)

    def offer_again(self, name: str, items: list[OfferedTask], now_s: float) -> None:
        """An earlier life of the interchange had placed these on that manager."""
        reason = self._lost.get(name) or self._ended.get(name)
        if reason is not None:  # it was quicker than the driver
            attempts = [(item[0], item[1]) for item in items]
            self.limbo.report_lost(name, attempts, reason, announced=name in self._ended)
        else:
            self.limbo.offer_again(name, items, now_s)

    # ------------------------------------------------------------------ going
    def lose(
        self, manager: ManagerState, reason: str, how: str, now_s: float, *, announced: bool, tell: bool = True
    ) -> None:
        """A manager is no more, and what it held ends with it."""
        state = self._state
        del state.managers[manager.name]
        if state.conns.get(manager.conn) is manager:
            del state.conns[manager.conn]
        self._leave_places(manager)
        state.membership += 1
        state.workers -= manager.counted
        manager.counted = 0
        self._filler.forget(manager)
        self._leave_gang(manager, reason, now_s, announced=announced)
        attempts = [(item[0], item[1]) for item in manager.held.values()]
        for granted in manager.granted.values():
            state.lanes.charge(granted.ask.label, -granted.charged_s)
            self._disband(granted, now_s)
        for granted in manager.ghosts.values():
            self._disband(granted, now_s)
        for task in manager.held:
            del state.placed[task]
        self._remember(manager.name, reason, self._lost if how == "lost" else self._ended)
        if how == "lost" and tell:
            self._lost_conns[manager.conn] = manager.name
            if len(self._lost_conns) > _MAX_NAMES:
                del self._lost_conns[next(iter(self._lost_conns))]
            self._asked[manager.conn] = now_s
            state.out.append((manager.conn, m.DeclaredLost(reason, manager.name), b""))
        if attempts:
            lost = m.Lost(manager.name, manager.hostname, manager.block, reason, announced, attempts)
            state.out.append((None, lost, b""))
        state.out.append((None, m.ManagerGone(manager.name, manager.block, manager.hostname, how, reason), b""))

    def _disband(self, granted: Granted, now_s: float) -> None:
        """The head of a gang is no more: what it had started on the nodes of the others may need a moment to end."""
        if granted.gang is not None:
            for manager in granted.gang.members:
                self.ghosts.unknown(manager, now_s)
        self._state.end_gang(granted)

    def _leave_gang(self, manager: ManagerState, reason: str, now_s: float, *, announced: bool) -> None:
        """A manager that was kept for a task that another runs is no more: the attempt is ended there, and is lost."""
        gang = manager.gang
        if gang is not None and gang.head is not manager:
            gang.remove(manager)
            self._lose_gang(
                gang, m.ManagerGone(manager.name, manager.block, manager.node, "", reason), now_s, announced=announced
            )

    def _lose_gang(self, gang: Gang, lost: m.ManagerGone, now_s: float, *, announced: bool) -> None:
        head, (task, attempt) = gang.head, gang.attempt
        mine = head.held.get(task)
        if mine is None or mine[1] != attempt:  # it was cancelled, and is being ended
            return
        self._state.release(head, task, ghost=True)
        self.ghosts.add(head, gang.attempt, now_s)
        self._cancel_there(head, [gang.attempt])
        reason = f"{lost.reason}; it was one of the nodes of task {task}, which ran from {head.node}"
        self._state.out.append(
            (None, m.Lost(lost.manager, lost.hostname, lost.block, reason, announced, [gang.attempt]), b"")
        )
        self.changed(head, now_s)

    def settle_freed(self, now_s: float) -> None:
        """Looks at managers that belonged to a task over several nodes, which ended."""
        freed = self._state.freed
        while freed:
            manager = freed.pop()
            if not manager.gone:
                self.changed(manager, now_s)

    @staticmethod
    def _remember(name: str, reason: str, names: dict[str, str]) -> None:
        names[name] = reason
        if len(names) > _MAX_NAMES:
            del names[next(iter(names))]

    def stranger(self, conn: Conn, now_s: float) -> None:
        """Something was said over a connection that is nobody's."""
        name = self._lost_conns.get(conn)
        if now_s - self._asked.get(conn, -math.inf) < (_ASK_S if name is None else self._threshold_s):
            return
        if len(self._asked) >= _MAX_ASKED:
            self._asked.clear()
        self._asked[conn] = now_s
        who: m.Message = m.WhoAreYou() if name is None else m.DeclaredLost(self._lost.get(name, "it was lost"), name)
        self._state.out.append((conn, who, b""))

    # ------------------------------------------------------------------ holding and draining
    def hold(self, name: str, *, on: bool) -> None:
        """A block or a manager gets nothing, or gets something again."""
        if on:
            self._held_names.add(name)
        else:
            self._held_names.discard(name)
        for manager in list(self._state.places.get(name, {}).values()):
            self._open_or_close(manager)

    def drain_block(self, block: str, reason: str, now_s: float, *, over: bool = False) -> None:
        """All its managers, and those that are still to come, are to finish what they have.

        When the block is over, says the batch system, they are most likely dead, and so is asked.
        """
        self._draining_blocks[block] = reason
        for manager in [each for each in self._state.places.get(block, {}).values() if each.block == block]:
            if manager.draining is None:
                self._state.out.append((manager.conn, m.Drain(reason), b""))
                self.draining(manager, reason, now_s)
            if over and not manager.gone:
                self._doubts[manager.name] = now_s
                self._state.out.append((manager.conn, m.WhoAreYou(), b""))

    def draining(self, manager: ManagerState, reason: str, now_s: float) -> None:
        """It gets nothing more."""
        if manager.draining is None:
            manager.draining = reason
            manager.drain_s = now_s
            self._open_or_close(manager)
        self.drained(manager, now_s)

    def drained(self, manager: ManagerState, now_s: float) -> None:
        """Ends one that drains and has nothing left, and whose outcomes the driver has."""
        if (
            manager.draining is not None
            and not manager.gone
            and not manager.load
            and not manager.untaken
            and not manager.owes
        ):
            self._state.out.append((manager.conn, m.Stop(manager.draining), b""))
            self.lose(manager, manager.draining, "drained", now_s, announced=True)

    # ------------------------------------------------------------------ time
    def tick(self, now_s: float) -> None:
        """Time has passed."""
        if now_s - self._tick_s > self._late_s:
            self._resumed_s = now_s
        self._tick_s = now_s
        due = self._due
        while due and due[0][0] <= now_s:
            manager = heapq.heappop(due)[2]
            if manager.gone:
                continue
            since_s = max(manager.heard_s, self._resumed_s)
            due_s = since_s + self._threshold_s
            if due_s <= now_s:  # compared as above: a difference would be rounded otherwise
                # One that was dead already when it was told to drain, because its job had ended, has announced nothing.
                announced = manager.draining is not None and manager.heard_s >= manager.drain_s
                announced |= now_s >= manager.ends_s
                self.lose(
                    manager, f"nothing was heard of it for {now_s - since_s:.1f} s", "lost", now_s, announced=announced
                )
            else:
                self._push_due(manager, due_s)
                if manager.load or manager.ahead:
                    self._audit(manager, now_s)
        if self._doubts:
            self._settle_doubts(now_s)
        self.ghosts.tick(now_s)
        for name, reason in self.limbo.tick(now_s, self._resumed_s).items():
            self._remember(name, reason, self._lost)
            gang = self._state.awaited.pop(name, None)
            if gang is not None:  # before the driver forgets where that manager was
                gang.missing.discard(name)
                self._lose_gang(gang, m.ManagerGone(name, gang.head.block, "", "", reason), now_s, announced=False)
            self._state.out.append((None, m.ManagerGone(name, "", "", "lost", reason), b""))

    def _settle_doubts(self, now_s: float) -> None:
        """One of an ended block that has not answered is dead."""
        for name, asked_s in list(self._doubts.items()):
            manager = self._state.managers.get(name)
            if manager is None or manager.heard_s > asked_s:
                del self._doubts[name]
            elif now_s - max(asked_s, self._resumed_s) >= DOUBT_S:
                del self._doubts[name]
                reason = f"{manager.draining}, and it did not answer"
                self.lose(manager, reason, "lost", now_s, announced=now_s >= manager.ends_s)

    def _audit(self, manager: ManagerState, now_s: float) -> None:
        """Asks one that is quiet what it has."""
        if now_s - max(manager.spoke_s, manager.moved_s, manager.asked_s) >= manager.audit_s:
            manager.asked_s = now_s
            manager.asks += 1
            self._state.out.append((manager.conn, m.WhoAreYou(), b""))

    def _push_due(self, manager: ManagerState, due_s: float) -> None:
        self._ties += 1
        heapq.heappush(self._due, (due_s, self._ties, manager))

    def next_tick_s(self) -> float:
        """When something is due, at the latest."""
        due_s = min(self._tick_s + self._late_s / 2, self.ghosts.next_s())
        if self._due:
            due_s = min(due_s, self._due[0][0])
        if self._doubts:
            due_s = min(due_s, max(min(self._doubts.values()), self._resumed_s) + DOUBT_S)
        if self.limbo.is_open:
            due_s = min(due_s, self.limbo.until_s)
        return due_s
