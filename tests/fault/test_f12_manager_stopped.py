"""F12: a manager is stopped for longer than the threshold, then goes on; F19: what comes back is another life."""

from __future__ import annotations

import os
import signal

import pytest

import plait
from plait.testing import tasks
from tests.fault.pilot import LINKS, managers, pilot_jobs, up
from tests.support import require_linux, wait_until

hold = plait.python_app(tasks.hold)
echo = plait.python_app(tasks.echo)


@pytest.fixture(autouse=True)
def on_linux():
    require_linux("reads /proc")


@pytest.fixture(params=LINKS, ids=str)
def link(request):
    """How managers are reached: configuration of the run."""
    return LINKS[request.param]


def test_it_is_lost_told_so_and_comes_back_under_another_name(tmp_path, link):
    with pilot_jobs(max_losses=0, **link) as kernel:
        htex = up(kernel)
        (before,) = htex.connected_managers()
        notes, gate = tmp_path / "notes", tmp_path / "gate"
        lost = hold(str(notes), "t", str(gate), 60.0)
        wait_until(lambda: tasks.notes(str(notes)), 20)
        (pid,) = managers()
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(plait.errors.ManagerLost, match="silent|threshold|heard"):
                lost.result(20)
        finally:
            gate.touch()  # the worker is not stopped: the task ends, and its outcome waits in the stopped manager
            os.kill(pid, signal.SIGCONT)
        assert [future.result(30) for future in [echo(i) for i in range(20)]] == list(range(20))
        wait_until(lambda: [m["manager"] for m in htex.connected_managers()] != [before["manager"]], 20)
        assert len(htex.connected_managers()) >= 1
        assert lost.done()


def test_a_pause_shorter_than_the_threshold_costs_nothing(tmp_path, link):
    with pilot_jobs(max_losses=0, **link, options={"heartbeat_threshold": 20.0}) as kernel:
        htex = up(kernel)
        (before,) = htex.connected_managers()
        notes, gate = tmp_path / "notes", tmp_path / "gate"
        running = hold(str(notes), "t", str(gate), 60.0)
        wait_until(lambda: tasks.notes(str(notes)), 20)
        (pid,) = managers()
        os.kill(pid, signal.SIGSTOP)
        waiting = [echo(i) for i in range(100)]
        gate.touch()
        os.kill(pid, signal.SIGCONT)
        assert running.result(30)
        assert [future.result(30) for future in waiting] == list(range(100))
        assert [m["manager"] for m in htex.connected_managers()] == [before["manager"]]
