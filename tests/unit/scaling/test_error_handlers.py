from __future__ import annotations

import functools
import pickle
from types import SimpleNamespace

import pytest

from plait.errors import TooManyJobFailuresError
from plait.model.jobs import JobState, JobStatus
from plait.scaling.error_handlers import (
    handler_of,
    noop_error_handler,
    simple_error_handler,
    too_many_failures,
    windowed_error_handler,
)

FAILED, MISSING, DONE = JobStatus(JobState.FAILED), JobStatus(JobState.MISSING), JobStatus(JobState.COMPLETED)
QUEUED, RUNNING, EXPIRED = JobStatus(JobState.PENDING), JobStatus(JobState.RUNNING), JobStatus(JobState.TIMEOUT)
DIED = JobStatus(JobState.FAILED, came_up=True)
UP = JobStatus(JobState.RUNNING, came_up=True)
SERVED = JobStatus(JobState.SCALED_IN, came_up=True)


def executor(init_blocks=1):
    return SimpleNamespace(label="x", provider=SimpleNamespace(init_blocks=init_blocks))


def blocks(*statuses):
    return {str(number): status for number, status in enumerate(statuses)}


@pytest.mark.parametrize(
    ("init", "statuses", "gives_up"),
    [
        (1, [], False),
        (1, [QUEUED], False),
        (1, [FAILED], True),
        (1, [MISSING], True),
        (1, [DONE], False),
        (1, [EXPIRED], False),
        (0, [FAILED], True),
        (2, [FAILED], False),
        (2, [FAILED, MISSING], True),
        (2, [FAILED, DONE, FAILED], False),
        (2, [DONE, FAILED, FAILED], True),
        # a block that waits in a long queue does not hide that all others fail
        (2, [FAILED, FAILED, QUEUED], True),
        # one that runs may yet come up
        (2, [FAILED, FAILED, RUNNING], False),
        # ... unless all before it never did
        (1, [FAILED, FAILED, RUNNING], False),
        (1, [FAILED, FAILED, FAILED, RUNNING], True),
        (1, [FAILED, FAILED, FAILED, RUNNING, UP], False),
        (1, [FAILED, FAILED, SERVED, FAILED, RUNNING], False),
        (1, [DIED, DIED, DIED, RUNNING], False),
        # once a block has worked, a lost node is no reason to give up
        (1, [DIED], False),
        (1, [DIED, DIED], False),
        (1, [DIED, DIED, DIED], True),
        (1, [SERVED, FAILED, FAILED], False),
        (1, [SERVED, FAILED, FAILED, FAILED], True),
        (4, [SERVED, FAILED, FAILED, FAILED], False),
        (1, [DIED, DIED, SERVED, DIED], False),
    ],
)
def test_simple(init, statuses, gives_up):
    error = simple_error_handler(executor(init), blocks(*statuses))
    assert (error is not None) == gives_up


@pytest.mark.parametrize(
    ("statuses", "gives_up"),
    [
        ([FAILED] * 2, False),
        ([FAILED] * 3, True),
        ([FAILED, DONE, FAILED, FAILED], False),
        ([DONE, FAILED, MISSING, FAILED, RUNNING], True),
    ],
)
def test_windowed(statuses, gives_up):
    assert (windowed_error_handler(executor(), blocks(*statuses)) is not None) == gives_up


def test_the_window_can_be_chosen():
    handler = functools.partial(windowed_error_handler, threshold=5)
    assert handler(executor(), blocks(*[FAILED] * 4)) is None
    assert handler(executor(), blocks(*[FAILED] * 5)) is not None


def test_noop_never_gives_up():
    assert noop_error_handler(executor(), blocks(*[FAILED] * 100)) is None


def test_what_an_executor_may_be_given():
    assert handler_of(True) is simple_error_handler
    assert handler_of(False) is noop_error_handler
    assert handler_of(windowed_error_handler) is windowed_error_handler


def test_the_exception_lists_what_is_known(tmp_path):
    (tmp_path / "err").write_text("bash: no_such_python: command not found\n")
    (tmp_path / "out").write_text("")
    first = JobStatus(JobState.FAILED, "its script ended", 127, str(tmp_path / "out"), str(tmp_path / "err"))
    second = JobStatus(JobState.MISSING, "it vanished", stderr_path=str(tmp_path / "nothing"))
    error = too_many_failures({"0": first, "1": second})
    assert isinstance(error, TooManyJobFailuresError)
    assert str(error).splitlines() == [
        "2 blocks failed in a row, so no more are requested. The last ended so: MISSING: it vanished",
        "Block 0: FAILED, exit code 127: its script ended",
        f"  its stdout, {tmp_path}/out, is empty",
        f"  end of its stderr, {tmp_path}/err:",
        "    bash: no_such_python: command not found",
        "Block 1: MISSING: it vanished",
        f"  its stderr, {tmp_path}/nothing, cannot be read",
    ]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_its_first_line_says_most(tmp_path):
    """`explain` shows no more."""
    (tmp_path / "err").write_text("Lmod: no such module\nbash: plait: command not found\n\n")
    status = JobStatus(JobState.FAILED, "its script ended", 127, stderr_path=str(tmp_path / "err"))
    assert str(too_many_failures({"0": status})).splitlines()[0] == (
        "1 block failed, so no more are requested. It ended so: FAILED, exit code 127: its script ended; "
        "the end of its stderr: bash: plait: command not found"
    )


def test_of_many_it_shows_the_last():
    text = str(too_many_failures(blocks(*[JobStatus(JobState.FAILED, f"number {n}") for n in range(50)])))
    assert text.startswith("50 blocks failed in a row")
    assert "The last 5 of them:" in text
    assert "number 44" not in text
    assert "number 45" in text
    assert "number 49" in text
