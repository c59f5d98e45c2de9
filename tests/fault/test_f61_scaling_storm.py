"""F61: blocks that fail at once are not requested for ever, there are never more than there may be, and their number does not swing."""

from __future__ import annotations

import contextlib
import itertools
import random
import time

import pytest

from plait.model.events import BLOCK_REQUESTED, BLOCKS_SCALED
from plait.model.jobs import JobState
from plait.testing import FakeProvider, Plan
from tests.blocks import Owner
from tests.support import wait_until

FAILS = Plan(run_s=0.0, end=JobState.FAILED, exit_code=1)


@contextlib.contextmanager
def blocks(provider, **options):
    owner = Owner(provider, **options)
    owner.keeper.start()
    try:
        yield owner
    finally:
        owner.keeper.shutdown(5.0)


def watch(owner, seconds):
    """Plays managers for a while."""
    begin = time.monotonic()
    owner.play_until(lambda: time.monotonic() - begin > seconds)


def test_the_budget_ends_it():
    with blocks(FakeProvider(init_blocks=2, max_blocks=50, plans=[FAILS]), tasks=1000) as owner:
        wait_until(lambda: owner.broken)
        watch(owner, 0.5)
        assert len(owner.provider.jobs) == 2
        assert len(owner.broken) == 1


def test_without_a_budget_the_pauses_grow():
    """Half a minute of failures in which each pause is doubled is a handful of jobs, not thousands."""
    with blocks(FakeProvider(plans=[FAILS]), tasks=1000, error_handler=False) as owner:
        watch(owner, 2.0)
        assert 1 <= len(owner.provider.jobs) <= 3
        assert "because the last" in owner.keeper.explain()


def test_blocks_that_come_up_and_die_have_their_budget_too(monkeypatch):
    monkeypatch.setattr("plait.scaling.throttle.BACKOFF_S", (0.05, 0.2))
    with blocks(FakeProvider(plans=[Plan(run_s=0.1, end=JobState.FAILED, exit_code=1)]), tasks=1000) as owner:
        owner.play_until(lambda: owner.broken)
        assert len(owner.provider.jobs) == 3


@pytest.mark.parametrize("state", [JobState.HELD, JobState.PENDING, JobState.UNKNOWN])
def test_blocks_that_do_not_come_are_not_replaced(state):
    provider = FakeProvider(init_blocks=1, max_blocks=50, plans=[Plan(queue_s=None)])
    with blocks(provider, tasks=4) as owner:
        wait_until(lambda: provider.jobs)
        provider.lie("block-0", state)
        watch(owner, 0.5)
        assert len(provider.jobs) == 1


def test_the_number_does_not_swing():
    """A load that stays has one decision, however often it is looked at."""
    with blocks(FakeProvider(max_blocks=20), tasks=30, strategy="htex_auto_scale", max_idletime_s=0.0) as owner:
        owner.play_until(lambda: len(owner.managers) == 8)
        owner.idle = dict.fromkeys(owner.managers, 5.0)
        watch(owner, 0.5)
        assert len(owner.of(BLOCKS_SCALED)) == 2
        assert len(owner.provider.unfinished()) == 8


@pytest.mark.parametrize("strategy", ["none", "simple", "htex_auto_scale"])
def test_there_are_never_too_many(strategy, monkeypatch):
    """With jobs that end in any way and a load that changes all the time."""
    monkeypatch.setattr("plait.scaling.throttle.BACKOFF_S", (0.001, 0.01))
    chance = random.Random(61)
    ends = [JobState.COMPLETED, JobState.FAILED, JobState.TIMEOUT, JobState.CANCELLED]
    plans = [
        Plan(queue_s=chance.choice([0.0, 0.02]), run_s=chance.choice([0.0, 0.05, None]), end=chance.choice(ends))
        for _ in range(500)
    ]
    provider = FakeProvider(min_blocks=1, max_blocks=4, plans=plans)
    with blocks(provider, strategy=strategy, error_handler=False, max_idletime_s=0.05, period_s=0.01) as owner:
        for step in itertools.count():
            owner.tasks = chance.choice([0, 1, 10, 1000])
            owner.idle = {block: 1.0 for block in owner.managers if chance.random() < 0.5}
            if chance.random() < 0.2:
                owner.keeper.scale_out(3)
            watch(owner, 0.02)
            if step >= 60:
                break
        assert provider.most_at_once <= 4
        assert len(owner.of(BLOCK_REQUESTED)) > 10
    assert provider.unfinished() == []
