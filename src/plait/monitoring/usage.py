"""What blocks cost and what came of it: useful seconds of cores over allocated ones, for each executor.

Useful is what attempts took that ended well, times the cores that each asked for, or a worker's share of its node. Allocated is what the blocks had, from
the moment that their jobs ran until these ended, used or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait.model import events as ev
from plait.model.task import EXEC_DONE
from plait.monitoring.base import EventSink
from plait.monitoring.blocks import Blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.model.events import EventTuple
    from plait.monitoring.runs import Run

#: Seconds of cores from which they are told in hours.
_HOURS_FROM_S: Final = 360.0
#: Kinds of events of blocks, and the records for them.
_OF_BLOCKS: Final[dict[int, Any]] = {
    ev.BLOCK_REQUESTED: ev.BlockRequested, ev.BLOCK_STATUS: ev.BlockStatus, ev.BLOCK_UP: ev.BlockUp, ev.BLOCK_ENDED: ev.BlockEnded,
    ev.MANAGER_STARTED: ev.ManagerStarted, ev.MANAGER_ENDED: ev.ManagerEnded,
}  # fmt: skip


@dataclass(frozen=True)
class Usage:
    """What the blocks of an executor gave.

    Attributes:
        executor: label.
        useful_core_s: seconds of cores of attempts that ended well.
        allocated_core_s: seconds of cores that blocks had.
    """

    executor: str
    useful_core_s: float
    allocated_core_s: float

    @property
    def part(self) -> float:
        """Useful over allocated, at most 1."""
        return min(1.0, self.useful_core_s / self.allocated_core_s) if self.allocated_core_s else 0.0

    def __str__(self) -> str:
        return f"{self.part:.0%} of {core_time_text(self.allocated_core_s)} in blocks of {self.executor!r} were useful"


def core_time_text(core_s: float) -> str:
    """``2.5 core-hours``, or ``17 core-seconds``."""
    return f"{core_s / 3600:,.1f} core-hours" if core_s >= _HOURS_FROM_S else f"{core_s:.3g} core-seconds"


def usage_of(run: Run) -> list[Usage]:
    """From the journal of a run; empty when there were no blocks."""
    useful: dict[str, float] = {}
    for task in run.tasks.values():
        if task.state == EXEC_DONE and task.manager and task.run_s is not None:
            cores = task.cores or run.blocks.share(task.executor, task.manager)
            useful[task.executor] = useful.get(task.executor, 0.0) + task.run_s * cores
    return _usages(useful, run.blocks.allocated_core_s(run.now_s()))


def _usages(useful: Mapping[str, float], allocated: Mapping[str, float]) -> list[Usage]:
    return [Usage(executor, useful.get(executor, 0.0), core_s) for executor, core_s in allocated.items() if core_s > 0]


class UsageMeter(EventSink):
    """Adds up while the run goes on; it remembers no task that has ended."""

    def __init__(self) -> None:
        self._blocks = Blocks()
        self._steps = self._blocks.steps()
        self._at: dict[int, tuple[str, float]] = {}  # of tasks that are with managers: executor and cores
        self._useful: dict[str, float] = {}

    def write(self, events: Sequence[EventTuple]) -> None:
        """Takes events."""
        at = self._at
        for event in events:
            kind = event[0]
            if kind == ev.TASKS_DONE:
                self._done(event[2], event[3], event[4])
            elif kind == ev.ATTEMPTS_STARTED:
                if len(event) > 5 and event[5]:
                    at.update(dict.fromkeys(event[4], self._place(event[2], event[5], event[6:])))
            elif kind == ev.TASK_ENDED:
                if event[3] == EXEC_DONE:
                    self._ended(event[2], event[5], event[6])
                else:
                    at.pop(event[2], None)
            elif kind == ev.ATTEMPT_STARTED:
                if len(event) > 6 and event[6]:
                    at[event[2]] = self._place(event[4], event[6], event[7:])
            elif kind in _OF_BLOCKS:
                record = _OF_BLOCKS[kind](*event[1:])
                self._steps[type(record)](record)

    def _place(self, executor: str, manager: str, cores: Sequence[float]) -> tuple[str, float]:
        return executor, (cores[0] if cores and cores[0] else self._blocks.share(executor, manager))

    def _done(self, tasks: Sequence[int], starts: Sequence[float], stops: Sequence[float]) -> None:
        """As `_ended`, for many of one worker: this runs for most tasks."""
        take, useful = self._at.pop, self._useful
        for task, start_s, stop_s in zip(tasks, starts, stops, strict=True):
            place = take(task, None)
            if place is not None and start_s:
                useful[place[0]] = useful.get(place[0], 0.0) + (stop_s - start_s) * place[1]

    def _ended(self, task: int, start_s: float, stop_s: float) -> None:
        place = self._at.pop(task, None)
        if place is not None and start_s and stop_s:
            self._useful[place[0]] = self._useful.get(place[0], 0.0) + (stop_s - start_s) * place[1]

    def usages(self, now_s: float) -> list[Usage]:
        """For each executor that has had blocks, until now."""
        return _usages(self._useful, self._blocks.allocated_core_s(now_s))

    def close(self) -> None:
        """Nothing to be closed."""
