"""F13: the network between interchange and manager is cut, for less and for more than the threshold."""

from __future__ import annotations

import plait
from plait.testing import tasks
from tests.fault.lab import let_pass
from tests.fault.network import node
from tests.fault.pilot import jobs_on, up
from tests.support import wait_until

THRESHOLD_S = 3.0


hold = plait.python_app(tasks.hold)
echo = plait.python_app(tasks.echo)


def begun(path):
    return [line for line in tasks.notes(str(path)) if line]


def test_a_cut_for_less_than_the_threshold_costs_nothing(tmp_path):
    with node() as other, jobs_on(other, THRESHOLD_S, max_losses=0) as kernel:
        htex = up(kernel)
        (before,) = htex.connected_managers()
        notes, gate = tmp_path / "notes", tmp_path / "gate"
        running = [hold(str(notes), f"t{i}", str(gate), 60.0) for i in range(2)]
        wait_until(lambda: len(begun(notes)) == 2, 20)
        other.cut()
        waiting = [echo(i) for i in range(50)]
        gate.touch()  # they end while nobody can be told
        let_pass(0.5 * THRESHOLD_S)
        other.mend()
        assert [future.result(30) for future in waiting] == list(range(50))
        assert all(future.result(30) for future in running)
        assert len(begun(notes)) == 2  # none began twice
        (after,) = htex.connected_managers()
        assert after["manager"] == before["manager"]


def test_a_cut_for_more_loses_what_ran_and_the_manager_comes_back_under_another_name(tmp_path):
    with node() as other, jobs_on(other, THRESHOLD_S, max_losses=5) as kernel:
        htex = up(kernel)
        (before,) = htex.connected_managers()
        notes, gate = tmp_path / "notes", tmp_path / "gate"
        running = hold(str(notes), "t", str(gate), 60.0)
        wait_until(lambda: begun(notes), 20)
        other.cut()
        wait_until(lambda: not htex.connected_managers(), 20)
        other.mend()
        wait_until(lambda: len(begun(notes)) == 2, 30)  # the same task, on the same node, in its second life
        gate.touch()
        assert running.result(30)
        (after,) = htex.connected_managers()
        assert after["manager"] != before["manager"]
