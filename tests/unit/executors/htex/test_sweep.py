from __future__ import annotations

import os
import signal
import subprocess

from plait.executors.htex.sweep import VARIABLE, mark_of, sweep
from tests.support import require_linux


def started(mark):
    return subprocess.Popen(["sleep", "600"], env={**os.environ, VARIABLE: mark})


def test_what_belongs_to_an_attempt_is_ended_and_nothing_else():
    require_linux("environments of processes in /proc")
    mine, other, longer = (mark_of(f"run{os.getpid()}", "x", task, 1) for task in (1, 2, 11))
    processes = {mark: started(mark) for mark in (mine, other, longer)}
    try:
        assert sweep([mine]) == 1
        assert processes[mine].wait(10) == -signal.SIGKILL
        assert processes[other].poll() is None
        assert processes[longer].poll() is None
        assert sweep([mine]) == 0
        assert sweep([other, longer]) == 2
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def test_names_are_of_one_attempt():
    assert mark_of("r", "cpu", 1, 12) != mark_of("r", "cpu", 11, 2)
