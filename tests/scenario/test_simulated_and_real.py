"""One policy object, one workload: first in production, then in the simulator, on what the journal of the first says."""

from __future__ import annotations

import pytest

import plait
from plait.providers.local import LocalProvider
from plait.simulate import Machine, read_workload, simulate
from tests.support import wait_until


class LastBlock:
    """Tasks go to the block that was requested last."""

    def rank(self, manager):
        return -int(manager.block), manager.name


@plait.python_app
def nap(pause_s, *_):
    import os
    import threading

    threading.Event().wait(pause_s)
    return os.environ["PARSL_WORKER_BLOCK_ID"]


@pytest.mark.slow
def test_a_policy_places_in_production_as_in_the_simulator(tmp_path):
    policy = LastBlock()
    executor = plait.HighThroughputExecutor(
        label="pilots",
        max_workers_per_node=2,
        cores_per_worker=0.1,
        manager_selector=policy,
        provider=LocalProvider(init_blocks=2, min_blocks=2, max_blocks=2),
    )
    with plait.load(plait.Config(executors=[executor], run_dir=str(tmp_path / "runs"), progress=False)) as kernel:
        wait_until(lambda: len(executor.connected_managers()) == 2, timeout_s=60.0)
        assert nap(0.01).result(timeout=60) == "1"  # there is a choice, and it is the policy's
        first = [nap(0.03 + 0.001 * n) for n in range(40)]
        last = nap(0.01, *[nap(0.05, each) for each in first])
        last.result(timeout=60)
        folder = kernel.run_dir
    work = read_workload(str(folder))
    result = simulate(work, Machine(nodes=2, workers=2, nodes_per_block=1), policy=policy)
    assert (result.done, result.tasks, result.policy) == (82, 82, "LastBlock")
    useful_s = sum(kind.useful_s for kind in result.kinds)
    # nodes start within a second; a task that took long on a busy machine leaves workers without any at the end
    assert useful_s / 4 < result.makespan_s < useful_s / 2 + 1.0
