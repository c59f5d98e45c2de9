"""F42: a callback raises or waits: whatever it is, outcomes are delivered, the others are called, and the log tells."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from queue import SimpleQueue

import pytest

import plait
from plait.testing import tasks
from tests.fault.lab import in_processes
from tests.support import wait_until

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

    here = []

    def raises(future):
        raise raised

    def add(future):
        try:
            future.add_done_callback(raises)
        except KeyboardInterrupt as error:  # it had ended, so it was called by this thread: a Ctrl-C is for the program
            here.append(error)

    with executors()[where]():
        futures = [plait.python_app(tasks.echo)(number) for number in range(10)]
        failing = plait.python_app(tasks.fail)()
        for future in [*futures, failing]:
            add(future)
            future.add_done_callback(called.append)
        assert [future.result(20) for future in futures] == list(range(10))
        assert isinstance(failing.exception(20), ValueError)
        assert plait.python_app(tasks.echo)(1).result(20) == 1
        waiting = plait.python_app(tasks.echo)(plait.python_app(tasks.echo)(3))
        add(waiting)
        assert waiting.result(20) == 3

    assert len(called) == 11
    assert sum("callback" in record.getMessage() for record in caplog.records) + len(here) == 12
    assert not here or isinstance(raised, KeyboardInterrupt)


@pytest.mark.parametrize("where", ["processes", "threads", "pilots"])
def test_waits_for_what_its_own_thread_would_deliver(where):
    ways = [
        lambda future: future.result(20),
        lambda future: concurrent.futures.wait([future], 20).done.pop().result(),
        lambda future: next(concurrent.futures.as_completed([future], 20)).result(),
    ]
    make = {
        "processes": lambda: plait.ProcessPoolExecutor(max_workers=1),
        "threads": lambda: plait.ThreadPoolExecutor(max_threads=1),
        "pilots": lambda: plait.HighThroughputExecutor(max_workers_per_node=1, cores_per_worker=0.5),
    }[where]
    echo = plait.python_app(tasks.echo)
    with plait.load(plait.Config(executors=[make()], initialize_logging=False, progress=False)) as kernel:
        for number in range(10):
            wait_for = ways[number % len(ways)]
            heard: SimpleQueue = SimpleQueue()
            first = echo(1)
            later = [echo(number) for number in range(5)]

            def wait(_, later=later, heard=heard, wait_for=wait_for):
                heard.put([*(wait_for(future) for future in later), wait_for(echo(echo(7)))])

            first.add_done_callback(wait)
            assert heard.get(timeout=20) == [0, 1, 2, 3, 4, 7]
        wait_until(
            lambda: sum(thread.name.startswith(("plait-pool", "plait-htex")) for thread in threading.enumerate()) <= 1
        )
        ended: SimpleQueue = SimpleQueue()
        echo(1).add_done_callback(lambda _: ended.put((echo(2).result(20), kernel.cleanup())))
        assert ended.get(timeout=20) == (2, None)
