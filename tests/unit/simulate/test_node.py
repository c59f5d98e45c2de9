"""A node alone, with somebody who listens in place of the interchange."""

from __future__ import annotations

import pytest

from plait.executors.htex import messages as m
from plait.simulate.clock import Clock
from plait.simulate.machine import Costs, Machine
from plait.simulate.node import Node, Totals
from plait.simulate.workload import Load


class Listener:
    """Gets what the node says."""

    incoming_s = 0.0

    def __init__(self):
        self.heard = []

    def arrive(self, now_s, letter):
        self.heard.append((now_s, letter[1]))

    def of(self, kind):
        return [(now_s, message) for now_s, message in self.heard if isinstance(message, kind)]


class Lab:
    def __init__(self, ends_s=None, **more):
        self.machine = Machine(
            **{"workers": 2, "latency_s": 0.0, "bandwidth_bytes_s": 1e12, "costs": Costs(0, 0, 0, 0, 0), **more}
        )
        self.clock = Clock()
        self.listener = Listener()
        self.totals = Totals()
        self.ended = []
        self.node = Node(
            "0.0",
            "0",
            "node0",
            self.machine,
            self.clock,
            self.listener,
            self.totals,
            ends_s,
            lambda node, now_s: self.ended.append(now_s),
        )
        self.clock.at(0.0, self.node.start)
        self.run(0.001)

    def run(self, until_s):
        self.clock.at(until_s, self._stop)
        self.clock.run()
        self.clock.stopped = False

    def _stop(self, now_s, _):
        self.clock.stopped = True

    def take(self, *durations_s, first=0, grant=None, **load):
        self.node.take(
            self.clock.now_s, [(first + n, 1, 0, Load(d, **load), None, grant) for n, d in enumerate(durations_s)]
        )

    def outcomes(self):
        return [(now_s, item) for now_s, message in self.listener.of(m.Outcomes) for item in message.items]


def test_it_registers_and_says_that_it_is_there():
    lab = Lab(memory_bytes=64, gpus=2, heartbeat_period_s=2.0, ends_s=100.0)
    lab.run(5.0)
    ((_, register),) = lab.listener.of(m.Register)
    assert (register.manager, register.workers, register.cores, register.memory_bytes, register.gpus) == (
        "0.0",
        2,
        2.0,
        64,
        ["0", "1"],
    )
    assert register.walltime_left_s == 100.0
    assert [now_s for now_s, _ in lab.listener.of(m.Heartbeat)] == pytest.approx([2.0, 4.0])


def test_workers_run_one_task_at_a_time():
    lab = Lab()
    lab.take(1.0, 2.0, 3.0)
    assert lab.totals.running == 2
    lab.run(10.0)
    assert [(item[0], item[2]) for _, item in lab.outcomes()] == [(0, m.DONE), (1, m.DONE), (2, m.DONE)]
    assert [now_s for now_s, _ in lab.outcomes()] == pytest.approx(
        [1.0, 2.0, 4.0], abs=0.02
    )  # the third may be moved to an idle worker
    assert (lab.totals.running, lab.node.has) == (0, 0)


def test_short_tasks_are_reported_together():
    lab = Lab()
    lab.node.core.mean_s = 0.0001
    lab.take(*[0.0001] * 100)
    lab.run(1.0)
    assert len(lab.outcomes()) == 100
    assert len(lab.listener.of(m.Outcomes)) < 30


def test_what_waits_behind_a_long_task_goes_to_a_free_worker():
    lab = Lab()
    lab.take(100.0, 0.1, 0.1, 0.1)
    lab.run(1.0)
    assert sorted(item[0] for _, item in lab.outcomes()) == [1, 2, 3]


def test_tasks_that_fail_and_those_beyond_their_walltime():
    lab = Lab()
    lab.take(1.0, fail_part=1.0)
    lab.take(50.0, first=5, grant=m.Grant(walltime_s=3.0))
    lab.run(10.0)
    assert [(round(now_s, 2), item[0], item[2]) for now_s, item in lab.outcomes()] == [
        (1.0, 0, m.RAISED),
        (3.0, 5, m.TIMED_OUT),
    ]


def test_what_has_not_begun_is_given_back():
    lab = Lab(workers=1)
    lab.take(10.0, 10.0, 10.0, 10.0)
    lab.node.told(lab.clock.now_s, m.Recall(2))
    lab.run(1.0)
    ((_, returned),) = lab.listener.of(m.Returned)
    assert sorted(returned.items) == [(2, 1), (3, 1)]
    lab.node.told(lab.clock.now_s, m.Drain("enough"))
    lab.take(10.0, first=9)
    lab.run(30.0)
    assert [message.items for _, message in lab.listener.of(m.Returned)][1:] == [[(1, 1)], [(9, 1)]]
    assert [item[0] for _, item in lab.outcomes()] == [0]
    lab.node.told(lab.clock.now_s, m.Stop("drained"))
    assert not lab.node.alive
    assert len(lab.ended) == 1


def test_when_asked_it_says_what_it_has():
    lab = Lab(workers=1)
    lab.take(10.0, 10.0)
    lab.take(10.0, first=5, grant=m.Grant())
    lab.node.told(lab.clock.now_s, m.WhoAreYou())
    lab.run(1.0)
    first, second = [message for _, message in lab.listener.of(m.Register)]
    assert (first.nth, second.nth, first.holds) == (1, 2, [])
    assert sorted(second.holds) == [(0, 1), (1, 1), (5, 1)]


def test_it_drains_before_its_walltime():
    lab = Lab(ends_s=20.0, drain_s=5.0)
    lab.take(18.0, 18.0, 18.0)
    lab.run(19.0)
    assert [round(now_s, 1) for now_s, _ in lab.listener.of(m.Draining)] == [15.0]
    assert sum(len(message.items) for _, message in lab.listener.of(m.Returned)) == 1
    assert len(lab.outcomes()) == 2


def test_what_is_lost_with_it():
    lab = Lab()
    lab.take(10.0, 10.0, 10.0)
    lab.run(4.0)
    lab.node.leave(lab.clock.now_s, "over")
    lab.run(50.0)
    assert (lab.totals.lost_attempts, lab.totals.running) == (2, 0)
    assert lab.totals.wasted_core_s == pytest.approx(8.0, rel=0.01)
    assert lab.outcomes() == []
    assert [message.reason for _, message in lab.listener.of(m.Leaving)] == ["over"]
    lab.node.end(51.0)
    lab.node.told(51.0, m.Drain(""))
    lab.take(1.0)
    assert len(lab.ended) == 1


def test_one_message_after_another_on_its_link():
    lab = Lab(bandwidth_bytes_s=1000.0, latency_s=0.5, workers=1)
    lab.take(1.0, output_bytes=2000)
    lab.run(9.0)
    ((when_s, _),) = lab.outcomes()
    assert when_s == pytest.approx(1.0 + 2.0 + 0.5, abs=0.2)


def test_what_has_ended_and_was_not_told_yet_is_said_when_it_is_asked():
    """Else it would be placed a second time."""
    lab = Lab(costs=Costs(0, 0, 0, 0, 10.0))
    lab.take(0.1, 0.2)
    lab.run(1.0)
    lab.node.told(1.0, m.WhoAreYou())
    lab.run(1.1)
    register = lab.listener.of(m.Register)[-1][1]
    assert [item[0] for _, message in lab.listener.of(m.Outcomes) for item in message.items] == [0]
    assert (register.holds, register.finished) == ([], [(1, 1)])
