from __future__ import annotations

import pytest

from plait.errors import ConfigurationError
from plait.simulate.machine import Machine


def test_what_follows_from_the_rest():
    machine = Machine(nodes=10, workers=8, cores=64.0, memory_bytes=80, nodes_per_block=4, failures_per_hour=36.0)
    assert (machine.block_nodes, machine.max_blocks) == (4, 2)
    assert (machine.node_cores, machine.worker_cores, machine.worker_memory_bytes) == (64.0, 8.0, 10)
    assert machine.failures_per_s == pytest.approx(0.01)
    assert (Machine(nodes=3).block_nodes, Machine(nodes=3).max_blocks, Machine(workers=5).node_cores) == (3, 1, 5.0)


def test_some_things_may_be_without_an_end():
    machine = Machine(max_idletime_s=float("inf"), bandwidth_bytes_s=float("inf"), memory_bytes=16e9, strategy=None)
    assert machine.worker_memory_bytes == 16 * 10**9


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": 0},
        {"workers": 1.5},
        {"gpus": -1},
        {"retries": True},
        {"nodes": 10**18},
        {"workers": 10**18},
        {"gpus": 10**18},
        {"nodes_per_block": 0},
        {"nodes_per_block": 2},
        {"latency_s": -1.0},
        {"failures_per_hour": float("nan")},
        {"bandwidth_bytes_s": 0},
        {"walltime_s": 0.0},
        {"strategy": "wild"},
        {"strategy": object()},
        {"init_blocks": -1},
        {"min_blocks": 1.5},
        {"parallelism": -0.5},
        {"memory_bytes": "2GB"},
        {"latency_s": float("inf")},
        {"walltime_s": float("inf")},
        {"cores": 0},
        {"queue_wait": "exponential:15m"},
        {"start": 3},
    ],
)
def test_what_cannot_be_is_named(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=f"{name}=.*expected"):
        Machine(**wrong)
