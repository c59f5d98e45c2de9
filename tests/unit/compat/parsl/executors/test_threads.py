from __future__ import annotations

import inspect

import pytest

from plait.compat import parsl
from plait.compat.parsl.config import Config
from plait.compat.parsl.executors.base import ParslExecutor
from plait.compat.parsl.executors.threads import ThreadPoolExecutor
from plait.errors import ExecutorError, InvalidResourceSpecification


def test_parameters_are_upstreams():
    parameters = inspect.signature(ThreadPoolExecutor).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        "label": "threads", "max_threads": 2, "thread_name_prefix": None, "storage_access": None, "working_dir": None,
        "remote_monitoring_radio": None,
    }  # fmt: skip
    executor = ThreadPoolExecutor()
    assert executor.thread_name_prefix == "ThreadPoolExecutor-threads"
    assert isinstance(executor, ParslExecutor)
    assert executor.monitor_resources() is False
    assert ThreadPoolExecutor(max_threads=None).max_threads > 0


@pytest.mark.parametrize("specification", [{"cores": 1}, {"cores": 1, "memory": 1, "disk": 1}, {"zork": None}])
def test_every_specification_is_refused_in_the_future(specification):
    with parsl.load(Config(initialize_logging=False, retries=2)):
        future = parsl.python_app(lambda parsl_resource_specification=None: 1)(
            parsl_resource_specification=specification
        )
        error = future.exception()
        assert isinstance(error, InvalidResourceSpecification)
        assert set(error.invalid_keys) == set(specification)


def test_an_empty_one_is_none():
    with parsl.load(Config(initialize_logging=False)):
        assert (
            parsl.python_app(lambda parsl_resource_specification=None: 1)(parsl_resource_specification={}).result() == 1
        )


def test_it_can_be_given_calls_without_a_kernel():
    with ThreadPoolExecutor(max_threads=1) as executor:
        executor.start()
        assert executor.submit(pow, {}, 2, 3).result(5) == 8
        assert isinstance(executor.submit(int, {}, "x").exception(5), ValueError)
        with pytest.raises(InvalidResourceSpecification, match="cores"):
            executor.submit(pow, {"cores": 1}, 2, 3)
    with pytest.raises(ExecutorError, match="is shut down"):
        executor.submit(pow, {}, 2, 3)


def test_and_beside_one():
    with parsl.load(Config(initialize_logging=False)) as kernel:
        assert kernel.executors["threads"].submit(pow, {}, 2, 3).result(5) == 8
        assert parsl.python_app(pow)(2, 4).result() == 16
    assert kernel.task_count == 1
