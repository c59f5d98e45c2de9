"""The pool's edge in a real run: its thread survives what can go wrong, and when it does not, everything ends with the reason.

What it does with workers that end is in tests/fault; what it promises is in tests/contract.
"""

from __future__ import annotations

import collections
import os
import threading

import pytest

import plait
from plait.executors.pool.link import PoolLink
from plait.testing import tasks
from tests.fault.lab import in_processes
from tests.support import wait_until

WAIT_S = 20


def link_of(kernel) -> PoolLink:
    (executor,) = kernel.config.executors
    return executor._link


def test_a_failure_of_its_thread_ends_all_tasks_with_the_reason(monkeypatch, tmp_path, caplog):
    with in_processes() as kernel:
        link = link_of(kernel)
        path, go = str(tmp_path / "notes"), str(tmp_path / "go")
        running = [plait.python_app(tasks.hold)(path, str(number), go) for number in range(2)]
        wait_until(lambda: len(tasks.notes(path)) == 2)
        waiting = [plait.python_app(tasks.echo, cores=cores)(1) for cores in (1, 2) for _ in range(5)]
        monkeypatch.setattr(link, "_obey", lambda outcomes: 1 / 0)
        link.wake()
        errors = [future.exception(WAIT_S) for future in [*running, *waiting]]
        later = plait.python_app(tasks.echo)(2).exception(WAIT_S)

    assert {type(error) for error in [*errors, later]} == {plait.errors.ExecutorError}
    assert "ZeroDivisionError" in str(later)
    assert "I/O thread" in caplog.text


def test_cancelled_between_being_chosen_and_being_sent(monkeypatch):
    """The payload is gone by then; the worker and the others do not notice."""
    with in_processes(workers=1) as kernel:
        link = link_of(kernel)
        echo = plait.python_app(tasks.echo)
        assert echo(0).result(WAIT_S) == 0
        send = link._send_batch
        chosen = []

        def send_later(peer, batch, now_s):
            if not chosen:
                chosen.extend(task for _, task in batch)
                chosen[0].future.cancel()
            send(peer, batch, now_s)

        monkeypatch.setattr(link, "_send_batch", send_later)
        first = echo(1)
        assert [future.result(WAIT_S) for future in [echo(number) for number in range(50)]] == list(range(50))
        wait_until(first.cancelled)
        assert link.core.capacity.used_cores in {0, 1}
        wait_until(lambda: link.core.capacity.used_cores == 0)


def test_arguments_that_cannot_be_put_into_a_file(monkeypatch):
    """As when memory or descriptors have run out: that task fails, the others do not."""
    from plait.executors.pool import prepare, wire

    monkeypatch.setattr(prepare, "MAX_WAITING_FILES", 0)
    full = []

    def anonymous_file(size, real=wire.anonymous_file):
        if full:
            raise OSError(24, "Too many open files")
        return real(size)

    with in_processes(workers=1):
        echo = plait.python_app(tasks.echo)
        assert len(echo(b"x" * 200_000).result(WAIT_S)) == 200_000
        monkeypatch.setattr(wire, "anonymous_file", anonymous_file)
        full.append(True)
        error = echo(b"x" * 200_000).exception(WAIT_S)
        full.clear()
        assert echo(1).result(WAIT_S) == 1
        assert len(echo(b"x" * 200_000).result(WAIT_S)) == 200_000

    assert isinstance(error, plait.errors.SerializationError)
    assert "Too many open files" in str(error)


def test_a_worker_that_sends_nonsense_is_ended():
    def talks():
        import gc
        import socket

        (sock,) = [s for s in gc.get_objects() if isinstance(s, socket.socket) and s.fileno() >= 0]
        sock.sendall(b"\xff" * 64)
        return "talked"

    with in_processes(workers=1, max_losses=0):
        future = plait.python_app(talks)()
        assert isinstance(future.exception(WAIT_S), (plait.errors.WorkerLost, type(None)))
        assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1


def test_cancelling_in_bulk_while_tasks_run(tmp_path):
    """What is cancelled in time never runs; what is not runs once."""
    path = str(tmp_path / "notes")
    with in_processes():
        note = plait.python_app(tasks.note)
        futures = [note(path, str(number)) for number in range(3000)]
        for future in futures[::3]:
            future.cancel()
        results = [None if future.cancelled() else future.result(WAIT_S) for future in futures]
    counts = collections.Counter(tasks.notes(path))
    assert set(counts.values()) == {1}
    assert [counts[str(number)] for number, result in enumerate(results) if result is not None] == [1] * sum(
        r is not None for r in results
    )
    assert all(result == str(number) for number, result in enumerate(results) if number % 3)


def test_recycled_workers_lose_nothing(tmp_path):
    path = str(tmp_path / "notes")
    with in_processes() as kernel:
        (executor,) = kernel.config.executors
        note, pid = plait.python_app(tasks.note), plait.python_app(tasks.pid)
        before = {future.result(WAIT_S) for future in [pid() for _ in range(50)]}
        futures = []
        for round_ in range(5):
            futures += [note(path, f"{round_} {number}") for number in range(100)]
            executor.recycle("for the test")
        assert [future.exception(WAIT_S) for future in futures] == [None] * 500
        wait_until(lambda: pid().result(WAIT_S) not in before)
    assert set(collections.Counter(tasks.notes(path)).values()) == {1}
    assert len(tasks.notes(path)) == 500


def test_what_waits_behind_a_long_task_goes_to_whoever_is_idle(tmp_path):
    with in_processes(options={"prefetch": 50}):
        echo = plait.python_app(tasks.echo)
        assert echo(1).result(WAIT_S) == 1
        long = plait.python_app(tasks.hold)(str(tmp_path / "notes"), "long", str(tmp_path / "go"))
        others = [echo(number) for number in range(200)]
        assert [future.result(WAIT_S) for future in others] == list(range(200))
        assert not long.done()
        (tmp_path / "go").touch()


def test_explanations(tmp_path):
    with in_processes(workers=1):
        long = plait.python_app(tasks.hold)(str(tmp_path / "notes"), "long", str(tmp_path / "go"))
        behind = [plait.python_app(tasks.echo)(number) for number in range(5)]
        wait_until(lambda: tasks.notes(str(tmp_path / "notes")))
        assert "runs on worker 0" in long.explain()
        assert "behind a running task" in behind[0].explain()
        assert "waits in executor 'processes' for a free worker" in behind[4].explain()
        (tmp_path / "go").touch()


def test_shut_down_twice_and_by_its_own_thread():
    with in_processes() as kernel:
        done = threading.Event()

        def end(_):
            kernel.cleanup()
            kernel.cleanup()
            done.set()

        plait.python_app(tasks.echo)(1).add_done_callback(end)
        assert done.wait(5)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memfd")
def test_no_descriptor_stays_after_large_calls():
    with in_processes():
        echo = plait.python_app(tasks.echo)
        assert echo(1).result(WAIT_S) == 1
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            assert {len(future.result(WAIT_S)) for future in [echo(b"x" * 300_000) for _ in range(20)]} == {300_000}
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)
