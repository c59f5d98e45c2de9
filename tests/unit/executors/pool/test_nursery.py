"""The zygote, seen from the driver: workers come, end and are told of; nothing is left."""

import errno
import os
import signal
import sys

import pytest

from plait._util import procs
from plait.executors.pool import wire
from plait.executors.pool.nursery import Nursery
from tests.support import wait_until


@pytest.fixture
def nursery():
    config = {"path": sys.path, "cwd": os.getcwd(), "output": "", "cpus": [], "preload": []}
    nursery = Nursery(config, dict(os.environ))
    yield nursery
    nursery.exit()
    nursery.wait_end(10)
    nursery.close()


def _await(nursery, what):
    """The next report of that kind."""
    seen = []

    def arrived():
        seen.extend(nursery.reports())
        return any(report[0] == what for report in seen)

    wait_until(arrived)
    return next(report for report in seen if report[0] == what)


def test_a_worker_starts_and_its_end_is_told(nursery):
    sock, page = nursery.spawn(7)
    _, number, pid = _await(nursery, "started")
    assert number == 7
    assert procs.is_alive(pid)
    os.kill(pid, signal.SIGKILL)
    _, number, how = _await(nursery, "ended")
    assert number == 7
    assert "SIGKILL" in how
    sock.close()
    page.close()


def test_a_worker_is_ended_when_asked(nursery):
    sock, page = nursery.spawn(1)
    pid = _await(nursery, "started")[2]
    nursery.end(1, 0.0)
    _await(nursery, "ended")
    assert not procs.is_alive(pid)
    sock.close()
    page.close()


def test_without_files_or_memory_for_a_worker_nothing_is_left_open(nursery, monkeypatch):
    before = set(os.listdir("/proc/self/fd"))

    def refuse(*_):
        raise OSError(errno.ETOOMANYREFS, "too many")

    monkeypatch.setattr(wire, "send_files", refuse)
    with pytest.raises(OSError, match="too many"):
        nursery.spawn(1)
    assert set(os.listdir("/proc/self/fd")) == before


def test_its_own_end_is_told_and_it_can_be_started_again(nursery):
    sock, page = nursery.spawn(1)
    pid = _await(nursery, "started")[2]
    os.kill(procs.look(pid).parent, signal.SIGKILL)
    how = _await(nursery, "lost")[2]
    assert "SIGKILL" in how
    nursery.end_remains([pid])
    wait_until(lambda: not procs.is_alive(pid))
    nursery.start()
    other, other_page = nursery.spawn(2)
    assert _await(nursery, "started")[1] == 2
    for thing in (sock, page, other, other_page):
        thing.close()
