"""HTCondor: what its commands are asked and what they say. Its submit descriptions are in test_condor_submit.py."""

from __future__ import annotations

import json

import pytest

from plait.errors import ConfigurationError, ScriptPathError
from plait.model.jobs import JobState
from plait.providers import CondorProvider, condor
from plait.providers.condor import parse
from plait.providers.shell import CommandFailed
from tests.unit.providers.scripted import BODY, Scripted, job, submitted

A, B = job("12.0", "plait.a"), job("13.0", "plait.b")


def ad(**facts):
    return {"ClusterId": 12, "ProcId": 0, "JobStatus": 2, "PlaitJob": "plait.a", **facts}


def text(*ads):
    """As condor_q -json writes it."""
    return "[\n" + ",\n".join(json.dumps(each, indent=2) for each in ads) + "\n]\n"


@pytest.mark.parametrize(
    ("facts", "state", "code", "words"),
    [
        ({"JobStatus": 1}, "PENDING", None, None),
        ({"JobStatus": 2}, "RUNNING", None, None),
        ({"JobStatus": 6}, "RUNNING", None, None),
        ({"JobStatus": 7}, "HELD", None, None),
        ({"JobStatus": 5, "HoldReason": "Error from slot1: cannot execute"}, "HELD", None, "cannot execute"),
        ({"JobStatus": 3}, "UNKNOWN", None, "marked for removal"),
        ({"JobStatus": 99}, "UNKNOWN", None, "99"),
        ({"JobStatus": 4, "ExitBySignal": False, "ExitCode": 0}, "COMPLETED", 0, None),
        ({"JobStatus": 4, "ExitBySignal": False, "ExitCode": 3}, "FAILED", 3, "exit code 3"),
        ({"JobStatus": 4, "ExitBySignal": True, "ExitSignal": 9}, "FAILED", -9, "SIGKILL"),
        ({"JobStatus": 4}, "COMPLETED", None, None),
    ],
)
def test_states_in_the_queue(facts, state, code, words):
    report = parse(text(ad(**facts)), [A], condor._queued)["12.0"]
    assert (report.state, report.exit_code) == (JobState[state], code)
    assert report.message is None if words is None else words in report.message


@pytest.mark.parametrize(
    ("reason", "state", "words"),
    [
        ("via condor_rm (by user root)", "CANCELLED", "it was removed via condor_rm (by user root)"),
        (
            "The job attribute PeriodicRemove expression '(JobStatus == 2)' evaluated to TRUE",
            "TIMEOUT",
            "its walltime was over",
        ),
        (None, "CANCELLED", "it was removed"),
    ],
)
def test_removed_jobs_in_the_history(reason, state, words):
    report = parse(text(ad(JobStatus=3, RemoveReason=reason)), [A], condor._past)["12.0"]
    assert (report.state, report.message) == (JobState[state], words)


def test_what_is_not_there_is_not_in_the_answer():
    assert parse("", [A], condor._queued) == {}
    assert parse("[\n]\n", [A], condor._queued) == {}
    assert parse(text(ad()), [B], condor._queued) == {}
    assert parse(text(ad(PlaitJob="plait.x")), [A], condor._queued) == {}


@pytest.mark.parametrize("said", [text(ad())[:60], "12.0 2\n", '{"a": 3}', "[3]", text({"ProcId": 0})])
def test_another_format_is_an_error(said):
    with pytest.raises(ValueError, match="condor_q -json"):
        parse(said, [A], condor._queued)


def test_many_jobs_are_asked_about_in_pieces():
    shell = Scripted(text(ad()), text(ad(ClusterId=14, PlaitJob="plait.c")))
    provider = CondorProvider(shell=shell, cmd_chunk_size=2)
    assert set(provider._ask([A, B, job("14.0", "plait.c")])) == {"12.0", "14.0"}
    attributes = "ClusterId,ProcId,JobStatus,ExitCode,ExitBySignal,ExitSignal,HoldReason,RemoveReason,PlaitJob"
    assert shell.ran == [
        ["condor_q", "-json", "-attributes", attributes, "12.0", "13.0"],
        ["condor_q", "-json", "-attributes", attributes, "14.0"],
    ]


def test_the_history_is_read_no_further_than_needed():
    shell = Scripted(text(ad(JobStatus=4, ExitCode=3)))
    assert CondorProvider(shell=shell)._history([A, B])["12.0"].exit_code == 3
    assert shell.ran[0][-4:] == ["-limit", "2", "12.0", "13.0"]


def test_a_failed_command_is_no_answer():
    failed = ("", "-- Failed to fetch ads from: <10.0.0.1:9618> : schedd\n", 1)
    with pytest.raises(CommandFailed, match="Failed to fetch ads"):
        CondorProvider(shell=Scripted(failed))._ask([A])


def test_jobs_are_found_by_their_names():
    shell = Scripted(text(ad(JobStatus=4), ad(ClusterId=20, PlaitJob="plait.z")))
    assert CondorProvider(shell=shell)._find(["plait.a", "plait.b"]) == {"plait.a": "12.0"}
    assert shell.ran[0][-2:] == ["-constraint", 'PlaitJob == "plait.a" || PlaitJob == "plait.b"']


def test_removing():
    shell = Scripted(
        ("Job 12.0 marked for removal\n", "Job 13.0 not found\n", 1), ("", "Couldn't find/remove all jobs in cluster 12\n", 1), ("", "Permission denied\n", 1)
    )  # fmt: skip
    provider = CondorProvider(shell=shell)
    provider._kill([A, B])
    provider._kill([A])
    assert shell.ran == [["condor_rm", "12.0", "13.0"], ["condor_rm", "12.0"]]
    with pytest.raises(CommandFailed, match="Permission denied"):
        provider._kill([A])


def test_only_what_does_not_go_is_forgotten(monkeypatch):
    shell = Scripted("", "", "")
    provider = CondorProvider(shell=shell)
    provider._kill([A])
    monkeypatch.setattr(condor, "_PATIENCE_S", 0.0)
    provider._removed_s.pop("13.0", None)
    monkeypatch.setattr(condor, "_PATIENCE_S", 1e-9)
    provider._kill([A, B])
    assert shell.ran[1:] == [["condor_rm", "12.0", "13.0"], ["condor_rm", "-forcex", "12.0"]]


@pytest.mark.parametrize(
    ("out", "id_"),
    [
        ("12.0 - 12.0\n", "12.0"),
        ("a remark\n12.0 - 12.0\n", "12.0"),
        ("Submitting job(s).\n1 job(s) submitted to cluster 12.\n", "12.0"),
    ],
)
def test_ids(out, id_):
    assert CondorProvider()._parse_id(out) == id_


@pytest.mark.parametrize("out", ["", "12\n", "ERROR: Failed to connect to local queue manager\n"])
def test_no_id_is_an_error(out):
    with pytest.raises(ValueError, match="expected the id of a job"):
        CondorProvider()._parse_id(out)


def test_the_script_has_no_directives():
    id_, argv, files = submitted(
        CondorProvider, "7.0 - 7.0\n", scheduler_options="+X = 1", worker_init="module load python"
    )
    assert (id_, argv) == ("7.0", ["condor_submit", "-terse", "/scripts/NAME.sub"])
    assert files["sh"] == f"#!/bin/bash\n{BODY}module load python\nthe command\n"
    assert "+X = 1\nqueue 1\n" in files["sub"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    class Full(Scripted):
        def write(self, path, text, *, executable=False):
            if path.endswith(".sub"):
                raise OSError(28, "No space left on device")

    provider = CondorProvider(shell=Full())
    provider.script_dir = str(tmp_path)
    with pytest.raises(ScriptPathError, match=r"\.sub.*No space left"):
        provider.submit("true", 1, "x")


def test_defaults():
    provider = CondorProvider(cores_per_slot=4, mem_per_slot=2)
    assert (provider.walltime, provider.cmd_timeout, provider.cmd_chunk_size, provider.status_polling_interval) == (
        None,
        60,
        100,
        60,
    )
    assert (provider.label, provider.cores_per_node, provider.mem_per_node) == ("condor", 4, 2)
    assert provider.shares_files
    provider.walltime = "1h"
    assert provider.walltime_s == 3600
    assert not CondorProvider(shared_files=False).shares_files
    assert CondorProvider(shared_files=False, python="/opt/python3").python == "/opt/python3"


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes_per_block": 2}, {"cores_per_slot": 0}, {"mem_per_slot": 0}, {"mem_per_slot": "4"}, {"cmd_chunk_size": 0}, {"project": "a\nb"},
        {"requirements": "Memory > 1 \\"}, {"environment": {"a b": "c"}}, {"environment": {"LD_PRELOAD": "x"}}, {"environment": {"A": "x\ny"}},
        {"transfer_input_files": ["a,b"]}, {"transfer_input_files": ["a\nqueue 9"]}, {"shared_files": "no"}, {"python": "a\nb"},
        {"environment": "A=b"}, {"transfer_input_files": 5},
    ],
)  # fmt: skip
def test_wrong_values_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"CondorProvider\({name}="):
        CondorProvider(**wrong)
