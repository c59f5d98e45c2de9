"""Parameters of the process executor are checked when it is made. What it promises is in tests/contract."""

from __future__ import annotations

import os

import pytest

import plait
from plait import ProcessPoolExecutor
from plait._util import machine
from plait.errors import ConfigurationError, ExecutorError, InvalidResourceSpecification
from plait.executors.processes import _cpu_sets
from plait.model.resources import Resources
from plait.model.task import AppSpec, Task


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_workers": 0}, "max_workers=0"),
        ({"max_workers": True}, "max_workers=True"),
        ({"max_workers": 1.5}, "max_workers=1.5"),
        ({"prefetch": -1}, "prefetch=-1"),
        ({"prefetch": True}, "prefetch=True"),
        ({"initializer": "f"}, "initializer='f'"),
        ({"max_tasks_per_worker": 0}, "max_tasks_per_worker=0"),
        ({"cpu_affinity": "some"}, "cpu_affinity='some'"),
        ({"max_workers": 2, "cpu_affinity": [[0]]}, "expected 2 lists"),
        ({"max_workers": 1, "cpu_affinity": [[100_000]]}, "expected 1 lists"),
        ({"max_workers": 1, "cpu_affinity": [[]]}, "expected 1 lists"),
        ({"max_workers": 1, "cpu_affinity": [0]}, "expected 1 lists"),
        ({"env": 3}, "env=3"),
        ({"env": {"A": "x\0y"}}, "ProcessPoolExecutor(env="),
        ({"prefetch": 2**70}, "expected a whole number from 0"),
        ({"max_tasks_per_worker": 2**70}, "expected a whole number from 1"),
        ({"label": None}, "label=None"),
        ({"label": ".."}, "label='..'"),
        ({"label": "../up"}, "label='../up'"),
        ({"label": "a\0b"}, "label='a\\x00b'"),
        ({"preload": "numpy"}, """preload='numpy'): expected a list of names of modules, such as ["numpy"]"""),
        ({"preload": None}, "preload=None"),
        ({"preload": [1]}, "preload=[1]"),
        ({"preload": ["a b"]}, "preload=['a b']"),
        ({"memory_bytes": "much"}, "memory_bytes='much'"),
        ({"memory_bytes": -1}, "memory_bytes=-1"),
        ({"memory_bytes": float("nan")}, "memory_bytes=nan"),
        ({"memory_bytes": True}, "memory_bytes=True"),
        ({"initargs": 5}, "initargs=5"),
        ({"initargs": "ab"}, "initargs='ab'"),
        ({"env": {"A": 3}}, "env={'A': 3}"),
    ],
)
def test_what_cannot_work_is_named(options, text):
    with pytest.raises(ConfigurationError) as raised:
        ProcessPoolExecutor(**options)
    assert text in str(raised.value)


def test_as_many_workers_as_cores_by_default():
    assert ProcessPoolExecutor().max_workers == machine.available_cores()


def test_shares_of_the_cores():
    usable = sorted(os.sched_getaffinity(0))
    assert _cpu_sets("none", 4) == []
    sets = _cpu_sets("block", len(usable))
    assert sorted(core for cores in sets for core in cores) == usable
    assert _cpu_sets([[usable[0]]] * 2, 2) == [[usable[0]]] * 2
    assert len(_cpu_sets("block", 100)) == 100


def test_before_its_start_and_after_its_end():
    executor = ProcessPoolExecutor(max_workers=2)
    task = Task(AppSpec(len, "app"), ([],), {}, None, 0.0)
    with pytest.raises(ExecutorError, match="was not started"):
        executor.submit(task)
    assert executor.cancel(task, 1)
    assert executor.status() == plait.executors.base.ExecutorStatus(2, 0, 0)
    executor.shutdown(1.0)
    executor.shutdown(1.0)
    executor.check(Resources(cores=2))
    with pytest.raises(InvalidResourceSpecification):
        executor.check(Resources(cores=3))
    assert "waits" in executor.explain(task) or "wait" in executor.explain(task)
