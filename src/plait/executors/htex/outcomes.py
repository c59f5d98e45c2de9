"""What a manager said of attempts, as outcomes for the kernel. Here, in the driver, results become objects again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from plait.errors import AppTimeout, BadMessage, DeserializationError, ManagerLost, ResultTooLarge, WorkerLost, text_of
from plait.executors.base import ERROR, LOST, OK, Outcome
from plait.executors.htex.messages import DONE, RAISED, REFUSED_BY_POOL, RESULT_TOO_LARGE, TIMED_OUT, WORKER_LOST
from plait.executors.pool.core import walltime_of
from plait.executors.pool.wire import load_segments, read_segments
from plait.model.units import format_duration
from plait.serialize import NONE_BYTES, detached, load_error, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from plait.executors.htex.messages import Lost, OutcomeItem
    from plait.executors.htex.offers import Offers
    from plait.model.task import Task

_decode_loss = msgspec.msgpack.Decoder(tuple[int, str, str]).decode
_decode_sizes = msgspec.msgpack.Decoder(tuple[int, int]).decode
_decode_text = msgspec.msgpack.Decoder(str).decode


def read_outcomes(
    manager: str,
    items: Iterable[OutcomeItem],
    offers: Offers,
    number_of: Callable[[int], int],
    outcomes: list[Outcome],
) -> None:
    """Appends what became of attempts; those that are not held any more are dropped.

    Args:
        manager: whose they are.
        items: as they came.
        offers: who holds what.
        number_of: the driver's own number for the manager's number of a worker.
        outcomes: where to.
    """
    take = offers.take
    for number, attempt, status, payload, start_s, stop_s, worker in items:
        task = take(number, attempt)
        if task is None:
            continue
        if status == DONE and payload == NONE_BYTES:
            outcomes.append((task, attempt, OK, None, start_s, stop_s, number_of(worker)))
            continue
        kind, value = _value(task, status, payload, None, manager)
        outcomes.append((task, attempt, kind, value, start_s, stop_s, number_of(worker)))


def read_big(task: Task, item: OutcomeItem, sizes: Sequence[int], fd: int, worker: int) -> Outcome:
    """One outcome whose value is in a file, which is closed."""
    _, attempt, status, payload, start_s, stop_s, _ = item
    kind, value = _value(task, status, payload, (fd, sizes), "")
    return task, attempt, kind, value, start_s, stop_s, worker


def read_loss(task: Task, attempt: int, lost: Lost) -> Outcome:
    """An attempt that was lost with its manager."""
    error = ManagerLost(lost.manager, lost.hostname, lost.reason, announced=lost.announced)
    return task, attempt, LOST, error, 0.0, 0.0, -1


def _value(
    task: Task, status: int, payload: bytes, segments: tuple[int, Sequence[int]] | None, manager: str
) -> tuple[int, Any]:
    try:
        if status == DONE:
            return OK, loads(payload) if segments is None else load_segments(*segments)
        if status == RAISED:
            return ERROR, load_error(payload if segments is None else read_segments(*segments)[0])
        if status == WORKER_LOST:
            return LOST, WorkerLost(*_decode_loss(payload))
        if status == TIMED_OUT:
            limit = format_duration(walltime_of(task) or 0)
            return ERROR, AppTimeout(f"{task} ran longer than its walltime of {limit}; its processes were ended")
        if status == REFUSED_BY_POOL:
            return LOST, ManagerLost(manager, "", _decode_text(payload), announced=True)
        if status == RESULT_TOO_LARGE:
            return ERROR, ResultTooLarge(str(task), *_decode_sizes(payload))
        return ERROR, BadMessage(f"the attempt ended in a way that is not known here ({status})")
    except DeserializationError as error:
        return ERROR, detached(error)
    except BaseException as error:  # noqa: BLE001 - memory has run out, or the user's class raised KeyboardInterrupt: this task's end, not the thread's
        return ERROR, DeserializationError(f"{type(error).__name__}: {text_of(error)}")
