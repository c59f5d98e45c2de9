from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.executors.htex import messages as m
from plait.executors.htex.check import check_manager
from plait.executors.htex.nodes import CREDIT_S, MAX_CREDIT, ManagerState, pick_gpus
from tests.unit.executors.htex.core_lab import item, register


def node(*, cores_per_worker=1.0, memory_per_worker=0, **more):
    return ManagerState(register(**more), "conn", 100.0, cores_per_worker, memory_per_worker)


def give(manager, task, ask, now_s=100.0):
    """Places a task that asks for something."""
    assert manager.fits(ask, now_s)
    granted, grant = manager.take(ask, now_s, 1.0)
    manager.held[task] = item(task, ask)
    manager.granted[task] = granted
    manager.recount()
    check_manager(manager)
    return grant


def end(manager, task):
    del manager.held[task]
    manager.give_back(manager.granted.pop(task))
    check_manager(manager)


def give_plain(manager, *tasks):
    manager.held.update((task, item(task)) for task in tasks)


# ------------------------------------------------------------------ how much plain work
def test_credit_is_the_larger_of_what_was_asked_for_and_what_durations_say():
    manager = node(workers=4, prefetch=3)
    assert manager.credit(0) == 4 + 3
    assert manager.credit(2) == 4 + 8
    assert manager.credit(MAX_CREDIT) == 4 * (1 + MAX_CREDIT)
    assert CREDIT_S < 0.1


def test_one_that_gave_back_gets_no_more_than_it_has_workers():
    manager = node(workers=4)
    manager.stuck = True
    assert manager.credit(100) == 4
    manager.reserve(on=True)
    assert manager.credit(100) == 0


def test_a_large_task_leaves_plain_ones_only_what_has_its_share():
    manager = node(workers=8)
    give(manager, 1, m.Ask(cores=5))
    assert (manager.slots, manager.tight) == (3, True)
    assert manager.credit(100) == 3  # none to wait: its manager would begin it on a free worker
    end(manager, 1)
    assert (manager.slots, manager.tight) == (8, False)


def test_a_small_task_takes_one_worker_and_others_may_wait():
    manager = node(workers=8)
    give(manager, 1, m.Ask(priority=1.0))
    assert (manager.slots, manager.tight) == (7, False)


def test_memory_leaves_its_share_too():
    manager = node(workers=4, memory_bytes=4000, memory_per_worker=1000)
    give(manager, 1, m.Ask(memory_bytes=2500))
    assert (manager.slots, manager.tight) == (1, True)


def test_workers_may_outnumber_cores():
    manager = node(workers=4, cores=2.0)
    for task in range(4):
        give(manager, task, m.Ask())
    assert not manager.fits(m.Ask(), 100.0)


# ------------------------------------------------------------------ what fits
@pytest.mark.parametrize(
    ("has", "ask", "fits"),
    [
        ({"workers": 4}, m.Ask(cores=4), True),
        ({"workers": 4}, m.Ask(cores=4.5), False),
        ({"workers": 4, "memory_bytes": 100}, m.Ask(memory_bytes=101), False),
        ({"workers": 4}, m.Ask(memory_bytes=10**15), True),  # not known, so not counted
        ({"workers": 4, "disk_bytes": 100}, m.Ask(disk_bytes=101), False),
        ({"workers": 4, "gpus": ["0", "1"]}, m.Ask(gpus=2), True),
        ({"workers": 4, "gpus": ["0", "1"]}, m.Ask(gpus=2.5), False),
        ({"workers": 4, "walltime_left_s": 10.0}, m.Ask(walltime_s=10.0), True),
        ({"workers": 4, "walltime_left_s": 10.0}, m.Ask(walltime_s=10.1), False),
    ],
)
def test_what_could_ever_be_taken(has, ask, fits):
    manager = node(**has)
    assert manager.fits(ask, 100.0) is fits
    assert manager.could_ever(ask, 100.0) is fits
    assert bool(manager.shortfall(ask, 100.0)) is not fits


def test_what_does_not_fit_is_said_with_the_numbers():
    manager = node(workers=2, memory_bytes=10**9, gpus=["0"], walltime_left_s=60.0)
    ask = m.Ask(cores=64, memory_bytes=2 * 10**9, gpus=2, walltime_s=3600)
    assert manager.shortfall(ask, 100.0) == [
        "64 cores asked, it has 2",
        "2.0 GB of memory asked, it has 1.0 GB",
        "2 GPUs asked, it has 1",
        "1h00m asked, its block ends in 1m00s",
    ]


def test_plain_tasks_are_in_the_way():
    manager = node(workers=4)
    give_plain(manager, 1, 2)
    assert manager.fits(m.Ask(cores=2), 100.0)
    assert not manager.fits(m.Ask(cores=3), 100.0)
    give_plain(manager, 3, 4, 5)
    assert not manager.fits(m.Ask(), 100.0)


def test_nothing_fits_where_it_is_not_known_what_runs():
    manager = node(workers=4)
    manager.unclaimed[1] = 1
    assert not manager.fits(m.Ask(), 100.0)
    manager.unclaimed.clear()
    manager.settles_s = 103.0
    assert not manager.fits(m.Ask(), 102.9)
    assert manager.fits(m.Ask(), 103.0)


# ------------------------------------------------------------------ what is granted
def test_cores_are_bound_when_there_are_several_whole_ones():
    manager = node(workers=8)
    assert give(manager, 1, m.Ask(cores=2)).cores == (0, 1)
    assert give(manager, 2, m.Ask(cores=3)).cores == (2, 3, 4)
    assert give(manager, 3, m.Ask()).cores == ()
    end(manager, 1)
    assert give(manager, 4, m.Ask(cores=2)).cores == (0, 1)
    assert give(node(workers=8), 1, m.Ask(cores=2.5)).cores == ()


def test_a_grant_says_everything():
    manager = node(workers=4, memory_bytes=1000, gpus=["a", "b"])
    grant = give(manager, 1, m.Ask(cores=2, memory_bytes=100, gpus=1.5, walltime_s=60.0))
    assert grant == m.Grant(cores=(0, 1), gpus=("a", "b"), memory_bytes=100, walltime_s=60.0)


def test_fractions_share_the_fullest_accelerator():
    manager = node(workers=8, gpus=["a", "b"])
    assert give(manager, 1, m.Ask(gpus=0.5)).gpus == ("a",)
    assert give(manager, 2, m.Ask(gpus=0.25)).gpus == ("a",)
    assert give(manager, 3, m.Ask(gpus=0.5)).gpus == ("b",)
    assert give(manager, 4, m.Ask(gpus=0.25)).gpus == ("a",)
    assert not manager.fits(m.Ask(gpus=1), 100.0)
    end(manager, 3)
    assert give(manager, 5, m.Ask(gpus=1)).gpus == ("b",)


def test_tenths_add_up():
    manager = node(workers=64, gpus=["a"])
    for task in range(10):
        give(manager, task, m.Ask(gpus=0.1))
    assert not manager.fits(m.Ask(gpus=0.1), 100.0)
    for task in range(10):
        end(manager, task)
    assert give(manager, 11, m.Ask(gpus=1)).gpus == ("a",)


@given(
    st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0]), max_size=5), st.sampled_from([0.2, 0.5, 1.0, 1.5, 2.0, 2.2, 3.0])
)
def test_what_is_picked_is_there(free, count):
    picked = pick_gpus(free, count)
    if picked is None:
        whole = sum(left >= 1 for left in free)
        assert whole < int(count) or (whole - int(count) + sum(left < 1 and left >= count % 1 for left in free)) < 1
    else:
        assert sum(share for _, share in picked) == pytest.approx(count)
        assert len({index for index, _ in picked}) == len(picked)
        assert all(free[index] >= share - 1e-9 for index, share in picked)


def test_after_a_restart_no_gpu_is_granted_until_it_is_known_which_are_free():
    manager = node(workers=8, gpus=["a", "b"])
    manager.held[1] = item(1, m.Ask(gpus=1))
    manager.granted[1] = manager.take_unsure(m.Ask(gpus=1), 100.0, 1.0)
    manager.recount()
    check_manager(manager)
    assert not manager.fits(m.Ask(gpus=0.5), 100.0)
    assert give(manager, 2, m.Ask(cores=2)).cores == ()
    end(manager, 1)
    assert give(manager, 3, m.Ask(gpus=2)).gpus == ("a", "b")


# ------------------------------------------------------------------ when it will fit
def test_when_a_large_task_will_fit():
    manager = node(workers=4)
    give(manager, 1, m.Ask(cores=2, walltime_s=50.0))
    give(manager, 2, m.Ask(cores=2, walltime_s=20.0))
    assert manager.when_fits(m.Ask(cores=2), 100.0, 1.0) == (
        101.0,
        150.0,
    )  # one of them, as tasks are; both at the latest
    manager.granted[1].expected_s, manager.granted[2].expected_s = 150.0, 120.0
    assert manager.when_fits(m.Ask(cores=2), 100.0, 1.0) == (120.0, 120.0)
    assert manager.when_fits(m.Ask(cores=4), 100.0, 1.0) == (150.0, 150.0)
    assert manager.when_fits(m.Ask(cores=8), 100.0, 1.0) == (math.inf, math.inf)


def test_when_it_will_fit_is_worked_out_once_until_the_manager_changes():
    manager = node(workers=2)
    give(manager, 1, m.Ask(walltime_s=50.0))
    give(manager, 2, m.Ask(walltime_s=20.0))
    ask, hurried = m.Ask(cores=2), m.Ask(cores=2, walltime_s=30.0)
    assert manager.when_fits(ask, 100.0, 1.0) == (101.0, 150.0)
    manager.granted = None  # nobody looks at the tasks again
    assert manager.when_fits(ask, 130.0, 1.0) == (130.0, 150.0)  # it is later than was expected
    assert manager.when_fits(ask, 160.0, 1.0) == (160.0, 160.0)
    manager = node(workers=2, walltime_left_s=60.0)
    give(manager, 1, m.Ask())
    assert manager.when_fits(hurried, 100.0, 1.0) == (101.0, math.inf)
    assert manager.when_fits(hurried, 140.0, 1.0) == (math.inf, math.inf)  # its block will be over
    give(manager, 2, m.Ask(walltime_s=5.0))
    end(manager, 1)
    assert manager.when_fits(ask, 140.0, 1.0) == (140.0, 140.0)
    manager.held.clear()
    manager.version += 1  # as whoever gives plain tasks does
    give_plain(manager, *range(10, 12))
    assert manager.when_fits(ask, 140.0, 4.0)[0] > 140.0


def test_plain_tasks_end_some_time():
    manager = node(workers=4)
    give_plain(manager, *range(8))
    expected_s, latest_s = manager.when_fits(m.Ask(cores=4), 100.0, 3.0)
    assert (expected_s, latest_s) == (106.0, math.inf)


def test_it_will_not_fit_when_the_block_is_over_by_then():
    manager = node(workers=1, walltime_left_s=60.0)
    give(manager, 1, m.Ask())
    manager.granted[1].expected_s = 150.0
    assert manager.when_fits(m.Ask(walltime_s=20.0), 100.0, 1.0) == (math.inf, math.inf)


# ------------------------------------------------------------------ any order
ASKS = st.builds(
    m.Ask,
    cores=st.sampled_from([0.5, 1, 2, 3, 4]),
    memory_bytes=st.sampled_from([0, 500, 2000]),
    gpus=st.sampled_from([0, 0, 0.3, 0.5, 1, 1.5]),
    disk_bytes=st.sampled_from([0, 10]),
)


@given(
    st.lists(st.tuples(ASKS, st.booleans()), max_size=40), st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0, 300])
)
def test_whatever_comes_and_goes_everything_is_there_in_the_end(steps, cores_per_worker, memory_per_worker):
    manager = node(
        workers=6, cores=8.0, memory_bytes=4000, disk_bytes=30, gpus=["a", "b"], cores_per_worker=cores_per_worker,
        memory_per_worker=memory_per_worker,
    )  # fmt: skip
    before = (manager.slots, manager.cores)
    for task, (ask, ends) in enumerate(steps):
        if manager.fits(ask, 100.0):
            give(manager, task, ask)
        if ends and manager.granted:
            end(manager, next(iter(manager.granted)))
    for task in list(manager.granted):
        end(manager, task)
    assert (manager.slots, manager.cores) == before
    assert manager.free_gpus == pytest.approx([1.0, 1.0])
    assert manager.used_cores == pytest.approx(0)


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
def test_one_that_comes_back_with_other_gpus_goes_on_with_these(names):
    manager = node(workers=4, gpus=["a", "b"])
    give(manager, 1, m.Ask(gpus=1))
    give(manager, 2, m.Ask(gpus=1))
    manager.describe(register("a", workers=4, gpus=names), "again", 0.0)
    assert manager.free_gpus == [0.0, 0.0, 1.0][: len(names)]
    check_manager(manager)
    end(manager, 2)
    end(manager, 1)
    assert manager.free_gpus == [1.0] * len(names)


def test_users_see_what_upstream_shows():
    manager = node(workers=4, gpus=["a"], walltime_left_s=60.0)
    give(manager, 1, m.Ask(gpus=0.5, cores=2))
    give_plain(manager, 2, 3, 4)
    facts = manager.facts(110.0)
    names = {
        "manager",
        "block_id",
        "worker_count",
        "tasks",
        "idle_duration",
        "active",
        "parsl_version",
        "python_version",
        "draining",
    }
    assert names <= facts.keys()
    assert (facts["tasks"], facts["waiting"], facts["used_cores"], facts["used_gpus"]) == (4, 1, 4.0, 0.5)
    assert (facts["walltime_left_s"], facts["idle_duration"], facts["active"], facts["draining"]) == (
        50.0,
        0.0,
        True,
        False,
    )
