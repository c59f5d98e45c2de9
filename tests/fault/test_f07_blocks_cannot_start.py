"""F07: blocks whose managers cannot start: scaling stops with one exception that has the end of their output; nobody waits for ever."""

from __future__ import annotations

import contextlib

import pytest

import plait
from plait.errors import TooManyJobFailuresError
from plait.launchers import SimpleLauncher
from plait.providers import LocalProvider
from plait.testing import FakeProvider, Plan, tasks
from tests.blocks import Owner
from tests.fault.pilot import pilot_jobs
from tests.support import wait_until


@contextlib.contextmanager
def blocks(provider, **options):
    owner = Owner(provider, tasks=10, **options)
    owner.keeper.start()
    try:
        yield owner
    finally:
        owner.keeper.shutdown(5.0)


@pytest.mark.parametrize(
    ("worker_init", "command", "said"),
    [
        ("export PATH=/nowhere", "python3 -m plait", "python3: No such file or directory|python3: command not found"),
        (
            "module load something_that_is_not_there",
            "python3 -c 'raise ImportError(\"no plait here\")'",
            "no plait here",
        ),
        ("exit 12", "sleep 600", "exit code 12"),
        ("", "kill -SEGV $$", "was ended by SIGSEGV"),
        ("", "exit 0", "ended with exit code 0 before a manager connected"),
    ],
)
def test_a_local_block_says_why(worker_init, command, said):
    provider = LocalProvider(worker_init=worker_init, launcher=SimpleLauncher())
    with blocks(provider, launch=lambda block: command) as owner:
        (error,) = wait_until(lambda: owner.broken)
        assert isinstance(error, TooManyJobFailuresError)
        assert any(text in str(error) for text in said.split("|")), str(error)
        assert owner.keeper.blocks_to_job_id == {}


def test_a_manager_that_hangs_before_it_connects():
    provider = LocalProvider(launcher=SimpleLauncher())
    with blocks(provider, launch=lambda block: "echo dialing 10.0.0.1 >&2; sleep 600", start_timeout_s=0.3) as owner:
        (error,) = wait_until(lambda: owner.broken)
        assert "no manager has connected" in str(error)
        assert "dialing 10.0.0.1" in str(error)


def test_as_many_as_there_were_to_begin_with_must_fail():
    bad = Plan(run_s=0.0, exit_code=1)
    with blocks(FakeProvider(init_blocks=4, max_blocks=8, plans=[bad])) as owner:
        wait_until(lambda: owner.broken)
        assert len(owner.provider.jobs) == 4, "no others were requested"
        assert len(owner.broken) == 1


def test_one_failed_start_of_several_is_made_good():
    with blocks(FakeProvider(init_blocks=2, max_blocks=2, plans=[Plan(run_s=0.0, exit_code=1), Plan()])) as owner:
        owner.play_until(lambda: len(owner.managers) == 2)
        assert owner.broken == []


def test_tasks_end_with_what_the_block_said():
    with pilot_jobs(options={"provider": {"worker_init": "echo no licence >&2; exit 3", "min_blocks": 0}}):
        futures = [plait.python_app(tasks.echo)(number) for number in range(3)]
        errors = [future.exception(30) for future in futures]
        assert {type(error) for error in errors} == {plait.errors.BadStateException}
        assert "1 block failed, so no more are requested" in str(errors[0])
        assert "no licence" in str(errors[0])
        assert "no licence" in futures[0].explain()
        assert "no licence" in str(plait.python_app(tasks.echo)(9).exception(30))
