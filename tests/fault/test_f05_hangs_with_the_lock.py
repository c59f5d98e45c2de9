"""F05: a task hangs where nothing in Python can reach it: its limit of time ends it, and others are not held up."""

from __future__ import annotations

import time

import pytest

import plait
from plait.testing import tasks
from tests.fault import tasks as bodies
from tests.fault.lab import in_processes


@pytest.mark.parametrize("body", [tasks.sleep_in_c, tasks.loop, bodies.stops_itself], ids=lambda body: body.__name__)
def test_ended_in_time_while_others_run(body, tmp_path):
    with in_processes(workers=2):
        begin_s = time.monotonic()
        hangs = plait.python_app(body, walltime=0.5)(str(tmp_path / "notes"))
        others = [plait.python_app(tasks.echo)(number) for number in range(200)]
        assert [future.result(20) for future in others] == list(range(200))
        error = hangs.exception(20)
        took_s = time.monotonic() - begin_s

    assert type(error) is plait.errors.AppTimeout
    assert took_s < 2.4  # without the grace of 2 s


def test_a_stopped_task_can_be_cancelled(tmp_path):
    with in_processes(workers=1):
        future = plait.python_app(bodies.stops_itself)(str(tmp_path / "notes"))
        from tests.support import wait_until

        wait_until(lambda: tasks.notes(str(tmp_path / "notes")))
        assert future.cancel()
        assert plait.python_app(tasks.echo)(1).result(5) == 1
