from __future__ import annotations

from collections import deque

import pytest

from plait.executors.htex import messages as m
from plait.executors.htex.placement import NearData
from plait.executors.htex.queue import AGING_S
from tests.unit.executors.htex.core_lab import PLAIN, Lab, counts, lab_of


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
    assert lab.core._filler.granter.plain_stopped
    lab.ends("b", *rest[:-1], seconds=0.001)
    assert lab.place()["b"][0] == urgent


def test_a_selector_that_leaves_a_manager_out_is_asked_again():
    class Without:
        names = frozenset({"a", "b"})

        def sort_managers(self, ready_managers, manager_list):
            return sorted(manager_list - self.names)

    selector = Without()
    lab = lab_of(2, 2, policy=selector)
    (task,) = lab.offer(m.Ask(priority=1.0))
    assert lab.place() == {}
    selector.names = {"a"}
    lab.at(1.0)
    assert lab.place() == {"b": [task]}


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
    assert lab.core._filler.granter.reservation is None


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
    reserved = lab.core._filler.granter.reservation.manager
    assert reserved.plain < 4


def test_what_certainly_ends_before_may_go_there():
    lab = lab_of(4)
    lab.offer(m.Ask(cores=3, walltime_s=100.0, priority=0.0))
    assert lab.place() == {"a": [1]}
    large, short, long, unknown = lab.offer(
        m.Ask(cores=4, priority=1.0), m.Ask(walltime_s=90.0), m.Ask(walltime_s=110.0), m.Ask(label="x")
    )
    assert lab.place() == {"a": [short]}
    assert lab.core._filler.granter.reservation.latest_s == 100.0
    lab.at(1.0, beats="a")
    lab.ends("a", 1, short, seconds=1.0)
    assert lab.place() == {"a": [large]}
    lab.ends("a", large, seconds=1.0)
    assert sorted(lab.place()["a"]) == [long, unknown]


@pytest.mark.parametrize("ask", [m.Ask(walltime_s=110.0), m.Ask(label="x"), m.Ask(priority=1.0), PLAIN])
def test_what_may_not_end_before_may_not_go_there(ask):
    lab = lab_of(4)
    lab.core.special_mean_s = lab.core.mean_s = 0.1  # whatever is to be expected
    lab.offer(m.Ask(cores=3, walltime_s=100.0, priority=0.0))
    assert lab.place() == {"a": [1]}
    lab.offer(m.Ask(cores=4, priority=0.5), ask)
    assert lab.place() == {}
    lab.at(1.0, beats="a")
    assert lab.place() == {}


def test_the_manager_is_the_one_that_has_room_soonest():
    lab = lab_of(4, 4)
    lab.offer(m.Ask(cores=4, walltime_s=100.0), m.Ask(cores=4, walltime_s=50.0))
    lab.core.special_mean_s = 1000.0
    lab.place()
    lab.offer(m.Ask(cores=4))
    lab.place()
    reservation = lab.core._filler.granter.reservation
    assert (reservation.expected_s, reservation.latest_s) == (50.0, 50.0)


@pytest.mark.parametrize("what", ["lost", "held", "draining", "cancelled", "placed elsewhere"])
def test_a_reservation_ends_when_it_makes_no_sense_any_more(what):
    lab = lab_of(2, 2)
    lab.core.mean_s = 1.0
    lab.offer_plain(4)
    lab.place()
    (large,) = lab.offer(m.Ask(cores=2, priority=1.0))
    lab.place()
    first = lab.core._filler.granter.reservation.manager
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
    reservation = lab.core._filler.granter.reservation
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
    assert lab.core._filler.granter.reservation is None
    assert not lab.core._filler.granter.plain_stopped


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


class FailsLater:
    """Ranks that cannot be compared, from the first task on."""

    def rank(self, manager):
        return str(manager.load) if manager.load else manager.name == "a"


def test_a_policy_that_fails_in_the_middle_is_done_without():
    lab = Lab(policy=FailsLater(), forgiving=True)
    for name in "ab":
        lab.comes(name, workers=4)
    lab.take()
    lab.offer(*[m.Ask(cores=2)] * 3, *[m.Ask(cores=1)] * 2)
    lab.core.place(0.0)
    lab.core.check()
    sent = lab.take()
    assert sum(len(message.items) for _, message in sent if isinstance(message, m.Tasks)) == 5
    (warning,) = [message.text for _, message in sent if isinstance(message, m.Warn)]
    assert "manager_selector failed (TypeError" in warning


def test_it_may_wait_for_room_near_its_data():
    lab = lab_of(1, 4, policy=NearData(wait_s=5.0))
    lab.offer(*[m.Ask(near=("a",))] * 3)
    assert lab.place() == {"a": [1]}
    lab.at(1.0, beats="ab")
    lab.ends("a", 1, seconds=1.0)
    assert lab.place() == {"a": [2]}
    lab.at(5.5, beats="ab")
    assert lab.place() == {"b": [3]}
