"""F17: the queue and the managers disagree about a block. Managers are believed about tasks, the queue about jobs, and all comes to one end."""

from __future__ import annotations

import contextlib

import pytest

from plait.model.jobs import JobState
from plait.testing import FakeProvider
from tests.blocks import Owner
from tests.support import wait_until


@contextlib.contextmanager
def blocks(provider=None, **options):
    owner = Owner(provider, **options)
    owner.keeper.start()
    try:
        yield owner
    finally:
        owner.keeper.shutdown(5.0)


@pytest.mark.parametrize("state", [JobState.MISSING, JobState.COMPLETED, JobState.CANCELLED])
def test_the_queue_says_gone_and_the_manager_still_talks(state):
    with blocks(strategy="none", error_handler=False) as owner:
        owner.running("0")
        owner.tasks = 5
        owner.provider.lie("block-0", state, "no such job")
        wait_until(lambda: "1" in owner.states())
        assert ("0", "the batch system says that its job is over") in owner.drained
        assert owner.gone == [], "what it runs may still end well"
        owner.lost("0", "drained")
        wait_until(lambda: owner.gone == ["0"])


def test_the_queue_says_running_and_no_manager_is_left():
    with blocks(start_timeout_s=0.3, error_handler=False, tasks=5) as owner:
        owner.running("0")
        owner.provider.lie("block-0", JobState.RUNNING)
        owner.lost("0", "lost: silent for 120 s")
        wait_until(lambda: owner.provider.called("cancel"))
        assert owner.provider.job("block-0").state == JobState.CANCELLED
        assert list(owner.states()) == ["0"], "the queue still says that it is there, and there may be one"
        owner.provider.lie("block-0", None)
        wait_until(lambda: "1" in owner.states())
        assert "none came back" in owner.keeper.status()["0"].message


def test_the_queue_does_not_know():
    with blocks(FakeProvider(max_blocks=3), tasks=4) as owner:
        owner.running("0")
        owner.provider.lie("block-0", JobState.UNKNOWN, "slurmdbd is away")
        polls = len(owner.provider.called("status"))
        wait_until(lambda: len(owner.provider.called("status")) > polls + 10)
        assert owner.states() == {"0": JobState.RUNNING}
        assert len(owner.provider.jobs) == 1


def test_the_scheduler_is_away_for_a_while():
    """What runs goes on, nothing is requested instead of it, and in the end all is as before."""
    with blocks(FakeProvider(init_blocks=2, max_blocks=2), tasks=8) as owner:
        owner.running("0", "1")
        owner.provider.be_silent(times=8)
        owner.provider.refuse("the scheduler is away", times=2)
        owner.provider.end("block-1", JobState.FAILED, 1)
        owner.lost("1")
        assert owner.states()["0"] == JobState.RUNNING
        owner.play_until(lambda: len(owner.managers) == 2, timeout_s=30.0)
        assert owner.states()["0"] == JobState.RUNNING
        assert owner.broken == []
