"""The one sentence that matters at the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait.model.task import CANCELLED, DEP_FAIL, EXEC_DONE, FAILED, MEMO_DONE, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plait.monitoring.usage import Usage

#: Groups of failures that are named; the others are counted.
_SHOWN = 3


def closing_sentence(
    counts: Mapping[TaskState, int], failures: Mapping[tuple[str, str], tuple[int, int]], usages: Iterable[Usage] = ()
) -> str:
    """``812 done, 3 failed: 3× ZeroDivisionError in normalise(), see `plait explain 17```.

    Args:
        counts: number of tasks in each state.
        failures: (error, app) to (how many, number of the first).
        usages: what blocks gave, where there were some.
    """
    done = counts.get(TaskState(EXEC_DONE), 0) + counts.get(TaskState(MEMO_DONE), 0)
    failed, skipped, cancelled = (counts.get(TaskState(state), 0) for state in (FAILED, DEP_FAIL, CANCELLED))
    parts = [f"{done} done"]
    if failed:
        parts.append(f"{failed} failed")
    if skipped:
        parts.append(f"{skipped} not run because of a failed dependency")
    if cancelled:
        parts.append(f"{cancelled} cancelled")
    sentence = ", ".join(parts)
    groups = sorted(
        ((n, error, app, first) for (error, app), (n, first) in failures.items() if error != "DependencyError"),
        reverse=True,
    )
    if groups:
        named = ", ".join(f"{n}× {error} in {app}()" for n, error, app, _ in groups[:_SHOWN])
        rest = len(groups) - _SHOWN
        more = f" and {rest} more kind{'s' if rest > 1 else ''}" if rest > 0 else ""
        sentence += f": {named}{more}, see `plait explain {groups[0][3]}`"
    return "; ".join([sentence, *map(str, usages)])
