from __future__ import annotations

import os
import stat

from plait.executors.jobs_file import NAME, JobsFile, read_jobs, run_jobs
from plait.model.jobs import JobState

HEAD = {"label": "x", "provider": "fake", "run_id": "r-1"}


def test_what_is_written_is_read(tmp_path):
    jobs = JobsFile(str(tmp_path), HEAD)
    jobs.requested("0", "plait.r.x.block-0", {"system": "fake", "name": "plait.r.x.block-0"})
    jobs.requested("1", "plait.r.x.block-1", None)
    jobs.submitted("0", "plait.r.x.block-0", "4711", {"system": "fake", "job": "4711"})
    jobs.ended("1", "", JobState.FAILED, "no such queue: „gpu“")
    first, second = read_jobs(jobs.path)
    assert (first.block, first.name, first.job, first.label, first.provider, first.run_id) == (
        "0",
        "plait.r.x.block-0",
        "4711",
        "x",
        "fake",
        "r-1",
    )
    assert first.ticket == {"system": "fake", "job": "4711"}
    assert first.ended_s == 0.0 < first.requested_s <= first.submitted_s
    assert (second.job, second.ticket, second.submitted_s, second.state, second.message) == (
        "",
        None,
        0.0,
        "FAILED",
        "no such queue: „gpu“",
    )
    assert second.ended_s > 0


def test_a_torn_line_and_what_is_no_record_are_passed_over(tmp_path):
    jobs = JobsFile(str(tmp_path), HEAD)
    jobs.requested("0", "n", None)
    with open(jobs.path, "ab") as file:
        file.write(b'[1]\n{"block": 3}\n\xff\xfe\n{"what": "submitted", "block": "0", "job": "47')
    (record,) = read_jobs(jobs.path)
    assert record.job == ""
    assert record.submitted_s == 0.0


def test_only_its_owner_may_read_it_and_lines_are_added(tmp_path):
    for block in "01":
        jobs = JobsFile(str(tmp_path), HEAD)
        jobs.requested(block, "n", None)
    assert stat.S_IMODE(os.stat(jobs.path).st_mode) == 0o600
    assert [record.block for record in read_jobs(jobs.path)] == ["0", "1"]


def test_a_place_that_cannot_be_written_is_said_once_and_stops_nothing(tmp_path, caplog):
    jobs = JobsFile(str(tmp_path / "not" / "there"), HEAD)
    jobs.requested("0", "n", None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "its jobs must be found by hand" in caplog.text


def test_a_full_disk_is_too(tmp_path, caplog, monkeypatch):
    jobs = JobsFile(str(tmp_path), HEAD)

    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    jobs.requested("0", "n", None)
    jobs.requested("1", "n", None)
    assert caplog.text.count("No space left") == 1


def test_those_of_all_executors_of_a_run(tmp_path):
    for label in ("a", "b"):
        folder = tmp_path / label
        folder.mkdir()
        jobs = JobsFile(str(folder), {**HEAD, "label": label})
        jobs.requested("0", "n", None)
    (tmp_path / "c").mkdir()
    assert [record.label for record in run_jobs(str(tmp_path))] == ["a", "b"]
    assert run_jobs(str(tmp_path / "nowhere")) == []
    assert NAME == "jobs.jsonl"
