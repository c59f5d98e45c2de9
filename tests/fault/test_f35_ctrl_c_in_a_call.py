"""F35: a Ctrl-C in the middle of a call that sends tasks, at each place where Python runs signal handlers. What others submitted goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plait
from plait.executors.htex.driver import DriverLink
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
IN_DRIVER = (DriverLink.nudge,)


def places(link: Any, functions: tuple[Callable[..., Any], ...], is_idle: Callable[[], Any]) -> int:
    """Interrupts a call at each place, after other threads have submitted tasks; the number of places."""
    echo = plait.python_app(tasks.echo)
    place = 0
    while True:
        wait_until(is_idle, WAIT_S)
        link.nudge = lambda: None  # theirs wait until somebody sends
        others = [echo(number) for number in range(3)]
        del link.nudge
        try:
            with Interrupt(functions, place + 1) as interrupt:
                echo(None)
        except KeyboardInterrupt:
            pass
        if not interrupt.came:
            return place
        place += 1
        assert echo(-1).result(WAIT_S) == -1, f"place {place}"
        assert [future.result(WAIT_S) for future in others] == [0, 1, 2], f"place {place}"


def test_while_tasks_are_sent_to_workers():
    with in_processes(workers=1) as kernel:
        (executor,) = kernel.config.executors
        link = executor._link
        assert places(link, IN_POOL, lambda: link.sleeping and link.core.idle and not link.core.queue) > 10


def test_while_tasks_are_offered_to_an_interchange():
    with pilot_jobs(1, options={"heartbeat_threshold": 30.0}) as kernel:
        link = kernel.config.executors[0]._link
        assert places(link, IN_DRIVER, lambda: link.sleeping and link.hearing.slots and not link.offers.held) >= 5
