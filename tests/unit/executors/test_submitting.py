from __future__ import annotations

import threading
import time

import pytest

from plait.errors import SubmitException
from plait.executors.jobs_file import JobsFile, read_jobs
from plait.executors.submitting import PAUSE_S, TOGETHER, Submitter
from plait.testing import FakeProvider
from tests.support import wait_until


class Together(FakeProvider):
    """Takes several jobs with one call, and remembers how many."""

    def __init__(self, **options):
        super().__init__(**options)
        self.batches = []

    def submit_many(self, requests):
        self.batches.append(len(requests))
        return super().submit_many(requests)


class Ticketed(FakeProvider):
    def ticket(self, job_id, job_name=""):
        return {"system": "fake", "job": job_id, "name": job_name}


class Lab:
    """A submitter, and what it told."""

    def __init__(self, provider=None, **options):
        self.provider = provider or FakeProvider()
        self.begun, self.unwanted = [], set()
        self.submitter = Submitter(
            self.provider, "x", "plait.run.x", options.pop("launch", lambda block: f"run {block}"),
            lambda block: block not in self.unwanted, lambda *what: self.begun.append(what), **options,
        )  # fmt: skip

    def request(self, count):
        for number in range(count):
            self.submitter.request(str(number))
        return self.submitter


def test_one_after_the_other_where_the_provider_takes_no_more():
    lab = Lab()
    submitter = lab.request(3)
    assert submitter.due_s() <= time.monotonic()
    assert submitter.turn()
    assert lab.begun == [("0", "1000", "1000", "")]
    while submitter.turn():
        pass
    assert [job.name for job in lab.provider.jobs.values()] == [f"plait.run.x.block-{n}" for n in range(3)]
    assert [job.command for job in lab.provider.jobs.values()] == ["run 0", "run 1", "run 2"]
    assert submitter.due_s() == float("inf")
    assert submitter.under_way == set()


def test_together_where_it_does():
    lab = Lab(Together())
    submitter = lab.request(TOGETHER + 5)
    while submitter.turn():
        pass
    assert lab.provider.batches == [TOGETHER, 5]
    assert len(lab.provider.jobs) == len(lab.begun) == TOGETHER + 5


def test_of_several_some_may_be_refused(monkeypatch):
    lab = Lab(Together())
    lab.provider.refuse("no more", times=1)
    lab.request(3).turn()
    assert [(block, job) for block, job, _, _ in lab.begun] == [("0", ""), ("1", "1000"), ("2", "1001")]
    assert lab.begun[0][3].startswith("could not be begun: SubmitException:")
    assert lab.submitter.due_s() == float("inf")


@pytest.mark.parametrize("answer", [SubmitException("x", "broken"), []])
def test_a_provider_that_fails_as_a_whole_has_begun_none(answer, monkeypatch):
    def submit_many(requests):
        if isinstance(answer, Exception):
            raise answer
        return answer

    lab = Lab(Together())
    monkeypatch.setattr(lab.provider, "submit_many", submit_many)
    lab.request(2).turn()
    assert [job for _, job, _, _ in lab.begun] == ["", ""]


def test_after_a_refusal_it_waits_longer_and_longer_and_tries_one_alone(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    lab = Lab(Together())
    lab.provider.refuse("away", times=8)
    submitter = lab.request(20)
    submitter._together = False  # one alone, to begin with
    pauses = []
    for _ in range(8):
        assert submitter.turn()
        assert not submitter.turn(), "not before the pause is over"
        pauses.append(submitter.due_s() - now[0])
        now[0] = submitter.due_s()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert PAUSE_S == (1.0, 60.0)
    submitter._together = True
    submitter.turn()
    submitter.turn()
    assert lab.provider.batches == [11], "one alone, and then the others together"


def test_what_is_not_wanted_any_more_is_not_begun():
    lab = Lab(Together())
    lab.unwanted = {"0", "2"}
    lab.request(4).turn()
    assert [block for block, *_ in lab.begun] == ["1", "3"]
    assert lab.submitter.under_way == set()


def test_it_is_written_down_before_and_after(tmp_path):
    jobs = JobsFile(str(tmp_path), {"label": "x"})
    provider = Ticketed()
    seen = []
    submit = provider.submit
    provider.submit = lambda *what: (seen.append(read_jobs(jobs.path)[0]), submit(*what))[1]
    Lab(provider, jobs=jobs).request(1).turn()
    assert (seen[0].job, seen[0].ticket) == ("", {"system": "fake", "job": "", "name": "plait.run.x.block-0"})
    (record,) = read_jobs(jobs.path)
    assert (record.job, record.ticket["job"]) == ("1000", "1000")


def test_a_command_or_a_ticket_that_cannot_be_made_stops_no_other(tmp_path, caplog):
    def launch(block):
        if block == "0":
            raise OSError("disk full")
        return block

    jobs = JobsFile(str(tmp_path), {})
    provider = Ticketed()
    provider.ticket = lambda *_: 1 / 0
    lab = Lab(provider, launch=launch, jobs=jobs)
    lab.request(2)
    while lab.submitter.turn():
        pass
    assert [(block, job) for block, job, _, _ in lab.begun] == [("0", ""), ("1", "1000")]
    assert lab.begun[0][3] == "could not be begun: OSError: disk full"
    assert "makes no ticket" in caplog.text


@pytest.mark.parametrize(
    ("ticket", "kept"), [({"zone": object, 3: 4}, {"zone": "<class 'object'>", "3": "4"}), ("abc", None), ({("a",): 1}, {"('a',)": "1"})]
)  # fmt: skip
def test_a_ticket_that_cannot_be_written_down_as_it_is_loses_no_job(tmp_path, ticket, kept):
    jobs = JobsFile(str(tmp_path), {})
    provider = Ticketed()
    provider.ticket = lambda *_: ticket
    lab = Lab(provider, jobs=jobs)
    lab.request(1)
    assert lab.submitter.turn()
    assert lab.begun == [("0", "1000", "1000", "")]
    (record,) = read_jobs(jobs.path)
    assert (record.job, record.ticket) == ("1000", kept)


def test_with_a_thread_of_its_own_nobody_waits():
    provider = FakeProvider()
    provider.concurrent = True
    provider.stall("submit")
    lab = Lab(provider)
    lab.submitter.start()
    lab.request(2)
    wait_until(lambda: lab.submitter.under_way)
    assert lab.submitter.due_s() == float("inf")
    assert lab.submitter.stop() == ["1"]
    lab.submitter.join(0.01)
    assert threading.active_count() > 1
    provider.go_on()
    lab.submitter.join(5.0)
    assert [block for block, *_ in lab.begun] == ["0"]
