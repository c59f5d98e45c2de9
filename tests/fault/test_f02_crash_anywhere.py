"""F02: crashes in places beside the matrix of `plait.testing.crash_matrix`: in `__del__`, and with others submitted from callbacks."""

from __future__ import annotations

import pytest

import plait
from plait.testing import tasks
from tests.fault import tasks as bodies
from tests.fault.lab import in_processes


@pytest.mark.parametrize("how", ["error", "sys.exit"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_in_del_what_can_be_ignored_is(how):
    with in_processes(max_losses=0):
        assert plait.python_app(bodies.makes_what_dies)(how).result(20) == how
        assert plait.python_app(tasks.echo)(1).result(20) == 1


@pytest.mark.parametrize("how", ["libc exit", "segfault", "os._exit"])
def test_in_del_what_ends_the_process_is_named(how):
    with in_processes(max_losses=0):
        error = plait.python_app(bodies.makes_what_dies)(how).exception(20)
        assert plait.python_app(tasks.echo)(1).result(20) == 1

    assert type(error) is plait.errors.WorkerLost


def test_callbacks_of_lost_tasks_submit():
    echo, crash = plait.python_app(tasks.echo), plait.python_app(tasks.crash)
    followers = []
    with in_processes(max_losses=0):
        futures = [crash("segfault") for _ in range(5)]
        for future in futures:
            future.add_done_callback(lambda _: followers.append(echo(1)))
        assert all(isinstance(future.exception(20), plait.errors.WorkerLost) for future in futures)
        plait.wait_for_current_tasks()
        assert [follower.result(20) for follower in followers] == [1] * 5
