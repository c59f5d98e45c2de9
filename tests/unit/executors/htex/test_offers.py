"""The driver's table of what it has given away."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.executors.htex import offers as module
from plait.executors.htex.messages import Ask
from plait.executors.htex.offers import Offers, ask_of, batches
from plait.model.task import CANCELLED, LAUNCHED
from tests.interrupts import Interrupt
from tests.unit.executors.htex.helpers import make_task


@pytest.fixture
def offers():
    return Offers(lambda _: 5)


def fill(offers, *tasks):
    offers.queue.extend(tasks)
    return offers.next_batch()


def test_a_plain_task_is_offered_with_its_function_and_payload(offers):
    task = make_task(3, "x", attempt=2)
    assert fill(offers, task) == [(3, 2, 5, task.payload, None, None)]
    assert offers.held == {3: task}
    assert (offers.waiting_bytes, offers.queued) == (len(task.payload), 1)
    assert offers.next_batch() == []


def test_a_big_one_with_the_sizes_of_its_segments(offers):
    task = make_task(3, b"x" * 200_000)
    ((_, _, _, payload, sizes, _),) = fill(offers, task)
    assert payload == b""
    assert sizes == task.payload.sizes
    assert offers.waiting_bytes == 0
    task.payload.close()


def test_one_that_was_cancelled_meanwhile_is_not(offers):
    tasks = [make_task(n, n) for n in range(3)]
    tasks[1].state, tasks[1].payload = CANCELLED, None
    assert [item[0] for item in fill(offers, *tasks)] == [0, 2]


def test_those_that_ask_for_something_come_first_in_the_order_of_priorities(offers):
    offers.queue.append(make_task(0, 0))
    for number, priority in ((1, None), (2, 5.0), (3, 1.0)):
        offers.add_special(make_task(number, number, cores=2.0, priority=priority))
    assert [item[0] for item in offers.next_batch()] == [3, 2, 1, 0]


def test_what_a_task_asks_for():
    assert ask_of(make_task(0)) is None
    task = make_task(
        0,
        walltime_s=9.0,
        cores=2.0,
        memory_bytes=3,
        gpus=0.5,
        priority=4.0,
        disk_bytes=5,
        labels=("a", "b"),
        near=("n1",),
    )
    assert ask_of(task) == Ask(2.0, 3, 0.5, 5, 9.0, 4.0, "a,b", ("n1",))
    assert ask_of(make_task(0, walltime_s=9.0)) == Ask(walltime_s=9.0)


def test_the_window_bounds_what_has_no_place(offers, monkeypatch):
    monkeypatch.setattr(module, "WINDOW_TASKS", 10)
    tasks = [make_task(number, number) for number in range(25)]
    assert len(fill(offers, *tasks)) == 10
    assert offers.next_batch() == []
    assert not offers.has_next()
    offers.placed("m", [(number, 1) for number in range(4)])
    assert [item[0] for item in offers.next_batch()] == [10, 11, 12, 13]
    assert offers.take(5, 1)
    assert len(offers.next_batch()) == 1


def test_the_window_bounds_bytes_too(offers, monkeypatch):
    monkeypatch.setattr(module, "WINDOW_BYTES", 5000)
    monkeypatch.setattr(module, "BATCH_BYTES", 2000)
    offers.queue.extend(make_task(number, b"x" * 1000) for number in range(20))
    assert [len(offers.next_batch()) for _ in range(4)] == [2, 2, 1, 0][:4] or offers.waiting_bytes < 7000
    assert offers.next_batch() == []


def test_a_place_and_its_count(offers):
    fill(offers, *[make_task(number, number) for number in range(3)])
    offers.placed("a", [(0, 1), (1, 1), (9, 1)])
    assert offers.places == {0: "a", 1: "a"}
    offers.placed("b", [(1, 1)])  # it was given back
    assert offers.counts == {"a": 1, "b": 1}
    assert offers.take(1, 1)
    assert offers.counts == {"a": 1, "b": 0}
    offers.forget("b")
    offers.forget("a")
    assert offers.counts == {"a": 1}


def test_what_came_back_from_a_manager_has_no_place(offers):
    tasks = [make_task(number, number) for number in range(3)]
    fill(offers, *tasks)
    offers.placed("a", [(0, 1), (1, 1)])
    tasks[1].payload = None  # it is just being cancelled
    offers.placed("", [(0, 1), (0, 1), (1, 1), (2, 1), (9, 1)])
    assert offers.places == {}
    assert offers.counts == {"a": 0}
    assert set(offers.unplaced) == {0, 1, 2}
    assert offers.waiting_bytes == len(tasks[0].payload) + len(tasks[2].payload)
    offers.placed("a", [(0, 1)])
    offers.placed("", [(0, 2)])  # of another attempt
    assert offers.places == {0: "a"}


def test_only_the_attempt_that_is_held_can_come_back(offers):
    task = make_task(0, attempt=2)
    fill(offers, task)
    assert offers.take(0, 1) is None
    assert offers.take(0, 2) is task
    assert offers.take(0, 2) is None


def test_after_a_loss_of_the_interchange(offers):
    """What has a place waits for that manager; the rest is queued, before what was never offered."""
    tasks = [make_task(number, number) for number in range(4)]
    special = make_task(4, 4, cores=2.0)
    offers.add_special(special)
    fill(offers, *tasks)
    offers.queue.append(make_task(5, 5))
    offers.placed("a", [(0, 1)])
    offers.placed("gone", [(1, 1)])
    tasks[3].state, tasks[3].payload = CANCELLED, None

    placed, rest = offers.again({"a"})

    assert [item[0] for item in placed["a"]] == [0]
    assert offers.places == {0: "a"}
    assert sorted(task.id for task in rest) == [1, 2, 3, 4]
    assert [item[0] for item in offers.next_batch()] == [4, 1, 2, 5]
    assert set(offers.held) == {0, 1, 2, 4, 5}


def test_a_ctrl_c_while_tasks_are_offered_loses_none_and_doubles_none():
    """The call of a user's thread that offers may be interrupted; then the interchange is started anew."""
    place, come = 0, True
    while come:
        place += 1
        offers = Offers(lambda _: 5)
        tasks = [make_task(n, n) for n in range(3)] + [make_task(n, n, cores=2.0) for n in range(3, 6)]
        tasks[1].state, tasks[1].payload = CANCELLED, None
        offers.queue.extend(tasks[:3])
        for task in tasks[3:]:
            offers.add_special(task)
        with Interrupt(place, Offers.next_batch, Offers.offer) as interrupt, contextlib.suppress(KeyboardInterrupt):
            offers.next_batch()
        come = interrupt.came
        offers.take(2, 1)  # cancelled just then
        offers.again(set())
        left = [task.id for task in offers.queue if task.state == LAUNCHED] + [entry[3].id for entry in offers.special]
        assert sorted(set(left) - {2}) == [0, 3, 4, 5], place
        assert len(set(left)) == len(left), place
        assert (offers.held, offers.unplaced, offers.waiting_bytes) == ({}, {}, 0)
    assert place > 8


def test_messages_are_of_bounded_size(monkeypatch):
    monkeypatch.setattr(module, "BATCH_TASKS", 3)
    monkeypatch.setattr(module, "BATCH_BYTES", 100)
    items = [(number, 1, 0, b"x" * (60 if number == 3 else 1), None, None) for number in range(8)]
    found = list(batches(items))
    assert [item for batch in found for item in batch] == items
    assert max(map(len, found)) == 3
    assert list(batches([])) == []


@given(st.lists(st.sampled_from(["queue", "offer", "place", "take", "cancel", "again"]), max_size=60), st.randoms())
def test_sums_are_right_whatever_happens(steps, random):
    offers = Offers(lambda _: 0)
    number = 0
    for step in steps:
        if step == "queue":
            task = make_task(number, "x" * random.randrange(50))
            number += 1
            offers.queue.append(task)
        elif step == "offer":
            offers.next_batch()
        elif step == "place" and offers.held:
            offers.placed(random.choice(["a", "b", ""]), [(random.choice(list(offers.held)), 1), (999, 1)])
        elif step == "take" and offers.held:
            offers.take(random.choice(list(offers.held)), 1)
        elif step == "cancel" and offers.held:
            task = offers.held[random.choice(list(offers.held))]
            task.state, task.payload = CANCELLED, None
            if random.random() < 0.5:
                offers.take(task.id, 1)
        elif step == "again":
            offers.again({"a"})
        assert offers.waiting_bytes == sum(offers.unplaced.values()) >= 0
        assert offers.unplaced.keys() | offers.places.keys() == offers.held.keys()
        assert not offers.unplaced.keys() & offers.places.keys()
        assert sum(offers.counts.values()) == len(offers.places)
    assert all(task.state in {LAUNCHED, CANCELLED} for task in offers.held.values())
