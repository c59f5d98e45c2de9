from __future__ import annotations

import math

import pytest

from plait.errors import InternalConsistencyError
from plait.executors.htex import gangs
from plait.executors.htex import messages as m
from plait.executors.htex.ghosts import KILL_S
from tests.unit.executors.htex.core_lab import Lab, item, register


def cluster(*blocks, workers=2, **more):
    """A lab with managers a1, a2, … in block a, and so on: ``cluster(3, 2)``."""
    lab = Lab(**more)
    for block, count in zip("abcd", blocks, strict=False):
        for number in range(1, count + 1):
            lab.comes(f"{block}{number}", block=block, workers=workers, node=f"{block}-node{number}")
    lab.take()
    return lab


def grant_of(lab, manager):
    """What a manager was sent last."""
    (tasks,) = [message for _, message in lab.take(m.Tasks, manager)]
    return tasks.items[-1][5]


# ------------------------------------------------------------------ placing
def test_a_gang_is_of_one_block_and_its_first_manager_runs_it():
    lab = cluster(2, 3)
    (three,) = lab.offer(m.Ask(nodes=3, ranks=6, ranks_per_node=2, launcher_options="-v"))
    lab.core.place(0.0)
    grant = grant_of(lab, "b1")
    assert grant.hosts == ("b-node1", "b-node2", "b-node3")
    assert grant.members == ("b2", "b3")
    assert (grant.ranks, grant.ranks_per_node, grant.launcher_options) == (6, 2, "-v")
    assert lab.core.placed[three].name == "b1"
    lab.core.check()


def test_the_others_get_nothing_until_it_ends():
    lab = cluster(2, workers=2)
    (gang,) = lab.offer(m.Ask(nodes=2))
    assert lab.place() == {"a1": [gang]}
    plain = lab.offer_plain(3)
    light = lab.offer(m.Ask(walltime_s=1.0))
    assert lab.place() == {}
    lab.ends("a1", gang)
    assert lab.take(m.Sweep) == [("a1", m.Sweep([(gang, 1)])), ("a2", m.Sweep([(gang, 1)]))]
    assert sorted(task for tasks in lab.place().values() for task in tasks) == [*plain, *light]


def test_one_node_is_a_whole_one():
    lab = cluster(1, workers=4)
    (whole,) = lab.offer(m.Ask(nodes=1))
    assert lab.place() == {"a1": [whole]}
    lab.offer_plain(1)
    assert lab.place() == {}
    lab.ends("a1", whole)
    assert lab.place() == {"a1": [2]}


def test_the_smallest_block_that_has_enough_is_taken_and_neighbours_in_it():
    lab = cluster(4, 3)
    lab.offer(m.Ask(nodes=2))
    assert lab.place() == {"b1": [1]}
    lab = Lab()
    for number in (10, 9, 2, 1):
        lab.comes(f"m{number}", node=f"node{number}")
    lab.take()
    lab.offer(m.Ask(nodes=3))
    lab.core.place(0.0)
    assert grant_of(lab, "m1").hosts == ("node1", "node2", "node9")


def test_a_hint_chooses_the_block():
    lab = cluster(2, 4)
    lab.offer(m.Ask(nodes=2, near=("b",)))
    assert list(lab.place()) == ["b1"]


def test_nodes_with_less_walltime_left_or_too_few_cores_take_no_part():
    lab = cluster(0)
    lab.comes("short", node="short", walltime_left_s=10.0)
    lab.comes("small", node="small", cores=2.0)
    lab.comes("long", node="long", cores=8.0, workers=2)
    lab.take()
    lab.offer(m.Ask(nodes=2, walltime_s=60.0))
    assert list(lab.place()) == ["long"]
    lab.offer(m.Ask(nodes=1, cores=9.0))
    assert lab.place() == {}
    lab.offer(m.Ask(nodes=1, ranks_per_node=400))  # ranks may share cores
    assert lab.place() != {}


# ------------------------------------------------------------------ reservation and backfill
def test_a_gang_is_not_starved_by_small_tasks():
    lab = cluster(2, 2, workers=2)
    lab.core.mean_s = 1.0
    lab.offer_plain(20)
    running = {name: list(tasks) for name, tasks in lab.place().items()}
    (gang,) = lab.offer(m.Ask(nodes=2, priority=1.0))
    for _ in range(12):
        lab.offer_plain(4)
        for name, tasks in running.items():
            if tasks:
                lab.ends(name, tasks.pop(0), seconds=1.0)
        for name, tasks in lab.place().items():
            running[name] += tasks
        if gang in lab.core.placed:
            break
    assert gang in lab.core.placed
    assert lab.core._filler.granter.reservation is None


def test_only_its_block_is_kept_free_and_what_surely_ends_before_may_go_there():
    lab = cluster(2, 1)
    lab.offer(*[m.Ask(walltime_s=100.0, priority=0.0)] * 3)
    placed = lab.place()
    a_tasks = {name: tasks for name, tasks in placed.items() if name.startswith("a")}
    assert a_tasks
    (gang,) = lab.offer(m.Ask(nodes=2, priority=1.0))
    lab.place()
    reservation = lab.core._filler.granter.reservation
    assert [each.name for each in reservation.managers] == ["a1", "a2"]
    assert reservation.latest_s == 100.0
    short, long = lab.offer(m.Ask(walltime_s=90.0), m.Ask(walltime_s=120.0))
    (plain,) = lab.offer_plain(1)
    placed = lab.place()
    assert placed["b1"]
    assert long not in [task for name in ("a1", "a2") for task in placed.get(name, [])]
    assert plain not in [task for name in ("a1", "a2") for task in placed.get(name, [])]
    assert short in lab.core.placed
    for manager in list(lab.core.managers.values()):
        if manager.block == "a" and manager.held:
            lab.ends(manager.name, *manager.held, seconds=1.0)
    assert gang in [task for tasks in lab.place().values() for task in tasks]


def test_a_smaller_gang_passes_a_larger_one_where_that_costs_it_nothing():
    lab = cluster(3, 1)
    (first,) = lab.offer(m.Ask(nodes=1, walltime_s=100.0, near=("a",)))
    assert lab.place() == {"a1": [first]}
    large, small = lab.offer(m.Ask(nodes=3), m.Ask(nodes=1, near=("a",)))
    assert lab.place() == {"b1": [small]}
    lab.ends("a1", first)
    assert lab.place() == {"a1": [large]}


@pytest.mark.parametrize("what", ["lost", "held", "cancelled"])
def test_the_reservation_of_a_gang_ends_with_its_reason(what):
    lab = cluster(2)
    lab.core.mean_s = 1.0
    lab.offer_plain(4)
    lab.place()
    (gang,) = lab.offer(m.Ask(nodes=2, priority=1.0))
    lab.place()
    one, other = lab.core._filler.granter.reservation.managers
    if what == "lost":
        lab.says(one.name, m.Leaving("it was told to"))
    elif what == "held":
        lab.driver(m.Hold(one.name, True))
    else:
        lab.driver(m.Cancel([(gang, 1)]))
    lab.place()
    assert lab.core._filler.granter.reservation is None
    assert not other.reserved


def test_one_that_no_block_can_take_holds_up_nobody():
    lab = cluster(1, 1)
    lab.offer(m.Ask(nodes=2, priority=0.0))
    lab.offer_plain(2)
    assert sorted(lab.place()) == ["a1", "b1"]
    assert "2 nodes of one block asked" in lab.core.fits_nowhere(m.Ask(nodes=2), 0.0)
    assert not lab.core.fits_nowhere(m.Ask(nodes=1), 0.0)


def test_a_block_that_grows_takes_it():
    lab = cluster(1)
    lab.offer(m.Ask(nodes=2))
    assert lab.place() == {}
    lab.comes("a2", block="a", node="a-node2")
    assert lab.place() == {"a1": [1]}


# ------------------------------------------------------------------ ends
def test_a_cancelled_gang_keeps_its_nodes_until_it_is_gone():
    lab = cluster(2)
    (gang,) = lab.offer(m.Ask(nodes=2))
    lab.place()
    lab.driver(m.Cancel([(gang, 1)]))
    assert lab.only(m.Cancel, "a1").items == [(gang, 1)]
    lab.offer_plain(1)
    assert lab.place() == {}
    lab.says("a1", m.Returned([(gang, 1)]))
    assert len(lab.place()) == 1


def test_a_gang_waits_until_cancelled_plain_tasks_have_certainly_ended():
    lab = cluster(2)
    (plain,) = lab.offer_plain(1)
    assert lab.place() == {"a1": [plain]}
    lab.driver(m.Cancel([(plain, 1)]))
    (gang,) = lab.offer(m.Ask(nodes=2))
    (light,) = lab.offer(m.Ask(walltime_s=1.0))
    assert lab.place() == {"a1": [light]}, "which ends before, and has a worker of its own"
    lab.ends("a1", light)
    lab.at(KILL_S - 0.1, beats=("a1", "a2"))
    assert lab.place() == {}
    assert lab.core.next_tick_s(lab.now_s) <= KILL_S
    lab.at(KILL_S, beats=("a1", "a2"))
    assert lab.place() == {"a1": [gang]}


def test_a_lost_member_ends_the_attempt_on_the_head_and_is_told_as_a_loss():
    lab = cluster(3)
    (gang,) = lab.offer(m.Ask(nodes=3))
    lab.place()
    lab.says("a2", m.Leaving("it received signal 15"))
    sent = lab.take()
    assert ("a1", m.Cancel([(gang, 1)])) in sent
    (lost,) = [message for conn, message in sent if isinstance(message, m.Lost)]
    assert (lost.manager, lost.announced, lost.items) == ("a2", True, [(gang, 1)])
    assert "it was one of the nodes of task 1, which ran from a-node1" in lost.reason
    lab.driver(m.Offer([item(gang, m.Ask(nodes=2), attempt=2)]))
    assert lab.place() == {}  # the head is still ending the first attempt
    lab.says("a1", m.Returned([(gang, 1)]))
    assert lab.place() == {"a1": [gang]}


def test_a_member_that_is_silent_is_a_loss_that_nobody_announced():
    lab = cluster(2)
    (gang,) = lab.offer(m.Ask(nodes=2))
    lab.place()
    for second in range(1, 10):
        lab.at(float(second), beats=["a1"])
    (lost,) = [message for _, message in lab.take(m.Lost)]
    assert (lost.manager, lost.announced, lost.items) == ("a2", False, [(gang, 1)])
    lab.core.check()


def test_when_the_head_is_lost_the_others_are_free_again_after_a_moment():
    lab = cluster(2)
    (gang,) = lab.offer(m.Ask(nodes=2))
    lab.place()
    lab.says("a1", m.Leaving("it received signal 15"))
    sent = lab.take()
    (lost,) = [message for _, message in sent if isinstance(message, m.Lost)]
    assert lost.items == [(gang, 1)]
    assert [(conn, message) for conn, message in sent if isinstance(message, m.Sweep)] == [("a2", m.Sweep([(gang, 1)]))]
    lab.offer(m.Ask(nodes=1))
    assert lab.place() == {}  # what it had started on the other may not be gone yet
    lab.at(6.5, beats=["a2"])
    assert lab.place() == {"a2": [2]}


def test_a_member_that_drains_ends_after_the_task():
    lab = cluster(2)
    (gang,) = lab.offer(m.Ask(nodes=2))
    lab.place()
    lab.take()
    lab.says("a2", m.Draining("its time is over"))
    assert lab.take(m.Stop) == []
    lab.ends("a1", gang)
    assert [conn for conn, _ in lab.take(m.Stop)] == ["a2"]
    lab.core.check()


def test_a_head_that_gives_it_back_frees_all():
    lab = cluster(2)
    (gang,) = lab.offer(m.Ask(nodes=2))
    lab.place()
    lab.take()
    lab.says("a1", m.Returned([(gang, 1)]))
    assert lab.core.out
    assert not any(isinstance(message, m.Sweep) for _, message, _ in lab.core.out)  # the same attempt is about to begin
    assert lab.place() == {"a1": [gang]}


# ------------------------------------------------------------------ coming back
def test_after_a_restart_the_head_says_who_belongs_to_its_task():
    lab = Lab(expected=["a1", "a2", "a3"])
    lab.driver(m.OfferAgain("a1", [item(1, m.Ask(nodes=2))]))
    lab.comes("a3", node="n3", nth=2)
    lab.driver(m.Offer([item(2, m.Ask(nodes=1))]))
    assert lab.place() == {}  # a3 may belong to a task whose head is not back yet
    lab.comes("a1", node="n1", nth=2, holds=[(1, 1)], gangs=[(1, 1, ["a2"], [])])
    lab.comes("a2", node="n2", nth=2)
    assert lab.core.managers["a2"].lent
    lab.at(6.5, beats=["a1", "a2", "a3"])
    assert lab.place() == {"a3": [2]}
    lab.ends("a1", 1)
    assert not lab.core.managers["a2"].lent
    lab.core.check()


def test_after_a_restart_a_member_that_does_not_come_back_is_a_loss():
    lab = Lab(expected=["a1", "a2"])
    lab.driver(m.OfferAgain("a1", [item(1, m.Ask(nodes=2))]))
    lab.comes("a1", node="n1", nth=2, holds=[(1, 1)], gangs=[(1, 1, ["a2"], [])])
    lab.core.check()
    for second in (2.0, 4.0, 6.0, 8.0, 9.0):
        lab.at(second, beats=["a1"])
    told = [message for _, message in lab.take() if isinstance(message, (m.Lost, m.ManagerGone))]
    assert [type(message) for message in told] == [m.Lost, m.ManagerGone]  # the driver knows yet where it was
    assert (told[0].manager, told[0].items) == ("a2", [(1, 1)])
    assert not lab.core.gangs_wait
    lab.core.check()


# ------------------------------------------------------------------ one manager that gives away the nodes of its block
def given(*nodes, workers=4):
    lab = Lab()
    lab.comes("m", hosts=list(nodes), workers=workers)
    lab.take()
    return lab


def test_a_manager_gives_its_nodes_each_to_one_task():
    lab = given("n1", "n2", "n3")
    two, one, none = lab.offer(m.Ask(nodes=2), m.Ask(nodes=1), m.Ask(nodes=1))
    lab.core.place(0.0)
    (tasks,) = [message for _, message in lab.take(m.Tasks)]
    hosts = {each[0]: each[5].hosts for each in tasks.items}
    assert hosts == {two: ("n1", "n2"), one: ("n3",)}
    lab.ends("m", two)
    lab.core.place(0.0)
    assert grant_of(lab, "m").hosts in {("n1",), ("n2",)}
    assert none in lab.core.placed


def test_more_nodes_than_it_has_are_told_with_the_numbers():
    lab = given("n1", "n2")
    assert "3 nodes asked, its block has 2" in lab.core.fits_nowhere(m.Ask(nodes=3), 0.0)
    lab.offer(m.Ask(nodes=3))
    (one,) = lab.offer(m.Ask(nodes=1))
    assert lab.place() == {"m": [one]}


def test_smaller_ones_pass_a_larger_one_on_nodes_that_it_does_not_need():
    lab = given("n1", "n2", "n3", "n4")
    first, second = lab.offer(m.Ask(nodes=1), m.Ask(nodes=1, label="x"))
    lab.place()
    (large,) = lab.offer(m.Ask(nodes=3))
    lab.place()
    kept = lab.core.managers["m"].kept_hosts
    assert len(kept) == 3
    (small,) = lab.offer(m.Ask(nodes=1, label="y"))
    assert lab.place() == {}  # the two that are free are kept
    lab.ends("m", second)
    placed = lab.place().get("m", [])
    assert placed[0] == large
    lab.ends("m", first)
    assert small in [*placed, *lab.place().get("m", [])]


def test_a_larger_one_is_not_starved_by_smaller_ones():
    lab = given("n1", "n2", "n3", "n4", workers=4)
    running = lab.offer(*[m.Ask(nodes=1)] * 4)
    lab.place()
    (large,) = lab.offer(m.Ask(nodes=3))
    for _ in range(5):
        lab.offer(m.Ask(nodes=1))
        lab.ends("m", running.pop(0))
        running += [task for task in lab.place().get("m", []) if task != large]
        if large in lab.core.placed:
            break
    assert large in lab.core.placed


def test_a_free_node_beside_the_kept_ones_goes_on():
    lab = given("n1", "n2", "n3", workers=3)
    first, second, third = lab.offer(*[m.Ask(nodes=1)] * 3)
    lab.place()
    lab.offer(m.Ask(nodes=2))
    lab.place()
    kept = lab.core.managers["m"].kept_hosts
    assert kept == {0, 1}
    lab.ends("m", third)
    (small,) = lab.offer(m.Ask(nodes=1, label="y"))
    assert lab.place() == {"m": [small]}
    del first, second


def test_after_a_restart_a_manager_says_which_of_its_nodes_are_taken():
    lab = Lab(expected=["m"])
    lab.driver(m.OfferAgain("m", [item(1, m.Ask(nodes=2))]))
    lab.comes("m", hosts=["n1", "n2", "n3"], workers=4, nth=2, holds=[(1, 1)], gangs=[(1, 1, [], [0, 2, 2, 99])])
    assert lab.core.managers["m"].free_hosts == {1}
    lab.core.check()
    lab.ends("m", 1)
    assert lab.core.managers["m"].free_hosts == {0, 1, 2}


# ------------------------------------------------------------------ small parts
def test_names_in_the_order_that_people_expect():
    assert sorted(["n10", "n9", "a2-b10", "a2-b9", "x"], key=gangs.natural) == ["a2-b9", "a2-b10", "n9", "n10", "x"]


def test_none_are_chosen_where_no_block_has_enough():
    assert gangs.choose([], 1, ()) == []
    assert gangs.soonest([], m.Ask(nodes=1), 0.0, 1.0) is None


def test_the_block_that_will_be_empty_first_and_long_enough():
    lab = cluster(2, 2)
    lab.offer(m.Ask(nodes=2, walltime_s=50.0, near=("a",)), m.Ask(nodes=2, walltime_s=90.0, near=("b",)))
    lab.core.special_mean_s = 1000.0
    lab.place()
    managers = list(lab.core.managers.values())
    expected_s, latest_s, chosen = gangs.soonest(managers, m.Ask(nodes=2), 0.0, 1000.0)
    assert (expected_s, latest_s, [each.name for each in chosen]) == (50.0, 50.0, ["a1", "a2"])
    for each in chosen:
        each.ends_s = 60.0
    assert [each.name for each in gangs.soonest(managers, m.Ask(nodes=2, walltime_s=20.0), 0.0, 1000.0)[2]] == [
        "b1",
        "b2",
    ]
    assert managers[0].when_empty(0.0, 1.0) == managers[1].when_empty(0.0, 1.0)


def test_what_is_not_known_takes_for_ever():
    lab = Lab(expected=["a"])
    lab.core.from_manager("a", register("a", nth=2, holds=[(5, 1)]), b"", 0.0)
    assert lab.core.managers["a"].when_empty(0.0, 1.0) == (math.inf, math.inf)


def running_gang():
    lab = cluster(2, 1)
    lab.offer(m.Ask(nodes=2))
    lab.place()
    return lab


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda head, member, other: setattr(member, "lent", 0), "wrong about being lent"),
        (lambda head, member, other: head.gang.members.append(other), "3 managers for a task over 2"),
        (lambda head, member, other: other.join(head.gang), "kept for a gang without it"),
        (lambda head, member, other: setattr(other, "lent", 1), "lent to nobody"),
        (lambda head, member, other: setattr(member, "aside", False), "wrong about being set aside"),
        (lambda head, member, other: setattr(member, "slots", 1), "has slots"),
        (lambda head, member, other: setattr(head.granted[1], "gang", None), "has no nodes"),
        (
            lambda head, member, other: setattr(head.granted[1], "hosts", (0, 1)),
            "gave nodes that it does not have",
        ),
        (lambda head, member, other: head.gang.missing.add("x"), "3 managers for a task over 2 nodes"),
        (lambda head, member, other: setattr(other, "kept_hosts", frozenset({1})), "keeps nodes for nobody"),
    ],
)
def test_the_invariants_see_what_is_wrong(spoil, text):
    lab = running_gang()
    lab.core.check()
    spoil(*(lab.core.managers[name] for name in ("a1", "a2", "b1")))
    with pytest.raises(InternalConsistencyError, match=text):
        lab.core.check()
