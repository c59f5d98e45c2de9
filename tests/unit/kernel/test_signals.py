"""SIGTERM and SIGHUP leave by SystemExit; handlers of the program stay."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from plait.kernel.signals import leave_on_signals

NUMBERS = [signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_leaves_by_system_exit(number):
    restore = leave_on_signals()
    try:
        with pytest.raises(SystemExit) as left:
            signal.raise_signal(number)
        assert left.value.code == 128 + number
    finally:
        restore()
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_handler_of_the_program_stays():
    seen = []
    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        restore = leave_on_signals()
        signal.raise_signal(signal.SIGTERM)
        restore()
        signal.raise_signal(signal.SIGTERM)
        assert seen == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_a_handler_that_came_later_stays():
    restore = leave_on_signals()
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        restore()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_the_last_run_takes_the_handlers_away():
    first, second = leave_on_signals(), leave_on_signals()
    first()
    first()
    with pytest.raises(SystemExit):
        signal.raise_signal(signal.SIGTERM)
    second()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.slow
def test_after_a_run_that_another_thread_ended_a_signal_does_what_it_does_by_default():
    text = """
import signal, threading
from plait.kernel.signals import leave_on_signals
thread = threading.Thread(target=leave_on_signals())
thread.start(); thread.join()
signal.raise_signal(signal.SIGTERM)
"""
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == -signal.SIGTERM


def test_other_threads_install_nothing():
    done = []

    def work():
        leave_on_signals()()
        done.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.SIG_DFL]
