"""F23: the interchange cannot listen: every future ends soon, with the reason; nobody waits for ever."""

from __future__ import annotations

import os
import signal
import socket

import pytest

import plait
from plait.testing import tasks
from tests.fault.pilot import interchanges, managers, pilot_jobs, up
from tests.support import require_linux, wait_until

echo = plait.python_app(tasks.echo)
loop = plait.python_app(tasks.loop)


@pytest.fixture
def taken():
    """A port that somebody else has."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_the_port_is_taken(taken):
    with pilot_jobs(options={"worker_port": taken}):
        futures = [echo(i) for i in range(3)]
        for future in futures:
            with pytest.raises(plait.errors.ExecutorError, match=f"{taken}: Address already in use"):
                future.result(30)
        with pytest.raises(plait.errors.ExecutorError, match="in use"):  # as do those that come later
            echo(1).result(30)
        assert managers() == []


def test_every_port_of_the_range_is_taken(taken):
    error = f"from {taken} to {taken}: .*in use"
    with (
        pilot_jobs(options={"worker_port_range": (taken, taken + 1)}),
        pytest.raises(plait.errors.ExecutorError, match=error),
    ):
        echo(1).result(30)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_the_address_is_not_ours(address):
    error = f"{address}.*(assign requested address|not supported|No such device)"
    with pilot_jobs(options={"address": address}), pytest.raises(plait.errors.ExecutorError, match=error):
        echo(1).result(30)


def test_one_of_the_addresses_went_away_and_the_others_will_do(monkeypatch):
    monkeypatch.setattr("plait.executors.htex.executor.choose_addresses", lambda *_: ["192.0.2.1", "127.0.0.1"])
    with pilot_jobs(options={"address": None}):
        assert echo(1).result(30) == 1


def test_the_address_is_none():
    with pytest.raises(plait.errors.ConfigurationError, match="no-such-host.invalid"):
        plait.HighThroughputExecutor(address="no-such-host.invalid")


def test_the_port_is_taken_between_two_lives():
    require_linux("reads /proc")
    with pilot_jobs(max_losses=0, options={"heartbeat_threshold": 15.0}) as kernel:
        htex = up(kernel)
        port = htex._link.lives.port
        running = loop("notes")
        wait_until(lambda: tasks.notes("notes"), 20)
        (pid,) = interchanges()
        os.kill(pid, signal.SIGSTOP)
        thief = socket.socket()
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with thief:
            os.kill(pid, signal.SIGKILL)

            def stolen() -> bool:
                try:
                    thief.bind(("127.0.0.1", port))
                    thief.listen()
                except OSError:
                    return False
                return True

            wait_until(stolen, 20)
            with pytest.raises(plait.errors.ExecutorError, match=f"{port}: Address already in use"):
                running.result(60)
            with pytest.raises(plait.errors.ExecutorError, match="in use"):
                echo(1).result(30)
