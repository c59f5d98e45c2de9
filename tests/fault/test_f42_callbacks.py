"""F42: a callback raises: whatever it is, the thread that runs it lives, the others are called, and the log tells."""

from __future__ import annotations

import asyncio

import pytest

import plait
from plait.testing import tasks
from tests.fault.lab import in_processes

RAISED = [
    ValueError("x"),
    SystemExit(1),
    KeyboardInterrupt(),
    GeneratorExit(),
    BaseException("bare"),
    MemoryError(),
    StopIteration(),
    asyncio.CancelledError(),
    tasks.Unprintable(),
]


def executors():
    return {"processes": in_processes, "threads": lambda: plait.load(
        plait.Config(executors=[plait.ThreadPoolExecutor()], initialize_logging=False, progress=False))}  # fmt: skip


@pytest.mark.parametrize("where", ["processes", "threads"])
@pytest.mark.parametrize("raised", RAISED, ids=lambda raised: type(raised).__name__)
def test_raises(raised, where, caplog):
    called = []

    def raises(future):
        raise raised

    with executors()[where]():
        futures = [plait.python_app(tasks.echo)(number) for number in range(10)]
        failing = plait.python_app(tasks.fail)()
        for future in [*futures, failing]:
            future.add_done_callback(raises)
            future.add_done_callback(called.append)
        assert [future.result(20) for future in futures] == list(range(10))
        assert isinstance(failing.exception(20), ValueError)
        assert plait.python_app(tasks.echo)(1).result(20) == 1
        waiting = plait.python_app(tasks.echo)(plait.python_app(tasks.echo)(3))
        waiting.add_done_callback(raises)
        assert waiting.result(20) == 3

    assert len(called) == 11
    assert sum("callback" in record.getMessage() for record in caplog.records) == 12
