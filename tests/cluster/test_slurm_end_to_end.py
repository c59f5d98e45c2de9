"""An elastic run of pilot jobs on a real Slurm, to which everything happens that happens on clusters."""

from __future__ import annotations

import os
import re

import plait
from plait.launchers import SrunLauncher
from plait.providers import SlurmProvider
from tests.support import wait_until

TASKS = 2000


@plait.python_app
def work(number, folder):
    import time

    with open(f"{folder}/{number}", "a") as file:
        file.write(f"{time.time()}\n")
    time.sleep(0.02)
    return number * number


def htex(**provider):
    given = {"max_blocks": 4, "init_blocks": 1, "walltime": "00:10:00", "launcher": SrunLauncher(), "cmd_timeout": 5}
    return plait.HighThroughputExecutor(
        label="pilots",
        address="127.0.0.1",
        max_workers_per_node=2,
        cores_per_worker=0.25,
        heartbeat_period=0.5,
        heartbeat_threshold=4,
        provider=SlurmProvider(**{**given, **provider}),
    )


def test_all_tasks_end_whatever_happens_to_the_cluster(slurm, tmp_path):
    """2,000 tasks; a node loses its power, an administrator cancels a block, the controller is restarted. No task is lost, no job left."""
    folder = tmp_path / "done"
    folder.mkdir()
    config = plait.Config(
        executors=[htex()], retries=5, progress=False, strategy_period=0.5, max_idletime=2.0,
        run_dir=str(tmp_path / "runs"),
    )  # fmt: skip

    def done():
        return len(os.listdir(folder))

    with plait.load(config) as kernel:
        executor = kernel.executors["pilots"]
        futures = [work(number, str(folder)) for number in range(TASKS)]
        wait_until(
            lambda: len(executor.connected_managers()) == 4, 60, lambda: (slurm.queue(), executor.block_status())
        )
        wait_until(lambda: done() > TASKS // 8, 60)
        slurm.crash_node(4)
        wait_until(lambda: done() > TASKS // 4, 60)
        victim = next(job for job, state in slurm.queue().items() if state == "RUNNING")
        slurm.run(["scancel", victim])
        wait_until(lambda: done() > TASKS // 3, 60)
        slurm.stop_controller()
        wait_until(lambda: done() > TASKS // 2, 60)
        slurm.start_controller()
        slurm.start_node(4)
        results = [future.result(timeout=90) for future in futures]
        seen = executor.block_status()
    assert results == [number * number for number in range(TASKS)]
    assert done() == TASKS
    assert len(seen) > 4, "no block took the place of those that were lost"
    ended = [status for status in seen.values() if status.terminal]
    assert any(re.search("cancelled|signal 15", status.message or "") for status in ended), seen
    assert [job for job, state in slurm.queue().items() if state != "COMPLETING"] == []
