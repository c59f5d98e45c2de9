"""F35: a Ctrl-C in the middle of a call that sends tasks, at each place where Python runs signal handlers. What others submitted goes on."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

import plait
from plait.executors.htex.driver import DriverLink
from plait.executors.htex.offers import Offers
from plait.executors.pool.core import PoolCore
from plait.executors.pool.link import PoolLink
from plait.testing import tasks
from tests.fault.lab import in_processes
from tests.fault.pilot import pilot_jobs
from tests.interrupts import Interrupt
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_S = 30.0
IN_POOL = (
    PoolLink.nudge,
    PoolLink._fill,
    PoolCore.fill,
    PoolCore._fill_plain,
    PoolCore._next_idle,
    PoolLink._send_batch,
    PoolLink.wake,
)
IN_DRIVER = (DriverLink.nudge, DriverLink._pump, Offers.next_batch)


def places(link: Any, functions: tuple[Callable[..., Any], ...], is_idle: Callable[[], Any]) -> int:
    """Interrupts a call at each place, after other threads have submitted tasks; the number of places."""
    echo = plait.python_app(tasks.echo)
    place = missed = 0
    while missed < 5:  # the executor's own thread may just have been awake, and done it in place of the call
        wait_until(is_idle, WAIT_S)
        link.nudge = lambda: None  # theirs wait until somebody sends
        others = [echo(number) for number in range(3)]
        del link.nudge
        try:
            with Interrupt(place + 1, *functions) as interrupt:
                echo(None)
        except KeyboardInterrupt:
            pass
        if not interrupt.came:
            missed += 1
            continue
        missed = 0
        place += 1
        assert echo(-1).result(WAIT_S) == -1, f"place {place}"
        assert [future.result(WAIT_S) for future in others] == [0, 1, 2], f"place {place}"
    return place


def test_while_tasks_are_sent_to_workers():
    with in_processes(workers=1) as kernel:
        (executor,) = kernel.config.executors
        link = executor._link
        assert places(link, IN_POOL, lambda: link.sleeping and link.core.idle and not link.core.queue) > 5


def test_while_tasks_are_offered_to_an_interchange():
    with pilot_jobs(1, options={"heartbeat_threshold": 30.0}) as kernel:
        link = kernel.config.executors[0]._link
        assert places(link, IN_DRIVER, lambda: link.sleeping and link.hearing.slots and not link.offers.held) >= 5


@plait.python_app
def total(numbers, more=0):
    return sum(numbers) + more


@plait.join_app
def joined(number):
    return plait.python_app(tasks.echo)(number)


def submits(others, victim):
    total(others)


def maps(others, victim):
    list(plait.map(plait.python_app(tasks.echo), range(5)))


def joins(others, victim):
    joined(3).result(WAIT_S)


def lifts(others, victim):
    plait.python_app(tasks.echo)([1])[0].result(WAIT_S)


def cancels(others, victim):
    victim.cancel()


def waits(others, victim):
    plait.wait_for_current_tasks()


@pytest.mark.parametrize("call", [submits, maps, joins, lifts, cancels, waits])
def test_whatever_a_call_is_at_others_go_on_and_all_that_was_submitted_ends(call):
    """Each place of each call: what the call itself has begun ends too, and what it cancelled takes its dependants with it."""
    echo = plait.python_app(tasks.echo)
    with plait.load(
        plait.Config([plait.ThreadPoolExecutor(max_threads=1)], initialize_logging=False, progress=False)
    ) as kernel:
        place, missed = 1, 0
        while missed < 5:  # the tasks may just have ended before the call
            others = [echo(number) for number in range(3)]
            victim = total(others)
            after = [total([victim]), total([victim], more=1)]
            raised = False
            try:
                with Interrupt(place) as interrupt:
                    call(others, victim)
            except KeyboardInterrupt:
                raised = True
            assert raised == interrupt.came, f"place {place}"
            missed = 0 if raised else missed + 1
            place += raised
            assert [future.result(WAIT_S) for future in others] == [0, 1, 2], f"place {place}"
            for future in [victim, *after]:
                with contextlib.suppress(plait.errors.PlaitError, concurrent.futures.CancelledError):
                    future.result(WAIT_S)
                assert future.done(), f"place {place}"
            waiter = threading.Thread(target=kernel.wait_for_current_tasks)
            waiter.start()
            waiter.join(WAIT_S)
            assert not waiter.is_alive(), f"place {place}"
    assert place > 5
