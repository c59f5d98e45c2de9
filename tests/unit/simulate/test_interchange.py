"""The interchange's shell: turns, their cost, and the way of messages. What the core decides is its own tests' matter."""

from __future__ import annotations

import pytest

from plait.executors.htex import messages as m
from plait.simulate.clock import Clock
from plait.simulate.interchange import SimInterchange
from plait.simulate.machine import Costs, Machine
from plait.simulate.workload import Load


class FakeNode:
    def __init__(self):
        self.got = []

    def take(self, now_s, items):
        self.got.append((now_s, "tasks", [item[0] for item in items]))

    def told(self, now_s, message):
        self.got.append((now_s, type(message).__name__, None))


class FakeDriver:
    def __init__(self):
        self.got = []

    def told(self, now_s, messages):
        self.got.extend((now_s, message) for message in messages)


def lab(**costs):
    clock = Clock()
    machine = Machine(
        latency_s=1.0,
        bandwidth_bytes_s=1000.0,
        costs=Costs(**{"interchange_message_s": 0.0, "interchange_task_s": 0.0, **costs}),
    )
    interchange = SimInterchange(machine, clock, None)
    interchange.driver = FakeDriver()
    return clock, interchange, FakeNode()


def run(clock, until_s):
    clock.at(until_s, lambda now_s, arg: setattr(clock, "stopped", True))
    clock.run()
    clock.stopped = False


def register(workers=2, name="m"):
    return m.Register(
        name,
        "0",
        "host",
        1,
        "b",
        m.PROTOCOL,
        "",
        "",
        workers,
        float(workers),
        0,
        0,
        [],
        None,
        0,
        draining=False,
        holds=[],
        finished=[],
    )


def offer(count, size=100, first=0):
    return m.Offer([(first + n, 1, 0, Load(1.0, input_bytes=size), None, None) for n in range(count)])


def test_tasks_take_their_time_on_the_link():
    clock, interchange, node = lab()
    interchange.arrive(0.0, (node, register(), 0))
    interchange.from_driver(0.0, [offer(1, size=2000)])
    run(clock, 10.0)
    ((when_s, _, tasks),) = node.got
    assert tasks == [0]
    assert when_s == pytest.approx(2.0 + 1.0, abs=0.2)
    assert [type(message) for _, message in interchange.driver.got] == [m.ManagerUp, m.Placed]
    assert 2000 < interchange.sent_bytes < 2200


def test_what_comes_while_it_works_waits_for_the_next_turn():
    clock, interchange, node = lab(interchange_message_s=1.0)
    interchange.arrive(0.0, (node, register(), 10))
    for n in range(3):
        interchange.arrive(0.1, (FakeNode(), register(name=str(n)), 10))
    run(clock, 10.0)
    ups = [when_s for when_s, message in interchange.driver.got if isinstance(message, m.ManagerUp)]
    assert ups == pytest.approx([1.0, 4.0, 4.0, 4.0])
    assert interchange.busy_s >= 4.0
    assert interchange.received_bytes == 40


def test_the_end_comes_after_the_tasks():
    clock, interchange, node = lab()
    interchange.arrive(0.0, (node, register(), 0))
    interchange.from_driver(0.0, [offer(1, size=5000), m.DrainBlock("0", "over")])
    run(clock, 20.0)
    assert [what for _, what, _ in node.got] in (["tasks", "Drain"], ["Drain", "Stop"])
    assert [when_s for when_s, _, _ in node.got] == sorted(when_s for when_s, _, _ in node.got)


def test_silence_is_noticed():
    clock, interchange, node = lab()
    interchange.arrive(0.0, (node, register(), 0))
    interchange.from_driver(0.0, [offer(1)])
    run(clock, 200.0)
    (lost,) = [(when_s, message) for when_s, message in interchange.driver.got if isinstance(message, m.Lost)]
    assert 120 <= lost[0] < 130
    assert lost[1].items == [(0, 1)]
