"""The zygote, spoken to as the driver does: it starts workers, reports their ends, and leaves nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from plait._util import procs
from plait.executors.pool import wire
from plait.executors.pool.page import Page, anonymous_file
from plait.limits import PAGE_BYTES
from plait.serialize import FunctionBlob, dumps
from plait.testing import tasks
from tests.fault.lab import all_gone, numbers
from tests.leaks import descendants
from tests.support import require_linux, wait_until


class Driver:
    def __init__(self, **config):
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(20)
        code = f"from plait.executors.pool.zygote import main; main({theirs.fileno()}, 2)"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=[theirs.fileno()], start_new_session=True, stderr=subprocess.DEVNULL
        )
        theirs.close()
        body = wire.encode(
            {
                "path": sys.path,
                "cwd": "",
                "output": "",
                "cpus": [],
                "preload": [],
                "initializer": b"",
                "max_tasks": 0,
                **config,
            }
        )
        self.control.send(len(body).to_bytes(8, "little"))
        for at in range(0, len(body), 32768):
            self.control.send(body[at : at + 32768])
        self.workers = {}

    def spawn(self, number):
        ours, theirs = socket.socketpair()
        fd = anonymous_file(PAGE_BYTES)
        page = Page(fd)
        wire.send_files(self.control, [wire.encode(["spawn", number])], [theirs.fileno(), fd])
        theirs.close()
        os.close(fd)
        self.workers[number] = (ours, page)
        wire.send_files(ours, [wire.frame(wire.INIT, wire.encode({"initializer": b"", "max_tasks": 0}))], [])
        what, reported, pid = self.report()
        assert (what, reported) == ("started", number)
        assert ours.recv(1000)
        return pid

    def task(self, number, function, *args):
        ours = self.workers[number][0]
        frames = wire.frame(wire.FUNCTION, wire.encode((0, FunctionBlob(function).data)))
        frames += wire.frame(wire.TASKS, wire.encode([(1, 0, dumps((args, {})), None)]))
        ours.sendall(frames)

    def report(self):
        return wire.decode_any(self.control.recv(65536))

    def close(self):
        for ours, page in self.workers.values():
            ours.close()
            page.close()
        self.control.close()
        self.process.wait(10)


@pytest.fixture
def driver():
    require_linux("child subreaper, SOCK_SEQPACKET")
    made = Driver()
    yield made
    made.close()


def test_workers_lead_groups_and_their_ends_are_reported(driver):
    pids = [driver.spawn(number) for number in range(3)]
    assert [os.getpgid(pid) for pid in pids] == pids
    assert os.getsid(driver.process.pid) == driver.process.pid
    os.kill(pids[1], signal.SIGSEGV)
    what, number, status, peak_bytes = driver.report()
    assert (what, number, os.WTERMSIG(status)) == ("ended", 1, signal.SIGSEGV)
    assert peak_bytes > 1 << 20


def test_workers_die_with_it(driver):
    pid = driver.spawn(0)
    driver.process.kill()
    wait_until(lambda: not procs.is_alive(pid), 2.0)


def test_ending_a_worker_ends_its_tree(driver, tmp_path):
    driver.spawn(0)
    driver.task(0, tasks.family, str(tmp_path / "notes"))
    pids = wait_until(lambda: len(found := numbers(tmp_path / "notes", "child")) == 4 and found)
    driver.control.send(wire.encode(["end", 0, 2.0]))
    what, number, status, _ = driver.report()
    assert (what, number) == ("ended", 0)
    assert os.WIFSIGNALED(status)
    wait_until(lambda: not any(map(procs.is_alive, pids)), 1.0)


def test_the_deaf_get_their_grace_and_no_more(driver, tmp_path):
    driver.spawn(0)
    driver.task(0, _deaf_family, str(tmp_path / "notes"))
    pids = wait_until(lambda: len(found := numbers(tmp_path / "notes", "child")) == 4 and found)
    driver.control.send(wire.encode(["end", 0, 0.3]))
    driver.report()
    wait_until(lambda: not any(map(procs.is_alive, pids)), 2.0)


def test_what_starts_others_for_ever_is_ended_too(driver, tmp_path):
    before = descendants() - {driver.process.pid}
    driver.spawn(0)
    script = f'f() {{ echo child $BASHPID >> {tmp_path / "notes"}; sleep 0.01; (setsid bash -c "$(declare -f f); f" &) ; }}; f'
    driver.task(0, _shell, script)
    wait_until(lambda: len(numbers(tmp_path / "notes", "child")) > 5)
    driver.control.send(wire.encode(["exit", 0.1]))
    assert driver.process.wait(5) == 0
    all_gone(before, 0.5)


def test_strays_of_strays_end_with_their_worker(driver, tmp_path):
    driver.spawn(0)
    script = f'f() {{ echo child $BASHPID >> {tmp_path / "notes"}; (setsid bash -c "$(declare -f f); f" &) ; sleep 0.02; }}; f'
    driver.task(0, _shell, script)
    wait_until(lambda: len(numbers(tmp_path / "notes", "child")) > 5)
    driver.control.send(wire.encode(["end", 0, 0.0]))
    assert driver.report()[:2] == ["ended", 0]
    wait_until(lambda: procs.children_of(driver.process.pid) == [], 3.0)


@pytest.mark.parametrize("how", ["exit", "hang up"])
def test_nothing_is_left_at_its_end(driver, how, tmp_path):
    before = descendants() - {driver.process.pid}
    driver.spawn(0)
    driver.task(0, _deaf_family, str(tmp_path / "notes"))
    wait_until(lambda: len(numbers(tmp_path / "notes", "child")) == 4)
    if how == "exit":
        driver.control.send(wire.encode(["exit", 0.1]))
    else:
        driver.control.close()
    assert driver.process.wait(2) == 0
    all_gone(before, 0.5)


def test_hanging_up_cuts_the_grace(driver, tmp_path):
    driver.spawn(0)
    driver.task(0, _deaf_family, str(tmp_path / "notes"))
    wait_until(lambda: len(numbers(tmp_path / "notes", "child")) == 4)
    driver.control.send(wire.encode(["exit", 60.0]))
    driver.control.close()
    assert driver.process.wait(2) == 0


def test_signals_blocked_in_the_driver_are_not_blocked_in_workers(tmp_path):
    require_linux("SOCK_SEQPACKET")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT})
    try:
        made = Driver()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        pid = made.spawn(0)
        os.kill(pid, signal.SIGTERM)
        assert made.report()[:2] == ["ended", 0]
    finally:
        made.close()


def _deaf_family(path):
    tasks.family(path, deaf=True)


def _shell(script):
    import subprocess

    subprocess.run(["/bin/bash", "-c", script], check=False)
    while True:
        signal.pause()
