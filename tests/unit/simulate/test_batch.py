"""The batch system, seen through whole simulations and through its block core."""

from __future__ import annotations

import pytest

from plait.scaling.check import check
from plait.scaling.demand import Demand
from plait.simulate import Failure, Machine, described, parse_draw
from plait.simulate.machine import Costs
from plait.simulate.simulation import Simulation

FREE = Costs(0.0, 0.0, 0.0, 0.0, 0.0)


def run(bags, **machine):
    given = {"start": parse_draw(0, "start"), "latency_s": 0.0, "costs": FREE, **machine}
    simulation = Simulation(described({"bag": bags}), Machine(**given))
    result = simulation.run()
    check(simulation.blocks.core)
    return simulation, result


def test_blocks_come_from_the_queue_one_by_one():
    _, result = run(
        {"a": {"tasks": 40, "duration": 100}}, nodes=4, nodes_per_block=2, queue_wait=parse_draw("uniform:10s,60s", "q")
    )
    nodes = result.history.columns["nodes"]
    assert sorted(set(nodes)) == [0, 2, 4]
    assert 10 <= result.block_wait_s <= 60
    assert result.blocks == 2


def test_no_more_blocks_than_the_tasks_want():
    _, result = run({"a": {"tasks": 8, "duration": 100}}, nodes=16, workers=4, nodes_per_block=1, init_blocks=0)
    assert max(result.history.columns["nodes"]) == 2
    assert result.allocated_core_s == pytest.approx(2 * 4 * 100, rel=0.1)


def test_idle_blocks_are_given_back():
    bags = {"a": {"tasks": 16, "duration": 10}, "b": {"tasks": 1, "duration": 1, "start": 500}}
    _, result = run(bags, nodes=4, workers=4, nodes_per_block=1, max_idletime_s=60.0)
    assert result.done == 17
    assert min(result.history.columns["nodes"][len(result.history.times) // 2 :]) == 0
    assert result.blocks == 5
    assert result.allocated_core_s < 4 * 4 * 90


def test_allocated_time_is_that_of_the_blocks():
    simulation, result = run({"a": {"tasks": 10, "duration": 10}}, nodes=2, workers=5, cores=20.0)
    assert result.allocated_core_s == pytest.approx(result.makespan_s * 40)
    assert simulation.blocks.allocated == 2
    assert result.useful_core_s == pytest.approx(10 * 10 * 4.0)


def test_nodes_fail_by_plan_and_by_rate():
    _, planned = run(
        {"a": {"tasks": 8, "duration": 30}},
        nodes=4,
        workers=2,
        failures=(Failure(10.0, 1), Failure(10.0, 1), Failure(500.0, 0)),
    )
    assert planned.nodes_lost == 1
    _, drawn = run({"a": {"tasks": 400, "duration": 30}}, nodes=20, workers=2, failures_per_hour=5.0)
    assert 1 < drawn.nodes_lost < 20
    assert drawn.done + drawn.failed == 400


def test_a_block_without_nodes_is_replaced():
    _, result = run(
        {"a": {"tasks": 4, "duration": 30}},
        nodes=1,
        workers=1,
        failures=(Failure(40.0, 0),),
        heartbeat_threshold_s=20.0,
        heartbeat_period_s=5.0,
    )
    assert (result.done, result.nodes_lost, result.blocks) == (4, 1, 2)


def test_a_block_in_the_queue_is_given_back_too():
    waits = parse_draw([10.0, 10_000.0], "q")
    for seed in range(4):
        simulation = Simulation(
            described({"bag": {"a": {"tasks": 4, "duration": 10}, "b": {"tasks": 1, "duration": 1, "start": 600}}}),
            Machine(nodes=2, workers=2, nodes_per_block=1, queue_wait=waits, max_idletime_s=30.0),
            seed=seed,
        )
        result = simulation.run()
        assert result.done == 5
        assert simulation.blocks.waiting >= 0


def test_the_policy_demand_sees_what_tasks_ask_for():
    """Eight tasks of which each wants a whole node are not two nodes' worth; what is not needed any more is given back, and no more is requested than may be."""
    bags = {"big": {"tasks": 8, "duration": 300, "cores": 4}, "late": {"tasks": 4, "duration": 10, "start": 2000}}
    policy = Demand(hold_down=30.0, max_submissions_per_hour=7)
    machine = {"nodes": 8, "workers": 4, "nodes_per_block": 1, "init_blocks": 0, "max_idletime_s": 30.0}
    _, result = run(bags, strategy=policy, **machine)
    assert result.done == 12
    assert max(result.history.columns["nodes"]) == 7
    assert result.allocated_core_s < 7 * 4 * 450 + 4 * 2000
    assert result.blocks == 8, "the late ones wait until the hour is over"
    assert 3600 < result.makespan_s < 3650


@pytest.mark.parametrize(("strategy", "blocks"), [(Demand(max_submissions_per_hour=2), 2), ("demand", 16)])
def test_the_cap_on_submissions_holds_in_simulations(strategy, blocks):
    _, result = run(
        {"a": {"tasks": 64, "duration": 10}}, nodes=16, workers=4, nodes_per_block=1, init_blocks=0, strategy=strategy
    )
    assert (result.done, result.blocks) == (64, blocks)


def test_blocks_that_have_little_to_do_are_given_back_without_losing_anything():
    """A burst, and then a trickle that is spread over all blocks, so that none is idle for long."""
    bags = {"burst": {"tasks": 64, "duration": 120}, "trickle": {"tasks": 360, "duration": 60, "every": "5s"}}
    results = {
        strategy: run(bags, nodes=16, workers=4, nodes_per_block=1, init_blocks=0, strategy=strategy)[1]
        for strategy in ("htex_auto_scale", "demand")
    }
    busy, lean = results["htex_auto_scale"], results["demand"]
    assert lean.done == busy.done == 424
    assert lean.lost_attempts == 0
    assert lean.makespan_s < busy.makespan_s + 1
    assert lean.allocated_core_s < busy.allocated_core_s / 2
