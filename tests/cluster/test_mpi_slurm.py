"""Tasks over whole nodes on a real Slurm: `srun` starts their processes, beside managers that `srun` started as well."""

from __future__ import annotations

import os
import re
import signal

import pytest

import plait
from plait.launchers import SimpleLauncher, SrunLauncher
from plait.providers import SlurmProvider
from tests.support import ROOT, wait_until
from tests.testbed.mpi import BY_SRUN
from tests.testbed.mpi_here import require_mpi4py

SHAPE = {"num_nodes": 2, "ranks_per_node": 2}
INIT = "".join(f"export {name}='{value}'\n" for name, value in BY_SRUN.items())


@plait.bash_app
def program(command, stdout=None, stderr=None, parsl_resource_specification=None, walltime=25):
    return f"$PARSL_MPI_PREFIX {command}"


@plait.bash_app
def stays(seconds, parsl_resource_specification=None):
    return f"$PARSL_MPI_PREFIX sleep {seconds}"


@plait.python_app
def add(x):
    return x + 1


def provider(nodes, launcher):
    return SlurmProvider(
        nodes_per_block=nodes,
        launcher=launcher,
        walltime="00:10:00",
        cmd_timeout=5,
        exclusive=True,
        worker_init=INIT,
        max_blocks=1,
    )


def loaded(executor, tmp_path):
    """A run whose programs have a walltime and are tried again: where all nodes are one machine, Slurm's PMIx now and then loses a message of theirs."""
    config = plait.Config([executor], run_dir=str(tmp_path / "runs"), progress=False, strategy="none", retries=2)
    return plait.load(config)


def ranks(path):
    """(rank, size, host, sum) of each."""
    return sorted(re.findall(r"(?:rank )?(\d+) of (\d+) on ([^\s:]+):? sum (\d+)", path.read_text()))


def assert_two_on_each(found):
    assert [(rank, size, total) for rank, size, _, total in found] == [(str(rank), "4", "6") for rank in range(4)]
    hosts = [host for _, _, host, _ in found]
    assert len(set(hosts)) == 2
    assert all(hosts.count(host) == 2 for host in hosts)


def test_managers_on_each_node_and_programs_over_two(slurm, mpi_program, tmp_path):
    require_mpi4py()
    executor = plait.HighThroughputExecutor(
        provider=provider(3, SrunLauncher()), address="127.0.0.1", max_workers_per_node=2, mpi_launcher="srun", heartbeat_period=0.5, heartbeat_threshold=5
    )  # fmt: skip
    with loaded(executor, tmp_path):
        small = [add(number) for number in range(40)]
        in_c = program(
            str(mpi_program), stdout=str(tmp_path / "c"), stderr=str(tmp_path / "e"), parsl_resource_specification=SHAPE
        )
        command = f"{plait_python()} {ROOT / 'tests' / 'programs' / 'ring.py'}"
        in_python = program(
            command, stdout=str(tmp_path / "py"), stderr=str(tmp_path / "e"), parsl_resource_specification=SHAPE
        )
        with pytest.raises(plait.errors.InvalidResourceSpecification, match="4 nodes of one block asked"):
            stays(1, parsl_resource_specification={"num_nodes": 4}).result(timeout=5)
        assert (in_c.result(timeout=60), in_python.result(timeout=60)) == (0, 0), (tmp_path / "e").read_text()
        assert [future.result(timeout=30) for future in small] == [*range(1, 41)]
        cancelled = stays(602, parsl_resource_specification=SHAPE)
        # Slurm may keep the name of a step whose srun was ended before its processes were there
        wait_until(
            lambda: len(marked(b"sleep\x00602")) == 4, 30, lambda: f"{marked(b'602')} {slurm.run(['squeue', '-s'])}"
        )
        assert cancelled.cancel()
        wait_until(lambda: steps(slurm) == 1, 30, lambda: slurm.run(["squeue", "-s"]))
    assert_two_on_each(ranks(tmp_path / "c"))
    assert_two_on_each(ranks(tmp_path / "py"))
    wait_until(lambda: not slurm.queue(), 20)


def test_what_a_lost_manager_had_started_on_other_nodes_ends(slurm, tmp_path):
    """Slurm lets a step go on whose srun was killed: without anybody's help it would run beside the next attempt."""
    executor = plait.HighThroughputExecutor(
        provider=provider(3, SrunLauncher()), address="127.0.0.1", max_workers_per_node=2, mpi_launcher="srun", heartbeat_period=0.5, heartbeat_threshold=3
    )  # fmt: skip
    with loaded(executor, tmp_path):
        future = stays(601, parsl_resource_specification=SHAPE)
        wait_until(lambda: len(marked(b"sleep\x00601")) == 4, 30)
        first = marked(b"sleep\x00601")
        head = executor._link.offers.places[0]
        node = next(each["hostname"] for each in executor.connected_managers() if each["manager"] == head)
        (pid,) = [
            pid
            for pid in marked(b"\0plait.executors.htex.manager\0")
            if f"SLURMD_NODENAME={node}\0".encode() in read(pid, "environ")
        ]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(marked(b"sleep\x00601") - first) == 4, 30)
        others = [
            pid
            for pid in first & marked(b"sleep\x00601")
            if f"SLURMD_NODENAME={node}\0".encode() not in read(pid, "environ")
        ]
        assert others == []
        assert future.cancel()
        wait_until(lambda: not marked(b"sleep\x00601") - first, 20)
    wait_until(lambda: not slurm.queue(), 20)


def read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def marked(words):
    """Processes with that in their command line, but for those that only start them."""
    lines = {int(pid): read(pid, "cmdline") for pid in os.listdir("/proc") if pid.isdecimal()}
    return {pid for pid, line in lines.items() if words in line and not line.startswith((b"srun", b"/bin/bash"))}


def test_one_manager_gives_out_the_nodes_of_its_block(slurm, mpi_program, tmp_path):
    executor = plait.MPIExecutor(
        provider=provider(4, SimpleLauncher()), address="127.0.0.1", max_workers_per_block=4, mpi_launcher="srun", heartbeat_period=0.5,
        heartbeat_threshold=5,
    )  # fmt: skip
    with loaded(executor, tmp_path):
        futures = [
            program(str(mpi_program), stdout=str(tmp_path / str(number)), parsl_resource_specification=SHAPE)
            for number in range(5)
        ]
        whole = program("true", parsl_resource_specification={"num_nodes": 4})
        assert [future.result(timeout=100) for future in [*futures, whole]] == [0] * 6
    for number in range(5):
        assert_two_on_each(ranks(tmp_path / str(number)))
    wait_until(lambda: not slurm.queue(), 20)


def steps(slurm):
    """Steps that run, without those of the jobs' scripts."""
    return len(re.findall(r"^\d+\.\d+ ", slurm.run(["squeue", "--noheader", "--steps", "--format=%i "]), re.MULTILINE))


def plait_python():
    import sys

    return sys.executable
