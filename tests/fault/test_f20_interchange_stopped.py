"""F20: the interchange is held up for longer than the threshold: it forgives the managers that it could not hear."""

from __future__ import annotations

import os
import signal

import plait
from plait.testing import tasks
from tests.fault.lab import let_pass
from tests.fault.pilot import interchanges, pilot_jobs, up
from tests.support import require_linux, wait_until

hold = plait.python_app(tasks.hold)
echo = plait.python_app(tasks.echo)


def test_no_manager_is_declared_dead(tmp_path):
    require_linux("reads /proc")
    with pilot_jobs(max_losses=0, options={"blocks": 2, "heartbeat_threshold": 6.0}) as kernel:
        htex = up(kernel, 2)
        before = {m["manager"] for m in htex.connected_managers()}
        notes, gate = tmp_path / "notes", tmp_path / "gate"
        running = [hold(str(notes), f"t{i}", str(gate), 60.0) for i in range(4)]
        wait_until(lambda: len(tasks.notes(str(notes))) == 4, 20)
        (pid,) = interchanges()
        os.kill(pid, signal.SIGSTOP)
        let_pass(5.4)  # managers are patient for 6 s
        os.kill(pid, signal.SIGCONT)
        gate.touch()
        assert all(future.result(30) for future in running)
        assert echo(3).result(30) == 3
        assert {m["manager"] for m in htex.connected_managers()} == before
        assert len(tasks.notes(str(notes))) == 4
