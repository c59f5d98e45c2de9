"""F14: the connection is half open: what the manager says is lost, what is said to it arrives."""

from __future__ import annotations

import pytest

import plait
from plait.testing import tasks
from tests.fault.network import node
from tests.fault.pilot import jobs_on, up
from tests.support import wait_until

hold = plait.python_app(tasks.hold)
echo = plait.python_app(tasks.echo)


def test_silence_in_one_direction_is_a_loss_like_any(tmp_path):
    with node() as other, jobs_on(other, 3.0, max_losses=0) as kernel:
        htex = up(kernel)
        notes = tmp_path / "notes"
        running = hold(str(notes), "t", str(tmp_path / "gate"), 60.0)
        wait_until(lambda: tasks.notes(str(notes)), 20)
        other.mute()
        with pytest.raises(plait.errors.ManagerLost):
            running.result(30)
        assert not htex.connected_managers()
        other.mend()
        assert echo(5).result(30) == 5
