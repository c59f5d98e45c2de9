"""F08: no zombie stays, of workers, of what tasks started, or of zygotes."""

from __future__ import annotations

import os
import signal

import plait
from plait._util import procs
from plait.testing import tasks
from tests.fault import tasks as bodies
from tests.fault.lab import in_processes
from tests.leaks import collect_and_reap, describe
from tests.support import require_linux, wait_until


def zombies(root: int) -> list[int]:
    processes = procs.snapshot()
    family = {root}
    while more := {p.pid for p in processes.values() if p.parent in family} - family:
        family |= more
    return [pid for pid in family - {root} if not processes[pid].is_alive]


def test_after_many_ends():
    require_linux("/proc")
    with in_processes(max_losses=100):
        for _ in range(30):
            os.kill(plait.python_app(tasks.pid)().result(20), signal.SIGKILL)
        futures = [
            plait.python_app(body)()
            for body in (bodies.leaves_a_zombie, bodies.leaves_children, bodies.forks)
            for _ in range(3)
        ]
        for future in futures:
            future.exception(30)
        assert plait.python_app(tasks.echo)(1).result(20) == 1

        def none_left() -> bool:
            collect_and_reap()  # what other tests left to this process is not the pool's
            return not zombies(os.getpid())

        wait_until(none_left, 3, lambda: [describe(pid) for pid in zombies(os.getpid())])
