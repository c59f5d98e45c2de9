"""Grid Engine's answers as 8.1.9 gave them, and what the provider makes of them. The real thing: tests/cluster/test_grid_engine.py."""

from __future__ import annotations

import re

import pytest

from plait.errors import ConfigurationError, ScriptPathError, SubmitException
from plait.model.jobs import JobState
from plait.providers import GridEngineProvider
from plait.providers.grid_engine import (
    judge_letters,
    judge_record,
    parse_errors,
    parse_id,
    parse_queue,
    parse_records,
)
from plait.providers.shell import CommandFailed, Finished, LocalShell

QUEUE = """\
<?xml version='1.0'?>
<job_info  xmlns:xsd="http://arc.liv.ac.uk/repos/darcs/sge/source/dist/util/resources/schemas/qstat/qstat.xsd">
  <queue_info>
    <job_list state="running">
      <JB_job_number>1</JB_job_number>
      <JAT_prio>0.25000</JAT_prio>
      <JB_name>plait.abc.block-0</JB_name>
      <JB_owner>root</JB_owner>
      <state>r</state>
      <JAT_start_time>2026-11-23T04:10:29</JAT_start_time>
      <queue_name>all.q@sge3</queue_name>
      <slots>1</slots>
    </job_list>
  </queue_info>
  <job_info>
    <job_list state="pending">
      <JB_job_number>4</JB_job_number>
      <JAT_prio>0.25000</JAT_prio>
      <JB_name>err</JB_name>
      <JB_owner>root</JB_owner>
      <state>Eqw</state>
      <JB_submission_time>2026-11-23T04:10:29</JB_submission_time>
      <queue_name></queue_name>
      <slots>1</slots>
    </job_list>
  </job_info>
</job_info>
"""
EMPTY = "<?xml version='1.0'?>\n<job_info>\n  <queue_info>\n  </queue_info>\n  <job_info>\n  </job_info>\n</job_info>\n"
ERRORS = """\
==============================================================
job_number:                 4
exec_file:                  job_scripts/4
owner:                      root
job_name:                   err
stdout_path_list:           NONE:NONE:/nonexistent/dir/x
error reason          1:      11/23/2026 04:10:29 [0:93]: error: can't open output file "/nonexistent/dir/x": No such file or directory
scheduling info:            queue instance "all.q@sge3" dropped because it is full
                            Job is in error state
==============================================================
job_number:                 5
job_name:                   big
"""
RECORD = """\
==============================================================
qname        all.q
hostname     sge1
owner        root
jobname      {name}
jobnumber    {number}
taskid       undefined
qsub_time    Mon Nov 23 04:10:29 2026
start_time   Mon Nov 23 04:10:30 2026
end_time     Mon Nov 23 04:10:30 2026
granted_pe   NONE
slots        1
failed       {failed}
exit_status  {status}
ru_wallclock {wallclock}s
ru_utime     0.003s
category     NONE
"""


def record(failed="0    ", status="0                   ", wallclock=18, number=6, name="fails"):
    return RECORD.format(failed=failed, status=status, wallclock=wallclock, number=number, name=name)


class Said(LocalShell):
    """Commands that answer what they are told, and remember that they were called."""

    def __init__(self, **answers):
        self.answers = answers
        self.calls = []

    def run(self, argv, *, timeout_s, stdin="", env=None, max_bytes=0):
        self.calls.append(list(argv))
        answer = self.answers[argv[0]]
        answer = answer.pop(0) if isinstance(answer, list) else answer
        if isinstance(answer, str):
            answer = (0, answer, "")
        if answer[0] is None:
            raise CommandFailed(argv, None, answer[1], answer[2], "it did not end within 60 s")
        return Finished(tuple(argv), *answer)

    def called(self, program):
        return [argv[1:] for argv in self.calls if argv[0] == program]


@pytest.fixture
def make(tmp_path):
    def make(shell=None, **parameters):
        provider = GridEngineProvider(shell=shell or Said(qsub="1\n"), **parameters)
        provider.script_dir = str(tmp_path / "scripts")
        return provider

    return make


def script_of(provider, job):
    with open(f"{provider.resources[job].path}.sh", encoding="utf-8") as file:
        return file.read()


# ------------------------------------------------------------------ scripts
def test_directives(make):
    provider = make(
        walltime="01:30:00", queue="long.q", parallel_environment="mpi", cores_per_node=8, nodes_per_block=2,
        scheduler_options="#$ -P project", worker_init="module load python",
    )  # fmt: skip
    job = provider.submit("manager", 1, "plait.run.cpu.block-0")
    path, name = provider.resources[job].path, provider.resources[job].name
    lines = script_of(provider, job).splitlines()
    assert lines[:10] == [
        "#!/bin/bash", "#$ -S /bin/bash", f"#$ -N {name}", "#$ -cwd", f"#$ -o {path}.out", f"#$ -e {path}.err", "#$ -j n",
        "#$ -l h_rt=01:30:00", "#$ -q long.q", "#$ -pe mpi 16",
    ]  # fmt: skip
    assert lines[10] == "#$ -P project"
    assert "module load python" in lines
    assert name.startswith("plait.run.cpu.block-0")
    assert provider.shell.calls == [["qsub", "-terse", f"{path}.sh"]]


def test_defaults_ask_for_nothing_special(make):
    provider = make()
    text = script_of(provider, provider.submit("manager", 1, "x"))
    assert "h_rt=00:10:00" in text
    assert "-pe" not in text
    assert "-q " not in text


@pytest.mark.parametrize(
    "parameters", [{"queue": "a b"}, {"queue": "-x"}, {"parallel_environment": "a\n#$ -P other"}, {"cores_per_node": 0}]
)
def test_values_that_would_be_more_than_one_are_refused(make, parameters):
    (name,) = parameters
    with pytest.raises(ConfigurationError, match=name):
        make(**parameters)


def test_several_nodes_need_a_parallel_environment(make):
    with pytest.raises(ConfigurationError, match="qconf -spl"):
        make(nodes_per_block=2)


@pytest.mark.parametrize("letter", [":", ",", "$", '"', "'", "\\"])
def test_folders_with_signs_of_grid_engines_own_are_refused(make, tmp_path, letter):
    provider = make()
    provider.script_dir = str(tmp_path / f"a{letter}b")
    with pytest.raises(ScriptPathError, match="run_dir"):
        provider.submit("manager", 1, "x")
    assert provider.shell.calls == []


def test_a_folder_with_a_blank_is_quoted(make, tmp_path):
    provider = make()
    provider.script_dir = str(tmp_path / "a b")
    assert f'#$ -o "{tmp_path}/a b/' in script_of(provider, provider.submit("manager", 1, "x"))


# ------------------------------------------------------------------ answers
@pytest.mark.parametrize(
    ("out", "id_"), [("8\n", "8"), ("Welcome to the cluster\n12345\n", "12345"), ("7.1-4:1\n", "7")]
)
def test_numbers_of_jobs(out, id_):
    assert parse_id(out) == id_


@pytest.mark.parametrize("out", ["", "Your job 5 has been submitted", "job rejected\n"])
def test_no_number_is_no_job(out):
    with pytest.raises(ValueError, match="no job number"):
        parse_id(out)


def test_the_queue():
    assert parse_queue(QUEUE) == [("1", "plait.abc.block-0", "r"), ("4", "err", "Eqw")]
    assert parse_queue(EMPTY) == []


@pytest.mark.parametrize(
    "text", ["", QUEUE[: len(QUEUE) // 2], "error: commlib error: got select error (Connection refused)"]
)
def test_half_an_answer_is_none(text):
    with pytest.raises(ValueError, match="qstat -xml"):
        parse_queue(text)


@pytest.mark.parametrize(
    ("letters", "state"),
    [
        ("qw", JobState.PENDING), ("t", JobState.PENDING), ("Rq", JobState.PENDING), ("Rqw", JobState.PENDING), ("Rt", JobState.PENDING),
        ("r", JobState.RUNNING), ("hr", JobState.RUNNING), ("Rr", JobState.RUNNING), ("dr", JobState.RUNNING),
        ("dt", JobState.PENDING), ("hqw", JobState.HELD), ("hRwq", JobState.HELD), ("s", JobState.HELD), ("S", JobState.HELD), ("T", JobState.HELD),
        ("ts", JobState.HELD), ("tS", JobState.HELD), ("tT", JobState.HELD), ("Rs", JobState.HELD), ("RtS", JobState.HELD), ("dRT", JobState.HELD),
        ("Eqw", JobState.HELD), ("Ehqw", JobState.HELD), ("EhRqw", JobState.HELD), ("", JobState.UNKNOWN), ("X", JobState.UNKNOWN),
    ],
)  # fmt: skip
def test_letters(letters, state):
    """All of sge_status(5)."""
    report = judge_letters(letters)
    assert report.state == state
    assert report.state != JobState.HELD or report.message


def test_a_zombie_has_ended():
    assert judge_letters("z") is None


def test_reasons_of_errors():
    assert parse_errors(ERRORS) == {
        "4": 'error: can\'t open output file "/nonexistent/dir/x": No such file or directory'
    }
    assert parse_errors("") == {}


@pytest.mark.parametrize(
    ("text", "state", "code", "message"),
    [
        (record(), JobState.COMPLETED, 0, None),
        (record(status="7"), JobState.FAILED, 7, "its script ended with exit code 7"),
        (record("37  : qmaster enforced h_rt, h_cpu, or h_vmem limit", "137                  (Killed)", 4), JobState.TIMEOUT, -9, "walltime"),
        (record("100 : assumedly after job", "137                  (Killed)", 600), JobState.TIMEOUT, -9, "walltime"),
        (record("100 : assumedly after job", "137                  (Killed)", 18), JobState.CANCELLED, -9, "SIGKILL: deleted"),
        (record("26  : opening input/output file", "0", 0), JobState.FAILED, None, r"opening input/output file \(26\)"),
        (record("1   : assumedly before job", "0", 0) + record(), JobState.COMPLETED, 0, None),
    ],
)  # fmt: skip
def test_accounting(text, state, code, message):
    report = judge_record(parse_records(text), "6", "fails", 600)
    assert (report.state, report.exit_code) == (state, code)
    assert re.search(message or "^None$", str(report.message))


@pytest.mark.parametrize(
    "text", ["", record(number=7), record(name="of somebody else"), record("25  : rescheduling", "0")]
)
def test_accounting_of_other_jobs_says_nothing(text):
    """F59: a number that was used before; and a run after which the job goes on."""
    assert judge_record(parse_records(text), "6", "fails", 600) is None


# ------------------------------------------------------------------ looking and ending
def test_one_command_looks_at_all_jobs(make):
    shell = Said(qsub=["1\n", "4\n"], qstat=QUEUE.replace("Eqw", "qw"))
    provider = make(shell)
    jobs = [provider.submit("x", 1, "a"), provider.submit("x", 1, "b")]
    assert [status.state for status in provider.status(jobs)] == [JobState.RUNNING, JobState.PENDING]
    assert shell.called("qstat") == [["-u", "$user", "-s", "a", "-xml"]]


def test_a_job_in_an_error_state_is_deleted_and_has_failed(make):
    shell = Said(qsub="4\n", qstat=[QUEUE, ERRORS], qdel="root has deleted job 4\n")
    provider = make(shell)
    job = provider.submit("x", 1, "a")
    (status,) = provider.status([job])
    assert status.state == JobState.FAILED
    assert "can't open output file" in status.message
    assert shell.called("qdel") == [["4"]]


def test_a_job_in_an_error_state_that_cannot_be_deleted_is_held(make):
    shell = Said(qsub="4\n", qstat=[QUEUE, ERRORS], qdel=(1, "", "denied: no permission\n"))
    provider = make(shell)
    (status,) = provider.status([provider.submit("x", 1, "a")])
    assert status.state == JobState.HELD
    assert "can't open output file" in status.message


def test_a_failed_look_changes_nothing(make):
    shell = Said(qsub="1\n", qstat=[QUEUE, (1, "", "error: unable to contact qmaster\n"), (None, "", ""), QUEUE[:300]])
    provider = make(shell)
    job = provider.submit("x", 1, "a")
    assert [provider.status([job])[0].state for _ in range(4)] == [JobState.RUNNING] * 4


def test_accounting_is_asked_for_jobs_that_left_the_queue(make):
    shell = Said(qsub="6\n", qstat=EMPTY)
    provider = make(shell)
    job = provider.submit("x", 1, "a")
    shell.answers["qacct"] = record(status="7", name=provider.resources[job].name)
    (status,) = provider.status([job])
    assert (status.state, status.exit_code) == (JobState.FAILED, 7)
    assert shell.called("qacct") == [["-j", "6"]]


def test_a_job_that_accounting_does_not_know_yet_has_not_ended(make):
    provider = make(Said(qsub="6\n", qstat=EMPTY, qacct=(1, "", "error: job id 6 not found\n")))
    job = provider.submit("x", 1, "a")
    assert provider.status([job])[0].state == JobState.PENDING


def test_a_lost_answer_is_looked_up_by_name(make):
    """F58: in the queue, then in accounting; what is in neither was refused."""
    shell = Said(qsub=(1, "", "error: commlib error\n"), qstat=EMPTY)
    provider = make(shell)
    name = provider._final_name("a")
    shell.answers["qacct"] = record(number=9, name=name)
    assert provider.submit("x", 1, "a") == "9"
    assert shell.called("qacct") == [["-j", name]]
    shell.answers["qacct"] = (1, "", "error: job name not found\n")
    with pytest.raises(SubmitException, match="commlib error"):
        provider.submit("x", 1, "b")
    assert len(shell.called("qsub")) == 2


def test_what_needs_no_deleting_counts_as_deleted(make):
    shell = Said(
        qsub=["1\n", "9\n"],
        qdel=(1, 'root has registered the job 1 for deletion\ndenied: job "9" does not exist\n', ""),
    )
    provider = make(shell)
    jobs = [provider.submit("x", 1, "a"), provider.submit("x", 1, "b")]
    assert provider.cancel(jobs) == [True, True]
    assert shell.called("qdel") == [["1", "9"]]


def test_what_is_denied_is_not_deleted(make):
    provider = make(Said(qsub="1\n", qdel=(1, "", "denied: you do not have the necessary privileges\n")))
    assert provider.cancel([provider.submit("x", 1, "a")]) == [False]
