"""Things to do later are done in order, in one thread, and what raises does not stop the others."""

from __future__ import annotations

import threading
import time

import pytest

from plait._util.timers import Timers
from plait.futures import PlaitFuture, blocking
from tests.support import wait_until


def test_order_of_time():
    timers, done, end = Timers("t"), [], threading.Event()
    now_s = time.monotonic()
    for delay_s in (0.03, 0.01, 0.02):
        timers.at(now_s + delay_s, lambda delay_s=delay_s: done.append(delay_s))
    timers.after(0.04, end.set)
    assert end.wait(5)
    assert done == [0.01, 0.02, 0.03]
    timers.stop()


def test_equal_times_in_order_of_asking():
    timers, done, end = Timers("t"), [], threading.Event()
    when_s = time.monotonic() + 0.01
    for number in range(20):
        timers.at(when_s, lambda number=number: done.append(number))
    timers.at(when_s, end.set)
    assert end.wait(5)
    assert done == list(range(20))
    timers.stop()


def test_never_too_early():
    timers, end, late_s = Timers("t"), threading.Event(), []
    for delay_s in (0.0, 0.005, 0.02):
        when_s = time.monotonic() + delay_s
        timers.at(when_s, lambda when_s=when_s: late_s.append(time.monotonic() - when_s))
    timers.after(0.03, end.set)
    assert end.wait(5)
    assert all(late >= 0 for late in late_s)
    timers.stop()


def test_what_raises_does_not_stop_the_others(caplog):
    timers, end = Timers("t"), threading.Event()
    timers.after(0.0, lambda: 1 / 0)
    timers.after(0.0, end.set)
    assert end.wait(5)
    timers.stop()
    assert "ZeroDivisionError" in caplog.text


def test_another_thread_goes_on_while_a_call_waits():
    timers, future, seen, end = Timers("t", blocking), PlaitFuture(), [], threading.Event()
    timers.after(0.0, lambda: seen.append((future.result(10), threading.current_thread())))
    timers.after(0.01, lambda: (seen.append(threading.current_thread()), future.set_result(5)))
    assert wait_until(lambda: len(seen) == 2 and seen)[1][0] == 5
    assert seen[0] is not seen[1][1]
    timers.after(0.0, end.set)
    assert end.wait(5)
    timers.stop()
    seen[1][1].join(10)


def test_a_thread_that_the_system_does_not_give_is_asked_for_again(monkeypatch):
    timers, end = Timers("t"), threading.Event()
    with monkeypatch.context() as refused, pytest.raises(RuntimeError):
        refused.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("no more")))
        timers.after(0.0, end.set)
    timers.after(10.0, end.set)
    assert end.wait(5)
    timers.stop()


def test_stop_forgets_the_rest():
    timers, done = Timers("t"), []
    timers.after(0.05, lambda: done.append(1))
    timers.stop()
    timers.stop()
    timers.after(0.0, lambda: done.append(2))
    again = Timers("u")
    end = threading.Event()
    again.after(0.1, end.set)
    assert end.wait(5)
    again.stop()
    assert done == []


def test_stop_from_within():
    timers, end = Timers("t"), threading.Event()

    def stop():
        timers.stop()
        end.set()

    timers.after(0.0, stop)
    assert end.wait(5)


def test_no_thread_before_it_is_needed():
    before = threading.active_count()
    Timers("t").stop()
    assert threading.active_count() == before


def test_a_time_that_no_clock_reaches_does_not_end_the_thread():
    timers, end = Timers("t"), threading.Event()
    timers.after(1e12, end.clear)
    timers.after(0.01, end.set)
    assert end.wait(5)
    timers.stop()
    assert timers._thread is not None
    assert not timers._thread.is_alive()
