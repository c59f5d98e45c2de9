"""F04 under pilot jobs: memory of a node's job runs out. The system ends the worker, not the manager, and the message says so."""

from __future__ import annotations

import pytest

import plait
from plait.launchers import WrappedLauncher
from plait.testing import tasks
from tests.fault.pilot import managers, pilot_jobs, up
from tests.fault.test_f04_out_of_memory import LIMIT, group  # noqa: F401 - a fixture

echo = plait.python_app(tasks.echo)


@plait.python_app
def fill(size):
    return len(b"x" * size)


def test_the_worker_goes_and_the_manager_stays(group, tmp_path):  # noqa: F811 - the fixture
    script = tmp_path / "enter"
    script.write_text(f'#!/bin/sh\necho $$ > {group}/cgroup.procs\nexec "$@"\n')
    script.chmod(0o700)
    provider = {"launcher": WrappedLauncher(str(script))}
    with pilot_jobs(max_losses=0, options={"provider": provider}) as kernel:
        htex = up(kernel)
        (before,) = htex.connected_managers()
        assert str(managers()[0]) in (group / "cgroup.procs").read_text().split()
        assert echo(1).result(30) == 1
        with pytest.raises(plait.errors.WorkerLost, match="SIGKILL, probably because memory ran out"):
            fill(2 * LIMIT).result(60)
        assert [future.result(30) for future in [echo(i) for i in range(20)]] == list(range(20))
        assert [each["manager"] for each in htex.connected_managers()] == [before["manager"]]
