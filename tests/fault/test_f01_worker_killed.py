"""F01: a worker is killed in the middle of a task: it is noticed at once, named, and the worker is replaced."""

from __future__ import annotations

import os
import signal

import pytest

import plait
from plait.testing import tasks
from tests.fault import tasks as bodies
from tests.fault.lab import in_processes, numbers
from tests.support import wait_until


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGBUS], ids=lambda n: n.name
)
def test_noticed_within_a_second(number, tmp_path):
    with in_processes(max_losses=0):
        running = plait.python_app(tasks.loop)(str(tmp_path / "notes"))
        (pid,) = wait_until(lambda: numbers(tmp_path / "notes", "loop"))
        os.kill(pid, number)
        error = running.exception(1.0)
        assert plait.python_app(tasks.echo)(1).result(20) == 1

    assert type(error) is plait.errors.WorkerLost
    assert number.name in str(error)


def test_another_worker_takes_over_with_a_higher_attempt_number(tmp_path):
    path, go = tmp_path / "notes", tmp_path / "go"
    with in_processes():
        hold = plait.python_app(bodies.hold_and_tell)
        future = hold(str(path), str(go))
        (first,) = wait_until(lambda: numbers(path, "runs"))
        go.touch()
        os.kill(first, signal.SIGKILL)
        assert future.result(20) != first

    assert future._task.attempt == 2
    assert len(numbers(path, "runs")) == 2


def test_idle_workers_killed():
    with in_processes(workers=2) as kernel:
        pid = plait.python_app(tasks.pid)
        for _ in range(3):
            os.kill(pid().result(20), signal.SIGKILL)
        assert [future.result(20) for future in [plait.python_app(tasks.echo)(n) for n in range(100)]] == list(
            range(100)
        )
        assert kernel.task_state_counts[plait.model.task.TaskState.failed] == 0


def test_killed_while_a_large_result_is_on_its_way(tmp_path):
    """Half a message is no message."""
    with in_processes(workers=1, max_losses=5):
        futures = [plait.python_app(bodies.big)(str(tmp_path / "notes"), number) for number in range(20)]
        for _ in range(3):
            pids = wait_until(lambda: numbers(tmp_path / "notes", "big"))
            begin = len(pids)
            try:
                os.kill(pids[-1], signal.SIGKILL)
            except ProcessLookupError:
                continue
            wait_until(
                lambda begin=begin: len(numbers(tmp_path / "notes", "big")) > begin or all(f.done() for f in futures)
            )
        assert [len(future.result(20)) for future in futures] == [300_000] * 20
