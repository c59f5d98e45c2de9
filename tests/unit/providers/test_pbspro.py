"""PBS Professional. The answer in ``ANSWER`` has the form that its sites publish; what is of no interest here was left out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import ConfigurationError, PlaitError
from plait.model.jobs import JobState
from plait.providers import PBSProProvider
from plait.providers.pbspro import parse
from plait.providers.shell import CommandFailed
from tests.unit.providers.scripted import BODY, HOSTILE, Scripted, directives, job, on_its_page, submitted

ANSWER = """\
{
    "timestamp":1664911414,
    "pbs_version":"2022.1.1.20220926110806",
    "pbs_server":"pbs01",
    "Jobs":{
        "157.pbs01":{
            "Job_Name":"plait.a",
            "Job_Owner":"user@login1",
            "job_state":"R",
            "queue":"workq",
            "Error_Path":"login1:/home/user/a.err",
            "Hold_Types":"n",
            "Resource_List":{
                "ncpus":4,
                "select":"2:ncpus=2",
                "walltime":"00:20:00"
            },
            "resources_used":{
                "cput":"00:00:00",
                "walltime":"00:00:11"
            },
            "comment":"Job run at Tue Oct 04 at 21:23 on (node1:ncpus=2)+(node2:ncpus=2)"
        },
        "158.pbs01":{
            "Job_Name":"plait.b",
            "job_state":"F",
            "Resource_List":{
                "walltime":"00:20:00"
            },
            "resources_used":{
                "walltime":"00:00:02"
            },
            "Exit_status":1
        },
        "159.pbs01":{
            "Job_Name":"plait.c",
            "job_state":"H",
            "Hold_Types":"s",
            "comment":"Job held by root on Tue Oct  4 21:23:33 2022"
        }
    }
}
"""
A, B, C, D = (
    job(f"{number}.pbs01", f"plait.{letter}") for number, letter in ((157, "a"), (158, "b"), (159, "c"), (160, "d"))
)


def test_an_answer():
    reports = parse(ANSWER, [A, B, C, D])
    assert {id_: report.state.name for id_, report in reports.items()} == {
        "157.pbs01": "RUNNING",
        "158.pbs01": "FAILED",
        "159.pbs01": "HELD",
    }
    assert reports["158.pbs01"].exit_code == 1
    assert reports["159.pbs01"].message == "Job held by root on Tue Oct  4 21:23:33 2022"


def test_an_answer_about_a_job_of_another_name_is_not_about_this_one():
    assert parse(ANSWER, [job("157.pbs01", "plait.x")]) == {}


def test_a_number_without_a_server_is_enough():
    assert parse(ANSWER, [job("157", "plait.a")])["157"].state == JobState.RUNNING


@pytest.mark.parametrize("cut", [1, 20, 200, len(ANSWER) // 2, len(ANSWER) - 4])
def test_half_an_answer_is_none(cut):
    with pytest.raises(ValueError, match="expected JSON"):
        parse(ANSWER[:cut], [A])


BROKEN = ANSWER.replace(
    '            "Hold_Types":"n",\n',
    '            "Hold_Types":"n",\n            "Variable_List":{\n                "PS1":"\\u "at" \\h",\n                "X":"{"job_state":"F"}"\n            },\n',
)


def test_a_server_that_does_not_escape_quotes_is_understood_all_the_same():
    with pytest.raises(ValueError, match="delimiter|escape"):
        json.loads(BROKEN)
    assert parse(BROKEN, [A, B, C, D]) == parse(ANSWER, [A, B, C, D])
    late = BROKEN.replace('"walltime":"00:00:02"', '"walltime":"00:20:02"')
    assert parse(late, [B])["158.pbs01"].state == JobState.TIMEOUT


@pytest.mark.parametrize("cut", [200, len(BROKEN) // 2, len(BROKEN) - 4])
def test_half_of_such_an_answer_is_none(cut):
    with pytest.raises(ValueError, match="expected JSON"):
        parse(BROKEN[:cut], [A])


def test_a_whole_text_without_jobs_is_none():
    with pytest.raises(ValueError, match="lines with the states of jobs"):
        parse("{\n<html>\n}\n", [A])


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 3}', '{"Jobs": []}', '{"pbs_server": "x", "Jobs": {"157.pbs01": 3}}']
)
def test_another_format_is_an_error(text):
    with pytest.raises(ValueError, match="qstat -F json"):
        parse(text, [A])


def test_a_server_that_cannot_be_reached_is_no_empty_answer():
    """qstat writes the head of an answer even then."""
    text = '{\n    "timestamp":1750053827,\n    "pbs_version":"22.05.11",\n    "pbs_server":"x"\n}\n'
    refused = (text, "Connection refused\nqstat: cannot connect to server x (errno=15010)\n", 255)
    with pytest.raises(CommandFailed, match="cannot connect to server"):
        PBSProProvider(shell=Scripted(refused))._ask([A])
    unknown = (text, "qstat: Unknown Job Id 157.pbs01\n", 153)
    assert PBSProProvider(shell=Scripted(unknown))._ask([A]) == {}


def test_a_server_without_history_is_asked_without_it_from_then_on():
    shell = Scripted(("", "qstat: PBS is not configured to maintain job history\n", 1), ANSWER, ANSWER, "")
    provider = PBSProProvider(shell=shell)
    for _ in range(2):
        assert provider._ask([A])["157.pbs01"].state == JobState.RUNNING
    assert provider._find(["a"]) == {}
    without = ["qstat", "-f", "-F", "json", "157.pbs01"]
    assert shell.ran == [["qstat", "-x", "-f", "-F", "json", "157.pbs01"], without, without, ["qselect", "-N", "a"]]


def test_the_script():
    id_, argv, files = submitted(
        PBSProProvider, "7.pbs\n", account="m1234", queue="debug", nodes_per_block=3, cpus_per_node=64, select_options="ngpus=4:mem=100gb",
        scheduler_options="#PBS -l place=scatter", worker_init="module load python", walltime="1h",
    )  # fmt: skip
    assert (id_, argv) == ("7.pbs", ["qsub", "/scripts/NAME.sh"])
    assert files == {
        "sh": f"""\
#!/bin/bash
#PBS -S /bin/bash
#PBS -N NAME
#PBS -m n
#PBS -l walltime=01:00:00
#PBS -l select=3:ncpus=64:ngpus=4:mem=100gb
#PBS -o /scripts/NAME.out
#PBS -e /scripts/NAME.err
#PBS -A m1234
#PBS -q debug
#PBS -l place=scatter
{BODY}module load python
the command
"""
    }


def test_without_options():
    _, _, files = submitted(PBSProProvider, "7.pbs\n")
    assert directives(files["sh"], "#PBS")[3:5] == ["#PBS -l walltime=00:20:00", "#PBS -l select=1:ncpus=1"]
    assert len(directives(files["sh"], "#PBS")) == 7


def test_defaults():
    provider = PBSProProvider()
    assert (provider.walltime, provider.cmd_timeout, provider.status_polling_interval, provider.label) == (
        "00:20:00",
        120,
        60,
        "pbspro",
    )
    assert (provider.cpus_per_node, provider.cores_per_node, provider.nodes_per_block, provider.max_blocks) == (
        1,
        1,
        1,
        1,
    )
    assert repr(PBSProProvider(queue="q", cpus_per_node=4)).startswith("PBSProProvider(queue='q', cpus_per_node=4")


@pytest.mark.parametrize(
    "wrong",
    [{"cpus_per_node": 0}, {"account": "a b"}, {"queue": "-q"}, {"select_options": "a\nb"}, {"walltime": "soon"}],
)
def test_wrong_values_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"PBSProProvider\({name}="):
        PBSProProvider(**wrong)


@given(name=st.sampled_from(["account", "queue", "select_options", "job"]), value=HOSTILE)
def test_no_field_adds_a_directive(name, value):
    shell = Scripted("7.pbs\n")
    try:
        provider = PBSProProvider(shell=shell, **{} if name == "job" else {name: value})
        provider.script_dir = "/scripts"
        provider.submit("the command", 1, value if name == "job" else "x")
    except PlaitError:
        assert shell.files == {}
        return
    given_options = directives(shell.files["sh"], "#PBS")
    assert len(given_options) == 7 + (name in {"account", "queue"} and value is not None)
    assert shell.files["sh"].splitlines()[len(given_options) + 1].startswith("plait_ec=")


def test_its_page_shows_what_is_made():
    text, _, files = on_its_page("pbs-pro.md", "7.pbs\n")
    head = "\n".join(["#!/bin/bash", *directives(files["sh"], "#PBS")])
    assert f"```bash\n{head}\n```" in text
