"""Not knowing is not an end, and an end is one (F56, F57, F63)."""

from __future__ import annotations

import pytest

from plait.model.jobs import JobState, JobStatus
from plait.providers import judge
from plait.providers.judge import ABSENT_S, SILENCE_S, Case, Report


@pytest.fixture
def case():
    return Case(JobStatus(JobState.PENDING, stdout_path="/o", stderr_path="/e"), 0.0, 600.0)


def state(case):
    return case.status.state, case.status.message, case.status.exit_code


def test_what_the_scheduler_says(case):
    judge.seen(case, Report(JobState.HELD, "JobHeldAdmin"), None, 1.0)
    assert state(case) == (JobState.HELD, "JobHeldAdmin", None)
    judge.seen(case, Report(JobState.RUNNING), 3, 2.0)  # what an earlier try of the job wrote says nothing
    assert state(case) == (JobState.RUNNING, None, None)
    assert (case.status.stdout_path, case.status.stderr_path) == ("/o", "/e")


@pytest.mark.parametrize(
    ("report", "epilogue", "cancelled", "expected"),
    [
        (Report(JobState.COMPLETED), None, False, (JobState.COMPLETED, None, None)),
        (Report(JobState.COMPLETED), 0, False, (JobState.COMPLETED, None, 0)),
        (Report(JobState.COMPLETED), 3, False, (JobState.FAILED, "its script ended with exit code 3", 3)),
        (Report(JobState.COMPLETED, None, 4), 0, False, (JobState.FAILED, "its script ended with exit code 4", 4)),
        (Report(JobState.COMPLETED, None, 1), None, True, (JobState.CANCELLED, "it was cancelled", 1)),
        (Report(JobState.FAILED, "NonZeroExitCode"), 3, False, (JobState.FAILED, "NonZeroExitCode", 3)),
        (Report(JobState.FAILED, "x", 1), 3, True, (JobState.CANCELLED, "it was cancelled", 1)),
        (Report(JobState.TIMEOUT, "TimeLimit"), 143, False, (JobState.TIMEOUT, "TimeLimit", 143)),
        (Report(JobState.CANCELLED, "by admin"), None, False, (JobState.CANCELLED, "by admin", None)),
    ],
)  # fmt: skip
def test_ends(case, report, epilogue, cancelled, expected):
    case.cancelled = cancelled
    judge.seen(case, report, epilogue, 1.0)
    assert state(case) == expected
    judge.seen(case, Report(JobState.RUNNING), None, 2.0)
    judge.absent(case, 0, 3.0)
    judge.silent(case, "down", 1e6)
    assert state(case) == expected


def test_absent_once_or_for_a_moment_is_nothing(case):
    judge.seen(case, Report(JobState.RUNNING), None, 0.0)
    judge.absent(case, None, 1.0)
    judge.absent(case, None, 0.9 + ABSENT_S)
    assert case.status.state == JobState.RUNNING
    judge.seen(case, Report(JobState.RUNNING), None, 2.0 + ABSENT_S)
    judge.absent(case, None, 3.0 + ABSENT_S)
    assert case.status.state == JobState.RUNNING
    judge.absent(case, None, 3.0 + 2 * ABSENT_S)
    assert state(case) == (JobState.COMPLETED, "it left the queue, and nothing says how it ended", None)


def test_absent_since_long_but_seen_to_be_so_once(case):
    judge.absent(case, None, 10 * ABSENT_S)
    assert case.status.state == JobState.PENDING


@pytest.mark.parametrize(("code", "expected"), [(0, JobState.COMPLETED), (9, JobState.FAILED)])
def test_absent_and_its_script_says_how_it_ended(case, code, expected):
    judge.absent(case, code, 1.0)
    assert (case.status.state, case.status.exit_code) == (expected, code)


def test_absent_while_it_waits_for_another_try(case):
    """What its script wrote is of the try before: it ended, and was put back into the queue."""
    judge.seen(case, Report(JobState.RUNNING), None, 0.0)
    judge.seen(case, Report(JobState.PENDING), None, 10.0)
    judge.absent(case, 143, 20.0)
    assert state(case) == (JobState.PENDING, None, None)
    judge.seen(case, Report(JobState.PENDING), None, 30.0)
    judge.seen(case, Report(JobState.RUNNING), None, 40.0)
    judge.absent(case, 3, 50.0)
    assert state(case) == (JobState.FAILED, "its script ended with exit code 3", 3)


def test_absent_since_long_after_another_try_that_was_not_seen(case):
    judge.seen(case, Report(JobState.RUNNING), None, 0.0)
    judge.seen(case, Report(JobState.PENDING), None, 10.0)
    judge.absent(case, 3, 20.0)
    judge.absent(case, 3, 20.0 + ABSENT_S)
    assert state(case) == (JobState.FAILED, "its script ended with exit code 3", 3)


def test_the_walltime_of_another_try_begins_with_it(case):
    judge.seen(case, Report(JobState.RUNNING), None, 0.0)
    judge.seen(case, Report(JobState.PENDING), None, 10.0)
    judge.absent(case, None, 700.0)
    judge.absent(case, None, 700.0 + ABSENT_S)
    assert case.status.state == JobState.COMPLETED


def test_absent_after_it_was_cancelled(case):
    case.cancelled = True
    judge.absent(case, 143, 1.0)
    assert (case.status.state, case.status.exit_code) == (JobState.CANCELLED, 143)


def test_absent_when_its_time_was_over(case):
    judge.seen(case, Report(JobState.RUNNING), None, 0.0)
    judge.absent(case, None, 595.0)
    judge.absent(case, None, 595.0 + ABSENT_S)
    assert case.status.state == JobState.TIMEOUT


def test_what_a_script_wrote_counts_where_nobody_else_will_say_it(case):
    """A job that is being removed has not ended: how it ended is said later."""
    judge.seen(case, Report(JobState.UNKNOWN, "being removed"), 143, 0.0)
    assert state(case) == (JobState.UNKNOWN, "being removed", None)
    judge.seen(case, Report(JobState.UNKNOWN, "moved", elsewhere=True), None, 1.0)
    assert state(case) == (JobState.UNKNOWN, "moved", None)
    judge.seen(case, Report(JobState.UNKNOWN, "moved", elsewhere=True), 0, 2.0)
    assert state(case) == (JobState.COMPLETED, None, 0)


def test_silence(case):
    judge.seen(case, Report(JobState.RUNNING), None, 0.0)
    judge.silent(case, "squeue: timed out", SILENCE_S - 1)
    assert case.status.state == JobState.RUNNING
    judge.silent(case, "squeue: timed out", SILENCE_S + 5)
    assert state(case) == (
        JobState.UNKNOWN,
        f"nothing has been heard of it for {SILENCE_S + 5:.0f} s: squeue: timed out",
        None,
    )
    judge.seen(case, Report(JobState.RUNNING), None, SILENCE_S + 6)
    assert state(case) == (JobState.RUNNING, None, None)


def test_silence_about_a_job_of_which_nothing_is_known_is_said_at_once():
    found = Case(JobStatus(JobState.UNKNOWN), 0.0, 600.0)
    judge.silent(found, "squeue: no cluster", 1.0)
    assert state(found) == (JobState.UNKNOWN, "no answer: squeue: no cluster", None)
    told = Case(JobStatus(JobState.UNKNOWN, "it may come"), 0.0, 600.0)
    judge.silent(told, "squeue: no cluster", 1.0)
    assert state(told)[1] == "it may come"


def test_split():
    assert judge.split({"1": Report(JobState.RUNNING), "9": Report(JobState.RUNNING)}, ["1", "2"]) == (["1"], ["2"])
