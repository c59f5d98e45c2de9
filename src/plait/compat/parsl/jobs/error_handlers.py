"""``parsl.jobs.error_handlers``: plait's, which tell the executor by themselves, as upstream's do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plait.model.jobs import JobState
from plait.scaling import error_handlers as native

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plait.model.jobs import JobStatus

__all__ = ["noop_error_handler", "simple_error_handler", "windowed_error_handler"]


def noop_error_handler(executor: Any, status: Mapping[str, JobStatus], threshold: int = 3) -> None:
    """Never gives up."""


def simple_error_handler(executor: Any, status: Mapping[str, JobStatus], threshold: int = 3) -> None:  # noqa: ARG001 - upstream's parameter, which it does not use either
    """Gives up when the first blocks all failed, or, once some have worked, three in a row and none runs."""
    done = {
        block: replace(each, came_up=True) if each.state == JobState.COMPLETED else each
        for block, each in status.items()
    }
    _tell(executor, native.simple_error_handler(executor, done))


def windowed_error_handler(executor: Any, status: Mapping[str, JobStatus], threshold: int = 3) -> None:
    """Gives up when the last ``threshold`` blocks that ended have failed."""
    _tell(executor, native.windowed_error_handler(executor, status, threshold))


def as_function(handler: Any) -> Any:
    """The handler that a value of ``block_error_handler`` stands for."""
    return {True: simple_error_handler, False: noop_error_handler}[handler] if isinstance(handler, bool) else handler


def _tell(executor: Any, error: Exception | None) -> None:
    if error is not None:
        executor.set_bad_state_and_fail_all(error)
