"""What unfinished tasks ask for, counted as they come and go: the driver's side of the question how many blocks there should be.

Tasks that ask for nothing more than a worker are not in here and cost nothing. Pure.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from plait.executors.pool.core import resources_of, walltime_of
from plait.scaling.view import Shape, Want

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plait.executors.htex.messages import AttemptId
    from plait.model.task import Task
    from plait.scaling.view import NodeSize

#: Different shapes that are told apart; when there are more, similar ones are taken for the same.
MAX_SHAPES: Final = 64


class Wishes:
    """Shapes of tasks, and where the tasks are.

    Attributes:
        of: shapes of the unfinished tasks that ask for something, by number.
    """

    def __init__(self) -> None:
        self.of: dict[int, Shape] = {}
        self._counts: dict[Shape, int] = {}
        self._places: dict[int, str] = {}
        self._placed: dict[str, dict[Shape, int]] = {}

    def add(self, task: Task) -> None:
        """A task came; one that is known already is with no manager any more."""
        self.drop(task.id)
        shape = shape_of(task)
        if shape not in self._counts and len(self._counts) >= MAX_SHAPES:
            shape = coarse(shape)
        self.of[task.id] = shape
        self._counts[shape] = self._counts.get(shape, 0) + 1

    def drop(self, number: int) -> None:
        """A task has ended, or is none of ours any more."""
        shape = self.of.get(number)
        if shape is None:
            return
        self.displaced(number)
        del self.of[number]
        _less(self._counts, shape)

    def placed(self, manager: str, items: Iterable[AttemptId]) -> None:
        """A manager has got these attempts, of which some may be of tasks that ask for something."""
        of = self.of
        for number, _ in items:
            shape = of.get(number)
            if shape is not None:
                self.displaced(number)
                self._places[number] = manager
                there = self._placed.setdefault(manager, {})
                there[shape] = there.get(shape, 0) + 1

    def displaced(self, number: int) -> None:
        """A task is with no manager any more."""
        manager = self._places.pop(number, None)
        if manager is not None:
            there = self._placed[manager]
            _less(there, self.of[number])
            if not there:
                del self._placed[manager]

    def all_displaced(self) -> None:
        """No task is with a manager any more."""
        self._places.clear()
        self._placed.clear()

    # ------------------------------------------------------------------ looking, from any thread
    def wants(self) -> list[Want]:
        """How many tasks there are of each shape."""
        running: dict[Shape, int] = {}
        for there in list(self._placed.values()):
            for shape, count in list(there.items()):
                running[shape] = running.get(shape, 0) + count
        return [
            Want(shape, max(0, count - running.get(shape, 0)), min(count, running.get(shape, 0)))
            for shape, count in list(self._counts.items())
        ]

    def on(self, manager: str, node: NodeSize) -> tuple[int, float]:
        """How many of these tasks a manager has, and how many nodes' worth that is; a task over several nodes counts for its first one."""
        there = list(self._placed.get(manager, {}).items())
        return sum(count for _, count in there), sum(count * node.share(shape) for shape, count in there)


def shape_of(task: Task) -> Shape:
    """What a task asks for."""
    wants = resources_of(task)
    return Shape(wants.cores, wants.memory_bytes, wants.gpus, wants.nodes, walltime_of(task))


def coarse(shape: Shape) -> Shape:
    """A shape that stands for it and for others that ask for a little less."""
    return replace(
        shape,
        cores=float(math.ceil(shape.cores)),
        memory_bytes=1 << (shape.memory_bytes - 1).bit_length() if shape.memory_bytes else 0,
        walltime_s=None if not shape.walltime_s else 2.0 ** math.ceil(math.log2(shape.walltime_s)),
    )


def _less(counts: dict[Shape, int], shape: Shape) -> None:
    counts[shape] -= 1
    if not counts[shape]:
        del counts[shape]
