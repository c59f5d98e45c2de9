"""`SSHProvider` on three hosts that have nothing but sshd and Python."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest

import plait
from plait._util import procs
from plait.errors import SubmitException
from plait.model.jobs import JobState
from plait.providers import SSHProvider
from plait.providers.tickets import recall
from plait.testing import tasks
from plait.testing.provider_contract import ProviderContract
from tests.support import wait_until

WAIT_S = 60.0


def provider_of(bed, hosts=("host1", "host2", "host3"), **parameters):
    return SSHProvider(
        list(hosts),
        **{
            "ssh_config": bed.config,
            "options": ["LogLevel=ERROR"],
            "python": sys.executable,
            "folder": bed.jobs,
            **parameters,
        },
    )


class TestContract(ProviderContract):
    timeout_s = 30.0

    @pytest.fixture(autouse=True)
    def _hosts(self, ssh_bed):
        self.bed, self.made = ssh_bed, []
        yield
        for provider in self.made:
            provider.close()

    def make(self, **numbers):
        self.made.append(provider_of(self.bed, ["host1", "host2", "host3", "host1b"], **numbers))
        return self.made[-1]


@pytest.fixture
def provider(ssh_bed, tmp_path):
    provider = provider_of(ssh_bed)
    provider.script_dir = str(tmp_path)
    yield provider
    provider.cancel(list(provider.resources))
    provider.close()


def until(provider, job, *states):
    """The status of a job once it is in one of these states."""
    wait_until(lambda: provider.status([job])[0].state in states, WAIT_S, lambda: provider.status([job]))
    return provider.status([job])[0]


def test_a_job_is_ended_with_all_that_it_started_and_leaves_nothing(ssh_bed, provider):
    job = provider.submit("(setsid sleep 1000 &); trap '' TERM; sleep 1001; sleep 1002", 1, "tree")
    until(provider, job, JobState.RUNNING)
    (place,) = provider.resources[job].places
    host = next(host for host in ssh_bed.hosts if host.name == place.host)
    wait_until(lambda: {"sleep 1000", "sleep 1001"} <= {*ssh_bed.processes(host)})
    assert provider.cancel([job]) == [True]
    assert until(provider, job, JobState.CANCELLED)
    assert [line for line in ssh_bed.processes(host) if "sleep" in line] == []
    assert host.run("find", os.path.dirname(place.path), check=False) == ""


def test_what_a_job_leaves_behind_is_ended_with_it(ssh_bed, provider):
    job = provider.submit("(setsid sleep 1003 &); exit 3", 1, "leaves")
    assert until(provider, job, JobState.FAILED).exit_code == 3
    assert not any("1003" in line for host in ssh_bed.hosts for line in ssh_bed.processes(host))


def test_a_block_of_all_hosts(ssh_bed, tmp_path):
    provider = provider_of(ssh_bed, nodes_per_block=3)
    provider.script_dir = str(tmp_path)
    job = provider.submit("hostname; pwd; ls -A " + str(tmp_path), 1, "wide")
    status = until(provider, job, JobState.COMPLETED, JobState.FAILED)
    lines = [line for line in status.stdout.splitlines() if not line.startswith("starting")]
    home = os.path.expanduser("~")
    assert lines == [line for n in "123" for line in (f"==> host{n} <==", f"host{n}", home)], status.stderr
    provider.close()


def test_hosts_are_taken_and_given_back(ssh_bed, provider):
    jobs = [provider.submit("sleep 1000", 1, "one") for _ in range(3)]
    assert {provider.resources[job].places[0].host for job in jobs} == {"host1", "host2", "host3"}
    with pytest.raises(SubmitException, match="1 of 3 hosts are wanted, 0 can be had"):
        provider.submit("true", 1, "more")
    host = provider.resources[jobs[1]].places[0].host
    assert provider.cancel([jobs[1]]) == [True]
    again = provider.submit("true", 1, "more")
    assert provider.resources[again].places[0].host == host


def test_a_host_that_cannot_be_reached_is_passed_over_and_named(ssh_bed, tmp_path):
    provider = provider_of(ssh_bed, ["nowhere.invalid", "host2"], max_blocks=2)
    provider.script_dir = str(tmp_path)
    job = provider.submit("hostname", 1, "x")
    assert "host2" in until(provider, job, JobState.COMPLETED).stdout
    provider.submit("sleep 100", 1, "x")
    with pytest.raises(SubmitException, match=r"nowhere\.invalid: .*"):
        provider.submit("hostname", 1, "x")
    provider.cancel(list(provider.resources))
    provider.close()


def test_a_connection_that_is_killed_costs_nothing(ssh_bed, provider):
    job = provider.submit("sleep 1000", 1, "steady")
    until(provider, job, JobState.RUNNING)
    (place,) = provider.resources[job].places
    connection = provider._inner.shells[place.host].connection
    os.kill(connection._master.pid, signal.SIGKILL)
    wait_until(lambda: connection._master.poll() is not None)
    assert provider.status([job])[0].state == JobState.RUNNING
    assert connection.lives == 2


def test_a_host_that_is_cut_off_says_nothing_and_then_the_truth(ssh_bed, tmp_path):
    provider = provider_of(
        ssh_bed,
        ["host3"],
        cmd_timeout=2,
        options=["ServerAliveInterval=1", "ServerAliveCountMax=2", "ConnectTimeout=1"],
    )
    provider.script_dir = str(tmp_path)
    job = provider.submit("sleep 1000", 1, "far")
    until(provider, job, JobState.RUNNING)
    host = ssh_bed.hosts[2]
    host.cut()
    try:
        wait_until(lambda: provider.status([job])[0].message, WAIT_S)
        status = provider.status([job])[0]
        assert status.state == JobState.RUNNING
        assert "host3 does not answer" in status.message
        assert provider.cancel([job]) == [False]
    finally:
        host.mend()
    wait_until(lambda: provider.cancel([job]) == [True], WAIT_S)
    assert provider.status([job])[0].state == JobState.CANCELLED
    provider.close()


def test_another_process_finds_and_ends_a_job_by_its_ticket(ssh_bed, provider):
    job = provider.submit("sleep 1000", 1, "plait.run.block-1")
    until(provider, job, JobState.RUNNING)
    other, id_ = recall(provider.ticket(job))
    until(other, id_, JobState.RUNNING)
    assert other.cancel([id_]) == [True]
    assert until(other, id_, JobState.CANCELLED)
    other.close()
    assert until(provider, job, JobState.FAILED, JobState.CANCELLED)


def test_a_ticket_for_a_job_to_come(provider):
    ticket = provider.ticket("", "plait.run.block-2")
    assert provider.submit("true", 1, "plait.run.block-2") == ticket["name"]


# ------------------------------------------------------------------ a run
add = plait.python_app(tasks.add)
hold = plait.python_app(tasks.hold)


def test_a_run_where_managers_can_dial_this_machine(ssh_bed, tmp_path):
    """It is tried, and no way back is made."""
    provider = provider_of(ssh_bed, ["host1"])
    executor = plait.HighThroughputExecutor(provider=provider, address=ssh_bed.here, max_workers_per_node=1)
    config = plait.Config([executor], progress=False, run_dir=str(tmp_path / "runs"), strategy_period=0.2)
    with plait.load(config):
        assert [add(number, 1).result(WAIT_S) for number in range(10)] == [number + 1 for number in range(10)]
        assert provider._shell.connection._forwards == {}


def test_all_tasks_end_whatever_happens_to_the_hosts(ssh_bed, tmp_path):
    """2,000 tasks, with ways back through ssh; a host is cut off, another's administrator ends the block there, a connection is killed. None is lost, nothing left."""
    provider = provider_of(
        ssh_bed, init_blocks=3, tunnel=True, cmd_timeout=2,
        options=["ServerAliveInterval=1", "ServerAliveCountMax=2", "ConnectTimeout=1"],
    )  # fmt: skip
    executor = plait.HighThroughputExecutor(
        provider=provider, max_workers_per_node=2, cores_per_worker=0.25, heartbeat_period=0.3,
        heartbeat_threshold=4,
    )  # fmt: skip
    config = plait.Config(
        [executor],
        progress=False,
        run_dir=str(tmp_path / "runs"),
        strategy_period=0.2,
        max_idletime=60.0,
        max_losses=10,
    )
    far, ended, near = ssh_bed.hosts[2], ssh_bed.hosts[1], ssh_bed.hosts[0]
    gate = f"/tmp/{tmp_path.name}-{os.getpid()}.gate"  # the hosts see this folder
    notes = f"{gate}.notes"
    try:
        with plait.load(config):
            wait_until(lambda: len(executor.connected_managers()) == 3, WAIT_S)
            assert {one["hostname"] for one in executor.connected_managers()} == {"host1", "host2", "host3"}
            long = [hold(notes, str(number), gate, WAIT_S) for number in range(6)]
            wait_until(lambda: len(tasks.notes(notes)) == 6, WAIT_S)  # every worker has one
            short = [add(number, 1) for number in range(1994)]
            victim = next(one["block_id"] for one in executor.connected_managers() if one["hostname"] == ended.name)
            ended.run("pkill", "-KILL", "-f", "plait.executors.htex.manager")
            wait_until(lambda: executor.block_status()[victim].terminal, WAIT_S, executor.block_status)
            far.cut()
            connection = provider._inner.shells[near.name].connection
            os.kill(connection._master.pid, signal.SIGKILL)
            wait_until(lambda: {"host1", "host2"} == {one["hostname"] for one in executor.connected_managers()}, WAIT_S)
            open(gate, "w").close()
            assert [future.result(WAIT_S) for future in short] == [number + 1 for number in range(1994)]
            assert sorted(future.result(WAIT_S) for future in long) == [str(number) for number in range(6)]
            wait_until(lambda: connection.lives == 2, WAIT_S)
            assert len(executor.block_status()) > 3, "no block took the place of the one that was ended"
            far.mend()
            jobs = provider.resources.values()
            wait_until(lambda: not any(place.why for job in jobs for place in job.live), WAIT_S)  # it answers again
    finally:
        far.mend()
        for path in (gate, notes):
            if os.path.exists(path):
                os.unlink(path)
    wait_until(lambda: not any("plait" in line for one in ssh_bed.hosts for line in ssh_bed.processes(one)), WAIT_S)


# ------------------------------------------------------------------ the connection
DRIVER = """
import sys, threading
from plait.providers.ssh_connection import Connection
connection = Connection("host1", ssh_config=sys.argv[1], options=sys.argv[2:])
print(connection.run("hostname", timeout_s=20).out.strip(), connection._master.pid, flush=True)
threading.Event().wait()
"""


def test_a_driver_that_is_killed_leaves_no_connection(ssh_bed, tmp_path):
    argv, env = [sys.executable, "-c", DRIVER, ssh_bed.config], {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env) as driver:
        host, master = driver.stdout.readline().split()
        assert host == "host1"
        driver.kill()
    wait_until(lambda: not procs.is_alive(int(master)))
    wait_until(lambda: not any("plait-is-up" in line for line in ssh_bed.processes(ssh_bed.hosts[0])))


def test_questions_are_asked_on_the_terminal(ssh_bed, tmp_path):
    """The passphrase of a key, once; a Ctrl-C there is not for the connection."""
    key = tmp_path / "key"
    shutil.copy(ssh_bed.bed.folder / "id", key)
    key.chmod(0o600)
    ssh_bed.bed.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(key)])
    program, main, terminal = tmp_path / "driver.py", *os.openpty()
    program.write_text(
        f"import signal\nsignal.signal(signal.SIGINT, lambda *_: print('interrupted', flush=True))\n{DRIVER}"
    )
    argv = [sys.executable, str(program), ssh_bed.config, f"IdentityFile={key}", "IdentityAgent=none"]
    # a session of its own on that terminal, as a shell's job has it
    with subprocess.Popen(
        ["setsid", "--ctty", *argv],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as driver:
        os.close(terminal)
        said = b""
        while b"passphrase for key" not in said:
            said += os.read(main, 4096)
        os.write(main, b"open sesame\n")
        host, master = driver.stdout.readline().split()
        assert host == "host1"
        os.write(main, b"\x03")
        assert driver.stdout.readline() == "interrupted\n"
        assert procs.is_alive(int(master))
        driver.kill()
    wait_until(lambda: not procs.is_alive(int(master)))
    os.close(main)
