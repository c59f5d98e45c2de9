from __future__ import annotations

from collections import deque

import pytest

from plait.executors.htex import messages as m
from plait.executors.htex.filling import BATCH_TASKS, PLACE_TASKS, RETRACT_S
from plait.executors.htex.placement import NearData, Pack
from plait.executors.htex.queue import AGING_S
from tests.unit.executors.htex.core_lab import PLAIN, Lab, item


def lab_of(*workers, **more):
    """A lab with managers a, b, …"""
    lab = Lab(**more)
    for name, count in zip("abcdefgh", workers, strict=False):
        lab.comes(name, workers=count)
    lab.take()
    return lab


def counts(placed):
    return {name: len(tasks) for name, tasks in placed.items()}


# ------------------------------------------------------------------ plain tasks
def test_few_tasks_are_spread():
    lab = lab_of(4, 4)
    lab.offer_plain(4)
    assert counts(lab.place()) == {"a": 2, "b": 2}


def test_few_tasks_are_packed_if_the_policy_says_so():
    lab = lab_of(4, 4, policy=Pack())
    lab.offer_plain(5)
    assert counts(lab.place()) == {"a": 4, "b": 1}


def test_free_workers_go_first_and_nobody_waits_behind_long_tasks():
    lab = lab_of(2, 4)
    lab.core.mean_s = 1.0
    lab.offer_plain(20)
    assert counts(lab.place()) == {"a": 2, "b": 4}
    assert len(lab.core.queue) == 14


def test_short_tasks_wait_behind_others_so_that_no_worker_idles():
    lab = lab_of(2, 2)
    lab.core.mean_s = 0.001
    lab.offer_plain(1000)
    assert counts(lab.place()) == {"a": 42, "b": 42}  # 20 ms of work for each worker


def test_a_prefetch_that_was_asked_for_is_given():
    lab = Lab()
    lab.comes("a", workers=2, prefetch=5)
    lab.core.mean_s = 10.0
    lab.offer_plain(100)
    assert counts(lab.place()) == {"a": 7}


def test_while_many_wait_managers_are_filled_with_large_batches():
    lab = lab_of(*[4] * 8)
    lab.core.mean_s = 1e-5
    lab.offer_plain(2000)
    lab.core.place(0.0)
    batches = [len(message.items) for _, message in lab.take(m.Tasks)]
    assert batches == [BATCH_TASKS] * 7 + [2000 - 7 * BATCH_TASKS]


def test_a_manager_with_enough_to_do_is_not_sent_single_tasks():
    lab = lab_of(2)
    lab.core.mean_s = 1e-4
    tasks = lab.offer_plain(2000)
    first = lab.place()["a"]
    assert first == tasks[: len(first)]
    lab.ends("a", *first[:10], seconds=1e-4)
    assert lab.place() == {}
    lab.ends("a", *first[10:90], seconds=1e-4)
    assert len(lab.place()["a"]) >= 64


def test_batches_are_bounded_by_bytes():
    lab = lab_of(2)
    lab.core.mean_s = 1e-5
    lab.driver(m.Offer([item(task, payload=b"x" * 50_000) for task in range(100)]))
    lab.core.place(0.0)
    assert max(len(message.items) for _, message in lab.take(m.Tasks)) <= 7


def test_one_call_places_a_bounded_number_and_says_that_there_is_more():
    lab = lab_of(*[200] * 8)
    lab.core.mean_s = 1e-6
    lab.offer_plain(2 * PLACE_TASKS)
    assert lab.core.place(0.0) is True
    assert sum(len(message.items) for _, message in lab.take(m.Tasks)) < PLACE_TASKS + BATCH_TASKS
    assert lab.core.place(0.0) is True
    assert lab.core.place(0.0) is False


def test_the_driver_hears_of_it_first_and_the_manager_knows_the_function():
    lab = lab_of(2)
    lab.offer(PLAIN, m.Ask(priority=1.0))
    lab.core.place(0.0)
    assert [type(message) for _, message in lab.take()] == [m.Placed, m.Function, m.Tasks]
    lab.offer(PLAIN)
    lab.core.place(0.0)
    assert [type(message) for _, message in lab.take()] == [m.Placed, m.Tasks]


def test_placing_looks_at_no_manager_without_room():
    lab = Lab()
    for number in range(300):
        lab.comes(f"m{number}", workers=2)
    lab.core.mean_s = 1e-5
    lab.offer_plain(2000)
    for number in range(300):
        lab.ends(f"m{number}")
    while lab.core.place(0.0):
        pass
    lab.offer_plain(300 * 600)
    while lab.core.place(0.0):
        pass
    assert len(lab.core._filler.line) == 0  # all are full
    one = lab.core.managers["m7"]
    lab.ends("m7", *list(one.held)[:70], seconds=1e-5)
    assert list(lab.core._filler.line) == [one]


# ------------------------------------------------------------------ tasks that ask
def test_each_of_them_goes_where_it_fits():
    lab = Lab()
    lab.comes("small", workers=2)
    lab.comes("large", workers=8)
    lab.comes("gpu", workers=2, gpus=["0"])
    core8, gpu, none = lab.offer(m.Ask(cores=8), m.Ask(gpus=1), m.Ask(gpus=2))
    assert lab.place() == {"large": [core8], "gpu": [gpu]}
    assert lab.core.lanes.attempts() == {(none, 1)}


def test_the_grant_goes_along():
    lab = Lab()
    lab.comes("a", workers=4, gpus=["x", "y"])
    lab.offer(m.Ask(gpus=1, cores=2, walltime_s=9.0))
    lab.core.place(0.0)
    (sent,) = lab.only(m.Tasks).items
    assert sent == (1, 1, 7, b"x", None, m.Grant(cores=(0, 1), gpus=("x",), walltime_s=9.0))


def test_priority_goes_before_plain_tasks():
    lab = lab_of(1)
    lab.core.mean_s = 1.0
    lab.offer_plain(3)
    (urgent,) = lab.offer(m.Ask(priority=1.0))
    assert lab.place() == {"a": [urgent]}


def test_without_priority_it_is_the_order_of_submission():
    lab = lab_of(1)
    lab.core.mean_s = 1.0
    lab.offer(PLAIN, m.Ask(walltime_s=5.0), PLAIN)
    for task in (1, 2, 3):
        assert lab.place() == {"a": [task]}
        lab.ends("a", task, seconds=1.0)


def test_plain_tasks_do_not_take_the_worker_that_a_small_urgent_one_waits_for():
    lab = lab_of(2, 2)
    lab.core.mean_s = 0.001
    lab.offer_plain(2000)
    placed = lab.place()
    (urgent,) = lab.offer(m.Ask(priority=1.0))
    assert lab.place() == {}
    first, *rest = placed["b"]
    lab.ends("b", first, seconds=0.001)
    assert lab.place() == {}  # 41 are left there: no refilling meanwhile
    assert lab.core._filler.plain_stopped
    lab.ends("b", *rest[:-1], seconds=0.001)
    assert lab.place()["b"][0] == urgent


def test_a_walltime_is_not_sent_where_less_is_left():
    lab = Lab()
    lab.comes("short", walltime_left_s=60.0)
    lab.offer(m.Ask(walltime_s=3600.0))
    assert lab.place() == {}
    lab.comes("long", walltime_left_s=7200.0)
    assert lab.place() == {"long": [1]}


def test_labels_share_the_workers():
    lab = lab_of(4)
    lab.offer(*[m.Ask(label="greedy")] * 50)
    lab.offer(*[m.Ask(label="modest")] * 4)
    served = []
    for _ in range(6):
        placed = lab.place().get("a", [])
        served += placed
        lab.ends("a", *placed, seconds=1.0)
    modest = [task for task in served if task > 50]
    assert len(modest) == 4
    assert served.index(modest[-1]) <= 9


def test_plain_tasks_share_with_labels():
    lab = lab_of(4)
    lab.core.mean_s = 1.0
    lab.offer_plain(100)
    labelled = set(lab.offer(*[m.Ask(label="other")] * 8))
    served = []
    for _ in range(6):
        placed = lab.place().get("a", [])
        served += placed
        lab.ends("a", *placed, seconds=1.0)
    assert 6 <= len(labelled & set(served)) <= 8
    assert len(served) == 24


# ------------------------------------------------------------------ reservation and backfill
@pytest.mark.parametrize("workers", [(4,), (4, 4), (2, 4, 3)])
def test_a_large_task_is_not_starved_by_small_ones(workers):
    lab = lab_of(*workers)
    lab.core.mean_s = 1.0
    lab.offer_plain(20)
    lab.place()
    (large,) = lab.offer(m.Ask(cores=4, priority=1.0))
    running = {name: deque(manager.held) for name, manager in lab.core.managers.items()}
    turns = 0
    while large not in lab.core.placed and turns < 40:
        turns += 1
        lab.offer_plain(4)
        for name, tasks in running.items():
            if tasks:
                lab.ends(name, tasks.popleft(), seconds=1.0)
        for name, tasks in lab.place().items():
            running[name].extend(tasks)
    assert turns <= 6
    assert lab.core._filler.reservation is None


def test_one_manager_is_kept_free_and_the_others_work_on():
    lab = lab_of(4, 4)
    lab.core.mean_s = 1.0
    lab.offer_plain(30)
    placed = lab.place()
    lab.offer(m.Ask(cores=4, priority=1.0))
    lab.ends("a", placed["a"][0], seconds=1.0)
    lab.ends("b", placed["b"][0], seconds=1.0)
    lab.ends("b", placed["b"][1], seconds=1.0)
    assert len(lab.place()) == 1
    reserved = lab.core._filler.reservation.manager
    assert reserved.plain < 4


def test_what_certainly_ends_before_may_go_there():
    lab = lab_of(4)
    lab.offer(m.Ask(cores=3, walltime_s=100.0, priority=0.0))
    assert lab.place() == {"a": [1]}
    large, short, long, unknown = lab.offer(
        m.Ask(cores=4, priority=1.0), m.Ask(walltime_s=90.0), m.Ask(walltime_s=110.0), m.Ask(label="x")
    )
    assert lab.place() == {"a": [short]}
    assert lab.core._filler.reservation.latest_s == 100.0
    lab.at(1.0, beats="a")
    lab.ends("a", 1, short, seconds=1.0)
    assert lab.place() == {"a": [large]}
    lab.ends("a", large, seconds=1.0)
    assert sorted(lab.place()["a"]) == [long, unknown]


def test_the_manager_is_the_one_that_has_room_soonest():
    lab = lab_of(4, 4)
    lab.offer(m.Ask(cores=4, walltime_s=100.0), m.Ask(cores=4, walltime_s=50.0))
    lab.core.special_mean_s = 1000.0
    lab.place()
    lab.offer(m.Ask(cores=4))
    lab.place()
    reservation = lab.core._filler.reservation
    assert (reservation.expected_s, reservation.latest_s) == (50.0, 50.0)


@pytest.mark.parametrize("what", ["lost", "held", "draining", "cancelled", "placed elsewhere"])
def test_a_reservation_ends_when_it_makes_no_sense_any_more(what):
    lab = lab_of(2, 2)
    lab.core.mean_s = 1.0
    lab.offer_plain(4)
    lab.place()
    (large,) = lab.offer(m.Ask(cores=2, priority=1.0))
    lab.place()
    first = lab.core._filler.reservation.manager
    other = "b" if first.name == "a" else "a"
    if what == "lost":
        lab.says(first.name, m.Leaving("it was told to"))
    elif what == "held":
        lab.driver(m.Hold(first.name, True))
    elif what == "draining":
        lab.says(first.name, m.Draining("its time is over"))
    elif what == "cancelled":
        lab.driver(m.Cancel([(large, 1)]))
    else:
        lab.ends(other, *list(lab.core.managers[other].held), seconds=1.0)
    lab.place()
    reservation = lab.core._filler.reservation
    if what in {"cancelled", "placed elsewhere"}:
        assert reservation is None
        assert not first.reserved
    else:
        assert reservation.manager.name == other


def test_one_that_nobody_can_ever_take_holds_up_nobody():
    lab = lab_of(2)
    lab.core.mean_s = 1.0
    lab.offer(m.Ask(cores=64, priority=0.0), m.Ask(gpus=1, priority=0.0))
    lab.offer_plain(2)
    assert lab.place() == {"a": [3, 4]}
    assert lab.core._filler.reservation is None
    assert not lab.core._filler.plain_stopped


def test_a_bulk_of_urgent_tasks_leaves_something_to_others_in_the_end():
    lab = lab_of(1)
    lab.offer(*[m.Ask(priority=1.0)] * 400)
    (late,) = lab.offer(m.Ask(priority=2.0))
    for second in range(400):
        lab.at(float(second), beats="a")
        (task,) = lab.place()["a"]
        if task == late:
            break
        lab.ends("a", task, seconds=1.0)
    assert AGING_S <= second <= 2 * AGING_S + 1


# ------------------------------------------------------------------ near data
def test_a_hint_goes_before_the_policy():
    lab = lab_of(4, 4, 4)
    lab.offer(*[m.Ask(near=("host of b",))] * 3)
    assert counts(lab.place()) == {"b": 3}
    lab.offer(*[m.Ask(near=("c",))] * 2, m.Ask(near=("0",)), m.Ask(near=("nowhere",)))
    assert lab.place()["c"] == [4, 5]


def test_without_room_there_it_goes_anywhere():
    lab = lab_of(1, 4)
    lab.offer(*[m.Ask(near=("a",))] * 3)
    assert counts(lab.place()) == {"a": 1, "b": 2}


def test_it_may_wait_for_room_near_its_data():
    lab = lab_of(1, 4, policy=NearData(wait_s=5.0))
    lab.offer(*[m.Ask(near=("a",))] * 3)
    assert lab.place() == {"a": [1]}
    lab.at(1.0, beats="ab")
    lab.ends("a", 1, seconds=1.0)
    assert lab.place() == {"a": [2]}
    lab.at(5.5, beats="ab")
    assert lab.place() == {"b": [3]}


# ------------------------------------------------------------------ taking back
def long_behind_short(*, name="b"):
    """Short tasks were expected, so that some wait at manager a, whose workers are busy; the other has nothing to do."""
    lab = lab_of(2)
    lab.core.mean_s = 0.005
    tasks = lab.offer_plain(8)
    assert lab.place() == {"a": tasks}
    lab.comes(name, workers=4)
    lab.take()
    return lab, tasks


def test_tasks_that_wait_in_the_wrong_place_are_called_back():
    lab, tasks = long_behind_short()
    assert lab.core.next_tick_s(0.0) <= RETRACT_S
    lab.at(RETRACT_S / 2)
    assert lab.take(m.Recall) == []
    lab.at(RETRACT_S)
    assert lab.only(m.Recall, "a") == m.Recall(4)
    lab.says("a", m.Returned([(task, 1) for task in tasks[-4:]]))
    assert lab.place() == {"b": tasks[-4:]}


def test_one_that_gave_back_gets_nothing_to_wait_before_it_has_delivered():
    lab, tasks = long_behind_short()
    lab.says("a", m.Returned([(task, 1) for task in tasks[2:]]))
    assert lab.place() == {"b": tasks[2:]}
    lab.offer_plain(50)
    assert counts(lab.place()) == {"b": 14}
    lab.ends("a", tasks[0], seconds=0.005)
    assert counts(lab.place())["a"] > 2


def test_a_recall_is_not_repeated_before_it_was_answered():
    lab, _ = long_behind_short()
    lab.at(RETRACT_S)
    assert len(lab.take(m.Recall)) == 1
    lab.at(2 * RETRACT_S)
    assert lab.take(m.Recall) == []
    lab.says("a", m.Returned([]))
    lab.at(4 * RETRACT_S)
    assert len(lab.take(m.Recall)) == 1


def test_a_manager_that_delivers_is_left_alone():
    lab, tasks = long_behind_short()
    lab.now_s = RETRACT_S / 2
    lab.ends("a", tasks[0], seconds=0.005)
    lab.at(RETRACT_S)
    assert lab.take(m.Recall) == []


def test_tasks_are_called_back_for_an_urgent_one_too():
    lab = Lab()
    lab.comes("a", workers=2, prefetch=4)
    lab.core.mean_s = 10.0
    lab.offer_plain(20)
    lab.place()
    lab.offer(m.Ask(priority=1.0))
    lab.place()
    lab.at(RETRACT_S)
    assert lab.only(m.Recall, "a") == m.Recall(1)


def test_the_one_that_is_kept_free_gives_back_what_waits_there():
    lab = Lab()
    lab.comes("a", workers=2, prefetch=4)
    lab.core.mean_s = 10.0
    lab.offer_plain(6)
    lab.place()
    lab.offer(m.Ask(cores=2, priority=1.0))
    lab.core.place(0.0)
    assert lab.only(m.Recall, "a") == m.Recall(4)
