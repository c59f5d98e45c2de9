"""Batch systems, seen through a system of the test's own: what it answers is scripted, so each thing that goes wrong is one line."""

from __future__ import annotations

import os
import subprocess

import pytest

from plait.errors import BadLauncher, ConfigurationError, ScriptPathError, SubmitException
from plait.launchers import SimpleLauncher
from plait.model.jobs import JobState
from plait.providers import cluster, judge
from plait.providers.cluster import ClusterProvider
from plait.providers.judge import Report
from plait.providers.shell import CommandFailed, Finished, LocalShell

DOWN = CommandFailed(["squeue"], 1, "", "Unable to contact slurm controller", "exit code 1")
LATE = CommandFailed(["sbatch"], None, "", "", "it did not end within 10 s")
RUNNING = Report(JobState.RUNNING)


class Scripted(LocalShell):
    """Submissions answer as they are told; files are real."""

    def __init__(self):
        self.answers = []
        self.ran = []

    def run(self, argv, *, timeout_s, stdin="", env=None, max_bytes=0):
        self.ran.append(list(argv))
        answer = self.answers.pop(0) if self.answers else f"{len(self.ran)}\n"
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Finished) else Finished(tuple(argv), 0, answer, "")


class Abacus(ClusterProvider):
    SYSTEM = "abacus"
    PREFIX = "#ABACUS"
    ADDRESS = ("frame",)

    def __init__(self, frame=None, launcher=None, **others):
        super().__init__(**{"shell": Scripted(), "launcher": launcher, **others})
        self.frame = frame
        self.queue, self.history, self.names, self.killed = {}, {}, {}, []
        self.asked = 0

    def _options(self, script, job, tasks_per_node):
        script.option("--name", job.name)
        script.option("--nodes", self.nodes_per_block)

    def _submit_argv(self, job):
        return ["submit", f"{job.path}.sh"]

    def _parse_id(self, out):
        return str(int(out))

    def _answer(self, answer, keys):
        if isinstance(answer, Exception):
            raise answer
        return {key: answer[key] for key in keys if key in answer}

    def _ask(self, jobs):
        self.asked += 1
        return self._answer(self.queue, [job.id for job in jobs])

    def _history(self, jobs):
        return self._answer(self.history, [job.id for job in jobs])

    def _find(self, names):
        answer = self.names() if callable(self.names) else self.names
        return self._answer(answer, names)

    def _kill(self, jobs):
        self.killed.append([job.id for job in jobs])
        if isinstance(self.history, CommandFailed):
            raise self.history


@pytest.fixture
def now(monkeypatch):
    class Clock:
        s = 1000.0

        def monotonic(self):
            return self.s

    clock = Clock()
    monkeypatch.setattr(cluster, "time", clock)
    return clock


@pytest.fixture
def abacus(tmp_path, now):
    provider = Abacus(max_blocks=9)
    provider.script_dir = str(tmp_path / "scripts")
    return provider


def only(provider, id_):
    (status,) = provider.status([id_])
    return status


def pass_by(provider, now, id_):
    """Two looks that are far enough from each other."""
    only(provider, id_)
    now.s += judge.ABSENT_S
    return only(provider, id_)


# ------------------------------------------------------------------ scripts
def test_the_script(abacus):
    abacus.worker_init = "module load x"
    abacus.scheduler_options = "#ABACUS --beads 3"
    id_ = abacus.submit("echo hello; exit 3", 1, "plait.htex.block-1")
    job = abacus.resources[id_]
    assert abacus.shell.ran == [["submit", f"{job.path}.sh"]]
    lines = LocalShell().read(f"{job.path}.sh").splitlines()
    assert lines[:4] == ["#!/bin/bash", f"#ABACUS --name={job.name}", "#ABACUS --nodes=1", "#ABACUS --beads 3"]
    ran = subprocess.run(
        ["bash", "-c", f'module() {{ echo "loaded $2 for $JOBNAME"; }}; . {job.path}.sh'],
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 3
    assert ran.stdout.decode().splitlines()[0] == f"loaded x for {job.name}"
    assert ran.stdout.decode().splitlines()[-1] == "hello"
    assert LocalShell().read(f"{job.path}.ec") == "3\n"
    assert os.stat(f"{job.path}.sh").st_mode & 0o077 == 0


def test_a_folder_with_blanks_and_quotes(abacus, tmp_path):
    abacus.script_dir = str(tmp_path / 'it\'s a "folder" $HOME')
    job = abacus.resources[abacus.submit("exit 3", 1, "a")]
    assert subprocess.run(["bash", f"{job.path}.sh"], check=False).returncode == 3
    assert LocalShell().read(f"{job.path}.ec") == "3\n"


def test_jobs_of_one_name_have_different_names_and_files(abacus):
    jobs = [abacus.resources[abacus.submit("true", 1, "same")] for _ in range(3)]
    assert len({job.name for job in jobs}) == len({job.path for job in jobs}) == 3
    assert all(job.name.startswith("same.") for job in jobs)
    other = Abacus()
    other.script_dir = abacus.script_dir
    assert other.resources[other.submit("true", 1, "same")].name not in {job.name for job in jobs}


def test_a_folder_of_its_own_where_none_was_given(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster.tempfile, "mkdtemp", lambda prefix: str(tmp_path / prefix))
    provider = Abacus()
    assert provider.script_dir is None
    provider.submit("true", 1, "a")
    assert provider.script_dir == str(tmp_path / "plait-jobs-")


def test_a_folder_that_cannot_be_written(abacus, tmp_path):
    (tmp_path / "scripts").write_text("a file")
    with pytest.raises(ScriptPathError):
        abacus.submit("true", 1, "a")
    assert abacus.shell.ran == []


# ------------------------------------------------------------------ never twice (F58)
def test_a_refusal_is_told_with_what_the_command_said(abacus):
    abacus.shell.answers = [Finished(("submit",), 1, "o", "bad account")]
    with pytest.raises(SubmitException, match="exit code 1: bad account") as info:
        abacus.submit("true", 1, "a")
    assert (info.value.stdout, info.value.stderr, info.value.retcode) == ("o", "bad account", 1)
    assert len(abacus.shell.ran) == 1


def test_a_job_that_was_taken_although_the_command_failed(abacus, monkeypatch):
    abacus.shell.answers = [Finished(("submit",), 1, "", "timed out")]
    names = {}
    abacus.names = lambda: names
    prepare = abacus._prepare
    monkeypatch.setattr(abacus, "_prepare", lambda name: names.update({(job := prepare(name)).name: "77"}) or job)
    abacus.queue = {"77": RUNNING}
    assert abacus.submit("true", 1, "a") == "77"
    assert only(abacus, "77").state == JobState.RUNNING
    assert len(abacus.shell.ran) == 1


@pytest.mark.parametrize("answer", [LATE, "half a li"])
def test_whether_a_job_was_taken_is_not_known_and_it_turns_up(abacus, answer):
    abacus.shell.answers = [answer]
    id_ = abacus.submit("true", 1, "a")
    status = only(abacus, id_)
    assert (status.state, status.terminal) == (JobState.UNKNOWN, False)
    abacus.names = {abacus.resources[id_].name: "78"}
    abacus.queue = {"78": RUNNING}
    assert only(abacus, id_).state == JobState.RUNNING
    assert abacus.ticket(id_)["job"] == "78"
    assert abacus.cancel([id_]) == [True]
    assert abacus.killed == [["78"]]
    assert len(abacus.shell.ran) == 1


def test_whether_a_job_was_taken_is_not_known_and_it_was_not(abacus, now):
    abacus.shell.answers = [LATE]
    id_ = abacus.submit("true", 1, "a")
    status = pass_by(abacus, now, id_)
    assert (status.state, status.message) == (JobState.FAILED, "the batch system never had it: its submission failed")


def test_the_look_up_fails_too(abacus):
    abacus.shell.answers = [Finished(("submit",), 1, "", "down")]
    abacus.names = DOWN
    id_ = abacus.submit("true", 1, "a")
    assert only(abacus, id_).state == JobState.UNKNOWN
    assert abacus.cancel([id_]) == [False]
    abacus.names = {abacus.resources[id_].name: "79"}
    assert abacus.cancel([id_]) == [True]


# ------------------------------------------------------------------ looking
def test_one_command_for_all(abacus):
    ids = [abacus.submit("true", 1, "a") for _ in range(5)]
    abacus.queue = dict.fromkeys(ids, RUNNING)
    assert {status.state for status in abacus.status(ids)} == {JobState.RUNNING}
    assert abacus.asked == 1
    abacus.queue = dict.fromkeys(ids, Report(JobState.COMPLETED))
    abacus.status(ids)
    abacus.status(ids)
    assert abacus.asked == 2


def test_an_answer_that_is_none_changes_nothing(abacus, now):
    id_ = abacus.submit("true", 1, "a")
    abacus.queue = {id_: RUNNING}
    only(abacus, id_)
    for answer in (DOWN, ValueError("half a line")):
        abacus.queue = answer
        assert only(abacus, id_).state == JobState.RUNNING
    now.s += judge.SILENCE_S
    status = only(abacus, id_)
    assert status.state == JobState.UNKNOWN
    assert "half a line" in status.message
    abacus.queue = {id_: RUNNING}
    assert only(abacus, id_).state == JobState.RUNNING


def test_accounting_knows_how_it_ended(abacus):
    id_ = abacus.submit("true", 1, "a")
    abacus.history = {id_: Report(JobState.TIMEOUT, "TIMEOUT")}
    assert only(abacus, id_).state == JobState.TIMEOUT


def test_accounting_fails_and_the_script_knows(abacus):
    id_ = abacus.submit("true", 1, "a")
    abacus.history = DOWN
    assert only(abacus, id_).state == JobState.PENDING
    LocalShell().write(f"{abacus.resources[id_].path}.ec", "4\n")
    assert (only(abacus, id_).state, only(abacus, id_).exit_code) == (JobState.FAILED, 4)


def test_nobody_knows_how_it_ended(abacus, now):
    id_ = abacus.submit("true", 1, "a")
    LocalShell().write(f"{abacus.resources[id_].path}.ec", "garbage")
    assert pass_by(abacus, now, id_).state == JobState.COMPLETED


def test_its_output_is_named(abacus):
    id_ = abacus.submit("true", 1, "a")
    path = abacus.resources[id_].path
    assert (only(abacus, id_).stdout_path, only(abacus, id_).stderr_path) == (f"{path}.out", f"{path}.err")


def test_output_of_another_machine_is_brought_here(tmp_path):
    there = tmp_path / "there"

    class Elsewhere(Scripted):
        shares_files = False

        def folder(self, here):
            return str(there)

    provider = Abacus(shell=Elsewhere())
    provider.script_dir = str(tmp_path / "here")
    assert provider.shares_files is False
    id_ = provider.submit("true", 1, "a")
    path = provider.resources[id_].path
    assert path.startswith(str(there))
    for ending, text in ((".out", "said"), (".err", "complained"), (".ec", "1\n")):
        LocalShell().write(f"{path}{ending}", text)
    status = only(provider, id_)
    assert (status.state, status.stdout, status.stderr) == (JobState.FAILED, "said", "complained")
    assert status.stdout_path.startswith(str(tmp_path / "here"))


# ------------------------------------------------------------------ cancelling
def test_many_are_cancelled_with_few_commands(abacus):
    ids = [abacus.submit("true", 1, "a") for _ in range(250)]
    assert abacus.cancel(ids) == [True] * 250
    assert [len(chunk) for chunk in abacus.killed] == [100, 100, 50]
    assert {status.state for status in abacus.status(ids)} == {JobState.CANCELLED}
    assert abacus.cancel(ids[:1]) == [True]
    assert len(abacus.killed) == 3


def test_what_is_not_accepted_is_told(abacus):
    id_ = abacus.submit("true", 1, "a")
    abacus.history = DOWN
    assert abacus.cancel([id_, "unknown"]) == [False, False]
    abacus.queue = {id_: RUNNING}
    assert only(abacus, id_).state == JobState.RUNNING


def test_a_job_that_was_absent_and_whose_id_is_somebody_elses_now_is_not_cancelled(abacus):
    id_ = abacus.submit("true", 1, "a")
    only(abacus, id_)
    assert abacus.cancel([id_]) == [True]
    assert abacus.killed == []
    other = abacus.submit("true", 1, "b")
    only(abacus, other)
    abacus.names = {abacus.resources[other].name: other}  # it was a slip of the scheduler
    assert abacus.cancel([other]) == [True]
    assert abacus.killed == [[other]]


# ------------------------------------------------------------------ the rest
def test_tickets(abacus):
    abacus.frame = "f1"
    before = abacus.ticket("", "plait.block-1")
    id_ = abacus.submit("true", 1, "plait.block-1")
    after = abacus.ticket(id_)
    assert after == {"system": "abacus", "job": id_, "name": before["name"], "frame": "f1"}
    assert before["job"] == ""
    found = Abacus()
    assert found.adopt(after) == id_
    assert found.cancel([id_]) == [True]
    assert found.killed == [[id_]]


def test_a_ticket_from_before_the_submission(abacus):
    ticket = abacus.ticket("", "plait.block-1")
    id_ = abacus.adopt(ticket)
    abacus.names = {ticket["name"]: "5"}
    abacus.queue = {"5": RUNNING}
    assert only(abacus, id_).state == JobState.RUNNING


def test_several_at_once_each_with_its_answer(abacus):
    abacus.shell.answers = ["1\n", Finished(("submit",), 1, "", "no"), "3\n"]
    first, second, third = abacus.submit_many([("true", 1, "a"), ("true", 1, "b"), ("true", 1, "c")])
    assert (first, third) == ("1", "3")
    assert isinstance(second, SubmitException)


@pytest.mark.parametrize(
    "wrong",
    [
        {"walltime": "x"},
        {"cmd_timeout": 0},
        {"cmd_timeout": 1e9},
        {"shell": "bash"},
        {"worker_init": 1},
        {"scheduler_options": None},
        {"max_blocks": -1},
        {"parallelism": 2},
    ],
)
def test_what_cannot_work(wrong):
    with pytest.raises(ConfigurationError, match=rf"Abacus\({next(iter(wrong))}="):
        Abacus(**wrong)


def test_a_walltime_that_is_assigned_counts():
    provider = Abacus()
    provider.walltime = "02:00:00"
    assert (provider.walltime, provider.walltime_s) == ("02:00:00", 7200)
    with pytest.raises(ConfigurationError, match=r"Abacus\(walltime='soon'"):
        provider.walltime = "soon"
    assert provider.walltime == "02:00:00"


def test_launchers():
    with pytest.raises(BadLauncher):
        Abacus(launcher="srun")
    assert "launcher=SimpleLauncher(" in repr(Abacus(launcher=SimpleLauncher()))
    assert Abacus().label == "abacus"
    assert Abacus().status_polling_interval == 60
    assert Abacus().route(["a"], 1) == (["a"], 1)
    Abacus().close()
