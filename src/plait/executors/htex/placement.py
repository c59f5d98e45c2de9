"""Which of several managers with free workers is next: placement policies, and the order they make.

A policy is an object with a method `rank` that looks at one manager and returns anything that can be compared; the lowest is next.
It is asked for managers that have changed, not for each task that is placed, so that the cost of placing does not grow with the number of managers.
It decides only where there is a choice: while more plain tasks wait than there are workers, all managers are filled, whatever their rank.

```python
class Newest:                                   # blocks that were started last have most of their walltime left
    def rank(self, manager):
        return -manager.ends_s
```

Such a class runs unchanged in the interchange (`HighThroughputExecutor(manager_selector=Newest())`) and in the simulator.
A policy that must see all managers at once has a method `order` besides, as `Selected` does; it costs in proportion to their number.
Those that it leaves out get nothing, until it is asked again and names them.

How the shipped ones differ
    `Spread`       the least busy first, tasks one by one: each has most of its node's memory and bandwidth to itself. The default.
    `BlockByBlock` the first block with room, and in it the least busy: when the tail of a run begins, the last blocks empty. The default where
                   the strategy gives single blocks back.
    `Pack`         the block that is busiest by name order, the fullest manager of it, to the brim: other blocks empty and can be given back.
    `FewestFree`   the fullest that still has room, in any block: whole nodes stay free for tasks that need them.
    `Random`       any, with odds alike; seeded.
    `NearData`     another policy, but tasks wait a little for a free worker near their data.
    `Selected`     a manager selector written for Parsl.

A hint where a task's data is (`near`) goes before every policy when there is room there at once.
"""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from plait.executors.htex.nodes import ManagerState

    #: A manager's rank, what decides between equals, the version of it that had this rank, and the manager.
    Ranked = tuple[Any, int, int, ManagerState]


class ManagerView(Protocol):
    """What a policy may look at: see `nodes.ManagerState` for what each is."""

    name: str
    block: str
    hostname: str
    workers: int
    cores: float
    memory_bytes: int
    gpus: list[str]
    free_gpus: list[float]
    ends_s: float
    done: int

    @property
    def load(self) -> int:
        """Tasks that it has, running or waiting."""

    @property
    def free_workers(self) -> int:
        """Workers without a task."""


@runtime_checkable
class PlacementPolicy(Protocol):
    """Which manager is next."""

    def rank(self, manager: ManagerView) -> Any:
        """Anything that can be compared with what it returns for others; the lowest is next."""


class Spread:
    """The least busy first."""

    def rank(self, manager: ManagerView) -> Any:
        """The share of its workers that is busy."""
        return manager.load / manager.workers if manager.workers else 1.0


class BlockByBlock:
    """The first block with room, and in it the least busy manager, so that the last blocks empty and can be given back."""

    def rank(self, manager: ManagerView) -> Any:
        """The number of its block, then the share of its workers that is busy."""
        return block_key(manager.block), manager.load / manager.workers if manager.workers else 1.0


class Pack:
    """Block by block, manager by manager, each to the brim, so that the last blocks empty and can be given back."""

    fills = True

    def rank(self, manager: ManagerView) -> Any:
        """Busy managers of the first block first."""
        return block_key(manager.block), -manager.load, manager.name


class FewestFree:
    """The fullest that still has room, so that whole nodes stay free for tasks that need them."""

    fills = True

    def rank(self, manager: ManagerView) -> Any:
        """Its free workers."""
        return manager.free_workers, manager.name


class Random:
    """Any of them.

    Args:
        seed: the same one makes the same choices.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def rank(self, manager: ManagerView) -> Any:  # noqa: ARG002 - whoever it is
        """A number that says nothing."""
        return self._random.random()


class NearData:
    """Tasks that name places near their data wait a little for a free worker there; all else is another policy's.

    Args:
        base: the other policy.
        wait_s: seconds after which a task goes anywhere.
    """

    def __init__(self, base: PlacementPolicy | None = None, wait_s: float = 1.0) -> None:
        self.base: PlacementPolicy = Spread() if base is None else base
        self.near_wait_s = wait_s
        self.fills = bool(getattr(self.base, "fills", False))

    def rank(self, manager: ManagerView) -> Any:
        """The other policy's."""
        return self.base.rank(manager)


class Selected:
    """A manager selector in the manner of Parsl: an object with ``sort_managers(ready_managers, manager_list)``.

    It gets a dictionary of records by manager's name, and the set of names; it returns the names in the order in which they are to be filled.
    """

    fills = True

    def __init__(self, selector: Any) -> None:
        self.selector = selector

    def rank(self, manager: ManagerView) -> Any:  # noqa: ARG002 - `order` sees them all
        """Not asked."""
        return 0

    def order(self, managers: Sequence[ManagerState]) -> list[ManagerState]:
        """As the selector says; those that it leaves out get nothing.

        Raises:
            ValueError: what it names is nobody.
        """
        records: Mapping[str, dict[str, Any]] = {manager.name: record(manager) for manager in managers}
        by_name = {manager.name: manager for manager in managers}
        names = list(self.selector.sort_managers(records, set(by_name)))
        found = [by_name[name] for name in names if name in by_name]
        if names and not found:  # tasks would wait for ever
            raise ValueError(
                f"sort_managers named {names[0]!r}, which is not among the names that it was given, such as {min(by_name)!r}"
            )
        return found


def record(manager: ManagerState) -> dict[str, Any]:
    """A manager as selectors written for Parsl know it."""
    return {
        "block_id": manager.block,
        "hostname": manager.hostname,
        "worker_count": manager.workers,
        "max_capacity": manager.workers + manager.prefetch,
        "tasks": list(manager.held),
        "active": not manager.on_hold,
        "draining": manager.draining is not None,
        "last_heartbeat": manager.heard_s,
        "idle_since": None if manager.load else manager.idle_since_s,
        "parsl_version": manager.plait,
        "python_version": manager.python,
    }


def as_policy(selector: Any) -> PlacementPolicy:
    """A policy from what users pass: one, None for the default, or a selector written for Parsl.

    Raises:
        TypeError: it is neither.
    """
    if selector is None:
        return Spread()
    if not isinstance(selector, type):
        if callable(getattr(selector, "rank", None)):
            return selector  # type: ignore[no-any-return]
        if callable(getattr(selector, "sort_managers", None)):
            return Selected(selector)
    hint = "; call it: write its name with parentheses" if isinstance(selector, type) else ""
    raise TypeError(
        f"{selector!r} is no placement policy: expected an object with a method rank(manager), such as "
        f"plait.executors.htex.placement.Pack(), or sort_managers(ready_managers, manager_list){hint}"
    )


def block_key(block: str) -> tuple[int, str]:
    """Blocks are numbered: "10" comes after "9"."""
    return (int(block), "") if block.isdecimal() else (sys_maxsize, block)


sys_maxsize: Final = 2**62


class Ranking:
    """Managers with free workers, in the policy's order.

    A heap of ranks as they were; an entry is void when its manager has changed since, which its version tells. Who has changed is ranked when
    somebody is taken: while more wait than there are workers nobody is, and managers change with each task.

    Args:
        policy: of the order.
        failed: is told the error of a policy of the user's, which the default is in place of from then on; None to have it raised.

    Attributes:
        managers: those that are ranked, by name.
        rank: of a manager.
        is_other: whether the default has come in place of the policy, since somebody looked.
    """

    __slots__ = ("_changed", "_failed", "_heap", "_order", "_sorted", "_ties", "is_other", "managers", "rank")

    def __init__(self, policy: PlacementPolicy, failed: Callable[[Exception], None] | None = None) -> None:
        self.rank = policy.rank
        self.is_other = False
        self._failed = failed
        self._order = getattr(policy, "order", None)
        self.managers: dict[str, ManagerState] = {}
        self._heap: list[Ranked] = []
        self._changed: dict[str, ManagerState] = {}  # those whose rank is not in the heap yet
        self._sorted: list[ManagerState] | None = None
        self._ties = 0

    def __len__(self) -> int:
        return len(self.managers)

    def update(self, manager: ManagerState) -> None:
        """It has changed: it is ranked anew, or not at all when it has no free worker or may get nothing."""
        manager.version += 1
        if manager.load < manager.workers and manager.is_open and not manager.aside:
            self.managers[manager.name] = manager
            if self._order is None:
                self._changed[manager.name] = manager
            else:
                self._sorted = None
        else:
            self.managers.pop(manager.name, None)
            self._changed.pop(manager.name, None)

    def give_up(self, error: Exception) -> None:
        """The policy failed: the default orders the managers from now on. Raises the error where there is nobody to tell, or no policy to blame."""
        if self._failed is None:
            raise error
        failed, self._failed = self._failed, None
        self.rank, self._order, self._sorted, self.is_other = Spread().rank, None, None, True
        self._heap = self.heap(list(self.managers.values()))
        self._changed.clear()
        self._ties += len(self._heap)
        failed(error)

    def _push(self, manager: ManagerState) -> None:
        self._ties += 1
        heap = self._heap
        heapq.heappush(heap, (self.rank(manager), self._ties, manager.version, manager))
        if len(heap) > 4 * len(self.managers) + 64:
            self._heap = [entry for entry in heap if entry[2] == entry[3].version and entry[3].name in self.managers]
            heapq.heapify(self._heap)

    def take(self) -> ManagerState | None:
        """The next one. It is not ranked any more until `update` is called for it."""
        try:
            return self._take()
        except Exception as error:  # noqa: BLE001 - a policy's own, or ranks of it that cannot be compared
            self.give_up(error)
            return self._take()

    def _take(self) -> ManagerState | None:
        if self._order is not None:
            return self._take_sorted(self._order)
        if self._changed:
            for each in self._changed.values():
                self._push(each)
            self._changed.clear()
        heap = self._heap
        while heap:
            _, _, version, manager = heapq.heappop(heap)
            if version == manager.version and self.managers.pop(manager.name, None) is not None:
                return manager
        return None

    def _take_sorted(self, order: Callable[[list[ManagerState]], list[ManagerState]]) -> ManagerState | None:
        if self._sorted is None:
            self._sorted = list(reversed(order(list(self.managers.values()))))
        while self._sorted:
            manager = self._sorted.pop()
            if self.managers.pop(manager.name, None) is not None:
                return manager
        return None

    def __iter__(self) -> Iterator[ManagerState]:
        return iter(self.managers.values())

    @property
    def sees_all(self) -> bool:
        """Whether the policy looks at all managers at once, so that it may leave some out."""
        return self._order is not None

    def chosen(self, managers: list[ManagerState]) -> list[ManagerState]:
        """Those that may get something, of a policy that sees them all; in its order."""
        if self._order is None:
            return managers
        try:
            return list(dict.fromkeys(self._order(managers)))
        except Exception as error:  # noqa: BLE001 - likewise
            self.give_up(error)
            return managers

    def heap(self, managers: list[ManagerState]) -> list[Ranked]:
        """A heap of some managers by rank."""
        try:
            return self._heap_of(managers)
        except Exception as error:  # noqa: BLE001 - likewise
            self.give_up(error)
            return self._heap_of(managers)

    def _heap_of(self, managers: list[ManagerState]) -> list[Ranked]:
        rank = self.rank
        if self._order is not None:
            return [(number, number, each.version, each) for number, each in enumerate(self._order(managers))]
        heap = [(rank(each), number, each.version, each) for number, each in enumerate(managers)]
        heapq.heapify(heap)
        return heap

    def best(self, managers: list[ManagerState]) -> ManagerState | None:
        """The next one of these few."""
        if len(managers) < 2:
            return managers[0] if managers else None
        try:
            return self._best(managers)
        except Exception as error:  # noqa: BLE001 - likewise
            self.give_up(error)
            return self._best(managers)

    def _best(self, managers: list[ManagerState]) -> ManagerState | None:
        if self._order is not None:
            ordered: list[ManagerState] = self._order(managers)
            return ordered[0] if ordered else None
        return min(managers, key=self.rank)
