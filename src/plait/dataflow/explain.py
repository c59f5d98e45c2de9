"""Why a task is not done, or failed: one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.errors import PropagatedException, RemoteError, text_of
from plait.model.task import (
    CANCELLED,
    DEP_FAIL,
    EXEC_DONE,
    FAILED,
    JOINING,
    LAUNCHED,
    MEMO_DONE,
    PENDING,
    Task,
    TaskState,
)
from plait.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Things waited for that are named; the others are counted.
_SHOWN = 3


def explain(task: Task, now_s: float, where: Callable[[Task], str]) -> str:
    """One sentence on where a task stands.

    Args:
        task: which one.
        now_s: the time.
        where: says of a launched task what its executor knows of it.
    """
    sentence = _SENTENCES[task.state](task, now_s, where)
    details = task.details
    if details is not None and task.state in {PENDING, LAUNCHED} and (details.history or details.losses):
        before = [*details.history, *details.losses]
        sentence += f"; before that, {_first_line(before[-1])}" + (
            f" (and {len(before) - 1} more)" if len(before) > 1 else ""
        )
    return sentence


def failure_sentence(task: Task, error: BaseException) -> str:
    """Why a task failed."""
    if isinstance(error, PropagatedException) and error.dependent_exceptions_tids:
        cause, path = error.dependent_exceptions_tids[0]
        verb = "did not run" if task.state == DEP_FAIL else "failed"
        return f"{task} {verb} because of {path}: {_said(cause)}"
    details = task.details
    attempts = f" in attempt {task.attempt}" if task.attempt > 1 else ""
    tried = ""
    if details is not None and details.history:
        tried = f"; earlier: {_first_line(details.history[-1])}"
    return f"{task} failed{attempts} with {_said(error)}{tried}"


def _said(error: BaseException) -> str:
    name = error.type_name if isinstance(error, RemoteError) else type(error).__name__
    lines = text_of(error).strip().splitlines()
    text = lines[-1 if isinstance(error, RemoteError) else 0] if lines else ""
    return f"{name}: {text[:300]}" if text else name


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0]


def _pending(task: Task, now_s: float, where: Callable[[Task], str]) -> str:
    del where
    details = task.details
    if details is not None and details.not_before is not None:
        return f"{task} waits {format_duration(max(0.0, details.not_before - now_s))} before attempt {task.attempt + 1}"
    waiting = [future for future in task.depends or () if not future.done()]
    if waiting:
        return f"{task} waits for {_list(waiting)}"
    return f"{task} is about to be launched"


def _joining(task: Task, now_s: float, where: Callable[[Task], str]) -> str:
    del where, now_s
    waiting = [future for future in task.depends or () if not future.done()]
    return (
        f"{task} ran, and waits for what it returned: {_list(waiting)}"
        if waiting
        else f"{task} ran, and what it returned is done"
    )


def _launched(task: Task, now_s: float, where: Callable[[Task], str]) -> str:
    del now_s
    return f"{task} {where(task)}"


def _failed(task: Task, now_s: float, where: Callable[[Task], str]) -> str:
    del now_s, where
    error = task.details.error if task.details is not None else None
    return failure_sentence(task, error) if error is not None else f"{task} failed"


def _cancelled(task: Task, now_s: float, where: Callable[[Task], str]) -> str:
    del now_s, where
    reason = task.details.cancel_reason if task.details is not None else ""
    return reason or f"{task} was cancelled"


def _done(task: Task, now_s: float, where: Callable[[Task], str]) -> str:
    del now_s, where
    took = f" in {format_duration(task.end_s - task.submit_s)}" if task.end_s is not None else ""
    tries = f" at attempt {task.attempt}" if task.attempt > 1 else ""
    return f"{task} succeeded{tries}{took}, from submission to result"


def _memo(task: Task, now_s: float, where: Callable[[Task], str]) -> str:
    del now_s, where
    return f"{task} was not run: an equal call gave its result earlier in this run"


def _list(futures: Sequence[Any]) -> str:
    names = [_name(future) for future in futures[:_SHOWN]]
    if len(futures) > _SHOWN:
        names.append(f"{len(futures) - _SHOWN} more")
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _name(future: Any) -> str:
    task = getattr(future, "_task", None)
    if task is None:
        parent = getattr(future, "_parent", None)
        task = getattr(parent, "_task", None)
        if task is not None:
            return f"the file {future.file_obj.url} of {task}"
        return f"{future!r}"
    return f"{task}, which is {TaskState(task.state).name}"


_SENTENCES: dict[int, Callable[[Task, float, Callable[[Task], str]], str]] = {
    PENDING: _pending,
    LAUNCHED: _launched,
    JOINING: _joining,
    EXEC_DONE: _done,
    MEMO_DONE: _memo,
    FAILED: _failed,
    DEP_FAIL: _failed,
    CANCELLED: _cancelled,
}
