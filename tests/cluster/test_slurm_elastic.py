"""Elastic blocks and lost jobs, on a real Slurm."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import plait
from plait.launchers import SimpleLauncher
from plait.model.jobs import JobState
from plait.providers import SlurmProvider
from plait.scaling.policy import Demand
from plait.testing import tasks
from tests.fault.lab import driver
from tests.support import wait_until

BODY = """
from plait.providers import SlurmProvider
from plait.launchers import SimpleLauncher
htex = plait.HighThroughputExecutor(
    "htex", SlurmProvider(init_blocks=5, max_blocks=5, walltime="00:05:00", launcher=SimpleLauncher()), address="127.0.0.1",
    launch_cmd="sleep 300; echo {config}",  # as a job that notices nothing
)
with load(executors=[htex], initialize_logging=True, run_dir="runs", progress=False):
    plait.python_app(tasks.echo)(1).result()
"""


def test_demand_requests_what_tasks_ask_for_and_gives_it_back(slurm, tmp_path):
    """Three tasks of a whole node each call for three blocks, although two workers each would be one and a half; then all but none go."""
    executor = plait.HighThroughputExecutor(
        label="pilots", address="127.0.0.1", max_workers_per_node=2, cores_per_worker=0.25, heartbeat_period=0.5, heartbeat_threshold=4,
        provider=SlurmProvider(init_blocks=0, max_blocks=4, walltime="00:10:00", launcher=SimpleLauncher(), cmd_timeout=5, cores_per_node=1),
    )  # fmt: skip
    config = plait.Config(
        executors=[executor], strategy=Demand(hold_down=1.0, max_submissions_per_hour=3), strategy_period=0.2, max_idletime=0.5, progress=False,
        run_dir=str(tmp_path / "runs"),
    )  # fmt: skip
    hold = plait.python_app(tasks.hold).options(cores=1, walltime="5m")
    gate = tmp_path / "gate"
    with plait.load(config):
        held = [hold(str(tmp_path / "notes"), f"t{number}", str(gate), 120.0) for number in range(3)]
        wait_until(
            lambda: len(tasks.notes(str(tmp_path / "notes"))) == 3, 60, lambda: (slurm.queue(), executor.block_status())
        )
        assert len(executor.block_status()) == 3
        gate.touch()
        assert [future.result(60) for future in held] == ["t0", "t1", "t2"]
        wait_until(
            lambda: not set(slurm.queue().values()) - {"COMPLETING"},
            30,
            lambda: (slurm.queue(), executor._keeper.explain()),
        )
        too_many = hold(str(tmp_path / "notes"), "t3", str(gate), 120.0)
        wait_until(lambda: "max_submissions_per_hour" in executor._keeper.explain(), 10, executor._keeper.explain)
        assert not too_many.done()


def test_a_block_that_the_administrator_requeues_and_holds_comes_back(slurm, tmp_path):
    """Its managers were told to leave; it is neither cancelled nor replaced, though there may be another, and takes tasks again when it is released."""
    executor = plait.HighThroughputExecutor(
        label="pilots", address="127.0.0.1", max_workers_per_node=2, cores_per_worker=0.25, heartbeat_period=0.5, heartbeat_threshold=3,
        provider=SlurmProvider(max_blocks=2, walltime="00:10:00", launcher=SimpleLauncher(), cmd_timeout=5),
    )  # fmt: skip
    echo = plait.python_app(tasks.echo)
    config = plait.Config([executor], progress=False, strategy_period=0.2, run_dir=str(tmp_path / "runs"))
    with plait.load(config):
        assert echo(1).result(60) == 1
        (job,) = slurm.queue()
        slurm.run(["scontrol", "requeuehold", job])
        wait_until(lambda: executor.block_status()["0"].state == JobState.HELD, 30, executor.block_status)
        again = echo(2)
        wait_until(lambda: "is held by the batch system" in again.explain(), 10, again.explain)
        slurm.run(["scontrol", "release", job])
        assert again.result(60) == 2
        assert [*slurm.queue()] == [job]
        assert [*executor.block_status()] == ["0"]


def test_jobs_of_a_killed_driver_are_found_and_ended(slurm, tmp_path):
    def doctor(*words):
        done = subprocess.run(
            [sys.executable, "-m", "plait", "doctor", "--json", "--run-dir", "runs", *words], capture_output=True, text=True, timeout=60, check=False
        )  # fmt: skip
        return json.loads(done.stdout), done.returncode

    with driver(BODY) as program:
        wait_until(
            lambda: sorted(slurm.queue().values()) == ["PENDING", *["RUNNING"] * 4],
            60,
            lambda: (slurm.queue(), program.text()),
        )
        program.signal(signal.SIGKILL)
        program.wait(5)
    health, code = doctor()
    assert code == 1
    assert sorted(job["state"] for job in health["jobs"]) == ["PENDING", *["RUNNING"] * 4]
    health, _ = doctor("--fix")
    assert [job["cancelled"] for job in health["jobs"]] == [True] * 5
    wait_until(lambda: not slurm.queue(), 30, slurm.queue)
    health, code = doctor()
    assert (health["jobs"], health["processes"], code) == ([], [], 0)
