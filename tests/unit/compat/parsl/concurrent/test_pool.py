from __future__ import annotations

import concurrent.futures
import dataclasses
import threading

import pytest

from plait.compat import parsl
from plait.compat.parsl.concurrent import ParslPoolExecutor
from plait.compat.parsl.config import Config
from plait.errors import NoDataFlowKernelError


def square(x):
    return x * x


def config():
    return Config(initialize_logging=False)


def test_config_or_kernel_but_not_both():
    with pytest.raises(ValueError, match="one of config or dfk"):
        ParslPoolExecutor()
    with parsl.load(config()) as kernel, pytest.raises(ValueError, match="one of config or dfk"):
        ParslPoolExecutor(config(), kernel)


def test_submit_and_map_as_the_standard_executors_do():
    with ParslPoolExecutor(config()) as pool:
        assert isinstance(pool, concurrent.futures.Executor)
        assert pool.submit(square, 3).result() == 9
        assert list(pool.map(square, range(4), chunksize=2)) == [0, 1, 4, 9]
        assert list(pool.map(pow, [2, 3], [3, 2])) == [8, 9]
        assert pool.app_count == 2
        assert pool.get_app(square) is pool.get_app(square)


def test_methods_of_objects_without_a_hash():
    @dataclasses.dataclass
    class Model:
        factor: int

        def predict(self, x):
            return self.factor * x

    with ParslPoolExecutor(config()) as pool:
        assert pool.submit(Model(3).predict, 2).result() == 6
        assert list(pool.map(Model(3).predict, range(3))) == [0, 3, 6]


def test_objects_that_are_equal_are_functions_of_their_own():
    @dataclasses.dataclass(frozen=True)
    class Scale:
        by: int = dataclasses.field(compare=False)

        def __call__(self, x):
            return self.by * x

    with ParslPoolExecutor(config()) as pool:
        assert [pool.submit(Scale(by), 1).result() for by in (2, 3)] == [2, 3]
        assert [list(pool.map(Scale(by), [1])) for by in (2, 3)] == [[2], [3]]


def test_futures_chain():
    with ParslPoolExecutor(config()) as pool:
        other = parsl.python_app(square)
        assert pool.submit(square, pool.submit(square, other(2))).result() == 256


def test_a_result_that_is_late_is_a_timeout():
    go = threading.Event()
    with ParslPoolExecutor(config()) as pool:
        results = pool.map(lambda _: go.wait(), range(2), timeout=0.01)
        try:
            with pytest.raises(concurrent.futures.TimeoutError):
                next(results)
        finally:
            go.set()


def test_leaving_waits_for_the_tasks_and_ends_the_run():
    with ParslPoolExecutor(config()) as pool:
        future = pool.submit(square, 3)
    assert future.done()
    with pytest.raises(NoDataFlowKernelError):
        parsl.dfk()
    for use in (pool.submit, lambda function, number: pool.map(function, [number])):
        with pytest.raises(RuntimeError, match="has been shut down"):
            use(square, 3)
    pool.shutdown()


def test_a_kernel_that_was_given_goes_on():
    with parsl.load(config()) as kernel:
        with ParslPoolExecutor(dfk=kernel, executors=["threads"]) as pool:
            assert pool.submit(square, 2).result() == 4
        assert parsl.python_app(square)(3).result() == 9


def test_what_has_not_begun_can_be_given_up():
    go, waiting = threading.Event(), concurrent.futures.Future()
    pool = ParslPoolExecutor(config())
    running = pool.submit(go.wait)
    never = pool.submit(square, waiting)
    go.set()
    pool.shutdown(cancel_futures=True)
    assert running.result() is True
    assert never.cancelled()
