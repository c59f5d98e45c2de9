from __future__ import annotations

import collections
import select

import pytest

from plait import faults
from plait.executors.htex import messages as m
from plait.executors.htex.mischief import REORDER_S, Mischief, Plan
from tests.unit.executors.htex.link_lab import net, take


@pytest.fixture
def planned(monkeypatch):
    def plan(text):
        monkeypatch.setattr(faults, "_plan", faults.parse(text))
        return Plan()

    return plan


@pytest.fixture
def made(planned):
    found = []

    def make(text, end="router"):
        found.append(Mischief(planned(text), end))
        return found[-1]

    yield make
    for each in found:
        each.close()


def came(count, kind=m.Outcomes):
    return [(kind, number) for number in range(count)]


def test_nothing_is_planned_as_a_rule(planned):
    assert not planned("")
    assert not planned("pool.something:1,link.seed:7")


def test_for_one_kind_or_all(planned):
    plan = planned("link.drop.Tasks:0.5,link.delay:2")
    assert plan
    assert plan.argument("drop", m.Tasks) == 0.5
    assert plan.argument("drop", m.Outcomes) == 0
    assert plan.argument("delay", m.Outcomes) == plan.argument("delay", m.Tasks) == 2


def test_drop(made):
    mischief = made("link.drop.Outcomes:0.3")
    assert 500 < len(mischief.apply(came(1000), 0.0)) < 900
    assert mischief.apply(came(1000, m.Tasks), 0.0) == list(range(1000))


def test_duplicate(made):
    found = made("link.duplicate.Outcomes:0.3").apply(came(1000), 0.0)
    assert set(collections.Counter(found).values()) == {1, 2}
    assert 1100 < len(found) < 1500


def test_reorder(made):
    mischief = made("link.reorder.Outcomes:0.3")
    first = mischief.apply(came(1000), 0.0)
    assert 500 < len(first) < 900
    rest = mischief.apply([], REORDER_S)
    assert sorted(first + rest) == list(range(1000))
    assert rest != sorted(rest)


def test_delay_keeps_the_order(made):
    mischief = made("link.delay.Outcomes:0.5")
    assert mischief.apply(came(10), 0.0) == []
    assert mischief.apply([(m.Outcomes, 10), (m.Tasks, 11)], 0.4) == [11]
    assert not mischief.has_something_due(0.49)
    assert mischief.has_something_due(0.5)
    assert mischief.apply([], 0.5) == list(range(10))
    assert mischief.apply([], 0.9) == [10]


def test_the_same_seed_does_the_same(made):
    text = "link.drop:0.2,link.duplicate:0.2,link.seed:7"
    one, two = (made(text).apply(came(1000), 0.0) for _ in range(2))
    assert one == two
    assert made(text, "dealer").apply(came(1000), 0.0) != one
    assert made(text.replace("7", "8")).apply(came(1000), 0.0) != one


def test_poll_tells_when_something_is_due(made):
    mischief = made("link.delay:0.05")
    ready = select.poll()
    ready.register(mischief.fileno(), select.POLLIN)
    assert not ready.poll(0)
    mischief.apply(came(1), 0.0)
    assert ready.poll(10_000)
    assert mischief.apply([], 0.05) == [0]
    assert not ready.poll(0)


def test_on_a_real_link(planned):
    planned("link.duplicate.Cancel:1,link.drop.Heartbeat:1,link.delay.Stop:0.1,link.duplicate.Leaving:1")
    with net() as lab:
        dealer = lab.dealer()
        dealer.reconnected()
        dealer.send(m.Draining("x"))
        lab.until(lambda: lab.got)
        conn = lab.got[0][0]
        for message in (m.Stop("x"), m.Heartbeat(1.0), m.Cancel([(1, 1)])):
            lab.router.send(conn, message)
        found = take(dealer, 3)
        assert [type(message) for message, _ in found] == [m.Cancel, m.Cancel, m.Stop]
        dealer.send(m.Leaving("y"))
        lab.until(lambda: len(lab.got) == 3)
        assert [type(each[2]) for each in lab.got] == [m.Draining, m.Leaving, m.Leaving]
