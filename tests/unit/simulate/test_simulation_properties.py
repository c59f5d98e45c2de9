"""Any workload on any machine: every task ends once, and the cores' own tables agree with each other in the end."""

from __future__ import annotations

import random

import pytest

from plait.simulate import Machine, described, parse_draw
from plait.simulate.policies import SHIPPED, policy_named
from plait.simulate.simulation import Simulation


def bags(chance):
    made, names = {}, []
    for number in range(chance.randint(1, 4)):
        bag = {
            "tasks": chance.choice([1, 7, 50, 200]),
            "duration": chance.choice(["0.001", "5s", "exponential:30s", "lognormal:1m,1", "uniform:1s,10m"]),
        }
        for key, share, values in (
            ("cores", 0.4, [1, 2, 4]),
            ("gpus", 0.2, [0.5, 1, 2]),
            ("memory", 0.2, ["1GB", "20GB"]),
            ("priority", 0.3, [1, 2]),
            ("label", 0.3, ["x", "y"]),
            ("walltime", 0.2, ["5m"]),
            ("near", 0.2, [["node1"]]),
            ("fail", 0.3, [0.1]),
            ("every", 0.3, ["exponential:3s"]),
            ("layers", 0.1, [3]),
        ):
            if chance.random() < share:
                bag[key] = chance.choice(values)
        if names and chance.random() < 0.5:
            bag[chance.choice(["after", "each"])] = chance.choice(names)
        names.append(f"b{number}")
        made[names[-1]] = bag
    return made


def machine(chance):
    nodes = chance.choice([1, 3, 8])
    return Machine(
        nodes=nodes,
        workers=chance.choice([1, 4, 8]),
        nodes_per_block=chance.choice([None, 1, min(2, nodes)]),
        gpus=chance.choice([0, 2]),
        memory_bytes=chance.choice([0, 64 * 10**9]),
        queue_wait=parse_draw(chance.choice([0, "exponential:2m"]), "q"),
        walltime_s=chance.choice([None, None, 900.0]),
        drain_s=chance.choice([0.0, 120.0]),
        failures_per_hour=chance.choice([0.0, 0.0, 5.0]),
        retries=chance.choice([0, 2]),
        prefetch=chance.choice([0, 3]),
        strategy=chance.choice(["simple", "none", "htex_auto_scale"]),
        init_blocks=chance.choice([None, 1]),
        max_idletime_s=60.0,
        heartbeat_period_s=10.0,
        heartbeat_threshold_s=30.0,
    )


@pytest.mark.parametrize("seed", range(12))
def test_every_task_ends_once(seed):
    chance = random.Random(seed)
    work, where, policy = bags(chance), machine(chance), chance.choice(list(SHIPPED))
    simulation = Simulation(described({"bag": work}), where, policy_named(policy, seed), policy, seed)
    result = simulation.run()
    simulation.interchange.core.check()
    assert result.done + result.failed + result.skipped + result.unfinished == result.tasks
    assert bool(result.unfinished) <= bool(result.stuck)
    assert sum(kind.done + kind.failed for kind in result.kinds) == result.done + result.failed
    assert result.attempts == result.done + result.failed_attempts + result.lost_attempts
    assert all(number >= 0 for column in result.history.columns.values() for number in column)
