"""Lines about tasks, for logs that users configure: upstream's attributes on each record, from the run's stream of events."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait.compat.parsl.dataflow.states import States
from plait.compat.parsl.dataflow.taskrecord import INTERNAL
from plait.kernel.lifecycle import INTERNAL as PLAIT_INTERNAL
from plait.model.events import AnyEvent, AttemptFailed, AttemptStarted, TaskEnded, TaskJoining, TaskSubmitted
from plait.monitoring.base import EventSink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.model.events import Event, EventTuple

_logger = logging.getLogger("parsl")

_STATES: Final = {
    TaskSubmitted: States.pending,
    AttemptStarted: States.launched,
    AttemptFailed: States.fail_retryable,
    TaskJoining: States.joining,
}


class TaskLog(EventSink):
    """Logs each state of each task, with ``parsl.dfk``, ``parsl.task`` and ``parsl.task_state`` as attributes of the record, some with more.

    Args:
        run_id: of the run.
        wall_offset_s: from the monotonic clock, by which events tell the time, to the wall clock.
    """

    def __init__(self, run_id: str, wall_offset_s: float) -> None:
        self._run_id = run_id
        self._wall_offset_s = wall_offset_s
        self._apps: dict[int, str] = {}  # of tasks that have not ended

    def write(self, events: Sequence[EventTuple]) -> None:
        if not _logger.isEnabledFor(logging.DEBUG):
            return
        for raw in events:
            event = msgspec.convert(raw, AnyEvent)
            single = getattr(event, "single", None)
            for one in (event,) if single is None else single():
                self._log(one)

    def close(self) -> None:
        self._apps.clear()

    def _log(self, event: Event) -> None:
        state = States(event.state) if isinstance(event, TaskEnded) else _STATES.get(type(event))
        if state is None or not isinstance(
            event, (TaskSubmitted, AttemptStarted, AttemptFailed, TaskJoining, TaskEnded)
        ):
            return
        if isinstance(event, TaskSubmitted):
            self._apps[event.task] = event.app
        app = self._apps.pop(event.task, "?") if isinstance(event, TaskEnded) else self._apps.get(event.task, "?")
        detail = getattr(event, "error", "") or getattr(event, "reason", "")
        text = f"task {event.task} ({app}): {state.name}" + (f", {detail}" if detail else "")
        extra: dict[str, Any] = {"parsl.dfk": self._run_id, "parsl.task": event.task, "parsl.task_state": state.name}
        if isinstance(event, TaskSubmitted):
            extra["parsl.app_name"] = app
        elif isinstance(event, AttemptStarted):
            extra["parsl.try"] = event.attempt - 1
            extra["parsl.executor"] = INTERNAL if event.executor == PLAIT_INTERNAL else event.executor
        record = _logger.makeRecord(_logger.name, logging.DEBUG, __file__, 0, text, (), None, "_log", extra)
        record.created = event.t_s + self._wall_offset_s
        record.msecs = record.created % 1 * 1000
        _logger.handle(record)
