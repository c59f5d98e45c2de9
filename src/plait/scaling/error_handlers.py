"""When failed blocks mean that something is wrong with all of them.

A handler is called with the executor and the statuses of its blocks: the ended ones in the order in which they ended, then the others.
It returns the exception with which scaling is to stop, or None. One that was written for other libraries returns nothing and calls
``executor.set_bad_state_and_fail_all(exception)``, which does the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plait.errors import TooManyJobFailuresError
from plait.model.jobs import FAILED_STATES, JobState, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    BlockErrorHandler = Callable[[Any, Mapping[str, JobStatus]], Exception | None]

#: Failed blocks in a row after which nothing good is expected, once blocks have worked.
MAX_FAILED_BLOCKS: Final = 3
#: Blocks that the exception describes.
_SHOWN: Final = 5
#: Characters of its last line that the exception's first line has.
_LINE: Final = 200


def noop_error_handler(executor: Any, statuses: Mapping[str, JobStatus]) -> None:
    """Never gives up: failed blocks are replaced for ever, after longer and longer pauses."""


def simple_error_handler(executor: Any, statuses: Mapping[str, JobStatus]) -> Exception | None:
    """Gives up when as many blocks as there were to begin with failed, one after the other, and none runs.

    Once a block has come up it takes at least `MAX_FAILED_BLOCKS`, so that a run survives the end of a node. Queued blocks do not delay it;
    one that runs and has not come up yet does, until as many have failed that never came up.
    """
    limit = max(1, getattr(getattr(executor, "provider", None), "init_blocks", 1))
    if any(status.came_up for status in statuses.values()):
        limit = max(limit, MAX_FAILED_BLOCKS)
    running = [status for status in statuses.values() if status.state == JobState.RUNNING]
    if any(status.came_up for status in running):
        return None
    if running:
        return _failed_in_a_row(statuses, max(limit, MAX_FAILED_BLOCKS), never_up=True)
    return _failed_in_a_row(statuses, limit)


def windowed_error_handler(
    executor: Any,  # noqa: ARG001 - every handler gets it
    statuses: Mapping[str, JobStatus],
    threshold: int = 3,
) -> Exception | None:
    """Gives up when the last ``threshold`` blocks that ended have failed, whatever others do."""
    return _failed_in_a_row(statuses, threshold)


def _failed_in_a_row(statuses: Mapping[str, JobStatus], limit: int, *, never_up: bool = False) -> Exception | None:
    ended = [(block, status) for block, status in statuses.items() if status.terminal]
    failed = []
    for block, status in reversed(ended):
        if status.state not in FAILED_STATES or (never_up and status.came_up):
            break
        failed.append((block, status))
    return too_many_failures(dict(reversed(failed))) if len(failed) >= limit else None


def too_many_failures(failed: Mapping[str, JobStatus]) -> TooManyJobFailuresError:
    """The exception that lists what is known of failed blocks."""
    count = len(failed)
    how = f"{count} block{'s' if count != 1 else ''} failed{' in a row' if count > 1 else ''}, so no more are requested"
    last = list(failed.values())[-1]
    lines = [f"{how}. {'The last' if count > 1 else 'It'} {_in_short(last)}"]
    for block, status in list(failed.items())[-_SHOWN:]:
        lines.append(f"Block {block}: {status}")
        for name, path, text in (
            ("stdout", status.stdout_path, status.stdout_summary),
            ("stderr", status.stderr_path, status.stderr_summary),
        ):
            if text and text.strip():
                lines.append(f"  end of its {name}, {path}:")
                lines += [f"    {line}" for line in text.strip().splitlines()]
            elif path:
                lines.append(
                    f"  its {name}, {path}, is empty" if text is not None else f"  its {name}, {path}, cannot be read"
                )
    if count > _SHOWN:
        lines.insert(1, f"The last {_SHOWN} of them:")
    return TooManyJobFailuresError("\n".join(lines))


def _in_short(status: JobStatus) -> str:
    """For those who see one line only."""
    said = next((line for line in reversed((status.stderr_summary or "").splitlines()) if line.strip()), "")
    tail = f"; the end of its stderr: {said.strip()[:_LINE]}" if said else ""
    return f"ended so: {status}{tail}"


def handler_of(choice: bool | BlockErrorHandler) -> BlockErrorHandler:
    """What ``block_error_handler=`` of an executor means."""
    if choice is True:
        return simple_error_handler
    if choice is False:
        return noop_error_handler
    return choice
