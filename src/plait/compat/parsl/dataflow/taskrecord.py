"""``parsl.dataflow.taskrecord``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import plait.dataflow.record
from plait.compat.parsl.dataflow.states import States

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TaskRecord"]

#: Upstream's label of the executor of the run's own tasks.
INTERNAL: Final = "_parsl_internal"


class TaskRecord(plait.dataflow.record.TaskRecord):
    """A task as a mapping with upstream's keys. It shows the task as it is when a key is read."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        if key == "checkpoint":
            return False
        value = super().__getitem__(key)
        if key == "kwargs" and self.task.kwargs is not None:
            return {**self.task.app.reserved_defaults, **value}  # as if the call had said them
        if key == "status":
            return States(value)
        if key == "executor":
            return INTERNAL if value == "_plait_internal" else value
        return value

    def __iter__(self) -> Iterator[str]:
        yield from super().__iter__()
        yield "checkpoint"

    def __len__(self) -> int:
        return super().__len__() + 1
