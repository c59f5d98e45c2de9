from __future__ import annotations

import pytest

from plait.executors.htex.messages import Ask
from plait.simulate.description import described


def source(seed=0, **bags):
    return described({"bag": bags}).source(seed)


def run(made, fails=frozenset()):
    """Takes and ends everything, one after another; the numbers in order."""
    order, now_s = [], 0.0
    while True:
        works = [work for number in set(made.classes.values()) for work in made.take(number, 1, now_s)]
        if not works:
            later_s = made.next_s(now_s)
            if later_s is None:
                return order
            now_s = later_s
        for number, load, _ in works:
            order.append(number)
            made.ended(number, load, ok=number not in fails)


def test_tasks_of_a_bag_come_in_order_and_share_what_is_equal():
    made = source(work={"tasks": 5, "duration": "2m", "input": "1kB"})
    assert (made.total, made.kinds, made.classes, made.waiting(0.0)) == (5, ["work"], {None: 0}, 5)
    first = made.take(0, 2, 0.0)
    rest = made.take(0, 10, 0.0)
    assert [number for number, _, _ in first + rest] == [0, 1, 2, 3, 4]
    loads = {id(load) for _, load, _ in first + rest}
    assert len(loads) == 1
    assert (first[0][1].duration_s, len(first[0][1]), first[0][2]) == (120.0, 1000, None)
    assert made.waiting(0.0) == 0


def test_durations_depend_on_the_seed_and_not_on_the_order_of_asking():
    bags = {
        "a": {"tasks": 3, "duration": "exponential:10"},
        "b": {"tasks": 3, "duration": "exponential:10", "priority": 1},
    }
    one, other = source(7, **bags), source(7, **bags)
    forward = {work[0]: work[1].duration_s for number in (0, 1) for work in one.take(number, 9, 0.0)}
    backward = {work[0]: work[1].duration_s for number in (1, 0) for work in other.take(number, 9, 0.0)}
    assert forward == backward
    assert forward != {
        work[0]: work[1].duration_s for number in (0, 1) for work in source(8, **bags).take(number, 9, 0.0)
    }


def test_asks_and_classes():
    made = source(
        small={"tasks": 1, "duration": 1},
        big={"tasks": 1, "duration": 1, "cores": 4, "memory": "2GB", "walltime": "1m"},
        urgent={"tasks": 1, "duration": 1, "priority": 1, "label": "x", "near": "node1"},
    )
    big = Ask(cores=4.0, memory_bytes=2 * 10**9, walltime_s=60.0)
    urgent = Ask(priority=1.0, label="x", near=("node1",))
    assert made.classes == {None: 0, big: 0, urgent: 1}
    assert [ask for _, _, ask in made.take(0, 9, 0.0)] == [None, big]
    assert made.take(1, 9, 0.0)[0][2] == urgent


def test_a_bag_after_another_waits_for_the_whole_of_it():
    made = source(a={"tasks": 2, "duration": 1}, b={"tasks": 2, "duration": 1, "after": "a"})
    (first, second) = made.take(0, 9, 0.0)
    made.ended(*first[:2], ok=True)
    assert made.take(0, 9, 0.0) == []
    made.ended(*second[:2], ok=True)
    assert made.waiting(0.0) == 2
    assert [work[0] for work in made.take(0, 9, 0.0)] == [2, 3]


@pytest.mark.parametrize(("many", "few"), [(4, 4), (6, 2), (7, 3), (2, 6), (3, 7)])
def test_each_task_waits_for_its_own(many, few):
    made = source(a={"tasks": many, "duration": 1}, b={"tasks": few, "duration": 1, "each": "a"})
    ended, came = set(), {}
    for work in made.take(0, many, 0.0):
        made.ended(*work[:2], ok=True)
        ended.add(work[0])
        for follower in made.take(0, 99, 0.0):
            came[follower[0] - many] = set(ended)
    assert sorted(came) == list(range(few))
    for place, before in came.items():
        needs = {i for i in range(many) if i * few // many == place} if many >= few else {place * many // few}
        assert needs <= before


def test_chains_and_layers():
    chains = source(a={"tasks": 2, "duration": 1, "chain": 3})
    assert (chains.total, chains.kinds) == (6, ["a"])
    (first, _) = chains.take(0, 9, 0.0)
    chains.ended(*first[:2], ok=True)
    assert [work[0] for work in chains.take(0, 9, 0.0)] == [2]
    layers = source(a={"tasks": 2, "duration": 1, "layers": 3}, b={"tasks": 1, "duration": 1, "after": "a"})
    assert run(layers) == [0, 1, 2, 3, 4, 5, 6]


def test_submissions_in_time():
    made = source(a={"tasks": 3, "duration": 1, "every": 2, "start": 1})
    assert made.take(0, 9, 0.5) == []
    assert made.next_s(0.5) == 1.0
    assert len(made.take(0, 9, 1.0)) == 1
    assert made.waiting(5.0) == 2
    assert made.next_s(5.0) is None
    assert len(made.take(0, 9, 5.0)) == 2


def test_what_needs_a_failed_task_is_skipped():
    made = source(
        a={"tasks": 4, "duration": 1},
        b={"tasks": 4, "duration": 1, "each": "a"},
        c={"tasks": 2, "duration": 1, "each": "b"},
        d={"tasks": 5, "duration": 1, "after": "c"},
    )
    assert sorted(run(made, fails={0})) == [0, 1, 2, 3, 5, 6, 7, 9]
    assert made.skipped == 1 + 1 + 5


def test_both_kinds_of_waiting():
    made = source(
        a={"tasks": 2, "duration": 1},
        b={"tasks": 1, "duration": 1},
        c={"tasks": 2, "duration": 1, "each": "a", "after": "b"},
    )
    one, two, barrier = made.take(0, 9, 0.0)
    made.ended(*one[:2], ok=True)
    assert made.take(0, 9, 0.0) == []
    made.ended(*barrier[:2], ok=False)
    assert made.skipped == 1
    made.ended(*two[:2], ok=True)
    assert (made.skipped, made.take(0, 9, 0.0)) == (2, [])
