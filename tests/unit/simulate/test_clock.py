from __future__ import annotations

import random

import pytest

from plait.simulate.clock import Clock


def test_things_happen_in_order_and_those_of_a_moment_as_asked():
    clock, seen = Clock(), []
    for when_s, name in [(2.0, "c"), (1.0, "a"), (1.0, "b"), (0.0, "first")]:
        clock.at(when_s, lambda now_s, arg: seen.append((now_s, arg)), name)
    clock.run()
    assert seen == [(0.0, "first"), (1.0, "a"), (1.0, "b"), (2.0, "c")]
    assert (clock.now_s, clock.events) == (2.0, 4)


@pytest.mark.parametrize("span_s", [1e-4, 1.0, 1e6])
@pytest.mark.parametrize("count", [100, 30_000])
def test_any_density(span_s, count):
    clock, seen = Clock(), []
    chance = random.Random(1)

    def happens(now_s, again):
        seen.append(now_s)
        if again:
            clock.at(now_s + chance.random() * span_s, happens, False)

    for _ in range(count):
        clock.at(chance.random() * span_s, happens, True)
    clock.run()
    assert len(seen) == 2 * count
    assert seen == sorted(seen)


def test_many_at_one_moment_keep_their_order():
    clock, seen = Clock(), []
    for number in range(20_000):
        clock.at(5.0, lambda _, arg: seen.append(arg), number)
    clock.run()
    assert seen == list(range(20_000))


def test_few_over_a_long_time():
    clock, seen = Clock(), []

    def happens(now_s, left):
        seen.append(now_s)
        if left:
            clock.at(now_s + 3.0, happens, left - 1)

    clock.at(1e9, happens, 0)
    clock.at(0.0, happens, 3000)
    clock.run()
    assert seen[-2:] == [9000.0, 1e9]


def test_it_can_be_stopped_and_go_on():
    clock, seen = Clock(), []

    def stop(now_s, arg):
        seen.append(now_s)
        clock.stopped = True

    clock.at(1.0, stop)
    clock.at(2.0, stop)
    clock.run()
    assert seen == [1.0]
    clock.stopped = False
    clock.run()
    assert seen == [1.0, 2.0]
