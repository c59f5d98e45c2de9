"""Torque. The answer in ``ANSWER`` has the form of the one in its administrator's guide, "Job exit status"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import PlaitError
from plait.launchers.aprun import AprunLauncher
from plait.model.jobs import JobState
from plait.providers import TorqueProvider
from plait.providers.shell import CommandFailed
from plait.providers.torque import parse
from tests.unit.providers.scripted import BODY, HOSTILE, Scripted, directives, job, on_its_page, submitted

ANSWER = """\
Job Id: 179.host
    Job_Name = plait.a
    Job_Owner = user@host
    resources_used.walltime = 00:00:02
    job_state = C
    queue = batchq
    server = host
    Checkpoint = u
    Error_Path = host:/opt/moab/STDIN.e179
    Hold_Types = n
    Resource_List.nodes = node1
    Resource_List.walltime = 00:20:00
    Variable_List = PBS_O_HOME=/home/user,PBS_O_LOGNAME=user,
\tPBS_O_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:,PBS_O_S
\tHELL=/bin/bash,job_state = R,PBS_O_QUEUE=batchq
    exit_status = 3

Job Id: 180.host
    Job_Name = plait.b_with_a_name_that_is_so_long_that_it_goes_on_in_the_next
\t_line
    job_state = R
    queue = batchq

Job Id: 181[].host
    Job_Name = plait.c
    job_state = H
    comment = held for the maintenance of Tuesday

"""
A, C = job("179.host", "plait.a"), job("181[].host", "plait.c")
B = job("180.host", "plait.b_with_a_name_that_is_so_long_that_it_goes_on_in_the_next_line")


def test_an_answer():
    reports = parse(ANSWER, [A, B, C, job("182.host")])
    assert {id_: report.state.name for id_, report in reports.items()} == {
        "179.host": "FAILED",
        "180.host": "RUNNING",
        "181[].host": "HELD",
    }
    assert reports["179.host"].exit_code == 3
    assert reports["181[].host"].message == "held for the maintenance of Tuesday"


def test_an_answer_about_a_job_of_another_name_is_not_about_this_one():
    assert parse(ANSWER, [job("179.host", "plait.x")]) == {}


def test_a_number_without_a_server_is_enough():
    assert parse(ANSWER, [job("179", "plait.a")])["179"].state == JobState.FAILED


def test_an_answer_without_jobs():
    assert parse("", [A]) == {}


@pytest.mark.parametrize(
    "cut",
    [
        3,
        60,
        ANSWER.index("exit_status") + 2,
        ANSWER.index("exit_status"),
        ANSWER.index("job_state = R\n"),
        ANSWER.index("Job Id: 180") + 8,
    ],
)
def test_half_an_answer_is_none(cut):
    with pytest.raises(ValueError, match="qstat -f"):
        parse(ANSWER[:cut], [A])


@pytest.mark.parametrize(
    "text", ["<Data><Job/></Data>\n", "Job id   Name\n------\n1.host  a\n", "Job Id: 1.host\n    Job_Name = a\n\n"]
)
def test_another_format_is_an_error(text):
    with pytest.raises(ValueError, match="qstat -f: expected"):
        parse(text, [A])


def test_versions_without_an_empty_line_at_the_end():
    assert parse(ANSWER.split("\n\n", maxsplit=1)[0] + "\n", [A])["179.host"].exit_code == 3


def test_unknown_jobs_are_an_answer_and_a_server_that_is_down_is_none():
    shell = Scripted(
        (ANSWER, "qstat: Unknown Job Id Error 182.host\n", 153),
        ("", "pbs_iff: cannot connect to host:15001\nNo Permission.\n", 1),
    )
    provider = TorqueProvider(shell=shell)
    assert len(provider._ask([A, job("182.host")])) == 1
    assert shell.ran == [["qstat", "-f", "179.host", "182.host"]]
    with pytest.raises(CommandFailed, match="No Permission"):
        provider._ask([A])


@pytest.mark.parametrize(
    ("code", "state", "words"),
    [(-10, "FAILED", "more memory"), (-11, "TIMEOUT", "walltime was over"), (-12, "FAILED", "time of processors"), (-29, "FAILED", "could not run it")],
)  # fmt: skip
def test_exit_statuses_of_limits_are_those_of_torque(code, state, words):
    text = f"Job Id: 1.host\n    Job_Name = n\n    job_state = C\n    exit_status = {code}\n\n"
    report = parse(text, [job("1.host")])["1.host"]
    assert report.state == JobState[state]
    assert words in report.message


def test_a_line_that_a_site_always_writes_hides_no_answer():
    """Without that no job would ever be seen to have left the queue."""
    noise = "qstat: warning: old libraries\n"
    shell = Scripted(("", f"{noise}qstat: Unknown Job Id Error 1.host\n", 153), ("", noise, 153))
    provider = TorqueProvider(shell=shell)
    assert provider._ask([job("1.host")]) == {}
    with pytest.raises(CommandFailed):
        provider._ask([job("1.host")])


def test_the_script():
    id_, argv, files = submitted(
        TorqueProvider,
        "7.host\n",
        account="m1234",
        queue="debug",
        nodes_per_block=3,
        scheduler_options="#PBS -l gres=x\n",
        worker_init="module load python\n",
    )
    assert (id_, argv) == ("7.host", ["qsub", "/scripts/NAME.sh"])
    assert files == {
        "sh": f"""\
#!/bin/bash
#PBS -S /bin/bash
#PBS -N NAME
#PBS -m n
#PBS -l walltime=00:20:00
#PBS -l nodes=3:ppn=2
#PBS -o /scripts/NAME.out
#PBS -e /scripts/NAME.err
#PBS -A m1234
#PBS -q debug
#PBS -l gres=x
{BODY}module load python
the command
"""
    }


def test_processors_of_nodes():
    _, _, files = submitted(TorqueProvider, "7.host\n", nodes_per_block=2, cores_per_node=16)
    assert "#PBS -l nodes=2:ppn=16" in directives(files["sh"], "#PBS")


def test_defaults():
    provider = TorqueProvider()
    assert (provider.walltime, provider.cmd_timeout, provider.status_polling_interval, provider.label) == (
        "00:20:00",
        120,
        60,
        "torque",
    )
    assert isinstance(provider.launcher, AprunLauncher)
    assert TorqueProvider(shell=Scripted("3.host\n"))._find(["a"]) == {"a": "3.host"}


@given(name=st.sampled_from(["account", "queue", "job"]), value=HOSTILE)
def test_no_field_adds_a_directive(name, value):
    shell = Scripted("7.pbs\n")
    try:
        provider = TorqueProvider(shell=shell, **{} if name == "job" else {name: value})
        provider.script_dir = "/scripts"
        provider.submit("the command", 1, value if name == "job" else "x")
    except PlaitError:
        assert shell.files == {}
        return
    given_options = directives(shell.files["sh"], "#PBS")
    assert len(given_options) == 7 + (name != "job")
    assert shell.files["sh"].splitlines()[len(given_options) + 1].startswith("plait_") or "aprun" in shell.files["sh"]


def test_its_page_shows_what_is_made():
    text, _, files = on_its_page("torque.md", "7.host\n")
    head = "\n".join(["#!/bin/bash", *directives(files["sh"], "#PBS")])
    assert f"```bash\n{head}\n```" in text
