"""Flux. Ids and answers have the form of flux-core's manual pages."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import ConfigurationError, PlaitError
from plait.launchers import SimpleLauncher, SingleNodeLauncher
from plait.launchers.flux import FluxRunLauncher
from plait.model.jobs import JobState
from plait.providers import FluxProvider
from plait.providers.flux import decoded, encoded, parse
from plait.providers.shell import CommandFailed
from tests.unit.providers.scripted import BODY, HOSTILE, Scripted, directives, job, on_its_page, submitted

NUMBER = 361295786278912


def answer(**facts):
    return {"id": NUMBER, "name": "plait.a", "state": "RUN", "urgency": 16, "exception": {"occurred": False}, **facts}


A, B = job(encoded(NUMBER), "plait.a"), job(encoded(NUMBER + 1), "plait.b")


@pytest.mark.parametrize("number", [0, 57, 58, 6885, NUMBER, 2**64 - 1])
def test_ids_are_written_in_base_58(number):
    assert decoded(encoded(number)) == number
    assert decoded(encoded(number).replace("f", "ƒ", 1)) == number
    assert decoded(str(number)) == number


def test_the_digits_are_those_of_flux():
    """The bunny is in Flux's own documents."""
    assert encoded(6731191091817518) == "fuZZybuNNy"
    assert encoded(0) == "f1"
    assert encoded(57) == "fz"
    assert encoded(58) == "f21"
    assert decoded("f0") is None


@pytest.mark.parametrize("out", ["ƒM7Zq9AKHno\n", "fM7Zq9AKHno\n", "a remark of a plugin\nƒM7Zq9AKHno\n"])
def test_ids(out):
    assert FluxProvider()._parse_id(out) == "fM7Zq9AKHno"


@pytest.mark.parametrize("out", ["", "submitted\n", "flux-batch: ERROR: x\n"])
def test_no_id_is_an_error(out):
    with pytest.raises(ValueError, match="expected the id of a job"):
        FluxProvider()._parse_id(out)


def test_one_job_is_answered_with_an_object_and_several_with_an_array():
    assert parse(json.dumps(answer()), [A])[A.id].state == JobState.RUNNING
    both = parse(json.dumps({"jobs": [answer(), answer(id=NUMBER + 1, name="plait.b", state="SCHED")]}), [A, B])
    assert (both[A.id].state, both[B.id].state) == (JobState.RUNNING, JobState.PENDING)
    assert parse("", [A]) == {}
    assert parse(json.dumps({"jobs": []}), [A]) == {}


def test_an_answer_about_a_job_of_another_name_is_not_about_this_one():
    assert parse(json.dumps(answer(name="plait.x")), [A]) == {}


@pytest.mark.parametrize(
    ("facts", "state", "code", "words"),
    [
        ({"state": "DEPEND"}, "PENDING", None, None),
        ({"state": "PRIORITY"}, "PENDING", None, None),
        ({"state": "SCHED", "urgency": 0}, "HELD", None, "urgency is 0"),
        ({"state": "CLEANUP"}, "RUNNING", None, None),
        ({"state": "INACTIVE", "result": "COMPLETED", "returncode": 0}, "COMPLETED", 0, None),
        ({"state": "INACTIVE", "result": "FAILED", "returncode": 3}, "FAILED", 3, "exit code 3"),
        ({"state": "INACTIVE", "result": "FAILED", "returncode": -9}, "FAILED", -9, "it failed"),
        (
            {
                "state": "INACTIVE",
                "result": "FAILED",
                "returncode": -128,
                "exception": {"note": "unsatisfiable request"},
            },
            "FAILED",
            None,
            "unsatisfiable",
        ),
        ({"state": "INACTIVE", "result": "CANCELED", "returncode": -128}, "CANCELLED", None, "it was cancelled"),
        (
            {"state": "INACTIVE", "result": "CANCELED", "exception": {"note": "for maintenance"}},
            "CANCELLED",
            None,
            "for maintenance",
        ),
        ({"state": "INACTIVE", "result": "TIMEOUT", "returncode": 142}, "TIMEOUT", None, "walltime"),
        ({"state": "INACTIVE", "result": "NEW"}, "UNKNOWN", None, "'NEW'"),
        ({"state": "INACTIVE"}, "UNKNOWN", None, "INACTIVE"),
        ({"state": "BETWEEN"}, "UNKNOWN", None, "BETWEEN"),
    ],
)
def test_states(facts, state, code, words):
    report = parse(json.dumps(answer(**facts)), [A])[A.id]
    assert (report.state, report.exit_code) == (JobState[state], code)
    assert report.message is None if words is None else words in report.message


@pytest.mark.parametrize(
    "text",
    [json.dumps(answer())[:40], "JOBID USER NAME\n", "[]", '{"jobs": 3}', '{"version": 3}', '{"jobs": [{"id": 3}]}'],
)
def test_another_format_is_an_error(text):
    with pytest.raises(ValueError, match="flux jobs --json"):
        parse(text, [A])


def test_unknown_jobs_are_an_answer_and_an_instance_that_is_down_is_none():
    shell = Scripted(
        ("", f"JobID {A.id} unknown\n", 1), ("", "flux-jobs: ERROR: Unable to connect to Flux: ENOENT\n", 1)
    )
    provider = FluxProvider(shell=shell)
    assert provider._ask([A]) == {}
    assert shell.ran == [["flux", "jobs", "-a", "--json", A.id]]
    with pytest.raises(CommandFailed, match="Unable to connect"):
        provider._ask([A])


def test_jobs_are_found_by_their_names():
    shell = Scripted(json.dumps({"jobs": [answer()]}), json.dumps({"jobs": []}))
    assert FluxProvider(shell=shell)._find(["plait.a", "plait.x"]) == {"plait.a": A.id}
    assert shell.ran[1] == ["flux", "jobs", "-a", "--json", "--name=plait.x"]


def test_what_has_ended_need_not_be_cancelled():
    shell = Scripted(
        ("", "flux-cancel: ERROR: f1: job is inactive\nflux-cancel: ERROR: f2: unknown job id\n", 1),
        ("", "flux-cancel: ERROR: f1: Operation not permitted\n", 1),
    )
    provider = FluxProvider(shell=shell)
    provider._kill([job("f1"), job("f2")])
    assert shell.ran == [["flux", "cancel", "f1", "f2"]]
    with pytest.raises(CommandFailed, match="not permitted"):
        provider._kill([job("f1")])


def test_the_script():
    id_, argv, files = submitted(
        FluxProvider, "ƒM7Zq9AKHno\n", queue="pbatch", bank="guests", nodes_per_block=3, cores_per_node=8, gpus_per_node=2, walltime="1h",
        flux_options="--requires=hosts:a[1-3] -o 'cpu-affinity=off'", scheduler_options="#flux: --setattr=user.x=1", worker_init="module load python",
    )  # fmt: skip
    assert id_ == "fM7Zq9AKHno"
    assert argv == ["flux", "batch", "--requires=hosts:a[1-3]", "-o", "cpu-affinity=off", "/scripts/NAME.sh"]
    assert files == {
        "sh": f"""\
#!/bin/bash
#flux: --job-name=NAME
#flux: --output=/scripts/NAME.out
#flux: --error=/scripts/NAME.err
#flux: --time-limit=3600s
#flux: --nodes=3
#flux: --nslots=3
#flux: --cores-per-slot=8
#flux: --gpus-per-slot=2
#flux: --queue=pbatch
#flux: --bank=guests
#flux: --setattr=user.x=1
{BODY}module load python
the command
"""
    }


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({}, ["--nodes=1", "--exclusive"]),
        ({"gpus_per_node": 4}, ["--nodes=1", "--nslots=1", "--gpus-per-slot=4", "--exclusive"]),
        ({"cores_per_node": 4}, ["--nodes=1", "--nslots=1", "--cores-per-slot=4"]),
        ({"cores_per_node": 4, "exclusive": True}, ["--nodes=1", "--nslots=1", "--cores-per-slot=4", "--exclusive"]),
    ],
)
def test_what_is_asked_for(options, lines):
    _, argv, files = submitted(FluxProvider, "f1\n", **options)
    assert argv == ["flux", "batch", "/scripts/NAME.sh"]
    assert directives(files["sh"], "#flux:")[4:] == [f"#flux: {line}" for line in lines]


def test_defaults():
    provider = FluxProvider()
    assert (provider.walltime, provider.cmd_timeout, provider.status_polling_interval, provider.label) == (
        "00:10:00",
        60,
        30,
        "flux",
    )
    assert isinstance(provider.launcher, SingleNodeLauncher)
    assert isinstance(FluxProvider(nodes_per_block=2).launcher, FluxRunLauncher)
    assert isinstance(FluxProvider(nodes_per_block=2, launcher=SimpleLauncher()).launcher, SimpleLauncher)


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue": "a b"},
        {"bank": ""},
        {"cores_per_node": 0},
        {"gpus_per_node": -1},
        {"exclusive": 1},
        {"flux_options": "batch"},
        {"flux_options": 3},
        {"flux_options": "-o 'x"},
    ],
)
def test_wrong_values_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"FluxProvider\({name}="):
        FluxProvider(**wrong)


@given(name=st.sampled_from(["queue", "bank", "job"]), value=HOSTILE)
def test_no_field_adds_a_directive(name, value):
    shell = Scripted("f1\n")
    try:
        provider = FluxProvider(shell=shell, **{} if name == "job" else {name: value})
        provider.script_dir = "/scripts"
        provider.submit("the command", 1, value if name == "job" else "x")
    except PlaitError:
        assert shell.files == {}
        return
    assert len(directives(shell.files["sh"], "#flux:")) == 6 + (name != "job")


def test_its_page_shows_what_is_made():
    text, _, files = on_its_page("flux.md", "f1\n")
    head = "\n".join(["#!/bin/bash", *directives(files["sh"], "#flux:")])
    assert f"```bash\n{head}\n```" in text
