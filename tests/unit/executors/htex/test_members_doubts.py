"""A block whose job is over, says the batch system: its managers are asked, and those that do not answer are not waited for."""

from __future__ import annotations

from plait.executors.htex import messages as m
from plait.executors.htex.core import InterchangeCore
from plait.executors.htex.members import DOUBT_S


def core_with_manager():
    """Its only manager, of block 3, has a task; the threshold is 120 s."""
    core = InterchangeCore(epoch="e", heartbeat_period_s=30, heartbeat_threshold_s=120)
    register = m.Register(
        manager="a", block="3", hostname="h", pid=1, boot="", protocol=m.PROTOCOL, plait="", python="", workers=1, cores=1, memory_bytes=0,
        disk_bytes=0, gpus=[], walltime_left_s=None, prefetch=0, draining=False, holds=[], finished=[],
    )  # fmt: skip
    core.from_manager(b"conn", register, b"", 0.0)
    core.from_driver(m.Function(0), b"f", 0.0)
    core.from_driver(m.Offer([(7, 1, 0, b"x", None, None)]), b"", 0.0)
    core.place(0.0)
    core.tick(1.0)
    core.out.clear()
    return core


def said(core, kind):
    return [message for _, message, _ in core.out if isinstance(message, kind)]


def test_one_that_does_not_answer_is_lost_soon():
    core = core_with_manager()
    core.from_driver(m.DrainBlock("3", "its job is over", over=True), b"", 2.0)
    assert said(core, m.WhoAreYou)
    assert core.next_tick_s(2.0) <= 2.0 + DOUBT_S
    core.tick(1.9 + DOUBT_S)
    assert not said(core, m.Lost)
    core.tick(2.0 + DOUBT_S)
    (lost,) = said(core, m.Lost)
    assert lost.items == [(7, 1)]
    assert lost.reason == "its job is over, and it did not answer"
    assert not lost.announced, "it may be the task that killed it"
    assert said(core, m.ManagerGone)[0].how == "lost"
    core.check()


def test_one_that_answers_goes_on():
    """The queue may lie; what the manager runs may end well."""
    core = core_with_manager()
    core.from_driver(m.DrainBlock("3", "its job is over", over=True), b"", 2.0)
    core.from_manager(b"conn", m.Heartbeat(0.0), b"", 2.5)
    for second in range(3, 120):
        core.tick(float(second))
    assert not said(core, m.Lost)


def test_an_interchange_that_stood_still_itself_waits_anew():
    core = core_with_manager()
    core.from_driver(m.DrainBlock("3", "its job is over", over=True), b"", 2.0)
    core.tick(60.0)
    assert not said(core, m.Lost)
    core.tick(60.0 + DOUBT_S)
    assert said(core, m.Lost)


def test_a_block_that_is_given_back_has_its_time():
    core = core_with_manager()
    core.from_driver(m.DrainBlock("3", "it is idle"), b"", 2.0)
    for second in range(3, 100):
        core.tick(float(second))
    assert not said(core, m.Lost)


def test_one_that_had_nothing_is_drained_without_a_question():
    core = core_with_manager()
    outcome = (7, 1, m.DONE, b"", 0.0, 1.0, 0)
    core.from_manager(b"conn", m.Outcomes(1, [outcome]), b"", 2.0)
    (delivered,) = said(core, m.Delivered)
    core.from_driver(m.Taken(delivered.seq), b"", 2.0)
    core.out.clear()
    core.from_driver(m.DrainBlock("3", "its job is over", over=True), b"", 2.0)
    assert not said(core, m.WhoAreYou)
    assert said(core, m.ManagerGone)[0].how == "drained"
