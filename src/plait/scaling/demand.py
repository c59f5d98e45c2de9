"""The policy `demand`: from what tasks ask for, and how long they may take, to a number of blocks.

```
 waiting tasks ──share of a node each──▶ nodes wanted ┐
 running tasks ──what they have ───────▶ nodes in use ┼─▶ blocks needed now ─▶ request what is missing, at once
 blocks, and how long they will last ──▶ nodes there  ┘          │
                                                                 └─ most of the last `hold_down` seconds ─▶ drain what is beyond
```

More is requested as soon as it is missing. Fewer are wanted only when that has been so for a while, so that a load which comes and goes does not send
blocks away and back. What is given back costs as little as possible: what has not begun first, then what is idle, then what has the least to do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from plait.errors import ConfigurationError
from plait.model.units import format_duration
from plait.scaling.view import Decision, NodeSize, Shape, View, Want, blocks_text, tasks_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.scaling.view import BlockView

#: Of sums of shares of nodes, which do not come out even.
_TOLERANCE: Final = 1e-6
_PLAIN: Final = Shape()


@dataclass(frozen=True)
class Demand:
    """As many blocks as the tasks need by what they ask for: cores, memory, accelerators, nodes and walltime.

    Args:
        hold_down: seconds for which fewer blocks must have sufficed before some are given back.
        max_submissions_per_hour: blocks that are requested within any hour, at most, for whatever reason; None for no limit.
        consolidate: whether blocks that still run tasks may be drained when the others suffice. They take nothing new, and end when they are done.
        drain_timeout: seconds that such a block has for that; None for as long as its tasks take, so that none is ended.

    Raises:
        ConfigurationError: a value cannot work.
    """

    hold_down: float = 60.0
    max_submissions_per_hour: int | None = 120
    consolidate: bool = True
    drain_timeout: float | None = None

    def __post_init__(self) -> None:
        cap = self.max_submissions_per_hour
        for name, value, good, expected in (
            ("hold_down", self.hold_down, _is_number(self.hold_down) and self.hold_down >= 0, "seconds, 0 or more"),
            ("max_submissions_per_hour", cap, cap is None or (type(cap) is int and cap > 0), "a whole number from 1, or None"),
            ("consolidate", self.consolidate, isinstance(self.consolidate, bool), "True or False"),
            ("drain_timeout", self.drain_timeout, self.drain_timeout is None or (_is_number(self.drain_timeout) and self.drain_timeout > 0),
             "seconds, more than 0, or None"),
        ):  # fmt: skip
            if not good:
                raise ConfigurationError(f"Demand({name}={value!r}): expected {expected}")

    def decide(self, view: View) -> Decision:
        """Requests what is missing now; gives back what has not been needed for a while."""
        need = _need(view)
        active = len(view.active)
        most = self._remember(view, max(need.blocks, 0))
        missing = min(max(need.missing, view.limits.min_blocks - active), view.room)
        if missing > 0:
            if need.missing < view.limits.min_blocks - active:
                text = f"{active} of the {view.limits.min_blocks} that min_blocks keeps are there"
            else:
                text = f"{need.why} (at most {blocks_text(view.limits.max_blocks)})"
            return Decision(add=missing, why=f"requests {blocks_text(missing)}: {text}")
        floor = max(most, view.limits.min_blocks)
        chosen = self._spare(view, active - floor)
        if chosen:
            busy = sum(block.used > _TOLERANCE for block in chosen)
            rest = f", {busy} of them when what they run has ended" if busy else ""
            why = (
                f"gives back {blocks_text(len(chosen))}{rest}: {self._needed(view, floor)}, and there are {active}"
            )  # fmt: skip
            drain_s = None if not busy else math.inf if self.drain_timeout is None else self.drain_timeout
            return Decision(remove=tuple(block.id for block in chosen), why=why, drain_s=drain_s)
        return Decision(why=f"keeps {blocks_text(active)}: {self._enough(view, need, floor)}")

    def _remember(self, view: View, blocks: int) -> int:
        """Takes note of how many are needed; the most of the last `hold_down` seconds."""
        history: list[tuple[float, int]] = view.memory.setdefault(
            "needed", []
        )  # (since when, how many), fewer and fewer
        while history and history[-1][1] < blocks:  # a later and larger number makes those before it pointless
            history.pop()
        if not history or history[-1][1] > blocks:
            history.append((view.now_s, blocks))
        before_s = view.now_s - self.hold_down
        while len(history) > 1 and history[1][0] <= before_s:
            history.pop(0)
        since_s, most = history[0]
        return most if since_s <= before_s else max(most, len(view.active))  # it has not looked on for long enough

    def _spare(self, view: View, surplus: int) -> list[BlockView]:
        """Which of the blocks beyond what is needed may go, the cheapest first."""
        if surplus <= 0:
            return []
        waiting = [block for block in reversed(view.active) if block.workers is None]
        waiting.sort(key=lambda block: block.runs)  # what has its nodes has waited for them
        up = [block for block in view.active if block.workers is not None]
        resting = [block for block in up if block.idle_s is not None]
        idle = [block for block in resting if (block.idle_s or 0.0) >= view.max_idletime_s]
        idle.sort(key=lambda block: (_left(block), -(block.idle_s or 0.0)))  # what ends soon anyhow is worth least
        busy = [block for block in up if block.idle_s is None] if self.consolidate else []
        busy.sort(key=lambda block: (block.used, _left(block)))
        busy = busy[
            : max(0, surplus - len(waiting) - len(resting))
        ]  # those that rest go first, when their time has come
        chosen = [*waiting, *idle, *busy][:surplus]
        while chosen and _need(view, without={block.id for block in chosen}).missing > 0:
            chosen.pop()  # others would be requested instead
        return chosen

    def _needed(self, view: View, floor: int) -> str:
        if not view.tasks:
            return f"there has been no task for {format_duration(view.no_tasks_s)}"
        if self.hold_down:
            return f"for {format_duration(self.hold_down)} no more than {floor} were needed for the tasks"
        return f"no more than {floor} are needed for {tasks_text(view.tasks)}"

    def _enough(self, view: View, need: _Need, floor: int) -> str:
        active = view.active
        notes = [f"block {block.id} {block.note}" for block in active if block.note]
        said = f"; {', '.join(notes[:3])}" if notes else ""
        if not view.tasks:
            return f"no task, for {format_duration(view.no_tasks_s)} now{said}"
        if need.missing > 0:
            return f"max_blocks={view.limits.max_blocks} is reached, for {need.why}{said}"
        if len(active) > floor:
            return f"{floor} would do for {tasks_text(view.tasks)}, but the others have not been idle for {view.max_idletime_s:g} s{said}"
        return f"enough for {need.why}{said}" if need.why else f"enough for {tasks_text(view.tasks)}{said}"


@dataclass(frozen=True)
class _Need:
    """What tasks need.

    Attributes:
        blocks: that would do for all of them.
        missing: how many more than there are.
        why: the sum, in words.
    """

    blocks: int
    missing: int
    why: str = field(default="", compare=False)


def _need(view: View, without: frozenset[str] | set[str] = frozenset()) -> _Need:
    """How many blocks the tasks need, and how many of them are missing when some are taken away."""
    limits = view.limits
    active = [block for block in view.active if block.id not in without]
    if not view.tasks:
        return _Need(0, 0)
    node = view.node
    if node is None and view.block_workers is not None:
        node = NodeSize(max(1, view.block_workers // limits.nodes_per_block))
    if node is None:  # nothing says how large a block is: one shows it
        why = f"{tasks_text(view.tasks)}, and how much a block can do is not known before its first manager is up"
        return _Need(max(1, len(active)), 0 if active else 1, why)
    wants = _all_wants(view)
    possible = [want for want in wants if _is_possible(want.shape, view)]
    waiting = sum(_nodes(want.shape, want.waiting, node, limits.nodes_per_block) for want in possible)
    running = sum(_nodes(want.shape, want.running, node, limits.nodes_per_block) for want in wants)
    running = max(0.0, running - sum(block.used for block in view.blocks if block.leaving))  # it ends where it is
    total = (waiting + running) * limits.parallelism
    size = {block.id: _size(block, node, limits.nodes_per_block) for block in active}
    there = sum(size.values())
    missing = _blocks_of(total - there, limits.nodes_per_block)
    have = "has" if len(active) == 1 else "have"
    why = f"{_want(view.tasks)} {_nodes_text(total)}, and {blocks_text(len(active))} {have} {_nodes_text(there)}"
    late = _too_long(view, possible, node, active, size)
    if late is not None and late[0] > missing:
        missing, why = late
    if not active and waiting and missing < 1:
        missing = 1  # also with parallelism 0
    hopeless = sum(want.waiting for want in wants if not _is_possible(want.shape, view))
    if hopeless:
        why += f"; no block would help {tasks_text(hopeless)}, which ask for more nodes or time than one has"
    blocks = max(_blocks_of(total, limits.nodes_per_block), len(active) + missing if missing > 0 else 0)
    return _Need(max(blocks, 1 if waiting + running else 0), missing, why)


def _all_wants(view: View) -> list[Want]:
    """All tasks by what they ask for, those too that ask for no more than a worker."""
    asking = sum(want.waiting + want.running for want in view.wants)
    asking_waiting = sum(want.waiting for want in view.wants)
    plain = max(0, view.tasks - asking)
    waiting = plain if view.waiting is None else min(plain, max(0, view.waiting - asking_waiting))
    wants = [want for want in view.wants if want.waiting or want.running]
    return [*wants, Want(_PLAIN, waiting, plain - waiting)] if plain else wants


def _is_possible(shape: Shape, view: View) -> bool:
    """Whether another block would help such tasks: one that has too few nodes, or does not last long enough, would not."""
    if shape.nodes > view.limits.nodes_per_block:
        return False
    lasts_s = view.limits.walltime_s if view.fresh_s is None else view.fresh_s
    return shape.walltime_s is None or lasts_s is None or shape.walltime_s <= lasts_s


def _nodes(shape: Shape, count: int, node: NodeSize, nodes_per_block: int) -> float:
    """Nodes that so many tasks take. Those that want several at once take whole ones of one block, and what is left over there is lost to others like them."""
    share = node.share(shape)
    if 1.0 < share <= nodes_per_block:
        return count * nodes_per_block / math.floor(nodes_per_block / share + _TOLERANCE)
    return count * share


def _size(block: BlockView, node: NodeSize, nodes_per_block: int) -> float:
    """Nodes of a block; of one that is up, those that are."""
    if block.workers is None or not node.workers:
        return float(nodes_per_block)
    return min(float(nodes_per_block), block.workers / node.workers)


def _too_long(
    view: View, wants: Sequence[Want], node: NodeSize, active: Sequence[BlockView], size: dict[str, float]
) -> tuple[int, str] | None:
    """Blocks that are missing because those that are there end before waiting tasks would; the most that any length of tasks calls for."""
    per_block = view.limits.nodes_per_block
    shortest_s = min((block.left_s for block in active if block.left_s is not None), default=math.inf)
    long = [want for want in wants if want.waiting and (want.shape.walltime_s or 0.0) > shortest_s]
    long.sort(key=lambda want: -(want.shape.walltime_s or 0.0))
    blocks = sorted(active, key=_left)  # those that last longest are taken off its end
    worst: tuple[int, str] | None = None
    asked = free = 0.0
    count = lasting = 0
    for want in long:  # from the longest on: what lasts for one lasts for all that follow
        walltime_s = want.shape.walltime_s or 0.0
        count += want.waiting
        asked += _nodes(want.shape, want.waiting, node, per_block) * view.limits.parallelism
        while blocks and _left(blocks[-1]) >= walltime_s:
            block = blocks.pop()
            free += max(0.0, size[block.id] - block.used)
            lasting += 1
        missing = max(_blocks_of(asked - free, per_block), 0 if lasting else 1)
        if worst is None or missing > worst[0]:
            why = (
                f"{_want(count)} {_nodes_text(asked)} for {format_duration(walltime_s)} or more, and of {blocks_text(len(active))} "
                f"{lasting or 'none'} will last so long"
            )
            worst = missing, why
    return worst


def _want(tasks: int) -> str:
    return f"{tasks_text(tasks)} want{'s' if tasks == 1 else ''}"


def _left(block: BlockView) -> float:
    return math.inf if block.left_s is None else block.left_s


def _blocks_of(nodes: float, nodes_per_block: int) -> int:
    return math.ceil(nodes / nodes_per_block - _TOLERANCE)


def _nodes_text(nodes: float) -> str:
    return f"{nodes:.3g} node{'s' if nodes != 1 else ''}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN
