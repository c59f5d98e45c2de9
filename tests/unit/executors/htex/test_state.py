from __future__ import annotations

import pytest

from plait.executors.htex import messages as m
from tests.unit.executors.htex.core_lab import Lab, item


def placed(*asks):
    lab = Lab()
    lab.comes("a", workers=8, gpus=["x"])
    lab.offer(*asks)
    lab.place()
    return lab, lab.core.managers["a"]


def test_a_task_that_is_released_is_nowhere():
    lab, manager = placed(None, m.Ask(gpus=1))
    assert lab.core.release(manager, 1) == item(1)
    assert lab.core.release(manager, 2, 3.0) == item(2, m.Ask(gpus=1))
    assert (manager.held, manager.granted, lab.core.placed, manager.free_gpus) == ({}, {}, {}, [1.0])
    assert lab.core.special_mean_s == 3.0


def test_a_ghost_keeps_what_it_had():
    lab, manager = placed(m.Ask(gpus=1))
    lab.core.release(manager, 1, ghost=True)
    assert manager.ghosts.keys() == {(1, 1)}
    assert manager.free_gpus == [0.0]


def test_labels_pay_for_what_was_used_not_for_what_was_expected():
    lab = Lab()
    lab.comes("a", workers=8)
    lab.core.special_mean_s = 100.0
    lab.offer(*[m.Ask(label="x", cores=2)] * 2)
    lab.place()
    assert lab.core.lanes.served["x"] == pytest.approx(400.0)
    lab.core.release(lab.core.managers["a"], 1, 3.0)
    lab.core.release(lab.core.managers["a"], 2)  # it did not run
    assert lab.core.lanes.served["x"] == pytest.approx(6.0)


def test_what_is_queued_again_keeps_its_order():
    lab = Lab()
    lab.offer(None, m.Ask(cores=2))
    lab.core.requeue([item(11), item(12, m.Ask(cores=2)), item(13), item(14, m.Ask(cores=2))], 0.0)
    assert [each[0] for each in lab.core.queue.tasks] == [11, 13, 1]
    assert list(lab.core.lanes.lanes[m.Ask(cores=2)].tasks) == [12, 14, 2]
