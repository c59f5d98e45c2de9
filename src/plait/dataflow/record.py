"""A task as a mapping, with the keys that plug-ins of the field know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from plait.errors import text_of
from plait.model.task import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.model.task import Task

_KEYS: dict[str, Callable[[Task], Any]] = {
    "id": lambda t: t.id,
    "try_id": lambda t: max(0, t.attempt - 1),
    "dfk": lambda t: t.owner,
    "func": lambda t: t.app.func,
    "func_name": lambda t: t.app.name,
    "kind": lambda t: t.app.kind,
    "args": lambda t: list(t.args or ()),
    "kwargs": lambda t: dict(t.kwargs or {}),
    "status": lambda t: TaskState(t.state),
    "depends": lambda t: list(t.depends or ()),
    "app_fu": lambda t: t.future,
    "exec_fu": lambda _: None,
    "executor": lambda t: getattr(t.executor, "label", None),
    "fail_count": lambda t: _failures(t),  # noqa: PLW0108 - it is defined below
    "fail_cost": lambda t: t.fail_cost,
    "fail_history": lambda t: _history(t),  # noqa: PLW0108 - likewise
    "memoize": lambda t: t.app.cache,
    "ignore_for_cache": lambda t: list(
        (t.details.ignore_for_cache if t.details is not None else ()) or t.app.ignore_for_cache
    ),
    "hashsum": lambda t: t.details.memo_key if t.details is not None else None,
    "from_memo": lambda t: t.state == TaskState.memo_done,
    "join": lambda t: t.app.kind == "join",
    "joins": lambda t: t.details.join_value if t.details is not None else None,
    "resource_specification": lambda t: dict(t.details.spec) if t.details is not None else {},
    "time_invoked": lambda t: t.owner.wall_time(t.submit_s),
    "time_returned": lambda t: t.owner.wall_time(t.end_s),
    "try_time_launched": lambda t: t.owner.wall_time(t.launch_s),
    "try_time_returned": lambda t: t.owner.wall_time(t.end_s),
}


class TaskRecord(Mapping[str, Any]):
    """Reads the task at the moment of asking; only ``hashsum`` can be set."""

    __slots__ = ("task",)

    def __init__(self, task: Task) -> None:
        self.task = task

    def __getitem__(self, key: str) -> Any:
        return _KEYS[key](self.task)

    def __setitem__(self, key: str, value: Any) -> None:
        if key != "hashsum":
            raise TypeError(f"a task record can be read; of its fields only 'hashsum' can be set, not {key!r}")
        self.task.more().memo_key = value

    def __iter__(self) -> Iterator[str]:
        return iter(_KEYS)

    def __len__(self) -> int:
        return len(_KEYS)

    def __repr__(self) -> str:
        return f"<TaskRecord of {self.task}>"


def _failures(task: Task) -> int:
    details = task.details
    failed = task.state in {TaskState.failed, TaskState.dep_fail} or _now_failing(task)
    return (len(details.history) + len(details.losses) if details is not None else 0) + int(failed)


def _history(task: Task) -> list[str]:
    """One sentence for each failed attempt."""
    details = task.details
    if details is None:
        return []
    error = details.error if task.state == TaskState.failed or _now_failing(task) else None
    last = [] if error is None else [f"attempt {max(1, task.attempt)}: {type(error).__name__}: {text_of(error)[:200]}"]
    return [*details.history, *last]


def _now_failing(task: Task) -> bool:
    """Whether it is being decided what a failure costs."""
    return task.state == TaskState.launched and task.details is not None and task.details.error is not None
