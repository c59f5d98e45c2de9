"""F16: a block that is given back just when it gets a task: it is cancelled only after it was drained, or when its time for that is over."""

from __future__ import annotations

import contextlib
import time

from plait.model.jobs import JobState
from plait.testing import FakeProvider, Plan
from tests.blocks import Owner
from tests.support import wait_until


@contextlib.contextmanager
def blocks(provider, **options):
    owner = Owner(provider, strategy="none", **options)
    owner.keeper.start()
    try:
        yield owner
    finally:
        provider.go_on()
        owner.keeper.shutdown(5.0)


def test_as_long_as_it_has_a_task_it_is_not_cancelled():
    with blocks(FakeProvider()) as owner:
        owner.running("0")
        owner.keeper.scale_in(1)
        owner.tasks = 1  # it comes at this moment
        wait_until(lambda: owner.drained)
        begin = time.monotonic()
        wait_until(lambda: time.monotonic() - begin > 0.3)
        assert owner.provider.called("cancel") == []
        assert owner.provider.job("block-0").state == JobState.RUNNING
        owner.lost("0", "drained")
        wait_until(lambda: owner.provider.called("cancel"))
        wait_until(lambda: owner.states()["0"] == JobState.SCALED_IN)


def test_a_manager_that_never_answers_has_its_time():
    with blocks(FakeProvider(), drain_timeout_s=0.3) as owner:
        owner.running("0")
        begin = time.monotonic()
        owner.keeper.scale_in(1)
        wait_until(lambda: owner.provider.called("cancel"))
        assert time.monotonic() - begin > 0.25


def test_a_queued_block_that_comes_up_while_it_is_cancelled_gets_nothing():
    with blocks(FakeProvider(plans=[Plan(queue_s=None)])) as owner:
        wait_until(lambda: owner.provider.jobs)
        owner.provider.stall("cancel")
        owner.keeper.scale_in(1)
        wait_until(lambda: owner.drained)
        owner.provider.run("block-0")
        owner.up("0")
        owner.provider.go_on()
        wait_until(lambda: [block for block, _ in owner.drained] == ["0", "0"])
        wait_until(lambda: owner.provider.unfinished() == [])
        owner.lost("0")
        wait_until(lambda: owner.gone == ["0"])


def test_giving_back_and_requesting_in_turn_loses_no_block():
    with blocks(FakeProvider(init_blocks=0, max_blocks=3)) as owner:
        for turn in range(1, 6):
            assert len(owner.keeper.scale_out(3)) == 3
            owner.play_until(lambda: len(owner.managers) == 3)
            owner.keeper.scale_in(3)
            owner.play_until(lambda turn=turn: len(owner.gone) == 3 * turn)
            assert owner.provider.unfinished() == []
        assert owner.provider.most_at_once == 3
        assert len(set(owner.gone)) == 15
