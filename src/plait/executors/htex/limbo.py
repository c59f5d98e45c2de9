"""After a restart of the interchange: attempts that an earlier life had placed, and managers that it knew.

The driver offers again what was placed before (`OfferAgain`). It waits in limbo for its manager, for the heartbeat threshold:
what the manager then has runs on, what it does not have never began and is placed anew, and if it does not return, all is lost with it.

The two may come in any order: what a manager says it has, and was not offered yet, is `unclaimed`. Its outcomes are delivered all the same,
as the driver knows what it wants; it is not cancelled before the time is over. New tasks wait for nobody, but for those over several nodes:
a manager that is not back yet may have one, and says then which of the others are kept empty for it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from plait.executors.htex.gangs import Gang
from plait.executors.htex.messages import Lost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plait.executors.htex.ghosts import Ghosts
    from plait.executors.htex.messages import AttemptId, GangItem, OfferedTask, Register
    from plait.executors.htex.nodes import Granted, ManagerState
    from plait.executors.htex.state import State

_REASON: Final = "it did not come back after the interchange was restarted"


class Limbo:
    """What is still to be sorted out.

    Args:
        state, ghosts: the tables, and cancelled attempts.
        changed: is told of a manager that holds more or less than before.
        expected: managers that earlier lives knew.
        threshold_s: for how long they are waited for.
        now_s: the time.

    Attributes:
        tasks: those that wait for their manager, by its name and their number.
        missing: managers that are expected.
    """

    def __init__(
        self, state: State, ghosts: Ghosts, changed: Callable[[ManagerState, float], None], expected: Iterable[str], threshold_s: float, now_s: float
    ) -> None:  # fmt: skip
        self._state = state
        self._ghosts = ghosts
        self._changed = changed
        self._threshold_s = threshold_s
        self.tasks: dict[str, dict[int, OfferedTask]] = {}
        self.missing = dict.fromkeys(expected)
        state.gangs_wait = bool(self.missing)
        self._claiming: dict[str, ManagerState] = {}  # managers that have, or had, something unclaimed
        self._early: set[AttemptId] = set()  # delivered before they were offered again
        self._unwanted: set[AttemptId] = set()  # cancelled before their manager was back
        self.until_s = now_s + threshold_s if self.missing else -math.inf

    @property
    def is_open(self) -> bool:
        """Whether somebody may still come back."""
        return self.until_s > -math.inf

    def offer_again(self, name: str, items: list[OfferedTask], now_s: float) -> None:
        """An earlier life had placed these on that manager."""
        items = [item for item in items if (item[0], item[1]) not in self._early]
        manager = self._state.managers.get(name)
        if manager is not None:
            self._claim(manager, items, now_s)
            self._changed(manager, now_s)
        else:
            self.tasks.setdefault(name, {}).update((item[0], item) for item in items)
            self.missing.setdefault(name)
            self.until_s = max(self.until_s, now_s + self._threshold_s)

    def returned(self, manager: ManagerState, r: Register, unknown: dict[int, int], now_s: float) -> bool:
        """A manager is here, with attempts that are not known. False if it is too late for them."""
        offered = self.tasks.pop(manager.name, None)
        manager.unclaimed.clear()
        if offered is None and now_s >= self.until_s:
            return False
        unwanted = {each for each in unknown.items() if each in self._unwanted or each in manager.ghosts}
        self._ghosts.cancel_unknown(manager, sorted(unwanted), now_s)
        manager.unclaimed.update(attempt for attempt in unknown.items() if attempt not in unwanted)
        manager.unclaimed.update(
            attempt for attempt in r.finished if attempt[0] not in manager.held and attempt not in self._early
        )
        self._claiming[manager.name] = manager
        manager.claims = {(item[0], item[1]): item for item in r.gangs if manager.unclaimed.get(item[0]) == item[1]}
        self._claim(manager, list((offered or {}).values()), now_s)
        return True

    def _claim(self, manager: ManagerState, items: list[OfferedTask], now_s: float) -> None:
        """The driver offers again what this manager may have."""
        state = self._state
        absent: list[OfferedTask] = []
        for item in items:
            if manager.unclaimed.get(item[0]) == item[1]:
                del manager.unclaimed[item[0]]
                manager.held[item[0]] = item
                state.placed[item[0]] = manager
                if item[5] is not None:
                    manager.granted[item[0]] = granted = manager.take_unsure(item[5], now_s, state.special_mean_s)
                    claim = manager.claims.pop((item[0], item[1]), None)
                    if claim is not None:
                        self._resume(manager, granted, claim, now_s)
            elif item[0] not in state.placed:
                absent.append(item)
        manager.recount()
        state.requeue(absent, now_s)

    def _resume(self, manager: ManagerState, granted: Granted, claim: GangItem, now_s: float) -> None:
        """A task over whole nodes has them still."""
        state = self._state
        task, attempt, names, hosts = claim
        if manager.hosts:
            granted.hosts = tuple(index for index in dict.fromkeys(hosts) if index in manager.free_hosts)
            manager.free_hosts.difference_update(granted.hosts)
            return
        back = [state.managers[name] for name in names if name in state.managers]
        free = [each for each in back if each.gang is None and each.block == manager.block and each is not manager]
        granted.gang = gang = Gang((task, attempt), manager, free)
        for name in names:
            if name not in state.managers and name not in state.awaited:
                gang.missing.add(name)
                state.awaited[name] = gang
                self.missing.setdefault(name)
                self.until_s = max(self.until_s, now_s + self._threshold_s)
        for each in free:
            self._changed(each, now_s)

    def is_back(self, name: str) -> None:
        """A manager is here."""
        self.missing.pop(name, None)
        if not self.missing:
            self._let_gangs_go()

    def _let_gangs_go(self) -> None:
        """From now on it is known who is kept for which task."""
        state = self._state
        if state.gangs_wait:
            state.gangs_wait = False
            state.lanes.look_again()

    def delivered(self, manager: ManagerState, attempt: AttemptId) -> bool:
        """An outcome of an attempt that we do not know: whether the driver may want it."""
        if manager.unclaimed.get(attempt[0]) != attempt[1]:
            return False
        self._early.add(attempt)
        self.given_back(manager, attempt)
        return True

    @staticmethod
    def given_back(manager: ManagerState, attempt: AttemptId) -> None:
        """A manager does not have it any more: what it is will be seen when it is offered again."""
        if manager.unclaimed.get(attempt[0]) == attempt[1]:
            del manager.unclaimed[attempt[0]]
            manager.recount()

    def unwanted(self, attempt: AttemptId) -> None:
        """A manager is told to end it: one that comes back with it has not heard that."""
        if self.is_open:
            self._unwanted.add(attempt)

    def cancel(self, attempt: AttemptId, now_s: float) -> None:
        """A cancelled attempt is with no manager that we know of, and in no queue."""
        if not self.is_open:
            return
        task, number = attempt
        self._unwanted.add(attempt)
        for items in self.tasks.values():
            if task in items and items[task][1] == number:
                del items[task]
        for manager in self._claiming.values():
            if manager.unclaimed.get(task) == number and not manager.gone:
                self.given_back(manager, attempt)
                manager.owes.discard(attempt)
                self._ghosts.cancel_unknown(manager, [attempt], now_s)
                self._changed(manager, now_s)

    def tick(self, now_s: float, resumed_s: float) -> dict[str, str]:
        """Time has passed; since ``resumed_s`` we have listened. Managers that do not come back, with the reason; what they had is reported lost."""
        if not self.is_open or self.until_s > now_s:
            return {}
        if resumed_s + self._threshold_s > now_s:
            self.until_s = resumed_s + self._threshold_s
            return {}
        gone = dict.fromkeys(self.missing, _REASON)
        for name in gone:
            attempts = [(item[0], item[1]) for item in self.tasks.get(name, {}).values()]
            self.report_lost(name, attempts, _REASON)
        claiming = [manager for manager in self._claiming.values() if manager.unclaimed and not manager.gone]
        for table in (self.missing, self.tasks, self._early, self._unwanted, self._claiming):
            table.clear()
        self.until_s = -math.inf
        self._let_gangs_go()
        for manager in claiming:
            self._ghosts.cancel_unknown(manager, list(manager.unclaimed.items()), now_s)
            manager.unclaimed.clear()
            manager.recount()
            self._changed(manager, now_s)
        return gone

    def report_lost(self, name: str, attempts: list[AttemptId], reason: str, *, announced: bool = False) -> None:
        """These are lost with a manager of which we know nothing but the name."""
        if attempts:
            self._state.out.append((None, Lost(name, "", "", reason, announced, attempts), b""))
