"""Whether a lost manager had announced its end: then the loss counts for nothing."""

from __future__ import annotations

import pytest

from plait.executors.htex import messages as m
from plait.executors.htex.core import InterchangeCore


def with_one_task():
    """A core whose only manager, of block 3, has a task; the threshold is 10 s."""
    core = InterchangeCore(epoch="e", heartbeat_period_s=2, heartbeat_threshold_s=10)
    register = m.Register(
        manager="a", block="3", hostname="h", pid=1, boot="", protocol=m.PROTOCOL, plait="", python="", workers=1, cores=1, memory_bytes=0,
        disk_bytes=0, gpus=[], walltime_left_s=None, prefetch=0, draining=False, holds=[], finished=[],
    )  # fmt: skip
    core.from_manager(b"conn", register, b"", 0.0)
    core.from_driver(m.Function(0), b"f", 0.0)
    core.from_driver(m.Offer([(7, 1, 0, b"x", None, None)]), b"", 0.0)
    core.place(0.0)
    core.out.clear()
    return core


def losses(core, until_s):
    for second in range(int(until_s) + 1):
        core.tick(float(second))
    return [message for _, message, _ in core.out if isinstance(message, m.Lost)]


@pytest.mark.parametrize(("speaks_s", "announced"), [(None, False), (1.0, False), (5.0, True)])
def test_a_drain_counts_if_the_manager_lived_to_hear_it(speaks_s, announced):
    core = with_one_task()
    if speaks_s is not None and speaks_s < 3:
        core.from_manager(b"conn", m.Heartbeat(0.0), b"", speaks_s)
    core.from_driver(m.DrainBlock("3", "its job is over"), b"", 3.0)
    if speaks_s is not None and speaks_s > 3:
        core.from_manager(b"conn", m.Heartbeat(0.0), b"", speaks_s)
    (lost,) = losses(core, 30)
    assert lost.items == [(7, 1)]
    assert lost.announced is announced


def test_what_a_manager_says_itself_counts():
    core = with_one_task()
    core.from_manager(b"conn", m.Draining("its time is over"), b"", 3.0)
    (lost,) = losses(core, 30)
    assert lost.announced
