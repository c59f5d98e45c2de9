"""F06: what a task started and left is ended with it, whether it succeeds or fails, hidden or not."""

from __future__ import annotations

import pytest

import plait
from plait.testing import tasks
from tests.fault import tasks as bodies
from tests.fault.lab import in_processes
from tests.leaks import descendants, describe
from tests.support import require_linux, wait_until


def sleepers() -> list[int]:
    return [pid for pid in descendants() if describe(pid).startswith("sleep")]


def test_after_a_python_task():
    require_linux("child subreaper")
    with in_processes(workers=1):
        plait.python_app(bodies.leaves_children)().result(20)
        wait_until(lambda: not sleepers(), 5)
        assert plait.python_app(tasks.echo)(1).result(20) == 1


@pytest.mark.parametrize("end", ["exit 0", "exit 3", "kill -9 $$"])
def test_after_a_command(end):
    require_linux("child subreaper")
    command = f"sleep 1000 & setsid sleep 1000 & (setsid sleep 1000 &) ; nohup sleep 1000 > /dev/null & {end}"
    with in_processes(workers=1):
        plait.bash_app(lambda: command)().exception(20)
        assert sleepers() == []


def test_after_a_crash():
    require_linux("child subreaper")

    def leaves_and_dies():
        bodies.leaves_children()
        tasks.crash("segfault")

    with in_processes(workers=1, max_losses=0):
        assert isinstance(plait.python_app(leaves_and_dies)().exception(20), plait.errors.WorkerLost)
        wait_until(lambda: not sleepers(), 5)
