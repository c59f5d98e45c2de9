"""F43: chains and fan-ins of 100,000 tasks: no recursion, and time that grows with their number only."""

from __future__ import annotations

import time

import pytest

import plait
from plait.testing import tasks

COUNT = 100_000


@pytest.fixture
def held(tmp_path):
    """A run on threads, and a task that goes on when the file is there."""
    with plait.load(
        plait.Config(executors=[plait.ThreadPoolExecutor(max_threads=1)], initialize_logging=False, progress=False)
    ):
        go = tmp_path / "go"
        yield plait.python_app(tasks.hold)(str(tmp_path / "notes"), "head", str(go), 60.0), go
        go.touch()


def chain(future):
    echo = plait.python_app(tasks.echo)
    futures = []
    for _ in range(COUNT):
        future = echo(future)
        futures.append(future)
    return futures


def timed(do) -> float:
    begin_s = time.monotonic()
    do()
    return time.monotonic() - begin_s


def test_a_chain_runs(held):
    head, go = held
    futures = chain(head)
    go.touch()
    assert futures[-1].result(60) == "head"
    assert all(future.done() for future in futures)


def test_a_chain_whose_head_fails(tmp_path):
    with plait.load(
        plait.Config(executors=[plait.ThreadPoolExecutor(max_threads=1)], initialize_logging=False, progress=False)
    ):
        gate = plait.python_app(tasks.hold)(str(tmp_path / "notes"), "gate", str(tmp_path / "go"), 60.0)
        futures = chain(plait.python_app(lambda _: 1 / 0)(gate))
        (tmp_path / "go").touch()
        error = futures[-1].exception(30)
        assert isinstance(error, plait.errors.DependencyError)
        assert isinstance(error.__cause__, ZeroDivisionError)
        assert len(str(error)) < 1000
        assert isinstance(futures[COUNT // 2].exception(), plait.errors.DependencyError)


def test_a_chain_that_is_cancelled(held):
    head, _ = held
    first = plait.python_app(tasks.echo)(head)
    futures = chain(first)
    assert timed(first.cancel) < 30.0
    assert futures[-1].cancelled()
    assert sum(future.cancelled() for future in futures) == COUNT


def test_a_chain_at_cleanup(held):
    head, go = held
    futures = chain(head)
    kernel = plait.dfk()
    go.touch()
    assert timed(kernel.cleanup) < 30.0
    assert all(future.done() for future in futures)


def test_fan_in_and_fan_out(tmp_path):
    executor = plait.ProcessPoolExecutor(max_workers=2)
    with plait.load(plait.Config(executors=[executor], initialize_logging=False, progress=False)):
        gate = plait.python_app(tasks.hold)(str(tmp_path / "notes"), "gate", str(tmp_path / "go"), 60.0)
        second = plait.python_app(tasks.second)
        futures = [second(gate, number) for number in range(COUNT)]
        total = plait.python_app(sum)(futures)
        (tmp_path / "go").touch()
        assert total.result(60) == COUNT * (COUNT - 1) // 2
        del futures
