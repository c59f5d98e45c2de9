"""The driver alone: what it offers, when, and what it does with what comes back."""

from __future__ import annotations

import pytest

from plait.executors.htex import messages as m
from plait.executors.htex.offers import BATCH_TASKS, WINDOW_TASKS
from plait.simulate.clock import Clock
from plait.simulate.description import described
from plait.simulate.driver import Driver
from plait.simulate.machine import Costs, Machine
from plait.simulate.result import Kind, Result


class FakeInterchange:
    def __init__(self):
        self.got = []

    def from_driver(self, now_s, messages):
        self.got.extend((now_s, message) for message in messages)

    def of(self, kind):
        return [message for _, message in self.got if isinstance(message, kind)]


class Lab:
    def __init__(self, bags, **machine):
        self.clock = Clock()
        source = described({"bag": bags}).source(0)
        self.interchange = FakeInterchange()
        self.result = Result("w", "p", 0, 1, 1, source.total, kinds=[Kind(name) for name in source.kinds])
        self.ended = []
        self.driver = Driver(
            source,
            Machine(**{"costs": Costs(driver_task_s=0.0), **machine}),
            self.clock,
            self.interchange,
            self.result,
            self.ended.append,
        )
        self.run(0.5)

    def run(self, until_s):
        self.clock.at(until_s, lambda now_s, arg: setattr(self.clock, "stopped", True))
        self.clock.run()
        self.clock.stopped = False

    def offered(self):
        return [item for message in self.interchange.of(m.Offer) for item in message.items]

    def deliver(self, *tasks, status=m.DONE, attempt=1, seq=1):
        items = [(task, attempt, status, b"", 1.0, 3.0, 1) for task in tasks]
        self.driver.told(self.clock.now_s, [m.Delivered(seq, "m", items)])
        self.run(self.clock.now_s + 1.0)

    def lose(self, *tasks, attempt=1, announced=False):
        self.driver.told(
            self.clock.now_s, [m.Lost("m", "h", "0", "gone", announced, [(task, attempt) for task in tasks])]
        )
        self.run(self.clock.now_s + 1.0)


def test_tasks_are_offered_and_outcomes_acknowledged():
    lab = Lab({"a": {"tasks": 3, "duration": 2}})
    assert [item[0] for item in lab.offered()] == [0, 1, 2]
    lab.deliver(0, 1, seq=7)
    assert [message.seq for message in lab.interchange.of(m.Taken)] == [7]
    assert (lab.result.done, lab.driver.unfinished, lab.ended) == (2, 1, [])
    lab.deliver(0, 2, seq=8)  # one of them for the second time
    assert (lab.result.done, lab.result.attempts, len(lab.ended)) == (3, 3, 1)
    assert lab.result.kinds[0].useful_s == pytest.approx(6.0)


def test_no_more_than_a_window_without_a_place():
    lab = Lab({"a": {"tasks": WINDOW_TASKS + 5000, "duration": 1}})
    assert WINDOW_TASKS - BATCH_TASKS <= len(lab.offered()) <= WINDOW_TASKS
    assert all(len(message.items) <= BATCH_TASKS for message in lab.interchange.of(m.Offer))
    before = len(lab.offered())
    lab.driver.told(lab.clock.now_s, [m.Placed("m", [(n, 1) for n in range(2000)])])
    lab.run(lab.clock.now_s + 1.0)
    assert 1000 <= len(lab.offered()) - before <= 2000 + BATCH_TASKS


def test_a_window_of_one_priority_does_not_hold_up_another():
    lab = Lab(
        {
            "a": {"tasks": WINDOW_TASKS + 5000, "duration": 1},
            "b": {"tasks": 1, "duration": 1, "start": 2, "priority": 1},
        }
    )
    lab.run(4.0)
    assert lab.offered()[-1][0] == WINDOW_TASKS + 5000


def test_offers_take_their_time():
    lab = Lab({"a": {"tasks": 2000, "duration": 1}}, costs=Costs(driver_task_s=1e-3))
    lab.run(5.0)
    assert [when_s for when_s, _ in lab.interchange.got] == pytest.approx([0.512, 1.024, 1.536, 2.0], abs=0.01)
    assert lab.driver.busy_s == pytest.approx(2.0)


def test_lost_attempts_are_offered_again_with_their_number():
    lab = Lab({"a": {"tasks": 1, "duration": 1}}, max_losses=1)
    lab.lose(0, announced=True)
    lab.lose(0, attempt=2)
    assert [(item[0], item[1]) for item in lab.offered()] == [(0, 1), (0, 2), (0, 3)]
    lab.lose(0, attempt=2)  # old news
    lab.deliver(0, attempt=2)
    assert (lab.result.done, lab.result.failed) == (0, 0)
    lab.lose(0, attempt=3)
    assert (lab.result.failed, len(lab.ended)) == (1, 1)


def test_failed_attempts_are_offered_again_within_the_budget():
    lab = Lab({"a": {"tasks": 1, "duration": 1}, "b": {"tasks": 4, "duration": 1, "after": "a"}}, retries=1)
    lab.deliver(0, status=m.RAISED)
    assert (lab.result.failed, lab.result.failed_attempts) == (0, 1)
    lab.deliver(0, status=m.TIMED_OUT, attempt=2)
    assert (lab.result.failed, lab.driver.unfinished) == (1, 0)
    assert lab.result.wasted_core_s == pytest.approx(4.0)
    assert len(lab.ended) == 1


def test_what_follows_is_offered_when_it_is_ready():
    lab = Lab(
        {
            "a": {"tasks": 1, "duration": 1},
            "b": {"tasks": 1, "duration": 1, "after": "a"},
            "c": {"tasks": 2, "duration": 1, "start": 60, "every": 10},
        }
    )
    assert [item[0] for item in lab.offered()] == [0]
    lab.deliver(0)
    assert [item[0] for item in lab.offered()] == [0, 1]
    lab.run(65.0)
    assert [item[0] for item in lab.offered()] == [0, 1, 2]
    lab.run(75.0)
    assert [item[0] for item in lab.offered()] == [0, 1, 2, 3]
    assert lab.driver.outstanding(75.0) == 3
