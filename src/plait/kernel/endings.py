"""What follows from the end of tasks: their futures are set, the run is told, results are remembered, failures counted.

Nothing here decides anything; the engine did. All of it is done without the kernel's lock, by the thread that brought the news.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, Final

from plait.dataflow.explain import failure_sentence
from plait.errors import MissingOutputs, PropagatedException, text_of
from plait.executors.base import OK, Outcome
from plait.futures import CANCELLED as FUTURE_CANCELLED
from plait.futures import FINISHED, PENDING, AppFuture, finish_all
from plait.model.events import ATTEMPT_FAILED, TASK_ENDED, TASKS_DONE
from plait.model.task import CANCELLED, EXEC_DONE, MEMO_DONE, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.dataflow.memo import Memoizer
    from plait.futures import DataFuture, PlaitFuture
    from plait.model.files import File

_logger = logging.getLogger("plait")
_monotonic = time.monotonic
#: Characters of a traceback, its end, that the journal keeps.
_TRACE_CHARS: Final = 8000


class Endings:
    """The ends of one run's tasks.

    Args:
        memoizer: is given results and errors.
        record: makes the mapping of a task that plug-ins get.
        keep: whether ended tasks keep their futures.

    Attributes:
        emit: takes events; None while nobody listens.
        failures: (class of the error, app) to how many, and the number of the first.
    """

    def __init__(self, memoizer: Memoizer, record: Callable[[Task], Any], *, keep: bool) -> None:
        self.emit: Callable[[Any], None] | None = None
        self.failures: dict[tuple[str, str], list[int]] = {}
        self._memoizer = memoizer
        self._memo_all = memoizer.every_task
        self._record = record
        self._keep = keep

    def note_successes(self, outcomes: list[Outcome]) -> None:
        """Tells of tasks that succeeded; those of one worker, at the first attempt, in one event."""
        emit = self.emit
        if emit is None:
            return
        if len(outcomes) == 1:  # as threads deliver them
            task, attempt, kind, _, start_s, stop_s, worker = outcomes[0]
            if kind == OK and task.state == EXEC_DONE and task.attempt == attempt and task.app.kind != "join":
                emit((TASK_ENDED, stop_s, task.id, EXEC_DONE, attempt, start_s, stop_s, worker))
            return
        last = -2
        tasks: list[int] = []
        starts: list[float] = []
        stops: list[float] = []
        for task, attempt, kind, _, start_s, stop_s, worker in outcomes:
            if kind != OK or task.state != EXEC_DONE or task.attempt != attempt or task.app.kind == "join":
                continue
            if attempt != 1:
                emit((TASK_ENDED, stop_s, task.id, EXEC_DONE, attempt, start_s, stop_s, worker))
                continue
            if worker != last:
                if tasks:
                    emit((TASKS_DONE, last, tasks, starts, stops))
                last = worker
                tasks, starts, stops = [], [], []
            tasks.append(task.id)
            starts.append(start_s)
            stops.append(stop_s)
        if tasks:
            emit((TASKS_DONE, last, tasks, starts, stops))

    def note_attempt(self, task: Task, attempt: int, error: BaseException, *, lost: bool) -> None:
        """Tells of an attempt that ended while its task goes on."""
        if self.emit is not None:
            delay = (task.details.not_before or 0.0) if task.details is not None else 0.0
            self.emit(
                (
                    ATTEMPT_FAILED,
                    _monotonic(),
                    task.id,
                    attempt,
                    lost,
                    f"{type(error).__name__}: {text_of(error)[:500]}",
                    delay,
                )
            )

    def publish_all(
        self, settled: list[tuple[Task, Any, BaseException | None]], ended: list[PlaitFuture[Any]] | None = None
    ) -> list[PlaitFuture[Any]]:
        """Sets the futures of tasks that ended, and of their files.

        Args:
            settled: (task, result, error) of each.
            ended: where to put those with callbacks to run, which may wait for any of them. After a signal in the middle the same is done again
                with the same list, since those that were set by then are no longer known to their tasks.

        Returns:
            That list.
        """
        ended = [] if ended is None else ended
        plain: list[AppFuture[Any]] = []
        now_s = _monotonic()
        keep = self._keep
        everything = self._memo_all
        traces: dict[int, str] = {}  # thousands may fail for one cause
        for task, result, error in settled:
            future = task.future
            if future is not None:
                ended.append(future)
            if (
                everything
                or task.state != EXEC_DONE
                or task.details is not None
                or task.app.cache
                or task.app.kind == "join"
                or future is None
            ):
                if (details := task.details) is not None:
                    ended += [*details.outputs, *details.outputs_hidden]
                self._publish(task, result, error, now_s, traces)
            else:  # `_publish` for what most tasks are, written out
                task.end_s = now_s
                future._result = result  # noqa: SLF001 - our own class
                plain.append(future)
        finish_all(plain)
        if not keep:
            for future in plain:
                future._task.future = None  # noqa: SLF001 - future -> task stays; the circle would keep both until the collector comes
        ended[:] = [future for future in ended if future._cbs is not None]  # noqa: SLF001
        return ended

    def _publish(
        self, task: Task, result: Any, error: BaseException | None, now_s: float, traces: dict[int, str]
    ) -> None:
        """Sets the future of a task that ended, and what hangs on it."""
        future = task.future
        if future is None:
            return
        state = task.state
        if future._state == PENDING:  # noqa: SLF001 - our own class; else a signal came in the middle, and this is the second time
            self._note(task, result, error, now_s, traces)
        details = task.details
        ending = FUTURE_CANCELLED if state == CANCELLED else FINISHED
        if details is not None and (details.outputs or details.outputs_hidden):
            _publish_with_files(future, ending, result, error, [*details.outputs, *details.outputs_hidden])
        elif future._state == PENDING:  # noqa: SLF001
            future._publish(ending, result, error)  # noqa: SLF001
        if not self._keep:
            task.future = None

    def _note(self, task: Task, result: Any, error: BaseException | None, now_s: float, traces: dict[int, str]) -> None:
        """Tells of the end of a task whose future is about to be set."""
        task.end_s = now_s
        state = task.state
        if (task.app.cache or self._memo_all) and state not in (MEMO_DONE, CANCELLED):
            self._memoize(task, result, error)
        if (state != EXEC_DONE or task.app.kind == "join") and self.emit is not None:
            self._note_end(task, error, now_s, traces)
        if error is not None:
            self._count_failure(task, error)

    def _memoize(self, task: Task, result: Any, error: BaseException | None) -> None:
        try:
            if error is None:
                self._memoizer.update_memo_result(self._record(task), result)
            else:
                self._memoizer.update_memo_exception(self._record(task), error)
        except Exception:
            _logger.exception("the memoizer failed for %s; its result is not remembered", task)

    def _note_end(self, task: Task, error: BaseException | None, now_s: float, traces: dict[int, str]) -> None:
        details = task.more()
        start_s, stop_s, worker = details.times or (0.0, 0.0, -1)
        why = details.cancel_reason
        text = trace = ""
        if error is not None:
            why = failure_sentence(task, error)
            text = f"{type(error).__name__}: {text_of(error)[:500]}"
            trace = _trace_of(error, traces)
        assert self.emit is not None  # noqa: S101 - the caller looked
        self.emit((TASK_ENDED, now_s, task.id, task.state, task.attempt, start_s, stop_s, worker, text, why, trace))

    def _count_failure(self, task: Task, error: BaseException) -> None:
        known = self.failures.setdefault((type(error).__name__, task.app.name), [0, task.id])
        known[0] += 1


def _trace_of(error: BaseException, traces: dict[int, str]) -> str:
    """The end of its traceback with causes; that of the cause of a dependency's failure is made once."""
    import traceback

    cause = error.__cause__
    if not isinstance(error, PropagatedException) or cause is None or error.__traceback__ is not None:
        try:
            return "".join(traceback.format_exception(type(error), error, error.__traceback__))[-_TRACE_CHARS:]
        except BaseException as raised:  # noqa: BLE001 - its class is the user's, and may do anything when it is asked for notes, say
            return f"{type(error).__name__}: {text_of(error)} (its traceback cannot be had: {type(raised).__name__})"[
                -_TRACE_CHARS:
            ]
    known = traces.get(id(cause))
    if known is None:
        known = traces[id(cause)] = _trace_of(cause, traces)
    own = "".join(traceback.format_exception_only(type(error), error))
    return f"{known}\nThe above exception was the direct cause of the following exception:\n\n{own}"[-_TRACE_CHARS:]


def _publish_with_files(
    future: AppFuture[Any], ending: str, result: Any, error: BaseException | None, files: list[DataFuture]
) -> None:
    """Ends a future and those of its files, as far as they have not ended: whoever waits for one finds the others ended too."""
    files = [of_file for of_file in files if of_file._state == PENDING]  # noqa: SLF001 - our own classes
    outcomes = [_outcome_of(of_file, ending, error) for of_file in files]  # looks at the disk before anything ends
    waited_for = []
    for of_file, (file, failure) in zip(files, outcomes, strict=True):
        if of_file._cond is None:  # noqa: SLF001 - our own classes
            of_file._publish(ending, file, failure)  # noqa: SLF001
        else:
            waited_for.append((of_file, file, failure))
    future._publish(ending, result, error)  # noqa: SLF001
    for of_file, file, failure in waited_for:
        of_file._publish(ending, file, failure)  # noqa: SLF001


def _outcome_of(
    of_file: DataFuture, ending: str, error: BaseException | None
) -> tuple[File | None, BaseException | None]:
    """The file when it is there, else why not."""
    file: File = of_file.file_obj
    if error is not None or ending == FUTURE_CANCELLED:
        return None, error
    if os.path.exists(file.filepath):
        return file, None
    reason = f"{of_file.parent._task} succeeded, but did not make the file that it declared in outputs"  # noqa: SLF001
    return None, MissingOutputs(reason, [file.filepath])
