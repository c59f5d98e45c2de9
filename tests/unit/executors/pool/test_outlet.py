"""What workers said becomes results and exceptions for the kernel."""

from __future__ import annotations

import os

from plait.clock import SystemClock
from plait.errors import AppTimeout, DeserializationError, ExecutorError, WorkerLost
from plait.executors.base import ERROR, LOST, OK, ExecutorContext
from plait.executors.pool import wire
from plait.executors.pool.core import WorkerState
from plait.executors.pool.outlet import ObjectOutlet
from plait.limits import BIG_BYTES
from plait.model.task import LAUNCHED, AppSpec, Task
from plait.serialize import dump_error, dumps


def outlet() -> ObjectOutlet:
    return ObjectOutlet(ExecutorContext(deliver=lambda _: None, emit=None, log_dir=None, clock=SystemClock()))


def held(count: int) -> tuple[WorkerState, list[Task]]:
    worker = WorkerState(3)
    tasks = []
    for number in range(1, count + 1):
        task = Task(AppSpec(len, "f", walltime_s=2.0), (), {}, None, 0.0)
        task.id, task.state, task.attempt = number, LAUNCHED, 5
        worker.held[number] = (task, 5)
        tasks.append(task)
    return worker, tasks


def test_results_errors_files_and_what_was_not_started():
    worker, tasks = held(6)
    segments = wire.dump_value(b"x" * BIG_BYTES)
    outcomes = []
    items = [
        (1, wire.DONE, dumps(None), None, 1.0, 2.0),
        (2, wire.RAISED, dump_error(KeyError("k")), None, 2.0, 3.0),
        (3, wire.DONE, b"", segments.sizes, 3.0, 4.0),
        (4, wire.SKIPPED, b"", None, 4.0, 4.0),
        (5, wire.DONE, b"no pickle", None, 4.0, 5.0),
    ]
    done, busy_s, skipped = outlet().take(worker, items, [segments.file()], outcomes)
    segments.close()
    assert (done, busy_s, skipped) == (4, 4.0, [4])
    assert [outcome[0] for outcome in outcomes] == [tasks[0], tasks[1], tasks[2], tasks[4]]
    assert [outcome[2] for outcome in outcomes] == [OK, ERROR, OK, ERROR]
    assert outcomes[0][3] is None
    assert isinstance(outcomes[1][3], KeyError)
    assert outcomes[2][3] == b"x" * BIG_BYTES
    assert isinstance(outcomes[3][3], DeserializationError)
    assert outcomes[0][4:] == (1.0, 2.0, 3)
    assert sorted(worker.held) == [4, 6]


def test_an_error_in_a_file():
    worker, _ = held(1)
    segments = wire.Segments(dump_error(KeyError("k" * BIG_BYTES)), (), in_file=True)
    outcomes = []
    outlet().take(worker, [(1, wire.RAISED, b"", segments.sizes, 0.0, 1.0)], [segments.file()], outcomes)
    segments.close()
    assert (outcomes[0][2], type(outcomes[0][3]), outcomes[0][3].args) == (ERROR, KeyError, ("k" * BIG_BYTES,))


def test_what_the_worker_does_not_hold_any_more_is_dropped_and_its_file_closed():
    worker, _ = held(0)
    segments = wire.dump_value(b"x" * BIG_BYTES)
    fd = segments.file()
    outcomes = []
    assert outlet().take(worker, [(1, wire.DONE, b"", segments.sizes, 0.0, 1.0)], [fd], outcomes) == (1, 1.0, [])
    segments.close()
    assert outcomes == []
    assert not os.path.exists(f"/proc/self/fd/{fd}")


def test_losses_limits_and_refusals():
    _, (task,) = held(1)
    lost = outlet().lost(task, 5, 3, "it was ended by SIGKILL")
    assert lost[:3] == (task, 5, LOST)
    assert isinstance(lost[3], WorkerLost)
    assert "SIGKILL" in str(lost[3])
    late = outlet().timed_out(task, 5, 3)
    assert isinstance(late[3], AppTimeout)
    assert "walltime of 2.0 s" in str(late[3])
    error = ExecutorError("x", "broken")
    assert outlet().refused(task, 5, error) == (task, 5, ERROR, error, 0.0, 0.0, -1)
