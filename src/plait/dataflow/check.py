"""Invariants of the engine. Tests call `check` after each event; ``PLAIT_VALIDATE=1`` makes the kernel call it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait.errors import InternalConsistencyError
from plait.model.task import FINAL_STATES, JOINING, LAUNCHED, PENDING, TaskState

if TYPE_CHECKING:
    from plait.dataflow.engine import Engine
    from plait.model.task import Task


def check(engine: Engine) -> None:
    """Holds every cross-reference of the engine against the others.

    Raises:
        InternalConsistencyError: naming what does not fit.
    """
    live = [task for task in engine.tasks.values() if task.state not in FINAL_STATES]
    _expect(
        sum(engine.counts.values()) == engine.submitted,
        f"counts {engine.counts} do not add up to {engine.submitted} submitted",
    )
    for state in (PENDING, LAUNCHED, JOINING):
        number = sum(task.state == state for task in live)
        _expect(
            engine.counts[state] == number,
            f"{number} tasks are {TaskState(state).name}, counted {engine.counts[state]}",
        )
    if not engine.keep:
        _expect(len(live) == len(engine.tasks), "an ended task is still in the table")
    for number, task in engine.tasks.items():
        _expect(task.id == number, f"{task!r} is filed under {number}")
        _check_task(task)


def _check_task(task: Task) -> None:
    _expect(task.waiting >= 0, f"{task!r} waits for {task.waiting} things")
    if task.state in FINAL_STATES:
        _expect(task.dependants is None, f"{task!r} has ended, but others still wait for it")
        _expect(task.args is None and task.payload is None, f"{task!r} has ended, but keeps its arguments")
        return
    if task.state == LAUNCHED:
        _expect(task.waiting == 0, f"{task!r} was launched, but waits for {task.waiting} things")
        _expect(task.attempt > 0, f"{task!r} was launched, but has no attempt")
    for child in task.dependants or ():
        _expect(child.state in FINAL_STATES or child.waiting > 0, f"{child!r} waits for {task!r}, but counts nothing")


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise InternalConsistencyError(what)
