"""LSF. The answers have the form that sites publish, ``\\/`` and all."""

from __future__ import annotations

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import ConfigurationError, PlaitError
from plait.model.jobs import JobState
from plait.providers import LSFProvider
from plait.providers.lsf import parse
from plait.providers.shell import CommandFailed
from tests.unit.providers.scripted import BODY, HOSTILE, Scripted, directives, job, on_its_page, submitted

ANSWER = """\
{
  "COMMAND":"bjobs",
  "JOBS":3,
  "RECORDS":[
    {
      "JOBID":"22005",
      "STAT":"RUN",
      "EXIT_CODE":"",
      "EXIT_REASON":"",
      "JOB_NAME":"plait.a",
      "PEND_REASON":""
    },
    {
      "JOBID":"22006",
      "STAT":"EXIT",
      "EXIT_CODE":"140",
      "EXIT_REASON":"TERM_RUNLIMIT: job killed after reaching LSF run time limit",
      "JOB_NAME":"plait.b",
      "PEND_REASON":"",
      "OUTPUT_FILE":"\\/home\\/user\\/x"
    },
    {
      "JOBID":"99999",
      "ERROR":"Job <99999> is not found"
    }
  ]
}
"""
A, B, C = job("22005", "plait.a"), job("22006", "plait.b"), job("99999", "plait.c")


def answer(**facts):
    return json.dumps({"RECORDS": [{"JOBID": "22005", "JOB_NAME": "plait.a", **facts}]})


def test_an_answer():
    reports = parse(ANSWER, [A, B, C])
    assert {id_: report.state.name for id_, report in reports.items()} == {"22005": "RUNNING", "22006": "TIMEOUT"}
    assert reports["22006"].message == "job killed after reaching LSF run time limit"


def test_an_answer_about_a_job_of_another_name_is_not_about_this_one():
    assert parse(ANSWER, [job("22005", "plait.x")]) == {}


@pytest.mark.parametrize(
    ("facts", "state", "code", "words"),
    [
        ({"STAT": "PEND", "PEND_REASON": "New job is waiting for scheduling;"}, "PENDING", None, "New job is waiting"),
        ({"STAT": "PROV"}, "PENDING", None, "PROV"),
        ({"STAT": "PSUSP"}, "HELD", None, "PSUSP"),
        ({"STAT": "USUSP"}, "HELD", None, "USUSP"),
        ({"STAT": "SSUSP"}, "HELD", None, "SSUSP"),
        ({"STAT": "UNKWN"}, "UNKNOWN", None, "cannot be reached"),
        ({"STAT": "ZOMBI"}, "FAILED", None, "cannot be reached"),
        ({"STAT": "NEW_ONE"}, "UNKNOWN", None, "NEW_ONE"),
        ({"STAT": "DONE"}, "COMPLETED", 0, None),
        ({"STAT": "EXIT", "EXIT_CODE": "3"}, "FAILED", 3, "exit code 3"),
        ({"STAT": "EXIT", "EXIT_CODE": "140"}, "TIMEOUT", None, "SIGUSR2"),
        ({"STAT": "EXIT", "EXIT_CODE": ""}, "CANCELLED", None, "before it ran"),
        ({"STAT": "EXIT", "EXIT_CODE": "130", "EXIT_REASON": "TERM_OWNER: job killed by owner"}, "CANCELLED", None, "job killed by owner"),
        ({"STAT": "EXIT", "EXIT_CODE": "137", "EXIT_REASON": "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit"}, "FAILED", 137, "memory"),
        ({"STAT": "EXIT", "EXIT_CODE": "130", "EXIT_REASON": "TERM_PREEMPT: job killed after preemption"}, "TIMEOUT", None, "preemption"),
        ({"STAT": "DONE", "EXIT_REASON": "TERM_RUNLIMIT: job killed after reaching LSF run time limit"}, "TIMEOUT", None, "run time limit"),
    ],
)  # fmt: skip
def test_states(facts, state, code, words):
    report = parse(answer(**facts), [A])["22005"]
    assert (report.state, report.exit_code) == (JobState[state], code)
    assert report.message is None if words is None else words in report.message


def test_no_text_is_no_job():
    assert parse("", [A]) == {}


@pytest.mark.parametrize(
    "text",
    [
        ANSWER[: len(ANSWER) // 2],
        "JOBID USER STAT\n",
        "[]",
        '{"RECORDS": 3}',
        '{"JOBS": 1}',
        '{"RECORDS": [{"JOBID": "1"}]}',
    ],
)
def test_another_format_is_an_error(text):
    with pytest.raises(ValueError, match="bjobs -json"):
        parse(text, [A])


def test_unknown_jobs_are_an_answer_and_a_cluster_that_is_down_is_none():
    shell = Scripted(
        (ANSWER, "", 255),
        ("", "Job <22005> is not found\n", 255),
        ("", "Failed in an LSF library call: LIM is down; try later\n", 255),
        ("", "", 255),
    )
    provider = LSFProvider(shell=shell)
    assert len(provider._ask([A, B, C])) == 2
    assert shell.ran == [
        [
            "bjobs",
            "-a",
            "-json",
            "-o",
            "jobid stat exit_code exit_reason job_name pend_reason",
            "22005",
            "22006",
            "99999",
        ]
    ]
    assert provider._ask([A]) == {}
    with pytest.raises(CommandFailed, match="LIM is down"):
        provider._ask([A])
    with pytest.raises(CommandFailed, match="exit code 255"):
        provider._ask([A])


def test_jobs_are_found_by_their_names():
    shell = Scripted(ANSWER, ("", "Job <plait.x> is not found\n", 255))
    assert LSFProvider(shell=shell)._find(["plait.b", "plait.x"]) == {"plait.b": "22006"}
    assert shell.ran[1][-2:] == ["-J", "plait.x"]


def test_what_has_ended_need_not_be_cancelled():
    shell = Scripted(
        ("Job <1> is being terminated\n", "Job <2>: Job has already finished\nJob <3>: No matching job found\n", 255),
        ("", "Job <1>: User permission denied\n", 255),
    )
    provider = LSFProvider(shell=shell)
    provider._kill([job("1"), job("2"), job("3")])
    assert shell.ran == [["bkill", "1", "2", "3"]]
    with pytest.raises(CommandFailed, match="permission denied"):
        provider._kill([job("1")])


@pytest.mark.parametrize(
    ("out", "id_"),
    [
        ("Job <1234> is submitted to queue <normal>.\n", "1234"),
        ("Cannot connect to LSF. Please wait ...\nJob <1234> is submitted to default queue <normal>.\n", "1234"),
    ],
)
def test_ids(out, id_):
    assert LSFProvider()._parse_id(out) == id_


@pytest.mark.parametrize("out", ["", "1234\n", "Request aborted by esub. Job not submitted.\n"])
def test_no_id_is_an_error(out):
    with pytest.raises(ValueError, match="expected 'Job <number>"):
        LSFProvider()._parse_id(out)


OPTIONS = {
    "project": "m1234", "queue": "batch", "nodes_per_block": 3, "scheduler_options": '#BSUB -alloc_flags "gpumps smt4" # a remark\n# none\n', "worker_init": "module load python",
    "walltime": "90s",
}  # fmt: skip
SCRIPT = f"""\
#!/bin/bash
#BSUB -J NAME
#BSUB -W 0:02
#BSUB -oo /scripts/NAME.out
#BSUB -eo /scripts/NAME.err
#BSUB -nnodes 3
#BSUB -P m1234
#BSUB -q batch
#BSUB -alloc_flags "gpumps smt4" # a remark
# none
{BODY}module load python
the command
"""


def test_the_script_and_the_command():
    id_, argv, files = submitted(LSFProvider, "Job <7> is submitted to queue <batch>.\n", **OPTIONS)
    assert id_ == "7"
    assert argv == [
        "bsub", "-J", "NAME", "-W", "0:02", "-oo", "/scripts/NAME.out", "-eo", "/scripts/NAME.err", "-nnodes", "3", "-P", "m1234", "-q", "batch",
        "-alloc_flags", "gpumps smt4", "/scripts/NAME.sh",
    ]  # fmt: skip
    assert files == {"sh": SCRIPT}


def test_the_name_of_a_job_is_said_once():
    options = OPTIONS | {"scheduler_options": '#BSUB -J "mine too" -Jd "what it is"\n#BSUB -Jmine\n#BSUB -x'}
    _, argv, _ = submitted(LSFProvider, "Job <7> is submitted to queue <batch>.\n", **options)
    assert argv[1:3] == ["-J", "NAME"]
    assert argv[-4:] == ["-Jd", "what it is", "-x", "/scripts/NAME.sh"]
    assert [word for word in argv if word.startswith("-J")] == ["-J", "-Jd"]


def test_the_script_on_standard_input():
    shell = Scripted("Job <7> is submitted to queue <batch>.\n")
    provider = LSFProvider(shell=shell, bsub_redirection=True)
    provider.script_dir = "/scripts"
    provider.submit("the command", 1, "x")
    assert shell.ran == [["bsub"]]
    assert shell.stdin == [shell.files["sh"]]
    assert submitted(LSFProvider, "Job <7> is\n", bsub_redirection=True, **OPTIONS)[1:] == (["bsub"], {"sh": SCRIPT})


def test_cores_instead_of_nodes():
    _, _, files = submitted(LSFProvider, "Job <7> is\n", cores_per_block=10, cores_per_node=4, request_by_nodes=False)
    assert directives(files["sh"], "#BSUB")[4:] == ["#BSUB -n 10", "#BSUB -R 'span[ptile=4]'"]
    assert LSFProvider(cores_per_block=10, cores_per_node=4, request_by_nodes=False).nodes_per_block == 3


@pytest.mark.parametrize(
    ("walltime", "minutes"), [("00:10:00", "0:10"), (1, "0:01"), ("25h", "25:00"), ("1:30:01", "1:31")]
)
def test_minutes(walltime, minutes):
    assert submitted(LSFProvider, "Job <7> is\n", walltime=walltime)[1][3:5] == ["-W", minutes]


def test_defaults():
    provider = LSFProvider()
    assert (provider.walltime, provider.cmd_timeout, provider.status_polling_interval, provider.label) == (
        "00:10:00",
        120,
        60,
        "lsf",
    )
    assert (provider.request_by_nodes, provider.bsub_redirection) == (True, False)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"request_by_nodes": False}, "both numbers of cores"),
        ({"request_by_nodes": False, "cores_per_block": 4}, "both numbers of cores"),
        ({"request_by_nodes": False, "cores_per_block": 8, "cores_per_node": 4, "nodes_per_block": 3}, "are 2 nodes"),
        ({"cores_per_block": 4}, "request_by_nodes=False"),
        ({"cores_per_node": 0}, "cores_per_node=0"),
        ({"project": "a b"}, "project='a b'"),
        ({"queue": "a;b"}, "queue='a;b'"),
        ({"bsub_redirection": "yes"}, "bsub_redirection='yes'"),
    ],
)
def test_wrong_values_are_named(wrong, words):
    with pytest.raises(ConfigurationError, match="LSFProvider") as info:
        LSFProvider(**wrong)
    assert words in str(info.value)


@given(name=st.sampled_from(["project", "queue", "job"]), value=HOSTILE)
def test_no_field_adds_a_directive_or_a_word(name, value):
    shell = Scripted("Job <7> is\n")
    try:
        provider = LSFProvider(shell=shell, **{} if name == "job" else {name: value})
        provider.script_dir = "/scripts"
        provider.submit("the command", 1, value if name == "job" else "x")
    except PlaitError:
        assert shell.files == {}
        return
    more = name != "job"
    assert len(directives(shell.files["sh"], "#BSUB")) == 5 + more
    assert len(shell.ran[0]) == 12 + 2 * more


def test_its_page_shows_what_is_made():
    text, argv, _ = on_its_page("lsf.md", "Job <7> is\n")
    assert f"```bash\n{shlex.join(argv)}\n```" in text


def test_a_long_script_goes_to_standard_input_whole():
    init = "true\n" * 50_000
    shell = Scripted("Job <7> is\n")
    provider = LSFProvider(shell=shell, bsub_redirection=True, worker_init=init)
    provider.script_dir = "/scripts"
    provider.submit("the command", 1, "x")
    assert shell.stdin[0].startswith("#!/bin/bash\n#BSUB -J x.")
    assert init in shell.stdin[0]
