from __future__ import annotations

import json

import pytest

from plait.executors.htex import messages as m
from tests.unit.executors.htex.core_lab import PLAIN, Lab, done, item


def running(count=2, **more):
    """Manager a runs tasks."""
    lab = Lab()
    lab.comes("a", workers=max(2, count), **more)
    lab.offer_plain(count)
    lab.place()
    lab.take()
    return lab


def test_a_task_goes_out_as_it_came_and_its_outcome_comes_back():
    lab = Lab()
    lab.comes("a")
    lab.take()
    offered = item(5, payload=b"arguments")
    lab.driver(m.Offer([offered]))
    lab.core.place(0.0)
    assert lab.take() == [(None, m.Placed("a", [(5, 1)])), ("a", m.Function(7)), ("a", m.Tasks([offered]))]
    outcome = (5, 1, m.RAISED, b"an error", 1.0, 2.0, 0)
    lab.says("a", m.Outcomes(1, [outcome]))
    assert lab.take() == [(None, m.Delivered(1, "a", [outcome]))]
    lab.driver(m.Taken(1))
    assert lab.take() == [("a", m.Taken(1))]
    assert lab.core.placed == {}


def test_a_function_is_sent_with_its_code():
    lab = Lab()
    lab.comes("a")
    lab.offer_plain(1)
    lab.core.place(0.0)
    assert ("a", m.Function(7), b"code") in lab.core.out


def test_big_outcomes_may_come_after_later_small_ones():
    lab = running(3)
    lab.says("a", m.Outcomes(2, [done(2)]))
    lab.says("a", m.Outcomes(3, [done(3)]))
    lab.driver(m.Taken(2))
    assert lab.take(m.Taken) == []
    lab.core.from_manager("a", m.BigOutcome(1, done(1), [10**6]), b"", 0.0)
    assert lab.only(m.BigDelivered) == m.BigDelivered(3, "a", done(1), [10**6])
    lab.driver(m.Taken(3))
    assert lab.take() == [("a", m.Taken(3))]


def test_late_and_foreign_outcomes_are_dropped_but_acknowledged():
    lab = running(2)
    lab.driver(m.Cancel([(1, 1)]))
    lab.take()
    lab.says("a", m.Outcomes(1, [done(1), done(2, attempt=9), done(77)]))
    assert lab.take() == [("a", m.Taken(1))]
    lab.says("a", m.Outcomes(2, [done(1), done(2)]))
    assert lab.only(m.Delivered).items == [done(2)]
    lab.says("a", m.BigOutcome(3, done(1), [5]))
    assert lab.take(m.BigDelivered) == []
    lab.driver(m.Taken(1))
    assert lab.only(m.Taken) == m.Taken(3)


def test_cancelling_reaches_the_manager_or_the_queue():
    lab = running(2)
    lab.offer(PLAIN, PLAIN, m.Ask(cores=2))
    lab.driver(m.Cancel([(1, 1), (2, 1), (3, 1), (5, 1), (99, 1)]))
    assert lab.take() == [("a", m.Cancel([(1, 1), (2, 1)]))]
    assert lab.place() == {"a": [4]}


def test_a_cancelled_attempt_may_be_followed_by_another_at_once():
    lab = running(1)
    lab.driver(m.Cancel([(1, 1)]))
    lab.driver(m.Offer([item(1, attempt=2)]))
    assert lab.place() == {"a": [1]}
    lab.ends("a", 1)  # of the first attempt, late
    assert lab.take(m.Delivered) == []
    lab.says("a", m.Outcomes(2, [done(1, attempt=2)]))
    assert lab.only(m.Delivered).items == [done(1, attempt=2)]


def test_what_is_given_back_is_next():
    lab = running(4)
    lab.offer_plain(2)
    lab.says("a", m.Returned([(3, 1), (4, 1), (3, 1), (55, 1)]))
    assert lab.core.queue.take(9, 10**6) == [item(3), item(4), item(5), item(6)]


def test_a_special_task_that_is_given_back_is_next_in_its_lane():
    lab = Lab()
    lab.comes("a")
    lab.offer(*[m.Ask(cores=2)] * 3)
    assert lab.place() == {"a": [1]}
    lab.says("a", m.Returned([(1, 1)]))
    assert lab.place() == {"a": [1]}


def test_durations_are_believed_quickly_when_long_and_slowly_when_short():
    lab = running(4)
    lab.ends("a", 1, seconds=0.001)
    assert lab.core.mean_s == pytest.approx(0.001)
    lab.ends("a", 2, seconds=1.001)
    assert lab.core.mean_s == pytest.approx(0.501)
    lab.ends("a", 3, seconds=0.001)
    assert lab.core.mean_s == pytest.approx(0.401)


def test_time_that_runs_backwards_on_a_node_does_no_harm():
    lab = running(2)
    lab.ends("a", 1, seconds=-5.0)
    lab.ends("a", 2, seconds=0.0)
    lab.offer(PLAIN, m.Ask())
    assert lab.place() == {"a": [3, 4]}
    assert lab.core.mean_s == 0.0


def test_when_time_should_be_told():
    lab = Lab()
    assert 0.0 < lab.core.next_tick_s(0.0) <= 2.0
    lab.comes("a")
    lab.at(1.0)
    assert lab.core.next_tick_s(1.0) <= 2.0
    lab.offer(m.Ask(cores=9))
    assert lab.core.next_tick_s(1.0) <= 2.0
    for _ in range(1000):
        lab.now_s = lab.core.next_tick_s(lab.now_s)
        lab.core.tick(lab.now_s)
        if not lab.core.managers:
            break
    assert lab.now_s == pytest.approx(8.0)


def test_questions_are_answered():
    lab = running(3)
    lab.offer(m.Ask(gpus=1))
    lab.place()
    lab.driver(m.Query(4, "managers"))
    lab.driver(m.Query(5, "queue"))
    (_, first, managers), (_, second, queue) = lab.core.out
    assert (first, second) == (m.Answer(4), m.Answer(5))
    assert [(each["manager"], each["tasks"]) for each in json.loads(managers)] == [("a", 3)]
    assert json.loads(queue)["placed"] == 3
    assert "1 GPUs asked, it has 0" in lab.core.fits_nowhere(m.Ask(gpus=1), 0.0)
    assert lab.core.fits_nowhere(m.Ask(cores=2), 0.0) == ""
