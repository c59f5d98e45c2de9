"""Tasks that take whole nodes: gangs of managers, and the nodes that one manager gives away.

Where a block has a manager on each node, a task over n nodes takes n of these managers: a gang. The first of them, the head, runs the task, whose
own launcher starts processes on the nodes of all; the others are kept empty until the head says that the task ended. When one of them is lost,
the attempt is ended on the head, and is lost.

Where one manager speaks for all nodes of its block (`ManagerState.hosts`), it is given tasks with the names of the nodes that each of them has.

Pure: which managers, and which nodes. Who decides about the order is `granting`.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plait.executors.htex.messages import Ask, AttemptId
    from plait.executors.htex.nodes import Granted, ManagerState

_DIGITS: Final = re.compile(r"(\d+)")


class Gang:
    """What a task over several nodes has.

    Attributes:
        attempt: which attempt of which task.
        head: the manager that runs it.
        members: the others, which are kept empty.
        missing: names of those that have not come back since the interchange was restarted.
    """

    __slots__ = ("attempt", "head", "members", "missing")

    def __init__(self, attempt: AttemptId, head: ManagerState, members: Iterable[ManagerState]) -> None:
        self.attempt = attempt
        self.head = head
        self.members = list(members)
        self.missing: set[str] = set()
        for manager in (head, *self.members):
            manager.join(self)

    def add(self, manager: ManagerState) -> None:
        """One of them is back."""
        self.missing.discard(manager.name)
        if manager.gang is None:
            self.members.append(manager)
            manager.join(self)

    def remove(self, manager: ManagerState) -> None:
        """One of them is gone."""
        self.members.remove(manager)
        manager.join(None)

    def end(self) -> list[ManagerState]:
        """The task ended: those that are free now."""
        freed = [each for each in (self.head, *self.members) if each.gang is self]
        for manager in freed:
            manager.join(None)
        return freed


def by_block(managers: Iterable[ManagerState]) -> dict[str, list[ManagerState]]:
    """Managers without nodes to give away, by block."""
    blocks: dict[str, list[ManagerState]] = {}
    for manager in managers:
        if not manager.hosts:
            blocks.setdefault(manager.block, []).append(manager)
    return blocks


def choose(free: Iterable[ManagerState], count: int, near: Iterable[str]) -> list[ManagerState]:
    """So many of one block, head first; none when no block has as many.

    Of the blocks that have as many: one near the data, and then the one with the fewest, so that larger gangs find room in the others.
    In it those that follow each other by name, because these are often neighbours in the network.
    """
    places = set(near)
    best: tuple[bool, int, tuple[object, ...]] | None = None
    chosen: list[ManagerState] = []
    for block, managers in by_block(free).items():
        if len(managers) >= count:
            far = bool(places) and not any({block, each.name, each.hostname} & places for each in managers)
            key = far, len(managers), natural(block)
            if best is None or key < best:
                best, chosen = key, managers
    return sorted(chosen, key=lambda each: natural(each.node))[:count]


def soonest(
    managers: Iterable[ManagerState], ask: Ask, now_s: float, mean_s: float
) -> tuple[float, float, list[ManagerState]] | None:
    """Those of one block that will be empty first: when it is to be expected, at the latest, and which. None when no block will have as many."""
    best: tuple[float, float, list[ManagerState]] | None = None
    for block in by_block(managers).values():
        if len(block) < ask.nodes:
            continue
        ends = sorted(
            ((*each.when_empty(now_s, mean_s), natural(each.node), each) for each in block), key=lambda end: end[:3]
        )
        ends = ends[: ask.nodes]
        expected_s, latest_s = max(end[0] for end in ends), max(end[1] for end in ends)
        if expected_s == math.inf or (
            ask.walltime_s is not None and any(expected_s + ask.walltime_s > end[3].ends_s for end in ends)
        ):
            continue
        if best is None or expected_s < best[0]:
            best = expected_s, latest_s, [end[3] for end in ends]
    return best


def soonest_hosts(manager: ManagerState, count: int) -> frozenset[int]:
    """So many of a manager's nodes: the free ones, and those that will be free first."""
    hosts = sorted(manager.free_hosts)
    busy: list[Granted] = sorted(
        (*manager.granted.values(), *manager.ghosts.values()), key=lambda each: each.expected_s
    )
    for granted in busy:
        hosts += granted.hosts
    return frozenset(hosts[:count])


def natural(name: str) -> tuple[object, ...]:
    """Names in the order that people expect: node9 before node10."""
    return tuple(int(part) if place % 2 else part for place, part in enumerate(_DIGITS.split(name)))
