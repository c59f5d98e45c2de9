from __future__ import annotations

import pytest

from plait.model.jobs import JobState, JobStatus
from plait.scaling.block import ENDING_S, LINGER_S, SETTLE_S, Block, jobs_of

COMPLETED = JobStatus(JobState.COMPLETED, exit_code=0)


def block(**known):
    return Block("0", 0.0, **known)


def up(**known):
    return block(**{"job_id": "j", "running_s": 1.0, "up_s": 2.0, "workers": 4, **known})


def test_it_takes_tasks_until_it_is_given_back_or_deserted():
    assert block().takes_tasks
    assert up(managers={"m": 4}).takes_tasks
    assert not up(leaving="because").takes_tasks
    assert not up(deserted_s=3.0).takes_tasks


# ------------------------------------------------------------------ patience
@pytest.mark.parametrize(
    ("given", "when", "state", "text"),
    [
        (block(job_id="j", running_s=5.0), 65.0, JobState.FAILED, "has run for 1m00s and no manager has connected"),
        (up(deserted_s=10.0), 70.0, JobState.FAILED, "its managers were lost and none came back within 1m00s"),
        (up(deserted_s=10.0, leaving="drained"), 10.0 + LINGER_S, JobState.COMPLETED, "did not end by itself"),
        (up(managers={"m": 1}, leaving="idle", drain_by_s=33.0), 33.0, JobState.SCALED_IN, "idle; it was not drained in time"),
    ],
)  # fmt: skip
def test_patience_ends(given, when, state, text):
    deadline = given.deadline(60.0)
    assert deadline is not None
    assert deadline[0] == when
    assert deadline[1].state == state
    assert text in deadline[1].message


def test_patience_with_what_its_managers_left_behind():
    assert up(deserted_s=10.0, leaving="told to", linger_s=ENDING_S).deadline(60.0)[0] == 10.0 + ENDING_S


def test_a_job_that_is_in_the_queue_again_is_waited_for_again():
    given = up(deserted_s=10.0, leaving="its managers have left")
    given.wait_again()
    assert given.takes_tasks
    assert given.deadline(60.0) is None
    assert given.came_up
    assert "is queued" in given.describe(30.0, 60.0)
    assert given.final(COMPLETED) == JobStatus(JobState.COMPLETED, exit_code=0, came_up=True)
    condemned = up(deserted_s=10.0, leaving="because", verdict=COMPLETED)
    condemned.wait_again()
    assert not condemned.takes_tasks


@pytest.mark.parametrize(
    "given", [block(), block(job_id="queued"), up(managers={"m": 1}), up(deserted_s=1.0, verdict=COMPLETED)]
)
def test_patience_without_end(given):
    assert given.deadline(60.0) is None


# ------------------------------------------------------------------ the end
def test_what_we_ended_ends_as_we_say():
    given = up(verdict=JobStatus(JobState.SCALED_IN, "idle"))
    final = given.final(JobStatus(JobState.CANCELLED, "by user", 143, "/out", "/err"))
    assert final == JobStatus(JobState.SCALED_IN, "idle", 143, "/out", "/err", came_up=True)


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.TIMEOUT, JobState.MISSING])
def test_a_job_from_which_no_manager_came_is_missing(state):
    final = block(running_s=1.0).final(JobStatus(state, "gone", 0))
    assert final.state == JobState.MISSING
    assert "with exit code 0 before a manager connected (gone)" in final.message
    assert not final.came_up


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_other_ends_are_the_providers(state):
    assert block().final(JobStatus(state, "so")) == JobStatus(state, "so")


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.TIMEOUT, JobState.MISSING, JobState.FAILED])
def test_after_it_was_up_every_end_is_the_providers(state):
    assert up().final(JobStatus(state)) == JobStatus(state, came_up=True)


# ------------------------------------------------------------------ size
def test_while_its_nodes_come_up_it_will_have_more_workers():
    given = up(managers={"a": 4})
    assert given.size(3, now_s=3.0) == 12
    assert given.size(3, now_s=2.0 + SETTLE_S) == 4
    assert given.size(1, now_s=3.0) == 4
    assert block().size(3, now_s=3.0) == 0
    assert up(managers={"a": 4, "b": 2, "c": 3}).size(3, now_s=3.0) == 9


# ------------------------------------------------------------------ sentences
@pytest.mark.parametrize(
    ("given", "text"),
    [
        (block(), "block 0 is being requested since 30.0 s"),
        (block(job_id="77", status=JobStatus(JobState.PENDING, "Priority"), since_s=20.0), "block 0 is queued as job 77 since 10.0 s (Priority)"),
        (block(job_id="77", status=JobStatus(JobState.HELD, "JobHeldUser"), since_s=20.0), "block 0 is held by the batch system as job 77 since 10.0 s (JobHeldUser)"),
        (block(job_id="77", status=JobStatus(JobState.RUNNING), running_s=29.0), "block 0 runs as job 77 since 1.0 s, and its manager has not connected yet (it may take 1m00s)"),
        (up(managers={"m": 1}), "block 0 is up with 1 worker"),
        (up(managers={"m": 3, "n": 1}), "block 0 is up with 4 workers"),
        (up(deserted_s=28.0), "block 0 has had no manager for 2.0 s, because they were lost"),
        (up(leaving="idle"), "block 0 is being given back"),
    ],
)  # fmt: skip
def test_it_says_where_it_stands(given, text):
    assert given.describe(30.0, 60.0) == text


def test_blocks_may_have_jobs_of_one_id():
    """Batch systems use numbers again."""
    blocks = [Block("0", 0.0, job_id="7"), Block("1", 0.0), Block("2", 0.0, job_id="7")]
    assert jobs_of(blocks) == (["0", "2"], ["7", "7"])
