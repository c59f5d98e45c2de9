"""What PBS Professional and Torque have in common. Their own words are in test_pbspro.py and test_torque.py."""

from __future__ import annotations

import pytest

from plait.model.jobs import JobState
from plait.providers import PBSProProvider
from plait.providers.judge import Report
from plait.providers.pbs import report_of
from plait.providers.shell import CommandFailed
from tests.unit.providers.scripted import Scripted, job


@pytest.mark.parametrize(
    ("letter", "state"),
    [("Q", "PENDING"), ("W", "PENDING"), ("T", "PENDING"), ("R", "RUNNING"), ("E", "RUNNING"), ("B", "RUNNING"), ("H", "HELD"), ("S", "HELD"), ("U", "HELD")],
)  # fmt: skip
def test_letters_of_what_goes_on(letter, state):
    report = report_of(letter, None, "00:00:00", "00:10:00", "words")
    assert report.state == JobState[state]
    assert report.message == (None if state == "RUNNING" else "words")


@pytest.mark.parametrize("letter", ["Z", "", "QQ"])
def test_other_letters_are_told(letter):
    report = report_of(letter, 0, "", "", None)
    assert report.state == JobState.UNKNOWN
    assert repr(letter) in report.message


def test_a_job_at_another_server_has_ended_when_its_script_says_so():
    assert report_of("M", None, "", "", None) == Report(
        JobState.UNKNOWN, "PBS has moved it to another server", elsewhere=True
    )
    answer = '{"pbs_server": "p", "Jobs": {"1.pbs": {"Job_Name": "n", "job_state": "M"}}}'
    shell = Scripted(answer, answer)
    provider = PBSProProvider(shell=shell)
    provider.resources["1.pbs"] = job("1.pbs")
    (status,) = provider.status(["1.pbs"])
    assert (status.state, status.terminal) == (JobState.UNKNOWN, False)
    shell.files["ec"] = "3\n"
    (status,) = provider.status(["1.pbs"])
    assert (status.state, status.exit_code) == (JobState.FAILED, 3)


@pytest.mark.parametrize("letter", ["F", "C", "X"])
@pytest.mark.parametrize(
    ("status", "state", "code", "words"),
    [
        (0, "COMPLETED", 0, None),
        ("0", "COMPLETED", 0, None),
        (3, "FAILED", 3, "its script ended with exit code 3"),
        (137, "FAILED", 137, "exit code 137"),
        (265, "FAILED", -9, "ended by SIGKILL"),
        (271, "CANCELLED", -15, "ended by SIGTERM, as if somebody had deleted it"),
        (-29, "TIMEOUT", None, "walltime"),
        (-27, "FAILED", None, "memory"),
        (-1, "FAILED", None, "could not run it (exit status -1): words"),
        (None, "CANCELLED", None, "words"),
    ],
)
def test_ends(letter, status, state, code, words):
    report = report_of(letter, status, "00:00:01", "00:10:00", "words")
    assert (report.state, report.exit_code) == (JobState[state], code)
    assert (report.message is None) if words is None else (words in report.message)


@pytest.mark.parametrize("status", [0, 1, 271, 265, None])
def test_an_end_at_the_walltime_is_its_end_however_it_is_told(status):
    assert report_of("F", status, "00:10:00", "00:10:00", None).state == JobState.TIMEOUT
    assert report_of("F", status, "00:10:03", "00:10:00", None).state == JobState.TIMEOUT
    assert report_of("F", status, "00:10:00", "", None).state != JobState.TIMEOUT
    assert report_of("F", status, "00:09:59", "00:10:00", None).state != JobState.TIMEOUT


@pytest.mark.parametrize(
    ("out", "id_"),
    [
        ("1234.pbs01.example.org\n", "1234.pbs01.example.org"),
        ("1234\n", "1234"),
        ("1234[].pbs\n", "1234[].pbs"),
        ("** Welcome, 3 nodes are down **\n99\n1234.pbs\n", "1234.pbs"),
    ],
)
def test_ids(out, id_):
    assert PBSProProvider()._parse_id(out) == id_


@pytest.mark.parametrize("out", ["", "\n", "your job is queued\n", "pbs.1234\n"])
def test_no_id_is_an_error(out):
    with pytest.raises(ValueError, match="expected the id of a job"):
        PBSProProvider()._parse_id(out)


def test_jobs_are_found_by_their_names():
    shell = Scripted("", "12.pbs\n15.pbs\n")
    assert PBSProProvider(shell=shell)._find(["a", "b"]) == {"b": "15.pbs"}
    assert shell.ran == [["qselect", "-x", "-N", "a"], ["qselect", "-x", "-N", "b"]]


@pytest.mark.parametrize(
    ("err", "code"),
    [
        ("", 0),
        ("qdel: Unknown Job Id 1.pbs\n", 153),
        ("qdel: Job has finished 1.pbs\nqdel: Unknown Job Id 2.pbs\n", 35),
        ("qdel: Request invalid for state of job MSG=invalid state for job - COMPLETE 1.pbs\n", 170),
    ],
)
def test_what_has_ended_need_not_be_cancelled(err, code):
    shell = Scripted(("", err, code))
    PBSProProvider(shell=shell)._kill([job("1.pbs"), job("2.pbs")])
    assert shell.ran == [["qdel", "1.pbs", "2.pbs"]]


def test_a_refusal_to_cancel_is_an_error():
    shell = Scripted(("", "qdel: Unauthorized Request 1.pbs\n", 159))
    with pytest.raises(CommandFailed, match="Unauthorized"):
        PBSProProvider(shell=shell)._kill([job("1.pbs")])
