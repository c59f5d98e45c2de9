"""F24: the loop of the interchange, or the driver's thread, fails: every future ends with the reason."""

from __future__ import annotations

import sys

import pytest

import plait
from plait.testing import tasks
from tests.fault.pilot import pilot_jobs, up
from tests.support import wait_until

echo = plait.python_app(tasks.echo)
loop = plait.python_app(tasks.loop)

PROGRAM = """
import sys
from plait.executors.htex import interchange
from plait.executors.htex.core import InterchangeCore
with open("lives", "a+") as file:
    file.write("x")
    file.seek(0)
    nth = len(file.read())
def fails(self, message, payload, now_s):
    raise RuntimeError("the core is out of order")
if nth <= {lives}:
    InterchangeCore.from_driver = fails
interchange.main()
"""


def command(lives):
    """An interchange whose core fails in its first lives, when the driver speaks."""
    return [sys.executable, "-c", PROGRAM.format(lives=lives)]


def test_the_interchange_fails_always():
    no_block = {"blocks": 0, "provider": {"max_blocks": 1}}  # or its failure may be the reason
    with pilot_jobs(strategy="none", options={"interchange_launch_cmd": command(100), **no_block}):
        futures = [echo(i) for i in range(20)]
        for future in futures:
            with pytest.raises(plait.errors.InterchangeLost, match="times in a row: .*the core is out of order"):
                future.result(60)
        with pytest.raises(plait.errors.ExecutorError, match="out of order"):
            echo(1).result(30)


def test_the_interchange_fails_once_and_no_task_is_lost():
    with pilot_jobs(max_losses=0, options={"interchange_launch_cmd": command(1)}):
        assert [future.result(60) for future in [echo(i) for i in range(200)]] == list(range(200))
    with open("lives") as file:
        assert len(file.read()) == 2


@pytest.mark.parametrize("method", ["_read", "_pump", "_obey"])
def test_the_drivers_thread_fails(method, monkeypatch):
    with pilot_jobs(max_losses=0) as kernel:
        htex = up(kernel)
        running = loop("notes")
        wait_until(lambda: tasks.notes("notes"), 20)
        link = htex._link

        def fails(*_):
            raise RuntimeError("out of order")

        monkeypatch.setattr(link, method, fails)
        late = [echo(i) for i in range(20)]
        with pytest.raises((plait.errors.ExecutorError, RuntimeError), match="out of order"):
            late[0].result(
                30
            )  # its own thread may have met the failure, when it sent the task for the thread that slept
        for future in (running, *late[1:]):
            with pytest.raises(plait.errors.ExecutorError, match="I/O thread failed: RuntimeError: out of order"):
                future.result(30)
        with pytest.raises(plait.errors.ExecutorError, match="out of order"):
            echo(1).result(30)
