"""What a decision about blocks rests on, and what it looks like: plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

#: Of shares of a node, which do not come out even.
_TOLERANCE: Final = 1e-6


@dataclass(frozen=True)
class Shape:
    """What tasks of a kind ask for.

    Attributes:
        cores: of a node; 0 for a worker's share.
        memory_bytes: likewise.
        gpus: likewise.
        nodes: whole nodes of one block; 0 for a part of one.
        walltime_s: how long an attempt may take at most; None when nobody says.
    """

    cores: float = 0.0
    memory_bytes: int = 0
    gpus: float = 0.0
    nodes: int = 0
    walltime_s: float | None = None


@dataclass(frozen=True)
class Want:
    """Tasks of one shape.

    Attributes:
        shape: what each asks for.
        waiting: those that no node has.
        running: those that a node has.
    """

    shape: Shape
    waiting: int = 0
    running: int = 0


@dataclass(frozen=True)
class NodeSize:
    """What a node has, as far as that is known.

    Attributes:
        workers: tasks that run at once, at most; less than one where a block of several nodes has fewer places for tasks than nodes.
        cores: 0 when not known; likewise the others.
        memory_bytes: of main memory.
        gpus: accelerators.
    """

    workers: float
    cores: float = 0.0
    memory_bytes: int = 0
    gpus: float = 0.0

    def share(self, shape: Shape) -> float:
        """The part of a node that a task takes, so that as many as fit make one node; whole nodes for those that ask for some."""
        place = 1.0 / self.workers if self.workers else 1.0
        if shape.nodes or place > 1.0:
            return max(float(shape.nodes), place)
        parts = [place]
        for asked, there in (
            (shape.cores, self.cores),
            (shape.memory_bytes, self.memory_bytes),
            (shape.gpus, self.gpus),
        ):
            if asked and there:
                parts.append(asked / there)
        return 1.0 / max(1, math.floor(1.0 / max(parts) + _TOLERANCE))


@dataclass(frozen=True)
class Load:
    """The work of an executor.

    Attributes:
        tasks: tasks that have not ended, running or waiting.
        workers_per_node: workers that a node will have, before the first manager has said so; None when that cannot be known.
        idle_s: for each connected block without tasks: since how many seconds it has had none.
        wanted: workers that the tasks want, where some ask for more than one core; None when each wants one.
        waiting: of the tasks, those that no node has; None when that is not known.
        wants: those of the tasks that ask for something, by shape.
        node: what a node has, or will have; None when not known.
        used: for each connected block: nodes' worth of it that tasks have.
    """

    tasks: int
    workers_per_node: float | None = None
    idle_s: Mapping[str, float] = field(default_factory=dict)
    wanted: float | None = None
    waiting: int | None = None
    wants: Sequence[Want] = ()
    node: NodeSize | None = None
    used: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """What the provider's configuration says about blocks.

    Attributes:
        init_blocks: that are requested at the start.
        min_blocks: that are kept.
        max_blocks: that there may be at once.
        nodes_per_block: nodes of one.
        parallelism: workers that are wanted for each task.
        walltime_s: how long a block lasts; None when not known.
        managers: of a block, when all are up; None for one on each node.
    """

    init_blocks: int = 1
    min_blocks: int = 0
    max_blocks: int = 1
    nodes_per_block: int = 1
    parallelism: float = 1.0
    walltime_s: float | None = None
    managers: int | None = None


@dataclass(frozen=True)
class BlockView:
    """One block, as a policy sees it.

    Attributes:
        id: its name.
        workers: of its connected managers; None while none is connected.
        leaving: it is being given back, or its managers have left: it takes no more tasks.
        idle_s: since how long it has been without tasks; None when it has some or is not connected.
        used: nodes' worth of it that tasks have.
        left_s: how long it will last; None when not known.
        note: why it may take long to come, such as ``is held``; empty when nothing is known.
        runs: whether its job has begun, so that it has waited in the queue.
    """

    id: str
    workers: int | None = None
    leaving: bool = False
    idle_s: float | None = None
    used: float = 0.0
    left_s: float | None = None
    note: str = ""
    runs: bool = False


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
        now_s: the time.
        waiting: of the tasks, those that no node has; None when that is not known.
        wants: those of the tasks that ask for something, by shape.
        node: what a node has; None when not known.
        fresh_s: how long a block lasts from its first manager on: as the best of the last ones that came up; None when not known.
        memory: what the policy remembers from one decision to the next. It is kept here, so that one policy may serve several executors.
    """

    blocks: Sequence[BlockView]
    tasks: int
    workers_wanted: float | None
    no_tasks_s: float
    block_workers: int | None
    limits: Limits
    max_idletime_s: float
    base: int = 0
    now_s: float = 0.0
    waiting: int | None = None
    wants: Sequence[Want] = ()
    node: NodeSize | None = None
    fresh_s: float | None = None
    memory: MutableMapping[str, Any] = field(default_factory=dict)

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
        drain_s: seconds that blocks which are given back have for what they run; None for the executor's own.
    """

    add: int = 0
    remove: tuple[str, ...] = ()
    why: str = ""
    drain_s: float | None = None


def workers_wanted(tasks: int, wants: Sequence[Want], node: NodeSize | None) -> float | None:
    """Workers that the tasks want, those of a node for a whole one; None when each wants one."""
    if node is None or not wants:
        return None
    asking = sum(want.waiting + want.running for want in wants)
    workers = sum((want.waiting + want.running) * node.share(want.shape) for want in wants) * node.workers
    return max(0, tasks - asking) + workers


def blocks_text(count: int) -> str:
    """``3 blocks``."""
    return f"{count} block{'s' if count != 1 else ''}"


def tasks_text(count: int) -> str:
    """``3 tasks``."""
    return f"{count} task{'s' if count != 1 else ''}"


def workers_text(count: int) -> str:
    """``3 workers``."""
    return f"{count} worker{'s' if count != 1 else ''}"
