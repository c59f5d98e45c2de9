from __future__ import annotations

import random

import pytest

from plait.executors.htex.nodes import ManagerState
from plait.executors.htex.placement import (
    BlockByBlock,
    FewestFree,
    NearData,
    Pack,
    PlacementPolicy,
    Random,
    Ranking,
    Selected,
    Spread,
    as_policy,
)
from tests.unit.executors.htex.core_lab import item, register


def manager(name, busy=0, workers=4, block="0"):
    made = ManagerState(register(name, workers=workers, block=block), name, 0.0)
    load(made, busy)
    return made


def load(made, busy):
    made.held = {task: item(task) for task in range(busy)}


def ranking_of(policy, *managers):
    ranking = Ranking(policy)
    for each in managers:
        ranking.update(each)
    return ranking


def taken(ranking):
    found = []
    while one := ranking.take():
        found.append(one.name)
    return "".join(found)


ABC = [("a", 2), ("b", 0), ("c", 3), ("d", 4)]  # d has no free worker


@pytest.mark.parametrize(
    ("policy", "order"), [(Spread(), "bac"), (FewestFree(), "cab"), (Pack(), "cab"), (BlockByBlock(), "bac")]
)
def test_the_order_of_policies(policy, order):
    assert taken(ranking_of(policy, *[manager(name, busy) for name, busy in ABC])) == order


def test_packing_fills_the_first_block_first():
    managers = [
        manager("a", 3, block="10"),
        manager("b", 0, block="9"),
        manager("c", 1, block="9"),
        manager("d", block="x"),
    ]
    assert taken(ranking_of(Pack(), *managers)) == "cbad"
    assert taken(ranking_of(BlockByBlock(), *managers)) == "bcad"


def test_random_is_the_same_for_the_same_seed_and_takes_everybody():
    def names(seed):
        return taken(ranking_of(Random(seed), *[manager(name) for name in "abcdefgh"]))

    assert names(1) == names(1)
    assert len({names(seed) for seed in range(20)}) > 10
    assert sorted(names(2)) == list("abcdefgh")


def test_near_data_leaves_the_rest_to_another_policy():
    policy = NearData(FewestFree(), wait_s=3.0)
    assert (policy.near_wait_s, policy.fills) == (3.0, True)
    assert taken(ranking_of(policy, *[manager(name, busy) for name, busy in ABC])) == "cab"
    assert NearData().fills is False


class ByBlock:
    """A selector as users of Parsl write them."""

    def sort_managers(self, ready_managers, manager_list):
        self.seen = ready_managers
        return sorted(manager_list, key=lambda name: ready_managers[name]["block_id"])


def test_selectors_written_for_parsl_are_policies():
    selector = ByBlock()
    policy = as_policy(selector)
    assert isinstance(policy, PlacementPolicy)
    managers = [manager("a", 1, block="2"), manager("b", block="1"), manager("c", block="3")]
    assert taken(ranking_of(policy, *managers)) == "bac"
    record = selector.seen["a"]
    assert (record["worker_count"], record["tasks"], record["active"], record["draining"]) == (4, [0], True, False)


def test_a_selector_may_leave_managers_out():
    class Only:
        def sort_managers(self, ready_managers, manager_list):
            return ["b", "nobody"]

    assert taken(ranking_of(Selected(Only()), manager("a"), manager("b"))) == "b"


def test_a_selector_that_names_nobody_is_an_error():
    class Bytes:
        def sort_managers(self, ready_managers, manager_list):
            return [name.encode() for name in sorted(manager_list)]

    with pytest.raises(ValueError, match=r"sort_managers named b'a', .* such as 'a'"):
        ranking_of(Selected(Bytes()), manager("a"), manager("b")).take()


def test_what_is_a_policy():
    assert isinstance(as_policy(None), Spread)
    mine = Pack()
    assert as_policy(mine) is mine
    with pytest.raises(TypeError, match="no placement policy"):
        as_policy(object())
    with pytest.raises(TypeError, match="call it: write its name with parentheses"):
        as_policy(Pack)


class Uneven:
    """Ranks that cannot be compared."""

    def rank(self, manager):
        return manager.name if manager.name == "b" else 1


class Wrong:
    def rank(self, manager):
        raise RuntimeError("no idea")


class Lost:
    def sort_managers(self, ready_managers, manager_list):
        return [ready_managers["nobody"]]


@pytest.mark.parametrize("policy", [Uneven(), Wrong(), Selected(Lost())], ids=lambda policy: type(policy).__name__)
def test_a_policy_that_fails_is_replaced_by_the_default_once_it_was_told(policy):
    errors = []
    ranking = Ranking(policy, errors.append)
    managers = [manager(name, busy) for name, busy in ABC]
    for each in managers:
        ranking.update(each)
    assert ranking.best(managers[:3]).name == "b"
    assert taken(ranking) == "bac"
    assert len(errors) == 1
    for each in managers:
        ranking.update(each)
    assert taken(ranking) == "bac"


def test_without_anybody_to_tell_its_error_is_raised():
    with pytest.raises(RuntimeError, match="no idea"):
        ranking_of(Wrong(), manager("a")).take()
    ranking = Ranking(Spread(), lambda error: None)
    ranking.give_up(RuntimeError("the first"))
    with pytest.raises(RuntimeError, match="the second"):
        ranking.give_up(RuntimeError("the second"))


def test_managers_are_ranked_when_somebody_is_taken():
    asked = []

    class Asked(Spread):
        def rank(self, manager):
            asked.append(manager.name)
            return super().rank(manager)

    a, b, c = managers = [manager(name) for name in "abc"]
    ranking = ranking_of(Asked(), *managers)
    for each in (a, b, b, b):
        ranking.update(each)
    c.gone = True
    ranking.update(c)
    assert asked == []  # while nobody is taken, changes cost nothing
    assert taken(ranking) == "ab"
    assert asked == ["a", "b"]


@pytest.mark.parametrize("policy", [Spread(), Selected(ByBlock())])
def test_who_is_taken_comes_back_with_an_update(policy):
    a, b = manager("a", block="1"), manager("b", 1, block="2")
    ranking = ranking_of(policy, a, b)
    assert ranking.take() is a
    assert len(ranking) == 1
    load(a, 2)
    ranking.update(a)
    assert taken(ranking) == ("ba" if isinstance(policy, Spread) else "ab")


def test_who_may_get_nothing_is_not_ranked():
    a, b, c, d = (manager(name) for name in "abcd")
    ranking = ranking_of(Spread(), a, b, c, d)
    a.draining = "it is idle"
    b.on_hold = True
    c.reserve(on=True)
    load(d, 4)
    for each in (a, b, c, d):
        ranking.update(each)
    assert taken(ranking) == ""
    assert len(ranking) == 0


def test_the_heap_stays_small_however_often_managers_change():
    managers = [manager(str(number)) for number in range(20)]
    ranking = ranking_of(Spread(), *managers)
    for _ in range(5000):
        one = random.choice(managers)
        load(one, random.randrange(4))
        ranking.update(one)
    assert len(ranking._heap) <= 4 * 20 + 65
    loads = [ranking.take().load for _ in managers]
    assert loads == sorted(loads)


@pytest.mark.parametrize("policy", [Spread(), Pack(), Selected(ByBlock())])
def test_the_best_of_a_few(policy):
    a, b = manager("a", 2, block="1"), manager("b", 1, block="2")
    ranking = Ranking(policy)
    assert ranking.best([]) is None
    assert ranking.best([b]) is b
    assert ranking.best([a, b]) is (b if isinstance(policy, Spread) else a)
