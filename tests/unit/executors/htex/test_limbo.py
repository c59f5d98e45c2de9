from __future__ import annotations

import math

import pytest

from plait.executors.htex import messages as m
from plait.executors.htex.ghosts import Ghosts
from plait.executors.htex.limbo import Limbo
from tests.unit.executors.htex.core_lab import Lab, item, register


class World:
    """A limbo that expects manager a until 8 s."""

    def __init__(self, *expected):
        self.lab = Lab()
        self.changed = []
        changed = lambda manager, now_s: self.changed.append(manager.name)
        self.limbo = Limbo(self.lab.core, Ghosts(self.lab.core, changed), changed, expected, 8.0, 0.0)

    def comes(self, name="a", now_s=0.0, **more):
        manager = self.lab.comes(name)
        self.lab.take()
        unknown = dict(more.get("holds", []))
        return manager, self.limbo.returned(manager, register(name, **more), unknown, now_s)


def test_without_a_restart_nobody_is_expected():
    world = World()
    assert not world.limbo.is_open
    manager, known = world.comes(holds=[(1, 1)])
    assert not known
    assert manager.unclaimed == {}
    assert world.limbo.tick(math.inf, -math.inf) == {}


def test_what_it_says_is_claimed_when_it_is_offered_again():
    world = World("a")
    manager, known = world.comes(holds=[(1, 1), (2, 1)], finished=[(3, 1)])
    assert known
    assert manager.unclaimed == {1: 1, 2: 1, 3: 1}
    world.limbo.offer_again("a", [item(1), item(2, attempt=2), item(4, m.Ask(cores=2))], 1.0)
    assert manager.unclaimed == {2: 1, 3: 1}
    assert manager.held.keys() == {1}
    assert world.lab.core.queue.attempts() == {(2, 2)}
    assert world.lab.core.lanes.attempts() == {(4, 1)}
    assert world.changed == ["a"]


def test_what_was_offered_again_waits_for_its_manager():
    world = World("a")
    world.limbo.offer_again("a", [item(1), item(2)], 1.0)
    assert world.limbo.tasks["a"].keys() == {1, 2}
    manager, known = world.comes(holds=[(1, 1)])
    assert known
    assert manager.held.keys() == {1}
    assert world.lab.core.queue.attempts() == {(2, 1)}
    assert world.limbo.tasks == {}


def test_an_outcome_may_be_first():
    world = World("a")
    manager, _ = world.comes(holds=[(1, 1)])
    assert world.limbo.delivered(manager, (1, 1))
    assert not world.limbo.delivered(manager, (1, 1))
    assert not world.limbo.delivered(manager, (7, 1))
    world.limbo.offer_again("a", [item(1)], 1.0)
    assert world.lab.core.queue.attempts() == set()
    manager, _ = world.comes(finished=[(1, 1)])  # once more, over another connection
    assert manager.unclaimed == {}


def test_what_is_given_back_is_placed_when_it_is_offered_again():
    world = World("a")
    manager, _ = world.comes(holds=[(1, 1)])
    world.limbo.given_back(manager, (1, 2))
    world.limbo.given_back(manager, (1, 1))
    world.limbo.offer_again("a", [item(1)], 1.0)
    assert world.lab.core.queue.attempts() == {(1, 1)}


@pytest.mark.parametrize("when", ["in limbo", "before it comes", "unclaimed"])
def test_cancelling(when):
    world = World("a")
    if when == "in limbo":
        world.limbo.offer_again("a", [item(1)], 0.0)
    if when != "unclaimed":
        world.limbo.cancel((1, 1), 1.0)
    manager, _ = world.comes(holds=[(1, 1)], now_s=2.0)
    if when == "unclaimed":
        world.limbo.cancel((1, 1), 3.0)
        assert world.changed == ["a"]
    assert world.lab.only(m.Cancel, "a") == m.Cancel([(1, 1)])
    assert (manager.unclaimed, manager.held) == ({}, {})


def test_in_the_end_what_is_left_is_lost_or_cancelled():
    world = World("a", "b", "c")
    world.limbo.offer_again("b", [item(1)], 0.0)
    manager, _ = world.comes("a", holds=[(2, 1)])
    world.limbo.missing.pop("a")
    assert world.limbo.tick(7.9, -math.inf) == {}
    gone = world.limbo.tick(8.0, -math.inf)
    assert gone.keys() == {"b", "c"}
    out = [message for _, message in world.lab.take()]
    assert [(message.manager, message.items) for message in out if isinstance(message, m.Lost)] == [("b", [(1, 1)])]
    assert [message.items for message in out if isinstance(message, m.Cancel)] == [[(2, 1)]]
    assert manager.unclaimed == {}
    assert not world.limbo.is_open


def test_time_in_which_we_did_not_listen_does_not_count():
    world = World("a")
    assert world.limbo.tick(100.0, 100.0) == {}
    assert world.limbo.until_s == 108.0
    assert world.limbo.tick(108.0, 100.0).keys() == {"a"}


def test_one_that_nobody_expected_is_waited_for_too():
    world = World()
    world.limbo.offer_again("a", [item(1)], 50.0)
    assert world.limbo.until_s == 58.0
    manager, known = world.comes(holds=[(1, 1)], now_s=55.0)
    assert known
    assert manager.held.keys() == {1}
