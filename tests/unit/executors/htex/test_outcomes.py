"""What a manager said, as outcomes for the kernel."""

from __future__ import annotations

import os
import weakref

import msgspec
import numpy as np
import pytest

from plait.errors import AppTimeout, BadMessage, DeserializationError, ManagerLost, ResultTooLarge, WorkerLost
from plait.executors.base import ERROR, LOST, OK
from plait.executors.htex import messages as m
from plait.executors.htex.offers import Offers
from plait.executors.htex.outcomes import read_big, read_loss, read_outcomes
from plait.executors.pool.wire import Segments, dump_value
from plait.serialize import dump_error, dumps
from tests.unit.executors.htex.helpers import make_task

encode = msgspec.msgpack.Encoder().encode


def read(*items, tasks=None):
    offers = Offers(lambda _: 0)
    offers.queue.extend(tasks or [make_task(0, walltime_s=0.3)])
    offers.next_batch()
    outcomes = []
    read_outcomes("m1", items, offers, lambda worker: worker + 10, outcomes)
    return outcomes


@pytest.mark.parametrize("value", [None, 3, "text", [1, {"a": 2}]])
def test_results(value):
    ((task, attempt, kind, got, start, stop, worker),) = read((0, 1, m.DONE, dumps(value), 1.5, 2.5, 3))
    assert (task.id, attempt, kind, got, start, stop, worker) == (0, 1, OK, value, 1.5, 2.5, 13)


@pytest.mark.parametrize(
    ("status", "payload", "kind", "cls", "text"),
    [
        (m.RAISED, dump_error(ValueError("no good")), ERROR, ValueError, "no good"),
        (m.DONE, b"garbage", ERROR, DeserializationError, ""),
        (m.WORKER_LOST, encode((3, "node1", "SIGSEGV")), LOST, WorkerLost, "worker 3 on host node1: SIGSEGV"),
        (m.WORKER_LOST, b"garbage", ERROR, DeserializationError, ""),
        (m.TIMED_OUT, encode("it took long"), ERROR, AppTimeout, "task 0 (echo) ran longer than its walltime of 300 ms"),
        (m.RESULT_TOO_LARGE, encode((2000, 1000)), ERROR, ResultTooLarge, "has 2,000 bytes, and 1,000 are allowed"),
        (m.REFUSED_BY_POOL, encode("3 workers in a row"), LOST, ManagerLost, "manager m1 on host : 3 workers in a row"),
        (99, b"", ERROR, BadMessage, "not known here"),
    ],
)  # fmt: skip
def test_other_ends(status, payload, kind, cls, text):
    ((_, _, got, error, *_),) = read((0, 1, status, payload, 1.0, 2.0, 3))
    assert got == kind
    assert type(error) is cls
    assert text in str(error)


def raised():
    try:
        raise ValueError("no good")
    except ValueError as error:
        return dump_error(error)


@pytest.mark.parametrize(("status", "payload"), [(m.RAISED, raised()), (m.RAISED, b"garbage"), (m.DONE, b"garbage")])
def test_an_error_that_is_kept_does_not_keep_other_results_of_its_message(status, payload):
    failed = (0, 1, status, payload, 1.0, 2.0, 3)
    good = (1, 1, m.DONE, dumps(np.arange(3)), 1.0, 2.0, 3)
    (_, _, _, error, *_), (_, _, _, value, *_) = read(failed, good, tasks=[make_task(0), make_task(1)])
    result = weakref.ref(value)
    del value
    assert error.__traceback__ is not None
    assert result() is None  # at once, not when the garbage is collected


def test_what_is_not_held_is_dropped():
    done = dumps(1)
    assert read((0, 2, m.DONE, done, 0, 0, 0), (7, 1, m.DONE, done, 0, 0, 0)) == []
    assert len(read((0, 1, m.DONE, done, 0, 0, 0), (0, 1, m.DONE, done, 0, 0, 0))) == 1


def test_a_value_in_a_file():
    segments = dump_value(np.arange(50_000))
    fd = segments.file()
    task = make_task(0)
    outcome = read_big(task, (0, 1, m.DONE, b"", 1.0, 2.0, 3), segments.sizes, fd, 7)
    assert outcome[:3] == (task, 1, OK)
    assert outcome[3].sum() == np.arange(50_000).sum()
    assert outcome[4:] == (1.0, 2.0, 7)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_an_error_in_a_file():
    segments = Segments(dump_error(ValueError("x" * 200_000)), (), in_file=True)
    outcome = read_big(make_task(0), (0, 1, m.RAISED, b"", 1.0, 2.0, 3), segments.sizes, segments.file(), 7)
    segments.close()
    assert (outcome[2], type(outcome[3]), outcome[3].args) == (ERROR, ValueError, ("x" * 200_000,))


def test_a_loss_tells_who_was_lost_and_whether_that_was_announced():
    task = make_task(0)
    lost = m.Lost("m1", "node1", "3", "silent for 120 s", False, [(0, 1)])
    _, _, kind, error, *_ = read_loss(task, 1, lost)
    assert (kind, type(error), error.announced) == (LOST, ManagerLost, False)
    assert str(error) == "Task failure due to loss of manager m1 on host node1: silent for 120 s"
    assert read_loss(task, 1, msgspec.structs.replace(lost, announced=True))[3].announced
