from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
import types

import pytest

from plait.model.task import EXEC_DONE, FAILED, LAUNCHED, TaskState
from plait.monitoring import display
from plait.monitoring.display import Display
from tests.support import wait_until


class Kernel:
    def __init__(self, done=0, running=0, failed=0):
        self.app_counts = {"f": {EXEC_DONE: done, LAUNCHED: running, FAILED: failed}}
        self.executors = {}
        self.failures = {("E", "f"): (failed, 7)} if failed else {}
        self.usages = []

    @property
    def task_state_counts(self):
        return {TaskState(state): n for state, n in self.app_counts["f"].items()}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch):
    for name in ("PLAIT_PROGRESS", "PLAIT_WORKER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_wanted_on_a_terminal_and_not_elsewhere():
    with contextlib.redirect_stderr(Terminal()):
        assert display.is_wanted()
        assert display._kind() == "terminal"
    with contextlib.redirect_stderr(io.StringIO()):
        assert not display.is_wanted()
        assert display._kind() == "plain"


@pytest.mark.parametrize(("name", "value"), [("PLAIT_PROGRESS", "0"), ("PLAIT_PROGRESS", "off"), ("PLAIT_WORKER", "3")])
def test_not_wanted_when_told_so_or_in_a_worker(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with contextlib.redirect_stderr(Terminal()):
        assert not display.is_wanted()


def test_silenced_wins_over_the_configuration(monkeypatch):
    monkeypatch.setenv("PLAIT_PROGRESS", "0")
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        shown = display.start(Kernel(done=3))
        shown.stop()
    assert out.getvalue() == ""


def test_never_over_a_prompt(monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with contextlib.redirect_stderr(Terminal()):
        assert not display.is_wanted()
        assert display._kind() == "plain"


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with contextlib.redirect_stderr(Terminal()):
        assert display._kind() == "plain"


def test_a_notebook_is_known_by_its_shell(monkeypatch):
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert display.is_wanted()
    assert display._kind() == "notebook"
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert display._kind() == "plain"


def test_a_short_run_draws_nothing_and_says_how_it_ended():
    out = Terminal()
    with contextlib.redirect_stderr(out):
        shown = Display(Kernel(done=3, failed=2), "terminal", quiet_s=60)
        begin = time.monotonic()
        shown.stop()
        took = time.monotonic() - begin
    assert out.getvalue() == "3 done, 2 failed: 2× E in f(), see `plait explain 7`\n"
    assert took < 0.1


def test_no_task_no_line():
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        Display(Kernel(), "plain", quiet_s=60).stop()
    assert out.getvalue() == ""


def test_the_table_is_drawn_and_taken_away(monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")  # on a narrow terminal the headers are cut
    monkeypatch.setenv("LINES", "24")
    out = Terminal()
    with contextlib.redirect_stderr(out), contextlib.redirect_stdout(out):
        shown = Display(Kernel(done=1, running=2), "terminal", quiet_s=0)
        try:
            wait_until(lambda: "waiting" in out.getvalue())
        finally:
            shown.stop()
        assert sys.stderr is out
        assert sys.stdout is out
    assert out.getvalue().endswith("\x1b[J1 done\n")


def test_stop_is_quick_and_may_be_called_again():
    out = Terminal()
    with contextlib.redirect_stderr(out):
        shown = Display(Kernel(running=2), "terminal", quiet_s=0)
        try:
            wait_until(out.getvalue)
        finally:
            begin = time.monotonic()
            shown.stop()
        assert time.monotonic() - begin < 2.0  # 0.1 s, and what a busy machine adds
        text = out.getvalue()
        shown.stop()
    assert out.getvalue() == text


def test_a_display_that_fails_harms_nobody(caplog):
    class Broken(Kernel):
        @property
        def app_counts(self):
            raise RuntimeError("broken")

        @app_counts.setter
        def app_counts(self, value):
            pass

        @property
        def task_state_counts(self):
            return {TaskState.exec_done: 1}

    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        shown = Display(Broken(), "plain", quiet_s=0)
        wait_until(lambda: "switched off" in caplog.text)
        shown.stop()
    assert out.getvalue() == "1 done\n"


def test_a_terminal_that_takes_nothing_does_not_hold_us():
    stuck = threading.Event()

    class Stopped(Terminal):
        def write(self, text):
            stuck.wait()
            return len(text)

    with contextlib.redirect_stderr(Stopped()):
        shown = Display(Kernel(running=1), "terminal", quiet_s=0)
        wait_until(shown._lock.locked)
        begin = time.monotonic()
        shown.stop()
        assert time.monotonic() - begin < 5.0
        stuck.set()
        shown._thread.join(5)
        assert not shown._renderer.is_active  # the terminal is free for the next run


def test_a_forked_process_leaves_the_display_to_its_parent(monkeypatch):
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        shown = Display(Kernel(done=1), "plain", quiet_s=60)
        with monkeypatch.context() as context:
            context.setattr(os, "getpid", lambda: -1)
            shown.stop()
        assert out.getvalue() == ""
        shown.stop()
    assert out.getvalue() == "1 done\n"


def test_the_table_that_stays_in_a_notebook_is_the_last(monkeypatch):
    cells = []

    class Cell:
        def __init__(self, text):
            cells.append(text)

        def update(self, shown):
            cells.append(shown._repr_html_())

    monkeypatch.setattr("plait.monitoring.progress_notebook._show_with_ipython", Cell)
    kernel = Kernel(running=5)
    shown = Display(kernel, "notebook", quiet_s=0)
    wait_until(lambda: cells)
    kernel.app_counts = {"f": {EXEC_DONE: 5}}
    shown.stop()
    assert "<td style='text-align:right'>5</td>" in cells[-1]
    assert cells[-1].endswith("<p>5 done</p>")
