from __future__ import annotations

import pickle

import pytest

from plait.model.jobs import FAILED_STATES, TERMINAL_STATES, JobState, JobStatus


def test_the_numbers_are_those_that_others_have_stored():
    assert {state.name: int(state) for state in JobState} == {
        "UNKNOWN": 0, "PENDING": 1, "RUNNING": 2, "CANCELLED": 3, "COMPLETED": 4,
        "FAILED": 5, "TIMEOUT": 6, "HELD": 7, "MISSING": 8, "SCALED_IN": 9,
    }  # fmt: skip


@pytest.mark.parametrize("state", list(JobState))
def test_what_has_not_ended_may_still_run(state):
    alive = {JobState.UNKNOWN, JobState.PENDING, JobState.RUNNING, JobState.HELD}
    assert JobStatus(state).terminal == (state not in alive) == (state in TERMINAL_STATES)


def test_a_walltime_is_no_failure():
    assert FAILED_STATES == {JobState.FAILED, JobState.MISSING}


def test_its_text_has_what_is_known():
    assert str(JobStatus(JobState.RUNNING)) == "RUNNING"
    assert str(JobStatus(JobState.FAILED, "no such node", 3)) == "FAILED, exit code 3: no such node"
    assert JobStatus(JobState.HELD).status_name == "HELD"


def test_output_is_read_from_its_files(tmp_path):
    (tmp_path / "out").write_text("hello\n")
    status = JobStatus(JobState.COMPLETED, stdout_path=str(tmp_path / "out"), stderr_path=str(tmp_path / "nothing"))
    assert status.stdout == status.stdout_summary == "hello\n"
    assert status.stderr is None
    assert status.stderr_summary is None
    assert JobStatus(JobState.COMPLETED).stdout is None


@pytest.mark.parametrize("size", [0, 1, 2047, 2048])
def test_short_output_is_shown_in_full(tmp_path, size):
    (tmp_path / "err").write_text("x" * size)
    assert JobStatus(JobState.FAILED, stderr_path=str(tmp_path / "err")).stderr_summary == "x" * size


def test_of_long_output_the_beginning_and_the_end_are_shown(tmp_path):
    (tmp_path / "err").write_text("a" * 1024 + "b" * 1_000_000 + "c" * 1024)
    summary = JobStatus(JobState.FAILED, stderr_path=str(tmp_path / "err")).stderr_summary
    assert summary == "a" * 1024 + "\n...\n" + "c" * 1024


def test_output_that_is_no_text_is_shown_all_the_same(tmp_path):
    (tmp_path / "err").write_bytes(b"\xff\xfe" * 2000)
    status = JobStatus(JobState.FAILED, stderr_path=str(tmp_path / "err"))
    assert "�" in status.stderr_summary
    assert "�" in status.stderr


def test_statuses_can_be_sent():
    status = JobStatus(JobState.FAILED, "why", 1, "/a", "/b", came_up=True)
    assert pickle.loads(pickle.dumps(status)) == status
