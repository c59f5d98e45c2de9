"""Jobs that a driver left: recalled by their tickets, asked about and ended."""

from __future__ import annotations

import time

import pytest

from plait.cli import lost_jobs
from plait.errors import ConfigurationError
from plait.executors.jobs_file import JobsFile, run_jobs
from plait.model.jobs import JobState
from plait.testing import FakeProvider, Plan


class Kept(FakeProvider):
    """A batch system whose jobs outlive the driver, and where another process finds them again."""

    def __init__(self, **options):
        super().__init__(**options)
        self.recalled = self.closed = 0

    def ticket(self, job_id, job_name=""):
        return {"system": "kept", "job": job_id, "name": job_name, "where": self.label}

    def adopt(self, ticket):
        if ticket["job"]:
            return ticket["job"]
        job = self.job(ticket["name"])
        return job.id if job is not None else f"name:{ticket['name']}"

    def close(self):
        self.closed += 1


@pytest.fixture
def systems(monkeypatch):
    """Batch systems by name; more are made as they are asked for."""
    made = {}

    def recall(ticket):
        if ticket.get("system") != "kept":
            raise ConfigurationError(f"ticket of system {ticket.get('system')!r}: unknown")
        provider = made[ticket["where"]]
        provider.recalled += 1
        return provider, provider.adopt(ticket)

    monkeypatch.setattr(lost_jobs, "recall", recall)

    def system(name="a", **options):
        made[name] = Kept(label=name, **options)
        return made[name]

    return system


def leave(folder, provider, count=1, label="x", *, submitted=True):
    """As a driver that is killed leaves a run."""
    (folder / label).mkdir(parents=True, exist_ok=True)
    jobs = JobsFile(str(folder / label), {"label": label, "provider": provider.label, "run_id": "0123abcd-45"})
    for number in range(count):
        name = f"plait.0123abcd.{label}.block-{number}"
        jobs.requested(str(number), name, provider.ticket("", name))
        job = provider.submit("sleep", 1, name)
        if submitted:
            jobs.submitted(str(number), name, job, provider.ticket(job, name))
    return folder


def found(*folders):
    return lost_jobs.find([(str(folder), record) for folder in folders for record in lost_jobs.unfinished(str(folder))])


def test_each_place_is_asked_once_for_all_of_its_jobs(tmp_path, systems):
    a, b = systems("a", plans=[Plan(), Plan(queue_s=None)]), systems("b")
    leave(tmp_path / "000", a, 2)
    leave(tmp_path / "001", b)
    leave(tmp_path / "001", a, label="y")
    jobs = found(tmp_path / "000", tmp_path / "001")
    assert [(job.record.label, job.record.block, job.status.state.name) for job in jobs] == [
        ("x", "0", "RUNNING"), ("x", "1", "PENDING"), ("x", "0", "RUNNING"), ("y", "0", "PENDING"),
    ]  # fmt: skip
    assert (a.recalled, b.recalled) == (1, 1)
    assert (len(a.called("status")), len(b.called("status"))) == (1, 1)
    lost_jobs.close(jobs)
    assert (a.closed, b.closed) == (1, 1)


def test_one_that_was_not_written_down_after_its_submission_is_found_by_name(tmp_path, systems):
    provider = systems()
    leave(tmp_path, provider, submitted=False)
    (job,) = found(tmp_path)
    assert job.record.job == ""
    assert job.status.state == JobState.RUNNING
    lost_jobs.cancel([job])
    assert provider.unfinished() == []


def test_what_is_cancelled_is_not_looked_for_again(tmp_path, systems):
    provider = systems()
    jobs = found(leave(tmp_path, provider, 3))
    provider.end("block-1")
    lost_jobs.cancel(jobs)
    assert provider.unfinished() == []
    assert all(job.is_over for job in jobs)
    assert lost_jobs.unfinished(str(tmp_path)) == []
    assert {record.state for record in run_jobs(str(tmp_path))} == {"CANCELLED", "COMPLETED"}


def test_what_is_not_accepted_is_still_there(tmp_path, systems):
    provider = systems()
    provider.be_deaf()
    jobs = found(leave(tmp_path, provider))
    lost_jobs.cancel(jobs)
    assert [job.cancelled for job in jobs] == [False]
    assert len(lost_jobs.unfinished(str(tmp_path))) == 1


def test_a_system_that_does_not_answer_says_so(tmp_path, systems, monkeypatch):
    provider = systems()
    leave(tmp_path, provider)
    provider.be_silent(message="squeue: timed out")
    (job,) = found(tmp_path)
    assert (job.status.state, job.is_over) == (JobState.UNKNOWN, False)
    assert job.status.message == "cannot be asked about: squeue: timed out"

    def cancel(jobs):
        raise TimeoutError("scancel: timed out")

    monkeypatch.setattr(provider, "cancel", cancel)
    lost_jobs.cancel([job])
    assert job.cancelled is False


def test_one_that_is_not_known_any_more_is_over(tmp_path, systems):
    provider = systems()
    leave(tmp_path, provider)
    provider.forget("block-0")
    (job,) = found(tmp_path)
    assert job.is_over
    assert job.is_gone
    lost_jobs.cancel([job])
    assert lost_jobs.unfinished(str(tmp_path)) != []  # one answer without it is no proof: the next look asks again


def test_a_submission_that_was_cut_off_may_still_come(tmp_path, systems, monkeypatch):
    provider = systems()
    leave(tmp_path, provider, submitted=False)
    provider.forget("block-0")
    (job,) = found(tmp_path)
    assert not job.is_over
    assert "it may still come" in job.status.message
    lost_jobs.cancel([job])
    assert not job.is_over
    assert len(lost_jobs.unfinished(str(tmp_path))) == 1
    later_s = time.time() + 3600
    monkeypatch.setattr(lost_jobs.time, "time", lambda: later_s)
    (job,) = found(tmp_path)
    assert job.is_gone


def test_a_ticket_that_nobody_understands_and_none_at_all(tmp_path, systems):
    provider = systems()
    provider.ticket = lambda job, name="": {"system": "next year's"} if name.endswith("0") else None
    leave(tmp_path, provider, 2)
    first, second = found(tmp_path)
    assert first.status.message == 'cannot be looked for: ticket of system "next year\'s": unknown'
    assert second.status.message == lost_jobs.NO_TICKET
    assert not first.is_findable
    assert not second.is_findable
    lost_jobs.cancel([first, second])
    assert first.cancelled is None
