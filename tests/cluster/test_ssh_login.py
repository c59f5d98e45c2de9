"""`SSHProvider` with a batch system behind a login host: Grid Engine on three hosts, one of which can be logged in to."""

from __future__ import annotations

import os
import signal
import sys

import pytest

import plait
from plait.errors import SubmitException
from plait.model.jobs import JobState
from plait.providers import GridEngineProvider, SSHProvider
from plait.providers.tickets import recall
from plait.testing import tasks
from tests.support import wait_until
from tests.testbed.ssh import SshHosts

WAIT_S = 60.0

add = plait.python_app(tasks.add)
hold = plait.python_app(tasks.hold)


@pytest.fixture(scope="session")
def access(sge_bed):
    """sshd on the cluster's hosts."""
    return SshHosts(sge_bed.bed, sge_bed.network)


@pytest.fixture
def make(sge_bed, access, tmp_path):
    made = []

    def make(tunnel=True, **parameters):
        provider = SSHProvider(
            host="sge1", provider=GridEngineProvider(**parameters), tunnel=tunnel, init=f". {sge_bed.settings}", python=sys.executable,
            folder=access.jobs, ssh_config=access.config,
        )  # fmt: skip
        provider.script_dir = str(tmp_path)
        made.append(provider)
        return provider

    yield make
    for provider in made:
        provider.close()
    sge_bed.empty()


def until(provider, job, *states):
    """The status of a job once it is in one of these states."""
    wait_until(lambda: provider.status([job])[0].state in states, WAIT_S, lambda: provider.status([job]))
    return provider.status([job])[0]


def test_jobs(make, access):
    """Begun, told of, brought back what they wrote, cancelled; and refused with the reason."""
    provider = make(max_blocks=3)
    failed, running = provider.submit("echo out; echo err >&2; exit 3", 1, "a"), provider.submit("sleep 600", 1, "b")
    status = until(provider, failed, JobState.FAILED)
    assert (status.exit_code, status.stderr) == (3, "err\n")
    assert status.stdout.endswith("out\n")
    until(provider, running, JobState.RUNNING)
    other, id_ = recall(provider.ticket(running))
    assert other.cancel([id_]) == [True]
    other.close()
    until(provider, running, JobState.CANCELLED)
    with pytest.raises(SubmitException, match="unknown queue"):
        make(queue="no.such.queue").submit("true", 1, "c")


def test_a_run_through_a_login_host_survives_its_connection(sge_bed, make, tmp_path):
    """Managers on compute nodes dial a relay on the login host; the connection is killed in the middle, and nothing is run twice."""
    provider = make(init_blocks=2, min_blocks=2, max_blocks=2, parallel_environment="smp", cores_per_node=4)
    executor = plait.HighThroughputExecutor(
        provider=provider, max_workers_per_node=2, cores_per_worker=0.25, heartbeat_period=0.3, heartbeat_threshold=20
    )
    config = plait.Config([executor], progress=False, run_dir=str(tmp_path / "runs"), strategy_period=0.2, max_losses=0)
    notes, gate = str(tmp_path / "notes"), tmp_path / "gate"
    with plait.load(config):
        wait_until(lambda: len(executor.connected_managers()) == 2, WAIT_S, sge_bed.jobs)
        assert executor._addresses == ["127.0.0.1"]
        long = [hold(notes, str(number), str(gate), WAIT_S) for number in range(4)]
        wait_until(lambda: len(tasks.notes(notes)) == 4, WAIT_S)
        connection = provider._shell.connection
        os.kill(connection._master.pid, signal.SIGKILL)
        short = [add(number, 1) for number in range(1996)]
        gate.touch()
        wait_until(lambda: connection.lives == 2, WAIT_S)
        assert [future.result(WAIT_S) for future in short] == [number + 1 for number in range(1996)]
        assert sorted(future.result(WAIT_S) for future in long) == ["0", "1", "2", "3"]
        assert len(tasks.notes(notes)) == 4
    wait_until(lambda: not sge_bed.jobs(), WAIT_S, sge_bed.jobs)
