"""F15: a block's end is not one moment: its managers die one after the other, over seconds. It is replaced once, and counts as no failure."""

from __future__ import annotations

import pytest

from plait.model.events import BLOCK_ENDED
from plait.model.jobs import JobState
from plait.testing import FakeProvider
from tests.blocks import Owner
from tests.support import wait_until

NODES = 4


@pytest.mark.parametrize("strategy", ["none", "simple", "htex_auto_scale"])
def test_a_block_that_dies_node_by_node_is_replaced_once(strategy):
    provider = FakeProvider(nodes_per_block=NODES)
    owner = Owner(provider, tasks=100, strategy=strategy)
    keeper = owner.keeper
    keeper.start()
    try:
        wait_until(lambda: owner.states() == {"0": JobState.RUNNING})
        for node in range(NODES):
            keeper.manager_up("0", 4, f"node{node}")
        for node in range(NODES - 1):
            keeper.manager_gone("0", "lost: the node is gone", f"node{node}")
            workers = 4 * (NODES - 1 - node)
            wait_until(lambda workers=workers: f"is up with {workers} worker" in keeper.explain())
            assert len(provider.jobs) == 1, "what is left of it still runs"
        keeper.manager_gone("0", "lost: the node is gone", f"node{NODES - 1}")
        wait_until(lambda: "has had no manager" in keeper.explain())
        assert len(provider.jobs) == 1, "there may be one block, and it still has its nodes"
        provider.end("block-0", JobState.TIMEOUT, message="TIME LIMIT")
        wait_until(lambda: len(provider.jobs) == 2)
        assert owner.broken == []
        (end,) = owner.of(BLOCK_ENDED)
        assert end[5:7] == (JobState.TIMEOUT, "TIME LIMIT")
        assert owner.gone == ["0"]
    finally:
        keeper.shutdown(5.0)


def test_a_block_that_drains_before_its_end_is_replaced_too():
    """Its managers say that they leave before the walltime is over."""
    provider = FakeProvider(max_blocks=2)
    owner = Owner(provider, tasks=100, strategy="none")
    owner.keeper.start()
    try:
        owner.running("0")
        owner.lost("0", "drained: 30 s of walltime are left")
        wait_until(lambda: len(provider.jobs) == 2)
        provider.end("block-0")
        wait_until(lambda: owner.states().get("0") == JobState.COMPLETED)
        assert owner.broken == []
    finally:
        owner.keeper.shutdown(5.0)


def test_walltimes_that_are_too_short_to_start_do_count():
    """Otherwise such blocks would be requested for ever."""
    provider = FakeProvider()
    owner = Owner(provider, tasks=1)
    owner.keeper.start()
    try:
        wait_until(lambda: provider.jobs)
        provider.end("block-0", JobState.TIMEOUT)
        (error,) = wait_until(lambda: owner.broken)
        assert "was ended by its walltime before a manager connected" in str(error)
    finally:
        owner.keeper.shutdown(5.0)
