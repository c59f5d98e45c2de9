"""F27: hundreds of megabytes of arguments wait for workers that do not come: they stay in the driver, and all arrive when workers come."""

from __future__ import annotations

import psutil

import plait
from plait.testing import tasks
from tests.fault.pilot import interchanges, pilot_jobs
from tests.support import require_linux, wait_until

echo = plait.python_app(tasks.echo)

MB = 1_000_000
COUNT = 100
#: Bytes that the interchange may grow by; the arguments have 100 MB.
ROOM = 40 * MB


@plait.python_app
def measure(value, number):
    return number, len(value), value[:1] == value[-1:]


def test_arguments_wait_in_the_driver():
    require_linux("reads /proc")
    with pilot_jobs(strategy="none", max_losses=0, options={"blocks": 0, "provider": {"max_blocks": 1}}) as kernel:
        (htex,) = [each for each in kernel.executors.values() if hasattr(each, "connected_managers")]
        wait_until(interchanges, 20)
        wait_until(lambda: htex._keeper is not None, 20)
        interchange = psutil.Process(interchanges()[0])
        before = interchange.memory_info().rss
        futures = [measure(bytes([number]) * MB, number) for number in range(COUNT)]
        wait_until(lambda: htex._link.ask("queue", 10)["plain"] == COUNT, 30, lambda: htex._link.ask("queue", 10))
        assert interchange.memory_info().rss - before < ROOM
        htex.scale_out(1)
        most = 0
        for number, future in enumerate(futures):
            assert future.result(60) == (number, MB, True)
            most = max(most, interchange.memory_info().rss - before)
        assert most < ROOM
