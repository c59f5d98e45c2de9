"""F10: a worker whose memory only grows is replaced, and no task is lost with it."""

from __future__ import annotations

import plait
from plait.limits import MAX_LEAK_BYTES
from plait.testing import tasks
from tests.fault import tasks as bodies
from tests.fault.lab import in_processes
from tests.support import wait_until


def test_replaced():
    with in_processes(workers=1):
        first = plait.python_app(tasks.pid)().result(20)
        assert plait.python_app(bodies.hoards)((MAX_LEAK_BYTES >> 20) + 50).result(20) == first
        pid = wait_until(lambda: [pid for pid in [plait.python_app(tasks.pid)().result(20)] if pid != first], 10)
        assert pid != [first]


def test_within_bounds_it_stays():
    with in_processes(workers=1):
        first = plait.python_app(tasks.pid)().result(20)
        assert {plait.python_app(bodies.hoards)(1).result(20) for _ in range(20)} == {first}
