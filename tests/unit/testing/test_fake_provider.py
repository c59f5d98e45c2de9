from __future__ import annotations

import threading

import pytest

from plait.errors import SubmitException
from plait.model.jobs import JobState
from plait.testing import FakeProvider, Plan
from tests.support import wait_until


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def state(provider, job):
    (status,) = provider.status([job])
    return status.state


def test_a_job_follows_its_plan(clock):
    provider = FakeProvider(plans=[Plan(queue_s=5.0, run_s=10.0, end=JobState.TIMEOUT, message="LIMIT")], clock=clock)
    job = provider.submit("x", 1, "a.block-0")
    for now, expected in (
        (4.9, JobState.PENDING),
        (5.0, JobState.RUNNING),
        (14.9, JobState.RUNNING),
        (15.0, JobState.TIMEOUT),
    ):
        clock.now = now
        assert state(provider, job) == expected
    assert provider.status([job])[0].message == "LIMIT"
    assert provider.unfinished() == []
    assert provider.most_at_once == 1


def test_the_last_plan_is_for_all_others(clock):
    provider = FakeProvider(plans=[Plan(run_s=0.0), Plan(queue_s=None)], clock=clock)
    jobs = [provider.submit("x", 1, f"b{n}") for n in range(3)]
    assert [state(provider, job) for job in jobs] == [JobState.COMPLETED, JobState.PENDING, JobState.PENDING]


def test_jobs_do_as_they_are_told():
    provider = FakeProvider(plans=[Plan(queue_s=None)])
    job = provider.submit("x", 1, "a.block-0")
    provider.hold("block-0", "JobHeldUser")
    assert provider.status([job])[0].message == "JobHeldUser"
    provider.run("block-0")
    assert state(provider, job) == JobState.RUNNING
    provider.end("block-0", JobState.FAILED, 3, "why")
    assert str(provider.status([job])[0]) == "FAILED, exit code 3: why"
    with pytest.raises(KeyError, match="block-9"):
        provider.run("block-9")


def test_submissions_fail_as_they_are_told():
    provider = FakeProvider()
    provider.refuse("down")
    provider.refuse("timed out", accept=True)
    provider.say_nothing()
    with pytest.raises(SubmitException, match="down"):
        provider.submit("x", 1)
    assert provider.jobs == {}
    with pytest.raises(SubmitException, match="timed out"):
        provider.submit("x", 1)
    assert len(provider.unfinished()) == 1, "it was taken all the same"
    assert provider.submit("x", 1) is None
    assert provider.submit("x", 1) is not None


def test_it_is_silent_and_deaf_for_a_while():
    provider = FakeProvider()
    job = provider.submit("x", 1)
    provider.be_silent()
    with pytest.raises(TimeoutError):
        provider.status([job])
    assert state(provider, job) == JobState.RUNNING
    provider.be_deaf()
    assert provider.cancel([job]) == [False]
    assert state(provider, job) == JobState.RUNNING
    assert provider.cancel([job]) == [True]
    assert state(provider, job) == JobState.CANCELLED


def test_it_lies_and_forgets():
    provider = FakeProvider()
    job = provider.submit("x", 1, "block-0")
    provider.forget("block-0")
    assert state(provider, job) == JobState.MISSING
    assert provider.job("block-0").state == JobState.RUNNING
    provider.lie("block-0", JobState.UNKNOWN)
    assert state(provider, job) == JobState.UNKNOWN
    provider.lie("block-0", None)
    assert state(provider, job) == JobState.RUNNING


@pytest.mark.parametrize("call", ["submit", "status", "cancel"])
def test_calls_can_be_kept_from_returning(call):
    provider = FakeProvider()
    provider.stall(call)
    arguments = {"submit": ("x", 1), "status": ([],), "cancel": ([],)}[call]
    thread = threading.Thread(target=getattr(provider, call), args=arguments)
    thread.start()
    assert provider.called(call) == []
    provider.go_on()
    thread.join(10)
    assert len(provider.called(call)) == 1


def test_output_is_in_files_when_there_is_a_place(tmp_path):
    provider = FakeProvider(plans=[Plan(stdout="o", stderr="e")])
    provider.script_dir = str(tmp_path)
    job = provider.submit("x", 1, "block-0")
    status = wait_until(lambda: provider.status([job])[0])
    assert (status.stdout, status.stderr) == ("o", "e")
