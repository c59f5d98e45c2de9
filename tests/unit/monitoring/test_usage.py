"""Useful over allocated core time: measured as the run goes on, and from its journal; both come to the same."""

from __future__ import annotations

import pytest

from plait.model import events as ev
from plait.model.jobs import JobState
from plait.model.task import EXEC_DONE, FAILED
from plait.monitoring.runs import Run
from plait.monitoring.usage import Usage, UsageMeter, core_time_text, usage_of

#: Two blocks of 8 cores and 4 workers, one of which never came up; two plain tasks, one with three cores, one that failed, and one in a thread.
EVENTS = [
    ev.RunStarted(1.0, 1e9, "r", 1, "0", "3", "elsewhere", 1, "x.py", ["htex"]),
    ev.TasksSubmitted("f", [0, 1, 2, 3, 4], [1.0] * 5),
    ev.BlockRequested(1.0, "htex", "0"),
    ev.BlockRequested(1.0, "htex", "1"),
    ev.BlockStatus(10.0, "htex", "0", "77", int(JobState.RUNNING)),
    ev.BlockStatus(10.0, "htex", "1", "78", int(JobState.RUNNING)),
    ev.BlockUp(20.0, "htex", "0", 19.0),
    ev.ManagerStarted(20.0, "htex", "m", "0", "node1", 1, 4, 8.0),
    ev.AttemptsStarted(21.0, "htex", -1, [0, 1], "m"),
    ev.AttemptsStarted(21.0, "htex", -1, [2], "m", 3.0),
    ev.AttemptStarted(21.0, 3, 2, "htex", -1, "m", 3.0),
    ev.AttemptsStarted(21.0, "threads", 0, [4]),
    ev.TasksDone(0, [0, 1], [21.0, 21.0], [31.0, 41.0]),
    ev.TaskEnded(41.0, 2, EXEC_DONE, 1, 21.0, 41.0, 0),
    ev.TaskEnded(41.0, 3, FAILED, 2, 21.0, 41.0, 0, "E: no", "because"),
    ev.TasksDone(-1, [4], [21.0], [41.0]),
    ev.BlockEnded(50.0, "htex", "1", "78", int(JobState.MISSING)),
    ev.ManagerEnded(59.0, "htex", "m", "drained", ""),
    ev.BlockEnded(60.0, "htex", "0", "77", int(JobState.SCALED_IN)),
]


def as_tuple(event):
    return (event.__struct_config__.tag, *(getattr(event, name) for name in event.__struct_fields__))


def test_what_was_useful_and_what_was_paid_for():
    meter = UsageMeter()
    meter.write([as_tuple(event) for event in EVENTS])
    run = Run("x")
    run.take(single for event in EVENTS for single in (event.single() if hasattr(event, "single") else (event,)))
    assert meter.usages(99.0) == usage_of(run) == [Usage("htex", 10 * 2 + 20 * 2 + 20 * 3, (50 + 40) * 8)]
    assert str(usage_of(run)[0]) == "17% of 0.2 core-hours in blocks of 'htex' were useful"


def test_blocks_that_still_run_have_cost_something_too():
    meter = UsageMeter()
    meter.write([as_tuple(event) for event in EVENTS[:10]])
    assert meter.usages(30.0) == [Usage("htex", 0.0, 2 * 20 * 8)]


def test_a_block_that_is_in_the_queue_again_costs_nothing_meanwhile():
    events = [
        ev.BlockRequested(1.0, "htex", "0"),
        ev.BlockStatus(10.0, "htex", "0", "77", int(JobState.RUNNING)),
        ev.BlockUp(20.0, "htex", "0", 19.0),
        ev.ManagerStarted(20.0, "htex", "m", "0", "node1", 1, 4, 8.0),
        ev.BlockStatus(21.0, "htex", "0", "77", int(JobState.PENDING)),  # a queue that is late
        ev.BlockStatus(22.0, "htex", "0", "77", int(JobState.RUNNING)),
        ev.ManagerEnded(30.0, "htex", "m", "left", "signal 15"),
        ev.BlockStatus(30.0, "htex", "0", "77", int(JobState.PENDING)),
        ev.BlockUp(100.0, "htex", "0", 99.0),
        ev.ManagerStarted(100.0, "htex", "n", "0", "node2", 1, 4, 8.0),
        ev.BlockStatus(101.0, "htex", "0", "77", int(JobState.RUNNING)),
        ev.BlockEnded(110.0, "htex", "0", "77", int(JobState.COMPLETED)),
    ]
    meter = UsageMeter()
    meter.write([as_tuple(event) for event in events])
    assert meter.usages(200.0) == [Usage("htex", 0.0, (20 + 10) * 8)]


def test_without_blocks_there_is_nothing_to_say():
    assert UsageMeter().usages(1.0) == []
    assert usage_of(Run("x")) == []


@pytest.mark.parametrize(("core_s", "text"), [(0.5, "0.5 core-seconds"), (359, "359 core-seconds"), (9000, "2.5 core-hours"), (36e6, "10,000.0 core-hours")])  # fmt: skip
def test_short_and_long_times(core_s, text):
    assert core_time_text(core_s) == text


def test_parts():
    assert Usage("x", 1.0, 0.0).part == 0.0
    assert Usage("x", 3.0, 2.0).part == 1.0, "clocks differ a little"
