"""What the parts of the interchange's core share: who is there, who has what, and what is to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait.executors.htex.accounts import Accounts
from plait.executors.htex.messages import Function, Placed, Sweep
from plait.executors.htex.queue import Lanes, PlainQueue

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from plait.executors.htex.gangs import Gang
    from plait.executors.htex.messages import Ask, Message, OfferedTask
    from plait.executors.htex.nodes import Granted, ManagerState

    #: What the transport calls a connection.
    Conn = Hashable
    #: To whom (None: the driver), what, and the payload.
    Out = tuple[Conn | None, Message, bytes]


class State:
    """The tables.

    Attributes:
        out: what is to be sent, in this order; the shell takes it away.
        managers, conns: those that are connected, by name and by connection.
        places: managers by each name that a hint may use: their own, their block's, their host's.
        placed: where each task is that some manager holds.
        functions: the functions that tasks name.
        queue, lanes: tasks that wait.
        accounts: numbers of messages with outcomes.
        mean_s, special_mean_s: how long tasks took lately, plain ones and others; 0 when none has ended.
        workers: of managers that may get something.
        membership: grows whenever a manager comes or goes.
        freed: managers that belonged to a task over several nodes which ended; to be looked at (`InterchangeCore`).
        awaited: managers that belong to such tasks and have not come back since a restart, by name.
        gangs_wait: managers may still come back, and say which others are kept empty for their tasks: nobody new gets several nodes meanwhile.
    """

    def __init__(self, cores_per_worker: float, memory_per_worker: int) -> None:
        self.cores_per_worker = cores_per_worker
        self.memory_per_worker = memory_per_worker
        self.out: list[Out] = []
        self.managers: dict[str, ManagerState] = {}
        self.conns: dict[Conn, ManagerState] = {}
        self.places: dict[str, dict[str, ManagerState]] = {}
        self.placed: dict[int, ManagerState] = {}
        self.functions: dict[int, bytes] = {}
        self.queue = PlainQueue()
        self.lanes = Lanes()
        self.accounts = Accounts()
        self.mean_s = 0.0
        self.special_mean_s = 0.0
        self.workers = 0
        self.membership = 0
        self.freed: list[ManagerState] = []
        self.awaited: dict[str, Gang] = {}
        self.gangs_wait = False

    def release(
        self, manager: ManagerState, task: int, used_s: float | None = None, *, ghost: bool = False
    ) -> OfferedTask:
        """A manager does not have a task any more; with `ghost` it is only about to end there.

        Args:
            manager: which one.
            task: which one.
            used_s: how long it ran; None if it did not, or that is not known.
            ghost: whether what it was granted stays taken.
        """
        item = manager.held.pop(task)
        del self.placed[task]
        granted = manager.granted.pop(task, None)
        if granted is not None:
            self.lanes.charge(granted.ask.label, (used_s or 0.0) * granted.weight - granted.charged_s)
            granted.charged_s = 0.0
            if used_s is not None:
                mean_s = self.special_mean_s
                self.special_mean_s += 0.2 * (used_s - mean_s) if mean_s else used_s
            if ghost:
                manager.ghosts[item[0], item[1]] = granted
                manager.recount()
            else:
                self.give_back(manager, granted, began=used_s is not None)
        return item

    def give_back(self, manager: ManagerState, granted: Granted, *, began: bool = True) -> None:
        """What a task had is free."""
        self.end_gang(granted, began=began)
        manager.give_back(granted)

    def end_gang(self, granted: Granted, *, began: bool = True) -> None:
        """So are the managers that it had. If it began, what its launcher left there is to be ended before anything else comes."""
        gang, granted.gang = granted.gang, None
        if gang is not None:
            freed = gang.end()
            self.freed += freed
            if began:
                self.out += [(each.conn, Sweep([gang.attempt]), b"") for each in freed if not each.gone]
            for name in gang.missing:
                self.awaited.pop(name, None)

    def requeue(self, items: list[OfferedTask], now_s: float) -> None:
        """These were placed but not begun: they are next, in their order."""
        plain = [item for item in items if item[5] is None]
        if plain:
            if not self.queue.tasks:
                self.lanes.plain_begins(now_s)
            self.queue.put_back(plain)
        for item in reversed(items):
            if item[5] is not None:
                self.lanes.add(item, item[5], now_s, front=True)
        if items:
            self.out.append((None, Placed("", [(item[0], item[1]) for item in items]), b""))

    def send_functions(self, manager: ManagerState, numbers: Iterable[int]) -> None:
        """Those of them that it does not have."""
        for number in numbers:
            if number not in manager.known:
                manager.known.add(number)
                self.out.append((manager.conn, Function(number), self.functions.get(number, b"")))

    def able(self, ask: Ask, now_s: float) -> list[ManagerState]:
        """Managers that could take it if nothing else ran there."""
        return [manager for manager in self.managers.values() if manager.could_ever(ask, now_s)]
