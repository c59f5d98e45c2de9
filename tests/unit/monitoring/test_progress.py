from __future__ import annotations

from types import SimpleNamespace

import pytest

from plait.model.task import CANCELLED, DEP_FAIL, EXEC_DONE, FAILED, JOINING, LAUNCHED, MEMO_DONE, PENDING
from plait.monitoring.progress import WINDOW_S, Meter, Row


class Kernel:
    def __init__(self, workers=2, **apps):
        self.app_counts = apps
        self.executors = {"p": SimpleNamespace(status=lambda: SimpleNamespace(workers=workers))}


def test_counts():
    kernel = Kernel(
        f={PENDING: 3, LAUNCHED: 1, JOINING: 2, EXEC_DONE: 5, MEMO_DONE: 1, FAILED: 2, DEP_FAIL: 1, CANCELLED: 4}
    )
    progress = Meter(kernel, 0.0).look(1.0)
    (row,) = progress.apps
    assert (row.waiting, row.running, row.done, row.failed, row.other) == (5, 1, 6, 2, 5)
    assert row.total == 19
    assert row.ended == 13
    assert progress.counts == (("f", 5, 1, 6, 2, 5),)


def test_no_more_run_than_there_are_workers():
    progress = Meter(Kernel(workers=4, f={LAUNCHED: 900}, g={LAUNCHED: 100}), 0.0).look(1.0)
    f, g = progress.apps
    assert f.running + g.running == 4
    assert f.running > g.running
    assert progress.total.running == 4
    assert progress.total.waiting == 996


def test_nothing_runs_while_no_block_is_up():
    progress = Meter(Kernel(workers=0, f={LAUNCHED: 8}), 0.0).look(1.0)
    assert (progress.total.running, progress.total.waiting) == (0, 8)


def test_an_executor_that_does_not_answer_is_no_reason_to_fail():
    kernel = Kernel(f={LAUNCHED: 10})
    kernel.executors["q"] = SimpleNamespace()
    assert Meter(kernel, 0.0).look(1.0).total.running == 10


def test_rate_and_time_left():
    kernel = Kernel(f={PENDING: 100, EXEC_DONE: 0})
    meter = Meter(kernel, 0.0)
    assert meter.look(0.5).total.rate is None
    for second in range(1, 11):
        kernel.app_counts = {"f": {PENDING: 100 - 10 * second, EXEC_DONE: 10 * second}}
        row = meter.look(float(second)).apps[0]
    assert row.rate == pytest.approx(10, rel=0.1)
    assert row.eta_s is None  # nothing is left


def test_the_rate_is_that_of_late():
    kernel = Kernel(f={EXEC_DONE: 1000, PENDING: 10})
    meter = Meter(kernel, 0.0)
    meter.look(1.0)
    for second in range(2, 60):
        row = meter.look(float(second)).apps[0]
    assert row.rate == 0
    assert row.eta_s is None
    assert WINDOW_S < 60


def test_time_left_counts_from_the_begin_of_the_first_task():
    kernel = Kernel(f={LAUNCHED: 8})
    meter = Meter(kernel, 0.0)
    for second in range(1, 5):
        meter.look(float(second))
    kernel.app_counts = {"f": {LAUNCHED: 6, EXEC_DONE: 2}}
    assert meter.look(4.0).apps[0].eta_s == pytest.approx(12)


def test_time_left_of_tasks_that_are_longer_than_the_window():
    kernel = Kernel(f={LAUNCHED: 10})
    meter = Meter(kernel, 0.0)
    for minute in range(1, 5):
        kernel.app_counts = {"f": {LAUNCHED: 10 - 2 * minute, EXEC_DONE: 2 * minute}}
        for second in range(60):
            row = meter.look(60.0 * minute + second).apps[0]
    assert row.rate == pytest.approx(8 / 299)
    kernel.app_counts = {"f": {PENDING: 2, EXEC_DONE: 8}}
    assert meter.look(315.0).apps[0].rate == 0  # and nothing runs


def test_a_long_run_of_long_tasks_needs_no_memory():
    kernel = Kernel(f={LAUNCHED: 10, EXEC_DONE: 1})
    meter = Meter(kernel, 0.0)
    for second in range(10_000):
        meter.look(float(second))
    assert all(len(history) < 5 for history in meter._history.values())


def test_a_late_app_is_not_measured_from_the_beginning():
    kernel = Kernel(f={PENDING: 10, EXEC_DONE: 0})
    meter = Meter(kernel, 0.0)
    for tenth in range(1, 140):
        meter.look(tenth / 10)
    kernel.app_counts = {"f": {PENDING: 0, EXEC_DONE: 10}}
    assert meter.look(14.0).apps[0].rate > 10


def test_time_left_of_an_estimate():
    assert Row("f", 10, 10, 5, 0, 0, 4.0).eta_s == 5
