"""How many blocks a moment calls for. Pure: a view of blocks and work in, a decision with its reason out.

A policy never sees a provider, and the same one runs in production and under the simulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Load:
    """The work of an executor.

    Attributes:
        tasks: tasks that have not ended, running or waiting.
        workers_per_node: workers that a node will have, before the first manager has said so; None when that cannot be known.
        idle_s: for each connected block without tasks: since how many seconds it has had none.
        wanted: workers that the tasks want, where some ask for more than one core; None when each wants one.
    """

    tasks: int
    workers_per_node: int | None = None
    idle_s: Mapping[str, float] = field(default_factory=dict)
    wanted: float | None = None


@dataclass(frozen=True)
class Limits:
    """What the provider's configuration says about the number of blocks."""

    init_blocks: int = 1
    min_blocks: int = 0
    max_blocks: int = 1
    nodes_per_block: int = 1
    parallelism: float = 1.0


@dataclass(frozen=True)
class BlockView:
    """One block, as a policy sees it.

    Attributes:
        id: its name.
        workers: of its connected managers; None while none is connected.
        leaving: it is being given back, or its managers have left: it takes no more tasks.
        idle_s: since how long it has been without tasks; None when it has some or is not connected.
    """

    id: str
    workers: int | None = None
    leaving: bool = False
    idle_s: float | None = None


@dataclass(frozen=True)
class View:
    """What a decision rests on.

    Attributes:
        blocks: those whose jobs have not ended: queued, held, running, of unknown state, or being given back.
        tasks: tasks that have not ended.
        workers_wanted: workers that they want; None when each wants one.
        no_tasks_s: since how long there have been none; 0 while there are some.
        block_workers: workers of one block, known or guessed; None when not known.
        limits: the provider's.
        max_idletime_s: when an idle block may be given back.
        base: blocks at the start, and what people added or took away since.
    """

    blocks: Sequence[BlockView]
    tasks: int
    workers_wanted: float | None
    no_tasks_s: float
    block_workers: int | None
    limits: Limits
    max_idletime_s: float
    base: int = 0

    @property
    def active(self) -> list[BlockView]:
        """Blocks that take tasks, or will."""
        return [block for block in self.blocks if not block.leaving]

    @property
    def slots(self) -> int:
        """Workers that are there or will be, as far as is known."""
        return sum(block.workers or self.block_workers or 0 for block in self.active)

    @property
    def wanted(self) -> float:
        """Workers that there should be for the tasks."""
        return (self.tasks if self.workers_wanted is None else self.workers_wanted) * self.limits.parallelism

    @property
    def room(self) -> int:
        """How many blocks may be added. Those that are being given back still hold their nodes."""
        return max(0, self.limits.max_blocks - len(self.blocks))


@dataclass(frozen=True)
class Decision:
    """What is to be done.

    Attributes:
        add: blocks to request.
        remove: blocks to give back.
        why: the reason, as a sentence without its full stop; also for doing nothing.
    """

    add: int = 0
    remove: tuple[str, ...] = ()
    why: str = ""


class ScalingPolicy(Protocol):
    """Decides. Implement this to try another one."""

    def decide(self, view: View) -> Decision:
        """What to do now. It is asked every `Config.strategy_period` seconds and when something happened."""
        ...


class NoScaling:
    """``init_blocks`` at the start, no more and no fewer; what is lost is replaced while there is work for it."""

    def decide(self, view: View) -> Decision:
        """Keeps the number that was there at the start."""
        wanted = view.limits.min_blocks
        if view.tasks:
            wanted = max(wanted, view.base)
        return _top_up(view, wanted) or Decision(
            why=f"keeps {blocks_text(len(view.active))}: strategy 'none' does not scale"
        )


class Simple:
    """As many blocks as the tasks want; all but ``min_blocks`` are given back when there has been no task for a while."""

    def decide(self, view: View) -> Decision:
        """Grows with the tasks, shrinks without them."""
        more = [each for each in (_top_up(view, view.limits.min_blocks), _grow(view)) if each is not None]
        if more:
            return max(more, key=lambda each: each.add)
        return self._shrink(view) or Decision(why=_enough(view))

    def _shrink(self, view: View) -> Decision | None:
        if view.tasks or view.no_tasks_s < view.max_idletime_s:
            return None
        spare = len(view.active) - view.limits.min_blocks
        chosen = _longest_idle(view.active)[: max(0, spare)]
        if not chosen:
            return None
        why = f"gives back {blocks_text(len(chosen))}: there has been no task for {view.no_tasks_s:.0f} s (max_idletime {view.max_idletime_s:g} s)"
        return Decision(remove=tuple(block.id for block in chosen), why=why)


class HtexAutoScale(Simple):
    """As `Simple`; and while there are tasks, blocks that have had none for a while are given back when the others suffice."""

    def _shrink(self, view: View) -> Decision | None:
        if not view.tasks:
            return super()._shrink(view)
        if view.block_workers is None:
            return None
        slots = view.slots
        excess = min(
            math.floor((slots - view.wanted) / view.block_workers),
            len(view.active) - max(view.limits.min_blocks, 1),
        )
        idle = [block for block in view.active if block.idle_s is not None and block.idle_s >= view.max_idletime_s]
        chosen: list[BlockView] = []
        for block in _longest_idle(idle)[: max(0, excess)]:
            slots -= block.workers or view.block_workers
            if slots < view.wanted:
                break  # the next decision would request it again
            chosen.append(block)
        if not chosen:
            return None
        why = (
            f"gives back {blocks_text(len(chosen))}: idle for {min(block.idle_s or 0.0 for block in chosen):.0f} s "
            f"(max_idletime {view.max_idletime_s:g} s), and {_tasks(view.tasks)} need no more than the other {len(view.active) - len(chosen)}"
        )
        return Decision(remove=tuple(block.id for block in chosen), why=why)


STRATEGIES: Final[dict[str, type[NoScaling | Simple]]] = {
    "none": NoScaling,
    "simple": Simple,
    "htex_auto_scale": HtexAutoScale,
}


def policy_of(strategy: str | ScalingPolicy | None) -> ScalingPolicy:
    """The policy of a name of `Config.strategy`; a policy is returned as it is."""
    if strategy is None:
        return NoScaling()
    return STRATEGIES[strategy]() if isinstance(strategy, str) else strategy


# ------------------------------------------------------------------ parts of decisions
def _top_up(view: View, wanted: int) -> Decision | None:
    """Requests what is missing to a number that is to be kept."""
    missing = min(wanted - len(view.active), view.room)
    if missing <= 0:
        return None
    name = "min_blocks keeps" if wanted == view.limits.min_blocks else "there were"
    return Decision(
        add=missing, why=f"requests {blocks_text(missing)}: {len(view.active)} of the {wanted} that {name} are there"
    )


def _grow(view: View) -> Decision | None:
    if not view.tasks:
        return None
    active = len(view.active)
    wanted = view.wanted
    if view.block_workers is None:  # nothing says how large a block is: one shows it
        add = 0 if active else 1
    elif active and view.slots >= wanted:
        add = 0
    else:
        add = max(math.ceil((wanted - view.slots) / view.block_workers), 0 if active else 1)
    add = min(add, view.room)
    if add <= 0:
        return None
    slots = view.slots
    have = f"{_workers(slots)} in {blocks_text(active)}" if active else "no block"
    return Decision(
        add=add,
        why=f"requests {blocks_text(add)}: {_tasks(view.tasks)} for {have} (at most {blocks_text(view.limits.max_blocks)})",
    )


def _enough(view: View) -> str:
    active = blocks_text(len(view.active))
    if not view.tasks:
        return f"keeps {active}: no task, for {view.no_tasks_s:.0f} s now"
    if view.block_workers is None:
        return f"keeps {active}: how many workers a block has is not known before its first manager is up"
    enough = view.slots >= view.wanted
    reason = "enough for" if enough else f"max_blocks={view.limits.max_blocks} is reached, for"
    return f"keeps {active} with {_workers(view.slots)}: {reason} {_tasks(view.tasks)}"


def _longest_idle(blocks: Sequence[BlockView]) -> list[BlockView]:
    """Those that are not up yet first, the last requested of them before others; then by how long they have been idle."""
    waiting = [block for block in blocks if block.workers is None]
    up = [block for block in blocks if block.workers is not None]
    return [*reversed(waiting), *sorted(up, key=lambda block: -(block.idle_s or 0.0))]


def blocks_text(count: int) -> str:
    """``3 blocks``."""
    return f"{count} block{'s' if count != 1 else ''}"


def _tasks(count: int) -> str:
    return f"{count} task{'s' if count != 1 else ''}"


def _workers(count: int) -> str:
    return f"{count} worker{'s' if count != 1 else ''}"
