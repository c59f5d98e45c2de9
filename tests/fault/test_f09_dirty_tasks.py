"""F09: a task leaves its worker changed: the next one in that worker does not notice, or gets another worker."""

from __future__ import annotations

import pytest

import plait
from plait.testing import tasks
from tests.fault import tasks as bodies
from tests.fault.lab import in_processes
from tests.support import wait_until

DIRTY = [
    bodies.changes_cwd, bodies.removes_cwd, bodies.changes_umask, bodies.changes_environment, bodies.replaces_environment,
    bodies.blocks_signals, bodies.sets_handlers, bodies.sets_an_alarm, bodies.replaces_stdout, bodies.closes_stdout,
    bodies.closes_descriptors, bodies.leaves_a_thread, bodies.leaves_a_thread_that_is_no_daemon, bodies.leaves_children,
    bodies.leaves_a_zombie, bodies.forks, bodies.forks_and_raises, bodies.forks_and_exits, bodies.listens,
]  # fmt: skip


@pytest.mark.parametrize("body", DIRTY, ids=lambda body: body.__name__)
def test_the_next_task_finds_what_the_first_found(body):
    state = plait.python_app(bodies.state)
    with in_processes(workers=1):
        before = state().result(20)
        assert plait.python_app(body)().result(20) is None
        after = state().result(20)

    assert after == before


#: Each look costs a system call: they are taken once for each message of outcomes, that is at least once a millisecond.
SEEN_LATER = [bodies.blocks_signals, bodies.sets_an_alarm, bodies.closes_descriptors]


@pytest.mark.parametrize("body", [body for body in DIRTY if body not in SEEN_LATER], ids=lambda body: body.__name__)
def test_in_one_batch(body):
    """Sent together: the next one begins at once."""
    with in_processes(workers=1, options={"prefetch": 10}):
        before = plait.python_app(bodies.state)().result(20)
        futures = [plait.python_app(tasks.echo)(0), plait.python_app(body)(), plait.python_app(bodies.state)()]
        assert futures[1].result(20) is None
        after = futures[2].result(20)

    assert after == before


@pytest.mark.parametrize(
    "body",
    [bodies.closes_every_descriptor, bodies.changes_the_interpreter, bodies.lowers_limits],
    ids=lambda body: body.__name__,
)
def test_the_worker_survives_or_is_replaced(body):
    with in_processes(workers=1, max_losses=0):
        assert plait.python_app(body)().result(20) is None
        for number in range(5):
            assert plait.python_app(tasks.echo)(number).result(20) == number


def test_a_thread_left_behind_ends_with_its_worker():
    with in_processes(workers=1):
        first = plait.python_app(tasks.pid)().result(20)
        plait.python_app(bodies.leaves_a_thread)().result(20)
        wait_until(lambda: plait.python_app(tasks.pid)().result(20) != first)
