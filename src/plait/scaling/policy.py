"""How many blocks a moment calls for. Pure: a view of blocks and work in, a decision with its reason out.

A policy never sees a provider, and the same one runs in production and under the simulator.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

from plait.scaling.demand import Demand
from plait.scaling.view import (
    BlockView,
    Decision,
    Limits,
    Load,
    NodeSize,
    Shape,
    View,
    Want,
    blocks_text,
    tasks_text,
    workers_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "STRATEGIES", "BlockView", "Decision", "Demand", "HtexAutoScale", "Limits", "Load", "NoScaling", "NodeSize", "ScalingPolicy", "Shape", "Simple",
    "View", "Want", "blocks_text", "policy_of",
]  # fmt: skip


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
            f"(max_idletime {view.max_idletime_s:g} s), and {tasks_text(view.tasks)} need no more than the other {len(view.active) - len(chosen)}"
        )
        return Decision(remove=tuple(block.id for block in chosen), why=why)


STRATEGIES: Final[dict[str, type[NoScaling | Simple | Demand]]] = {
    "none": NoScaling,
    "simple": Simple,
    "htex_auto_scale": HtexAutoScale,
    "demand": Demand,
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
    have = f"{workers_text(slots)} in {blocks_text(active)}" if active else "no block"
    return Decision(
        add=add,
        why=f"requests {blocks_text(add)}: {tasks_text(view.tasks)} for {have} (at most {blocks_text(view.limits.max_blocks)})",
    )


def _enough(view: View) -> str:
    active = blocks_text(len(view.active))
    if not view.tasks:
        return f"keeps {active}: no task, for {view.no_tasks_s:.0f} s now"
    if view.block_workers is None:
        return f"keeps {active}: how many workers a block has is not known before its first manager is up"
    enough = view.slots >= view.wanted
    reason = "enough for" if enough else f"max_blocks={view.limits.max_blocks} is reached, for"
    return f"keeps {active} with {workers_text(view.slots)}: {reason} {tasks_text(view.tasks)}"


def _longest_idle(blocks: Sequence[BlockView]) -> list[BlockView]:
    """Those that are not up yet first, the last requested of them before others; then by how long they have been idle."""
    waiting = [block for block in blocks if block.workers is None]
    up = [block for block in blocks if block.workers is not None]
    return [*reversed(waiting), *sorted(up, key=lambda block: -(block.idle_s or 0.0))]
