"""What a task changes is put back. That the next task notices nothing is tests/fault/test_f09_dirty_tasks.py, in real workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from plait._util import procs
from plait.executors.pool import hygiene as module
from plait.executors.pool.hygiene import Hygiene, _open_children
from tests.support import require_linux, wait_until


@pytest.fixture
def hygiene():
    """In this process: so what it watches must be put back as well."""
    environ, cls = os.environ, type(os.environ)
    methods = cls.__setitem__, cls.__delitem__
    made = Hygiene()
    yield made
    os.environ = environ  # noqa: B003 - the test replaced it
    cls.__setitem__, cls.__delitem__ = methods
    if getattr(made, "_children_fd", -1) >= 0:
        os.close(made._children_fd)


def environment():
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def test_few_files_are_enough(monkeypatch):
    def refuse(*_):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("plait.executors.pool.hygiene.fcntl.fcntl", refuse)
    fd = _open_children()
    if fd >= 0:
        os.close(fd)


def test_nothing_changed(hygiene):
    assert hygiene.after_task() == ""
    assert hygiene.after_batch(0.0) == ""


def test_working_directory_and_umask(hygiene, tmp_path):
    (tmp_path / "in").mkdir()
    before = os.getcwd()
    os.chdir(tmp_path / "in")
    os.umask(0)
    assert hygiene.after_task() == ""
    assert os.getcwd() == before
    umask = os.umask(0o022)
    os.umask(umask)
    assert umask != 0


def test_environment(hygiene):
    before = environment()
    os.environ["PLAIT_TEST_LEFT"] = "1"
    del os.environ["PATH"]
    os.environ["HOME"] = "/nowhere"
    assert hygiene.after_task() == ""
    assert environment() == before
    os.environ.update(PLAIT_TEST_LEFT="again")
    hygiene.after_task()
    assert environment() == before


def test_environment_replaced(hygiene):
    before = os.environ
    os.environ = {}  # noqa: B003 - what a task may do
    hygiene.after_task()
    assert os.environ is before


def test_open_files(hygiene, monkeypatch):
    require_linux("/proc")
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
    try:
        assert hygiene.after_batch(10.0) == ""
        monkeypatch.setattr(module, "open_files_limit", lambda: 20)
        assert "files open, of 20" in hygiene.after_batch(20.0)
    finally:
        for fd in opened:
            os.close(fd)


def test_handlers_alarm_and_mask(hygiene):
    alarm = signal.getsignal(signal.SIGALRM)
    term = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    assert hygiene.after_task() == ""
    assert signal.getsignal(signal.SIGTERM) == term
    assert hygiene.after_batch(0.0) == ""
    assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.getsignal(signal.SIGALRM) == alarm


def test_output_replaced(hygiene):
    stdout = sys.stdout
    with open(os.devnull, "w", encoding="utf-8") as null:
        sys.stdout = null
        hygiene.after_task()
    assert sys.stdout is stdout


def test_children_are_ended(hygiene):
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)

    def ended() -> bool:  # the system's list may miss a child while another one ends; then the next look finds it
        assert hygiene.after_task() == ""
        return not procs.is_alive(child.pid)

    try:
        wait_until(ended)
    finally:
        child.returncode = 0  # its exit status was taken


def test_a_child_behind_many_others_is_ended(request):
    others = [subprocess.Popen(["sleep", "1000"]) for _ in range(20)]  # the list of these has more than a hundred bytes
    cared_for = request.getfixturevalue("hygiene")
    child = subprocess.Popen(["sleep", "1000"])
    try:
        wait_until(lambda: cared_for.after_task() or not procs.is_alive(child.pid))
        assert all(procs.is_alive(other.pid) for other in others)
    finally:
        child.returncode = 0  # its exit status was taken
        for other in others:
            other.kill()
            other.wait()


def test_threads_are_a_reason(hygiene):
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="left")
    thread.start()
    reason = hygiene.after_task()
    end.set()
    thread.join()
    assert reason == "a task left 1 thread(s) running: left"
    assert hygiene.after_task() == ""


def test_growth_is_a_reason(hygiene, monkeypatch):
    sizes = iter([100 << 20, 100 << 20, 10_000 << 20, 10_000 << 20])
    monkeypatch.setattr(module, "_rss_bytes", lambda: next(sizes))
    assert hygiene.after_batch(10.0) == ""
    assert hygiene.after_batch(10.5) == ""  # too soon for another look
    assert hygiene.after_batch(20.0) == ""
    assert hygiene.after_batch(30.0) == "its memory grew from 100 MiB to 10000 MiB"


def test_its_own_size_is_known():
    assert 1 << 20 < module._rss_bytes() < 1 << 40
    wait_until(lambda: module._rss_bytes() % 4096 == 0)
