from __future__ import annotations

import tracemalloc

import pytest

from plait.executors.htex import messages as m
from plait.executors.htex import wire
from plait.executors.htex.queue import AGING_S, Lanes, PlainQueue
from tests.unit.executors.htex.core_lab import Lab, item

MANY_BYTES = 10**9


def plain(*tasks):
    queue = PlainQueue()
    queue.tasks.extend(item(task) for task in tasks)
    return queue


def taken(queue, count=100):
    return [each[0] for each in queue.take(count, MANY_BYTES)]


# ------------------------------------------------------------------ plain
def test_plain_tasks_go_in_order():
    queue = plain(1, 2, 3, 4)
    assert taken(queue, 2) == [1, 2]
    queue.put_back([item(1), item(2)])
    assert taken(queue) == [1, 2, 3, 4]


def test_a_batch_is_bounded_by_bytes_too():
    queue = PlainQueue()
    queue.tasks.extend(item(task, payload=b"x" * 100) for task in range(10))
    assert len(queue.take(10, 250)) == 3
    assert len(queue.take(10, 1)) == 1


def test_segments_count_as_bytes():
    queue = PlainQueue()
    queue.tasks.extend((task, 1, 7, b"", [1000, 1000], None) for task in range(4))
    assert len(queue.take(4, 1500)) == 1


def test_cancelled_tasks_are_not_taken():
    queue = plain(1, 2, 3)
    queue.cancel((1, 1))
    queue.cancel((3, 1))
    queue.cancel((2, 9))  # another attempt
    assert queue.attempts() == {(2, 1)}
    assert taken(queue) == [2]


def test_a_cancelled_task_comes_again_as_another_attempt():
    queue = plain(1)
    queue.cancel((1, 1))
    queue.tasks.append(item(1, attempt=2))
    assert queue.take(9, MANY_BYTES) == [item(1, attempt=2)]


def test_the_names_of_cancelled_tasks_do_not_pile_up():
    queue = plain(*range(10_000))
    for task in range(20_000):
        queue.cancel((task, 1))
    assert len(queue) < 10_000
    assert len(queue._cancelled) <= 5000
    assert taken(queue) == []
    queue.cancel((1, 1))
    assert not queue._cancelled


def test_a_queued_task_costs_less_than_a_kilobyte():
    lab = Lab()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for first in range(0, 20_480, 512):
            offer = m.Offer([item(first + number, payload=b"x" * 150) for number in range(512)])
            lab.driver(wire.decode(wire.encode(offer), m.FROM_DRIVER))
        del offer
        assert (tracemalloc.get_traced_memory()[0] - before) / 20_480 < 400
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------ lanes
def order(lanes, now_s=0.0):
    """The tasks in the order in which they would be placed, each costing a core second."""
    found = []
    while best := lanes.best(now_s, set()):
        lane = best[1]
        lanes.charge(lane.ask.label, lane.ask.cores)
        found.append(lanes.pop(lane, now_s)[0])
    return found


def lanes_of(*asks, now_s=0.0):
    lanes = Lanes()
    for number, ask in enumerate(asks, 1):
        lanes.add(item(number, ask), ask, now_s)
    return lanes


def test_lower_priorities_go_first_and_none_goes_last():
    asks = [m.Ask(), m.Ask(priority=5.0), m.Ask(priority=-1.0), m.Ask(priority=5.0), m.Ask(priority=1e9)]
    assert order(lanes_of(*asks)) == [3, 2, 4, 5, 1]


def test_equals_go_in_the_order_of_submission_whatever_they_ask_for():
    assert order(lanes_of(m.Ask(cores=2), m.Ask(gpus=1), m.Ask(cores=2), m.Ask(memory_bytes=1))) == [1, 2, 3, 4]


def test_what_comes_back_is_next():
    lanes = lanes_of(m.Ask(cores=2), m.Ask(cores=2))
    first = lanes.pop(lanes.best(0.0, set())[1], 0.0)
    lanes.add(first, first[5], 1.0, front=True)
    assert order(lanes) == [1, 2]


def test_labels_share_by_what_they_used():
    asks = [m.Ask(label="a")] * 4 + [m.Ask(label="b", cores=2)] * 4
    # b uses twice as much for each of its tasks, so it gets half as many turns
    assert order(lanes_of(*asks)) == [1, 5, 2, 3, 6, 4, 7, 8]


def test_a_label_saves_nothing_up_while_it_has_nothing_to_do():
    lanes = lanes_of(*[m.Ask(label="a")] * 8)
    for _ in range(4):
        lanes.charge("a", 100.0)
        lanes.pop(lanes.best(0.0, set())[1], 0.0)
    for number in range(11, 15):
        lanes.add(item(number, m.Ask(label="b")), m.Ask(label="b"), 0.0)
    assert order(lanes) == [5, 11, 6, 12, 7, 13, 8, 14]


def test_a_label_that_comes_alone_after_another_begins_where_that_was():
    lanes = lanes_of(m.Ask(label="a"))
    lanes.charge("a", 100.0)
    lanes.pop(lanes.best(0.0, set())[1], 0.0)
    lanes.add(item(2, m.Ask(label="b")), m.Ask(label="b"), 0.0)
    assert lanes.served["b"] == 100.0


def test_plain_tasks_share_with_labels():
    lanes = lanes_of(m.Ask(label="b"))
    lanes.charge("", 50.0)
    lanes.plain_begins(0.0)
    assert lanes.plain_key(0.0, 9) > lanes.key(lanes.best(0.0, set())[1], 0.0)
    lanes.charge("b", 60.0)
    assert lanes.plain_key(0.0, 9) < lanes.key(lanes.best(0.0, set())[1], 0.0)


def test_who_gets_nothing_rises_until_it_does():
    lanes = lanes_of(m.Ask(priority=1.0), m.Ask(priority=2.0), m.Ask(priority=3.0))
    urgent, _, late = lanes.lanes.values()
    now_s = 0.0
    number = 100
    for _ in range(3):  # urgent tasks keep coming, and are served
        now_s += AGING_S
        number += 1
        lanes.add(item(number, m.Ask(priority=1.0)), m.Ask(priority=1.0), now_s)
        assert urgent is lanes.lanes[m.Ask(priority=1.0)]
        if lanes.best(now_s, set())[1] is not urgent:
            break
        lanes.pop(urgent, now_s)
    assert now_s == 2 * AGING_S  # one step for each better priority; then it is even, and older
    assert lanes.best(now_s, set())[1].ask.priority == 2.0
    lanes.pop(lanes.best(now_s, set())[1], now_s)
    assert lanes.best(now_s, set())[1] is late


def test_the_unit_of_priorities_does_not_matter_for_aging():
    lanes = lanes_of(m.Ask(priority=0.0), m.Ask(priority=1e6))
    lanes.lanes[m.Ask(priority=0.0)].served_s = 2 * AGING_S
    assert order(lanes, 2 * AGING_S)[0] == 2


def test_one_that_is_served_does_not_rise():
    lanes = lanes_of(*[m.Ask(priority=1.0)] * 2, *[m.Ask(priority=2.0)] * 9)
    bulk = lanes.lanes[m.Ask(priority=2.0)]
    bulk.served_s = 5 * AGING_S
    lanes.lanes[m.Ask(priority=1.0)].served_s = 5 * AGING_S
    assert order(lanes, 5 * AGING_S)[:2] == [1, 2]


@pytest.mark.parametrize("attempt", [1, 2])
def test_cancelling_takes_the_very_attempt(attempt):
    lanes = lanes_of(m.Ask(cores=2), m.Ask(gpus=1))
    assert lanes.cancel((1, attempt)) is (attempt == 1)
    assert len(lanes) == (1 if attempt == 1 else 2)
    assert order(lanes) == ([2] if attempt == 1 else [1, 2])


def test_a_new_attempt_takes_the_place_of_the_old():
    lanes = lanes_of(m.Ask(cores=2))
    lanes.add(item(1, m.Ask(cores=2), attempt=2), m.Ask(cores=2), 1.0)
    assert lanes.attempts() == {(1, 2)}


def test_labels_that_are_not_used_any_more_are_forgotten():
    lanes = Lanes()
    for number in range(25_000):
        lanes.add(item(number, m.Ask(label=f"run {number}")), m.Ask(label=f"run {number}"), 0.0)
        lanes.pop(lanes.best(0.0, set())[1], 0.0)
        lanes.charge(f"run {number}", 1.0)
    assert len(lanes.served) < 11_000


def test_nothing_is_left_of_a_lane_that_is_empty():
    lanes = lanes_of(m.Ask(cores=2, label="a", priority=1.0))
    order(lanes)
    assert (lanes.lanes, lanes._where, lanes._labels, len(lanes)) == ({}, {}, {}, 0)
