"""The interchange's decisions: which manager gets which task, and what follows when a manager comes, speaks, is silent or goes.

Pure: no socket, process, thread or clock. The shell (`interchange.py`, or the simulator) calls it with messages and the time, and sends what is in `out`.
Segments of big values are the shell's matter alone: it sends `Pull` when it sees a task with sizes in `out` and has room for it,
and hands a `BigOutcome` over when all its chunks have come.
"""

from __future__ import annotations

import heapq
import math
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait.executors.htex import messages as m
from plait.executors.htex.accounts import Accounts
from plait.executors.htex.nodes import CREDIT_S, MAX_CREDIT, ManagerState
from plait.executors.htex.queue import PlainQueue

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from plait.executors.htex.messages import Ask, AttemptId, Message, OfferedTask, OutcomeItem

    Conn = Hashable
    #: To whom (None: the driver), what, and the payload.
    Out = tuple[Conn | None, Message, bytes]

#: Tasks and bytes of arguments in one message to a manager.
BATCH_TASKS: Final = 256
BATCH_BYTES: Final = 256 * 1024
#: Tasks that one call of `place` sends at most.
PLACE_TASKS: Final = 16_384


class InterchangeCore:
    """The state of an interchange."""

    def __init__(
        self,
        *,
        epoch: str,
        cores_per_worker: float = 1.0,
        memory_per_worker: int = 0,
        heartbeat_period_s: float,
        heartbeat_threshold_s: float,
        policy: Any = None,
        expected: Iterable[str] = (),
        now_s: float = 0.0,
        plait: str = "",
        python: str = "",
    ) -> None:
        self.epoch = epoch
        self.cores_per_worker = cores_per_worker
        self.memory_per_worker = memory_per_worker
        self.period_s = heartbeat_period_s
        self.threshold_s = heartbeat_threshold_s
        self.policy = policy
        self.plait = plait
        self.python = python or ".".join(str(n) for n in sys.version_info[:3])
        self.out: list[Out] = []
        self.managers: dict[str, ManagerState] = {}
        self.conns: dict[Conn, ManagerState] = {}
        self.placed: dict[int, ManagerState] = {}
        self.functions: dict[int, bytes] = {}
        self.queue = PlainQueue()
        self.special: deque[OfferedTask] = deque()
        self.accounts = Accounts()
        self.mean_s = 0.0
        self.line: deque[ManagerState] = deque()
        self.limbo: dict[str, list[OfferedTask]] = {}
        self._lost: dict[str, str] = {}
        self._lost_conns: dict[Conn, str] = {}
        self._due: list[tuple[float, int, ManagerState]] = []
        self._ties = 0
        self._held_names: set[str] = set()
        self._draining_blocks: dict[str, str] = {}
        self._recovering_until_s = now_s + heartbeat_threshold_s if list(expected) else -math.inf

    # ------------------------------------------------------------------ driver
    def from_driver(self, message: Message, payload: bytes, now_s: float) -> None:
        kind = type(message)
        if kind is m.Offer:
            self._offer(message.items)
        elif kind is m.Taken:
            for manager in self.accounts.taken(message.seq):
                self.out.append((manager.conn, m.Taken(manager.taken_seq), b""))
                self._drained(manager)
        elif kind is m.Function:
            self.functions[message.number] = payload
        elif kind is m.Cancel:
            self._cancel(message.items)
        elif kind is m.OfferAgain:
            manager = self.managers.get(message.manager)
            if manager is None:
                self.limbo.setdefault(message.manager, []).extend(message.items)
            else:
                self._claim(manager, message.items, now_s)
        elif kind is m.Hold:
            (self._held_names.add if message.on else self._held_names.discard)(message.name)
            for manager in self.managers.values():
                manager.on_hold = manager.name in self._held_names or manager.block in self._held_names
                self._touch(manager)
        elif kind is m.DrainBlock:
            self._draining_blocks[message.block] = message.reason
            for manager in [each for each in self.managers.values() if each.block == message.block]:
                self._drain(manager, message.reason)
        elif kind is m.Query:
            self.out.append((None, m.Answer(message.number), self._answer(message.what, now_s)))

    def _offer(self, items: list[OfferedTask]) -> None:
        plain = self.queue.tasks
        for item in items:
            if item[5] is None:
                plain.append(item)
            else:
                self.special.append(item)

    def _cancel(self, items: list[AttemptId]) -> None:
        for task, attempt in items:
            manager = self.placed.get(task)
            if manager is not None and manager.held[task][1] == attempt:
                self._release(manager, task)
                self.out.append((manager.conn, m.Cancel([(task, attempt)]), b""))
                self._touch(manager)
                self._drained(manager)
            else:
                self.queue.cancel((task, attempt))
                if self.special:
                    self.special = deque(item for item in self.special if (item[0], item[1]) != (task, attempt))

    def _release(self, manager: ManagerState, task: int) -> OfferedTask:
        item = manager.held.pop(task)
        del self.placed[task]
        granted = manager.granted.pop(task, None)
        if granted is not None:
            manager.give_back(granted)
        return item

    def _answer(self, what: str, now_s: float) -> bytes:
        if what == "managers":
            return msgspec.json.encode([manager.facts(now_s) for manager in self.managers.values()])
        return msgspec.json.encode(
            {
                "plain": len(self.queue),
                "special": len(self.special),
                "placed": len(self.placed),
                "managers": len(self.managers),
                "mean_s": self.mean_s,
            }
        )

    # ------------------------------------------------------------------ managers
    def connection_is_known(self, conn: Conn) -> bool:
        return conn in self.conns

    def heard(self, conn: Conn, now_s: float) -> None:
        manager = self.conns.get(conn)
        if manager is not None:
            manager.heard_s = now_s

    def from_manager(self, conn: Conn, message: Message, payload: bytes, now_s: float) -> None:
        kind = type(message)
        if kind is m.Register:
            self._register(conn, message, now_s)
            return
        manager = self.conns.get(conn)
        if manager is None:
            lost = self._lost_conns.get(conn)
            self.out.append((conn, m.WhoAreYou() if lost is None else m.DeclaredLost(lost), b""))
            return
        manager.heard_s = now_s
        if kind is m.Outcomes:
            self._outcomes(manager, message, now_s)
        elif kind is m.Heartbeat:
            self.out.append((conn, m.Heartbeat(message.sent_s, now_s), b""))
        elif kind is m.BigOutcome:
            self._big_outcome(manager, message, payload, now_s)
        elif kind is m.Returned:
            self._returned(manager, message.items)
        elif kind is m.Draining:
            manager.draining = message.reason
            manager.drain_told = True
            self._drained(manager)
        elif kind is m.Leaving:
            self._lose(manager, message.reason, "left", announced=True)

    def _register(self, conn: Conn, r: m.Register, now_s: float) -> None:
        refusal = ""
        if r.protocol != m.PROTOCOL:
            refusal = f"it speaks protocol version {r.protocol}, this interchange version {m.PROTOCOL}: plait {r.plait} there, {self.plait} here"
        elif r.python and r.python.split(".")[:2] != self.python.split(".")[:2]:
            refusal = f"it runs Python {r.python}, the driver Python {self.python}: code cannot be passed between them"
        if refusal:
            self.out.append((conn, m.Refused(refusal), b""))
            self.out.append((None, m.ManagerGone(r.manager, r.block, r.hostname, "refused", refusal), b""))
            self.out.append(
                (None, m.Warn(f"manager {r.manager} on {r.hostname} (block {r.block}) was refused: {refusal}"), b"")
            )
            return
        if r.manager in self._lost:
            self.out.append((conn, m.DeclaredLost(self._lost[r.manager]), b""))
            return
        self._lost_conns.pop(conn, None)
        other = self.conns.get(conn)
        if other is not None and other.name != r.manager:
            self._lose(other, f"its connection was taken over by {r.manager}", "lost", announced=False)
        manager = self.managers.get(r.manager)
        again = manager is not None
        if manager is None:
            manager = ManagerState(r, conn, now_s, self.cores_per_worker, self.memory_per_worker)
            self.managers[r.manager] = manager
            self._ties += 1
            heapq.heappush(self._due, (now_s + self.threshold_s, self._ties, manager))
        fresh = not again or manager.conn != conn
        if again:
            if self.conns.get(manager.conn) is manager:
                del self.conns[manager.conn]
            manager.describe(r, conn, now_s)
        self.conns[conn] = manager
        manager.on_hold = manager.name in self._held_names or manager.block in self._held_names
        self.out.append((conn, m.Welcome(self.epoch, self.period_s, self.threshold_s, now_s), b""))
        self.out.append(
            (
                None,
                m.ManagerUp(
                    r.manager,
                    r.block,
                    r.hostname,
                    r.pid,
                    r.workers,
                    r.cores,
                    r.memory_bytes,
                    r.gpus,
                    r.plait,
                    r.python,
                    again,
                ),
                b"",
            )
        )
        if fresh:
            self._reconcile(manager, r, now_s, again)
        if r.draining:
            manager.draining = manager.draining or "it was draining when it registered"
            manager.drain_told = True
        elif manager.block in self._draining_blocks:
            self._drain(manager, self._draining_blocks[manager.block])
        self._touch(manager)
        self._drained(manager)

    def _reconcile(self, manager: ManagerState, r: m.Register, now_s: float, again: bool) -> None:
        has = dict(r.holds)
        done = dict(r.finished)
        if again:
            manager.known.clear()
            lost = [
                item for item in manager.held.values() if has.get(item[0]) != item[1] and done.get(item[0]) != item[1]
            ]
            for item in lost:
                self._release(manager, item[0])
            self._requeue(lost)
        unknown = [(t, a) for t, a in has.items() if t not in manager.held or manager.held[t][1] != a]
        offered = self.limbo.pop(manager.name, None)
        if offered is not None or now_s < self._recovering_until_s:
            manager.unclaimed = dict(unknown)
            manager.unclaimed.update({t: a for t, a in done.items() if t not in manager.held})
            self._claim(manager, offered or [], now_s)
        elif unknown:
            self.out.append((manager.conn, m.Cancel(unknown), b""))

    def _claim(self, manager: ManagerState, items: list[OfferedTask], now_s: float) -> None:
        lost = []
        for item in items:
            if manager.unclaimed.get(item[0]) == item[1]:
                del manager.unclaimed[item[0]]
                manager.held[item[0]] = item
                self.placed[item[0]] = manager
                if item[5] is not None:
                    manager.granted[item[0]] = manager.take_unsure(item[5], now_s, self.mean_s)
            elif (item[0], item[1]) not in manager.returns:
                lost.append(item)
        manager.recount()
        self._requeue(lost)

    def _requeue(self, items: list[OfferedTask]) -> None:
        self.queue.put_back([item for item in items if item[5] is None])
        self.special.extendleft(reversed([item for item in items if item[5] is not None]))

    def _lose(self, manager: ManagerState, reason: str, how: str, *, announced: bool) -> None:
        manager.gone = True
        del self.managers[manager.name]
        if self.conns.get(manager.conn) is manager:
            del self.conns[manager.conn]
        items = [(item[0], item[1]) for item in manager.held.values()]
        for task, _ in items:
            del self.placed[task]
        if how == "lost":
            self._lost[manager.name] = reason
            self._lost_conns[manager.conn] = reason
            self.out.append((manager.conn, m.DeclaredLost(reason), b""))
        if items:
            self.out.append(
                (None, m.Lost(manager.name, manager.hostname, manager.block, reason, announced, items), b"")
            )
        self.out.append((None, m.ManagerGone(manager.name, manager.block, manager.hostname, how, reason), b""))

    def _drain(self, manager: ManagerState, reason: str) -> None:
        if manager.draining is None:
            manager.draining = reason
        if not manager.drain_told:
            manager.drain_told = True
            self.out.append((manager.conn, m.Drain(reason), b""))
        self._drained(manager)

    def _drained(self, manager: ManagerState) -> None:
        if manager.draining is not None and not manager.gone and not manager.load and not manager.untaken:
            self.out.append((manager.conn, m.Stop(manager.draining), b""))
            self._lose(manager, manager.draining, "drained", announced=True)

    def _outcomes(self, manager: ManagerState, message: m.Outcomes, now_s: float) -> None:
        if not self.accounts.is_new(manager, message.seq):
            self._say_taken(manager, message.seq)
            return
        items = message.items
        held, placed = manager.held, self.placed
        strange: list[OutcomeItem] = []
        busy_s = 0.0
        plain = 0
        for item in items:
            task = item[0]
            mine = held.get(task)
            if mine is None or mine[1] != item[1]:
                strange.append(item)
                continue
            if mine[5] is not None:
                self._release(manager, task)
                continue
            del held[task], placed[task]
            busy_s += item[5] - item[4]
            plain += 1
        if plain:
            mean_s = busy_s / plain
            self.mean_s += (0.5 if mean_s > self.mean_s else 0.2) * (mean_s - self.mean_s) if self.mean_s else mean_s
        self._deliver(manager, message.seq, items, strange, now_s)

    def _big_outcome(self, manager: ManagerState, message: m.BigOutcome, payload: bytes, now_s: float) -> None:
        if not self.accounts.is_new(manager, message.seq):
            self._say_taken(manager, message.seq)
            return
        item = message.item
        mine = manager.held.get(item[0])
        if mine is not None and mine[1] == item[1]:
            self._release(manager, item[0])
        elif manager.unclaimed.pop(item[0], None) != item[1]:
            self._deliver(manager, message.seq, [item], [item], now_s)
            return
        manager.spoke_s = now_s
        seq = self.accounts.delivered(manager, message.seq)
        self.out.append((None, m.BigDelivered(seq, manager.name, item, message.sizes), payload))
        self._touch(manager)

    def _deliver(
        self, manager: ManagerState, seq: int, items: list[OutcomeItem], strange: list[OutcomeItem], now_s: float
    ) -> None:
        manager.spoke_s = now_s
        manager.stuck = False
        if strange:
            known = [item for item in strange if manager.unclaimed.pop(item[0], None) == item[1]]
            drop = {id(item) for item in strange} - {id(item) for item in known}
            items = [item for item in items if id(item) not in drop]
        if items:
            manager.done += len(items)
            self.out.append((None, m.Delivered(self.accounts.delivered(manager, seq), manager.name, items), b""))
        elif self.accounts.count_taken(manager, seq):
            self.out.append((manager.conn, m.Taken(manager.taken_seq), b""))
        self._touch(manager)
        self._drained(manager)

    def _say_taken(self, manager: ManagerState, seq: int) -> None:
        if seq <= manager.taken_seq:
            self.out.append((manager.conn, m.Taken(manager.taken_seq), b""))

    def _returned(self, manager: ManagerState, items: list[AttemptId]) -> None:
        back = []
        for task, attempt in items:
            mine = manager.held.get(task)
            if mine is not None and mine[1] == attempt:
                back.append(self._release(manager, task))
        manager.stuck = True
        self._requeue(back)
        self._touch(manager)
        self._drained(manager)

    # ------------------------------------------------------------------ placing
    def _each(self) -> int:
        if self.mean_s <= 0:
            return 1
        return min(MAX_CREDIT, int(CREDIT_S / self.mean_s))

    def _touch(self, manager: ManagerState) -> None:
        if not manager.room and manager.is_open:
            credit = manager.credit(self._each())
            if manager.plain <= credit - max(1, min(64, (credit - manager.slots) // 2)):
                manager.room = True
                self.line.append(manager)

    def place(self, now_s: float) -> bool:
        """Fills managers. True if it stopped early and wants to be called again at once."""
        if self.special:
            self._place_special(now_s)
        line, queue, each = self.line, self.queue, self._each()
        left = PLACE_TASKS
        while line and queue.tasks and left > 0:
            manager = line.popleft()
            manager.room = False
            if not manager.is_open:
                continue
            room = manager.credit(each) - manager.plain
            if len(queue.tasks) < len(self.placed) or room > BATCH_TASKS:
                share = min(BATCH_TASKS, max(1, len(queue.tasks) // (len(line) + 1)))
            else:
                share = BATCH_TASKS
            items = queue.take(min(room, share), BATCH_BYTES)
            if items:
                self._send_plain(manager, items, now_s)
                left -= len(items)
            if room > len(items):
                manager.room = True
                line.append(manager)
        return left <= 0

    def _send_plain(self, manager: ManagerState, items: list[OfferedTask], now_s: float) -> None:
        manager.held.update({item[0]: item for item in items})
        self.placed.update(dict.fromkeys([item[0] for item in items], manager))
        self.out.append((None, m.Placed(manager.name, [(item[0], item[1]) for item in items]), b""))
        self._send_functions(manager, {item[2] for item in items})
        self.out.append((manager.conn, m.Tasks(items), b""))
        manager.spoke_s = now_s

    def _send_functions(self, manager: ManagerState, numbers: set[int]) -> None:
        for number in numbers - manager.known:
            manager.known.add(number)
            self.out.append((manager.conn, m.Function(number), self.functions.get(number, b"")))

    def _place_special(self, now_s: float) -> None:
        left: deque[OfferedTask] = deque()
        for item in self.special:
            ask: Ask = item[5]
            for manager in self.managers.values():
                if manager.is_open and manager.fits(ask, now_s):
                    granted, grant = manager.take(ask, now_s, self.mean_s)
                    manager.held[item[0]] = item
                    manager.granted[item[0]] = granted
                    manager.recount()
                    self.placed[item[0]] = manager
                    self.out.append((None, m.Placed(manager.name, [(item[0], item[1])]), b""))
                    self._send_functions(manager, {item[2]})
                    self.out.append((manager.conn, m.Tasks([(*item[:5], grant)]), b""))
                    break
            else:
                left.append(item)
        self.special = left

    # ------------------------------------------------------------------ time
    def tick(self, now_s: float) -> None:
        due = self._due
        while due and due[0][0] <= now_s:
            _, _, manager = heapq.heappop(due)
            if manager.gone:
                continue
            end_s = manager.heard_s + self.threshold_s
            if end_s <= now_s:
                silent_s = now_s - manager.heard_s
                self._lose(
                    manager,
                    f"nothing was heard of it for {silent_s:.1f} s",
                    "lost",
                    announced=manager.draining is not None,
                )
            else:
                self._ties += 1
                heapq.heappush(due, (end_s, self._ties, manager))
        if self.limbo and now_s >= self._recovering_until_s:
            for name, items in self.limbo.items():
                self.out.append(
                    (
                        None,
                        m.Lost(
                            name,
                            "",
                            "",
                            "it did not come back after the restart of the interchange",
                            False,
                            [(i[0], i[1]) for i in items],
                        ),
                        b"",
                    )
                )
            self.limbo.clear()

    def check(self) -> None:
        for task, manager in self.placed.items():
            assert task in manager.held
        assert sum(len(manager.held) for manager in self.managers.values()) == len(self.placed)
        for manager in self.managers.values():
            manager.check()
