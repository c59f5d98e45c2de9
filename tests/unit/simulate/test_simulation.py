"""Whole simulations: the real cores on a machine that is computed."""

from __future__ import annotations

import math

import pytest

from plait.simulate import Failure, Machine, parse_draw, simulate
from plait.simulate.machine import Costs

#: A machine that takes no time beside the tasks.
FREE = Costs(0.0, 0.0, 0.0, 0.0, 0.0)


def bag(**more):
    return {"bag": {"work": {"tasks": 100, "duration": 10, **more}}}


def machine(**more):
    return Machine(**{"start": parse_draw(0, "start"), "latency_s": 0.0, "costs": FREE, **more})


def test_equal_tasks_take_as_many_rounds_as_needed():
    for tasks, nodes, workers in [(100, 4, 8), (96, 4, 8), (7, 1, 1), (5, 8, 2)]:
        result = simulate(bag(tasks=tasks), machine(nodes=nodes, workers=workers))
        rounds = math.ceil(tasks / (nodes * workers))
        assert result.done == tasks
        assert rounds * 10 <= result.makespan_s < rounds * 10 + 0.2
        assert result.utilisation == pytest.approx(tasks * 10 / (result.makespan_s * nodes * workers))


def test_time_on_the_way_is_counted():
    result = simulate(bag(tasks=3), machine(latency_s=0.5, start=parse_draw(2, "start")))
    # It begins, registers, gets a task, runs it and says so; the next follows when that has been heard.
    least_s = 2 + 0.5 + 3 * 10 + 0.5 + 0.5
    assert least_s < result.makespan_s < least_s + 3 * 1.0


def test_big_results_wait_for_the_link():
    result = simulate(bag(tasks=10, duration=1, output="1GB"), machine(workers=10, bandwidth_bytes_s=1e9))
    assert 1 + 10 <= result.makespan_s < 1 + 10.1
    assert result.received_bytes >= 10 * 10**9


def test_results_of_all_nodes_share_the_interchange_s_link():
    result = simulate(bag(tasks=10, duration=1, output="1GB"), machine(nodes=10, bandwidth_bytes_s=1e9))
    assert 1 + 10 <= result.makespan_s < 1 + 10.1


def test_the_same_seed_gives_the_same_answer():
    def once(seed):
        return simulate(
            bag(tasks=500, duration="lognormal:10s,1", fail=0.05),
            Machine(
                nodes=8,
                workers=4,
                nodes_per_block=2,
                queue_wait=parse_draw("exponential:1m", "q"),
                failures_per_hour=2.0,
                walltime_s=600.0,
                retries=3,
            ),
            policy="random",
            seed=seed,
        ).data()

    one, same, other = once(1), once(1), once(2)
    for data in (one, same, other):
        del data["took_s"]
    assert one == same
    assert one["makespan_s"] != other["makespan_s"]


def test_every_task_ends_once():
    result = simulate(
        {
            "bag": {
                "a": {"tasks": 400, "duration": "exponential:20s", "fail": 0.1},
                "b": {"tasks": 40, "duration": "10s", "each": "a", "cores": 2},
                "c": {"tasks": 5, "duration": "10s", "after": "b", "priority": 1},
            }
        },
        Machine(
            nodes=6, workers=4, nodes_per_block=1, failures_per_hour=5.0, walltime_s=300.0, retries=1, max_losses=1
        ),
        seed=4,
    )
    assert result.done + result.failed + result.skipped == result.tasks == 445
    assert result.unfinished == 0
    assert sum(kind.done + kind.failed for kind in result.kinds) == result.done + result.failed
    assert result.failed > 0
    assert result.skipped > 0
    assert result.attempts == result.done + result.failed_attempts + result.lost_attempts
    assert result.useful_core_s + result.wasted_core_s <= result.allocated_core_s


def test_a_lost_node_costs_what_it_ran_and_the_time_to_notice():
    quiet = simulate(bag(tasks=64), machine(nodes=4, workers=4))
    result = simulate(
        bag(tasks=64),
        machine(nodes=4, workers=4, failures=(Failure(15.0, 2),), heartbeat_period_s=5.0, heartbeat_threshold_s=20.0),
    )
    assert (result.nodes_lost, result.done, result.lost_attempts) == (1, 64, 4)
    assert result.wasted_core_s == pytest.approx(4 * 5.0, abs=0.5)
    assert result.makespan_s > quiet.makespan_s
    assert max(result.history.columns["workers"]) == 16
    assert result.history.columns["workers"][-1] == 12


def test_tasks_that_are_lost_too_often_fail():
    failures = (Failure(5.0, 0), Failure(13.0, 1), Failure(100.0, 2))
    lost = machine(nodes=3, failures=failures, max_losses=1, heartbeat_period_s=1.0, heartbeat_threshold_s=4.0)
    result = simulate(bag(tasks=1), lost, policy="pack")
    assert (result.done, result.failed, result.unfinished) == (0, 1, 0)
    assert (result.lost_attempts, result.nodes_lost) == (2, 2)


def test_a_walltime_ends_blocks_and_the_rest_runs_in_others():
    result = simulate(bag(tasks=20, duration=30), machine(workers=2, walltime_s=100.0))
    assert result.done == 20
    assert result.blocks == 4
    assert result.blocks_expired == 3
    assert result.lost_attempts == 6  # announced, so that no task has been lost too often
    assert result.failed == 0


def test_nodes_that_drain_lose_nothing():
    result = simulate(bag(tasks=20, duration=30), machine(workers=2, walltime_s=100.0, drain_s=35.0))
    assert (result.done, result.lost_attempts) == (20, 0)


def test_the_queue_is_waited_for():
    result = simulate(bag(tasks=4), machine(nodes=2, workers=2, queue_wait=parse_draw("2m", "q")))
    assert 130 <= result.makespan_s < 131
    assert result.block_wait_s == 120
    assert result.allocated_core_s == pytest.approx(4 * 10, rel=0.05)


def test_tasks_beyond_their_walltime_fail():
    result = simulate(bag(tasks=4, walltime="5s"), machine(workers=4))
    assert (result.failed, result.failed_attempts) == (4, 4)
    assert result.makespan_s == pytest.approx(5.0, abs=0.1)


def test_attempts_that_fail_are_tried_again():
    result = simulate(bag(tasks=200, duration=1, fail=0.5), machine(workers=10, retries=20))
    assert (result.done, result.failed) == (200, 0)
    assert result.failed_attempts > 100


def test_what_can_never_run_is_said():
    result = simulate(bag(tasks=3, cores=9), machine(workers=4))
    assert (result.done, result.unfinished) == (0, 3)
    assert "9 cores" in result.stuck


def test_blocks_that_come_and_go_do_not_hide_it():
    result = simulate(
        bag(tasks=3, gpus=1),
        machine(workers=4, walltime_s=300.0, queue_wait=parse_draw("10m", "q"), nodes=2, nodes_per_block=1),
    )
    assert (result.done, result.unfinished) == (0, 3)
    assert result.blocks > 2
    assert "1 GPU" in result.stuck


def test_nodes_that_start_slowly_are_waited_for():
    result = simulate(bag(tasks=3), machine(workers=4, start=parse_draw("1h", "start")))
    assert (result.done, result.stuck) == (3, "")
    assert result.makespan_s > 3600


def test_what_can_never_run_is_said_though_idle_blocks_are_kept_for_ever():
    result = simulate(bag(tasks=3, cores=9), machine(workers=4, max_idletime_s=float("inf")))
    assert result.unfinished == 3


def test_tasks_longer_than_any_block_are_given_up():
    result = simulate(bag(tasks=2, duration=200), machine(workers=2, walltime_s=100.0))
    assert (result.done, result.failed) == (0, 2)
    assert "blocks do not last long enough" in result.stuck


def test_policies_differ():
    """Packed tasks leave whole blocks idle, which are given back; spread ones keep all of them."""
    work = {"bag": {"long": {"tasks": 8, "duration": "2000s"}, "short": {"tasks": 56, "duration": "10s"}}}
    wide = {"nodes": 16, "workers": 4, "nodes_per_block": 1, "strategy": "htex_auto_scale", "max_idletime_s": 30.0}
    late = {
        "bag": {"first": {"tasks": 16, "duration": "5s"}, "rest": {"tasks": 8, "duration": "2000s", "after": "first"}}
    }
    packed, spread = (simulate(late, machine(**wide), policy=policy) for policy in ("pack", "spread"))
    assert packed.done == spread.done == 24
    assert packed.allocated_core_s < 0.7 * spread.allocated_core_s
    assert simulate(work, machine(**wide)).done == 64


def test_an_own_policy_is_asked():
    class Last:
        asked = 0

        def rank(self, manager):
            Last.asked += 1
            return -int(manager.hostname.removeprefix("node"))

    result = simulate(bag(tasks=2), machine(nodes=5, workers=2), policy=Last())
    assert result.policy == "Last"
    assert Last.asked > 0


def test_short_tasks_travel_together():
    result = simulate(bag(tasks=20_000, duration=0.0001), Machine(nodes=4, workers=8))
    assert result.done == 20_000
    assert result.events < 20_000  # less than one for each task


def test_the_driver_limits_short_tasks():
    result = simulate(bag(tasks=20_000, duration=0.001), machine(nodes=64, workers=8, costs=Costs(driver_task_s=50e-6)))
    assert result.makespan_s >= 20_000 * 2 * 50e-6
    assert result.driver_busy > 0.9


def test_history():
    result = simulate(bag(tasks=100), machine(nodes=2, workers=5))
    history = result.history
    assert history.times == sorted(history.times)
    assert max(history.columns["running"]) == 10
    assert max(history.columns["nodes"]) == 2
    assert result.most_waiting == 100
    assert result.mean_wait_s == pytest.approx(45.0, rel=0.05)
    assert history.mean("running") == pytest.approx(10, rel=0.05)


def test_progress_is_told():
    seen = []
    simulate(bag(tasks=10), machine(), progress=lambda result: seen.append(result.done))
    assert seen == sorted(seen)
    assert len(seen) > 10
