"""`GridEngineProvider` against Grid Engine 8.1.9 on three hosts."""

from __future__ import annotations

import contextlib
import os

import pytest

import plait
from plait.errors import SubmitException
from plait.launchers.base import Launcher
from plait.model.jobs import JobState
from plait.providers import GridEngineProvider
from plait.providers.tickets import recall
from plait.testing.provider_contract import ProviderContract
from tests.support import wait_until

WAIT_S = 60.0


class TestContract(ProviderContract):
    timeout_s = 30.0

    @pytest.fixture(autouse=True)
    def _cluster(self, sge):
        self.sge = sge

    def make(self, **numbers):
        return GridEngineProvider(**numbers)


@pytest.fixture
def provider(sge, tmp_path):
    provider = GridEngineProvider(max_blocks=4)
    provider.script_dir = str(tmp_path / "with blank")
    return provider


def state(provider, job):
    return provider.status([job])[0].state


def until(provider, job, *states):
    """The status of a job once it is in one of these states."""
    wait_until(lambda: state(provider, job) in states, WAIT_S, lambda: provider.status([job]))
    return provider.status([job])[0]


class OnEachHost(Launcher):
    """The command on each host of the job, by Grid Engine's own remote start."""

    def __call__(self, command, tasks_per_node, nodes_per_block, script_dir=""):
        hosts = "$(awk '{print $1}' \"$PE_HOSTFILE\")"
        return f"for host in {hosts}; do qrsh -inherit -nostdin $host bash -c '{command}'; done"


def test_states_of_a_job(sge, provider):
    """Held, suspended, running, and deleted by the administrator."""
    job = provider.submit("sleep 600", 1, "held")
    until(provider, job, JobState.RUNNING)
    sge.run("qmod", "-sj", job)
    assert until(provider, job, JobState.HELD).message == "it is suspended"
    sge.run("qmod", "-usj", job)
    until(provider, job, JobState.RUNNING)
    sge.run("qdel", job)
    ended = until(provider, job, JobState.CANCELLED)
    assert "deleted" in ended.message
    assert ended.exit_code == -9


def test_a_hold_is_released(sge, provider):
    provider.scheduler_options = "#$ -h"
    job = provider.submit("true", 1, "held")
    assert "hold" in until(provider, job, JobState.HELD).message
    sge.run("qrls", job)
    until(provider, job, JobState.COMPLETED)


def test_a_name_among_the_users_directives_does_not_hide_how_a_job_ended(sge, provider):
    """Its record is taken for its own when the name is, too."""
    provider.scheduler_options = "#$ -N mine"
    provider.walltime_s = 2
    job = provider.submit("sleep 600", 1, "named")
    assert "walltime" in until(provider, job, JobState.TIMEOUT).message


def test_what_never_fits_waits_and_is_cancelled_in_the_queue(sge, provider):
    provider.scheduler_options = "#$ -pe smp 100"
    job = provider.submit("true", 1, "big")
    assert state(provider, job) == JobState.PENDING
    assert provider.cancel([job]) == [True]
    until(provider, job, JobState.CANCELLED)
    assert job not in sge.jobs()


def test_a_job_in_an_error_state_has_failed_with_its_reason_and_is_deleted(sge, provider):
    provider.scheduler_options = "#$ -e /no/such/folder/err"
    job = provider.submit("true", 1, "broken")
    status = until(provider, job, JobState.FAILED)
    assert 'can\'t open output file "/no/such/folder/err": No such file or directory' in status.message
    assert job not in sge.jobs()


def test_a_walltime_that_is_over_is_no_failure(sge, provider):
    provider.walltime_s = 2
    job = provider.submit("sleep 600", 1, "long")
    assert "walltime" in until(provider, job, JobState.TIMEOUT).message


def test_what_is_refused_says_why(sge, provider):
    provider.queue = "no.such.queue"
    with pytest.raises(SubmitException, match=r'exit code 1.*unknown queue "no.such.queue"'):
        provider.submit("true", 1, "refused")


def test_a_submission_whose_answer_is_lost_is_not_made_twice(sge, provider, tmp_path, monkeypatch):
    """F58: the command submits, and then fails."""
    (tmp_path / "bin").mkdir()
    liar = tmp_path / "bin" / "qsub"
    liar.write_text(
        f'#!/bin/sh\n{sge.bin}/qsub "$@" >/dev/null\necho "error: commlib error: got read error" >&2\nexit 1\n'
    )
    liar.chmod(0o755)
    monkeypatch.setenv("PATH", f"{liar.parent}{os.pathsep}{os.environ['PATH']}")
    job = provider.submit("sleep 600", 1, "lost")
    assert list(sge.jobs()) == [job]
    until(provider, job, JobState.RUNNING)
    quick = provider.submit("exit 3", 1, "quick")
    assert until(provider, quick, JobState.FAILED).exit_code == 3


def test_another_process_finds_and_ends_a_job_by_its_ticket(sge, provider):
    job = provider.submit("sleep 600", 1, "plait.run.block-1")
    other, id_ = recall(provider.ticket(job))
    until(other, id_, JobState.RUNNING)
    assert other.cancel([id_]) == [True]
    until(other, id_, JobState.CANCELLED)
    by_name, id_ = recall({**provider.ticket(job), "job": ""})
    assert until(by_name, id_, JobState.CANCELLED, JobState.FAILED)


def test_a_job_has_several_hosts(sge, tmp_path):
    provider = GridEngineProvider(nodes_per_block=2, parallel_environment="nodes", launcher=OnEachHost())
    provider.script_dir = str(tmp_path)
    status = until(provider, provider.submit("hostname", 1, "wide"), JobState.COMPLETED, JobState.FAILED)
    assert len({*status.stdout.split()} & {"sge1", "sge2", "sge3"}) == 2, status.stderr


@contextlib.contextmanager
def hanging(sge):
    """While this lasts, the master answers nobody."""
    sge.master.run("pkill", "-STOP", "-x", "sge_qmaster")
    try:
        yield
    finally:
        sge.master.run("pkill", "-CONT", "-x", "sge_qmaster")


def test_a_master_that_hangs_changes_nothing(sge, provider):
    """Killed, its hosts take half a minute to come back to it, which the next test would have to wait for."""
    job = provider.submit("sleep 600", 1, "steady")
    until(provider, job, JobState.RUNNING)
    provider.cmd_timeout = 1
    with hanging(sge):
        assert state(provider, job) == JobState.RUNNING
    provider.cmd_timeout = 60
    assert state(provider, job) == JobState.RUNNING


# ------------------------------------------------------------------ a run
TASKS = 2000


@plait.python_app
def work(number, folder):
    import os
    import time

    with open(os.path.join(folder, str(number)), "a") as file:
        file.write(f"{time.time()}\n")
    time.sleep(0.01)
    return number * number


def test_all_tasks_end_whatever_happens_to_the_cluster(sge, tmp_path):
    """2,000 tasks; a host crashes, an administrator deletes a block, the master hangs for a while. No task is lost, no job left."""
    provider = GridEngineProvider(
        init_blocks=3, max_blocks=4, walltime="01:00:00", parallel_environment="smp", cores_per_node=4, cmd_timeout=4
    )
    provider.POLL_S = 1.0
    executor = plait.HighThroughputExecutor(
        provider=provider, address=sge.here, max_workers_per_node=2, cores_per_worker=0.25, heartbeat_period=0.3, heartbeat_threshold=3,
    )  # fmt: skip
    config = plait.Config(
        [executor], progress=False, run_dir=str(tmp_path / "runs"), strategy_period=0.2, max_idletime=2.0, max_losses=10
    )
    folder = tmp_path / "done"
    folder.mkdir()
    lost = sge.hosts[2]

    def done():
        return len(os.listdir(folder))

    with plait.load(config):
        futures = [work(number, str(folder)) for number in range(TASKS)]
        wait_until(lambda: len({one["hostname"] for one in executor.connected_managers()}) == 3, WAIT_S, sge.jobs)
        wait_until(lambda: done() > TASKS // 8, WAIT_S)
        victim = next(one["block_id"] for one in executor.connected_managers() if one["hostname"] != lost.name)
        lost.crash()
        try:
            sge.run("qdel", executor._keeper.blocks_to_job_id[victim])
            wait_until(lambda: executor.block_status()[victim].terminal, WAIT_S, executor.block_status)
            assert done() < TASKS
            with hanging(sge):
                wait_until(lambda: done() > TASKS * 5 // 8, WAIT_S)
            assert [future.result(WAIT_S) for future in futures] == [number * number for number in range(TASKS)]
            seen = executor.block_status()
        finally:
            sge.boot(lost)
    assert done() == TASKS
    assert len(seen) > 3, "no block took the place of the one that was deleted"
    assert seen[victim].state == JobState.CANCELLED
    wait_until(lambda: not sge.jobs(), WAIT_S, sge.jobs)
