"""Batch systems in trouble (F56 to F63), each by a scripted fake of its commands: what is not known is not an end, and nothing is submitted twice."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import pytest

import plait
from plait.errors import SubmitException
from plait.launchers import SimpleLauncher
from plait.model.jobs import JobState
from plait.providers import CondorProvider, FluxProvider, LSFProvider, PBSProProvider, TorqueProvider, condor, judge
from plait.providers.tickets import recall
from tests.fakes.fixtures import fake_of  # noqa: F401 - a fixture
from tests.fakes.scheduler import FakeScheduler
from tests.support import wait_until

KINDS = {
    "pbspro": PBSProProvider,
    "torque": TorqueProvider,
    "lsf": LSFProvider,
    "condor": CondorProvider,
    "flux": FluxProvider,
}
LONG = "sleep 600"


@dataclass
class Site:
    """A batch system and a provider for it."""

    fake: FakeScheduler
    provider: plait.providers.ClusterProvider

    def submit(self, command=LONG, name="plait.run12345.x.block-0"):
        return self.provider.submit(command, 1, name)

    def hurry(self):
        """Commands have little time from now on, though many times what one takes on this machine."""
        began_s = time.monotonic()
        self.provider._find(["a-job-that-there-is-not"])
        self.provider.cmd_timeout = max(0.3, 8 * (time.monotonic() - began_s))
        return self.provider.cmd_timeout

    def state(self, job):
        (status,) = self.provider.status([job])
        return status.state

    def until(self, job, *states):
        """Asks whenever something happened in the batch system, and now and then."""

        def there():
            if not self.fake.news():
                return None
            (status,) = self.provider.status([job])
            return status.state in states and status

        self.fake.news()
        (status,) = self.provider.status([job])
        if status.state in states:
            return status
        return wait_until(there, 10, self.fake.jobs)

    def running(self, command=LONG):
        job = self.submit(command)
        self.until(job, JobState.RUNNING)
        return job

    def number(self):
        return self.fake.job()["number"]


@pytest.fixture(params=sorted(KINDS))
def site(request, tmp_path, fake_of):  # noqa: F811
    fake = fake_of(request.param)
    provider = KINDS[request.param](launcher=SimpleLauncher(), max_blocks=10)
    provider.script_dir = str(tmp_path / "jobs")
    return Site(fake, provider)


@pytest.fixture
def impatient(monkeypatch):
    """What is absent is taken for ended at its second absence."""
    monkeypatch.setattr(judge, "ABSENT_S", 0.0)


# ------------------------------------------------------------------ F56, F62: no answer, or none that can be read
def test_a_look_that_fails_changes_nothing(site, monkeypatch):
    job = site.running()
    for trouble in (
        {"do": "fail", "err": "cannot connect to server\n"},
        {"do": "half"},
        {"do": "say", "out": "<html>maintenance</html>\n"},
        {"do": "say", "out": '{"version": 3}\n'},
        {"do": "say", "out": "Job Id:\n"},
        {"do": "say", "out": "\x1b[2J\x00\u2028\ufffd [" * 99},
        {"do": "flood"},
        {"do": "accept and fail", "err": "a plugin of the site failed\n", "code": 139},
    ):
        site.fake.rule("status", **trouble)
        assert site.state(job) == JobState.RUNNING, trouble
        assert site.fake.calls("history") == [], trouble
    short_s = site.hurry()
    site.fake.rule("status", "hang")
    began_s = time.monotonic()
    assert site.state(job) == JobState.RUNNING
    assert time.monotonic() - began_s < short_s + 5
    site.provider.cmd_timeout = 60
    monkeypatch.setattr(judge, "SILENCE_S", 0.0)
    site.fake.rule("status", "fail", err="cannot connect to server\n")
    (status,) = site.provider.status([job])
    assert status.state == JobState.UNKNOWN
    assert "cannot connect to server" in status.message
    assert site.state(job) == JobState.RUNNING


def test_a_system_that_is_down_neither_ends_nor_doubles_jobs(site, impatient):
    job = site.running()
    site.fake.rule("any", "fail", times=-1, err="the daemon does not answer\n")
    lost = site.submit(name="plait.run12345.x.block-1")
    assert lost.startswith("name:")
    assert [status.state for status in site.provider.status([job, lost])] == [JobState.RUNNING, JobState.UNKNOWN]
    assert site.provider.cancel([job]) == [False]
    site.fake.behave()
    assert site.state(job) == JobState.RUNNING
    site.until(lost, JobState.FAILED)
    assert "never had it" in site.provider.status([lost])[0].message
    assert len(site.fake.jobs()) == 1


# ------------------------------------------------------------------ F57: jobs that are forgotten
def test_a_job_that_is_forgotten_ended_as_its_script_says(site):
    job = site.submit("exit 7")
    site.fake.ended(site.number())
    site.fake.set(site.number(), forgotten=True)
    status = site.until(job, JobState.FAILED)
    assert (status.exit_code, status.message) == (7, "its script ended with exit code 7")


def test_a_job_that_is_forgotten_without_a_trace_has_ended_only_in_the_end(site, monkeypatch):
    job = site.running()
    site.fake.kill(site.number())
    site.fake.set(site.number(), forgotten=True)
    assert [site.state(job) for _ in range(3)] == [JobState.RUNNING] * 3
    monkeypatch.setattr(judge, "ABSENT_S", 0.0)
    status = site.until(job, JobState.COMPLETED)
    assert "nothing says how" in status.message


def test_a_job_that_one_answer_lacks_goes_on(site):
    job = site.running()
    site.fake.rule("status", "forget")
    site.fake.rule("history", "forget")
    assert [site.state(job) for _ in range(2)] == [JobState.RUNNING] * 2


def test_one_unknown_job_hides_no_other(site):
    gone = site.running()
    number = site.number()
    there = site.submit(name="plait.run12345.x.block-1")
    site.fake.set(number, forgotten=True)
    site.until(there, JobState.RUNNING)
    assert [status.state for status in site.provider.status([gone, there])] == [JobState.RUNNING] * 2
    assert site.provider.cancel([gone, there]) == [True, True]
    site.until(there, JobState.CANCELLED)


# ------------------------------------------------------------------ F58: submissions
@pytest.mark.parametrize(
    "lie",
    [
        {"do": "accept and fail", "err": "Socket timed out on send/recv operation\n"},
        {"do": "accept and say nothing"},
        {"do": "other", "out": "Welcome to the cluster!\n"},
        {"do": "accept and hang"},
    ],
    ids=lambda lie: lie["do"],
)
def test_a_job_that_was_taken_all_the_same_is_found_and_not_submitted_again(site, lie):
    if lie["do"] == "accept and hang":
        site.hurry()
    site.fake.rule("submit", **lie)
    job = site.submit()
    site.provider.cmd_timeout = 60
    assert len(site.fake.calls("submit")) == 1
    assert not job.startswith("name:")
    site.until(job, JobState.RUNNING)
    assert site.provider.cancel([job]) == [True]
    site.until(job, JobState.CANCELLED)
    assert len(site.fake.jobs()) == 1


def test_a_refusal_says_why(site):
    site.fake.rule("submit", "fail", err="you have too many jobs\n", code=38)
    with pytest.raises(SubmitException, match="you have too many jobs") as info:
        site.submit()
    assert (info.value.retcode, info.value.stderr) == (38, "you have too many jobs\n")
    assert site.fake.jobs() == []
    assert len(site.fake.calls("submit")) == 1


def test_a_line_that_the_system_does_not_know_is_refused_by_it(site):
    site.provider.scheduler_options = {
        "pbspro": "#PBS -Z x",
        "torque": "#PBS -Z x",
        "lsf": "#BSUB -zork x",
        "condor": "zork",
        "flux": "#flux: --zork=x",
    }[site.fake.system]
    with pytest.raises(SubmitException) as info:
        site.submit()
    assert info.value.stderr
    assert site.fake.jobs() == []


def test_a_name_among_the_users_directives_does_not_hide_the_job(site):
    """Jobs are known by their names, so plait's counts."""
    site.provider.scheduler_options = {
        "pbspro": "#PBS -N mine",
        "torque": "#PBS -N mine",
        "lsf": "#BSUB -J mine",
        "condor": "batch_name = mine",
        "flux": "#flux: --job-name=mine",
    }[site.fake.system]
    job = site.submit()
    site.until(job, JobState.RUNNING)
    assert site.provider.cancel([job]) == [True]
    site.until(job, JobState.CANCELLED)
    assert site.fake.running() == []


def test_a_job_of_which_it_is_not_known_whether_it_was_taken_is_found_later(site):
    site.fake.rule("submit", "accept and fail", err="time out\n")
    site.fake.rule("find", "fail", err="time out\n")
    job = site.submit()
    assert job.startswith("name:")
    status = site.until(job, JobState.RUNNING)
    assert not status.terminal
    assert site.provider.cancel([job]) == [True]
    site.until(job, JobState.CANCELLED)


# ------------------------------------------------------------------ F59: numbers are given again
def test_a_job_of_others_with_its_number_is_not_its(site, impatient):
    job = site.running()
    site.fake.give_again(site.number())
    other = KINDS[site.fake.system](launcher=SimpleLauncher())
    other.script_dir = site.provider.script_dir
    assert other.submit("exit 5", 1, "plait.other678.x.block-0") == job
    Site(site.fake, other).until(job, JobState.FAILED)
    assert "nothing says how" in site.until(job, JobState.COMPLETED).message


# ------------------------------------------------------------------ F60: cancelling
def test_jobs_are_cancelled_together_and_those_that_were_not_are_told(site, caplog):
    jobs = [site.submit(name=f"plait.run12345.x.block-{number}") for number in range(3)]
    site.hurry()
    site.fake.rule("cancel", "hang")
    assert site.provider.cancel(jobs) == [False] * 3
    assert all(job in caplog.text for job in jobs)
    site.provider.cmd_timeout = 60
    assert site.provider.cancel(jobs) == [True] * 3
    assert [len(call) for call in site.fake.calls("cancel")] == [len(site.fake.calls("cancel")[0])] * 2
    for job in jobs:
        site.until(job, JobState.CANCELLED)
    assert site.fake.running() == []


def test_a_job_that_waits_is_cancelled_too(site):
    site.fake.queue()
    job = site.submit()
    assert site.state(job) == JobState.PENDING
    assert site.provider.cancel([job]) == [True]
    site.until(job, JobState.CANCELLED)


# ------------------------------------------------------------------ F63: the walltime, and other ends
def test_the_end_of_the_walltime_is_no_failure(site):
    site.provider.walltime = "00:01:00"
    site.provider.walltime_s = 60
    job = site.running()
    site.fake.set(site.number(), used_s=61)
    site.fake.end(site.number(), "walltime")
    assert site.until(job, JobState.TIMEOUT, JobState.FAILED, JobState.COMPLETED).state == JobState.TIMEOUT


def test_what_somebody_cancels_is_cancelled(site):
    job = site.running()
    site.fake.end(site.number(), "administrator")
    assert site.until(job, JobState.CANCELLED, JobState.FAILED, JobState.COMPLETED).state == JobState.CANCELLED


@pytest.mark.parametrize("state", ["held", "suspended"])
def test_a_job_that_is_held_or_suspended_has_not_ended(site, state):
    site.fake.queue()
    job = site.submit()
    number = site.number()
    if state == "suspended":
        site.fake.start(number)
    site.fake.set(number, state=state)
    expected = JobState.RUNNING if (site.fake.system, state) == ("flux", "suspended") else JobState.HELD
    assert site.state(job) == expected
    if state == "held":
        site.fake.set(number, state="queued")
        site.fake.start(number)
    else:
        site.fake.set(number, state="running")
    site.until(job, JobState.RUNNING)


def test_a_state_that_nobody_knows_is_no_end(site):
    job = site.running()
    site.fake.set(site.number(), lie=99 if site.fake.system == "condor" else "Zz")
    (status,) = site.provider.status([job])
    assert status.state == JobState.UNKNOWN
    assert "99" in status.message or "Zz" in status.message
    site.fake.set(site.number(), lie=None)
    assert site.state(job) == JobState.RUNNING


# ------------------------------------------------------------------ asking
def test_folders_may_have_blanks(site, tmp_path):
    site.provider.script_dir = str(tmp_path / "a folder")
    job = site.submit("echo out; echo err >&2; exit 3")
    site.fake.ended(site.number())
    status = site.until(job, JobState.FAILED)
    assert (status.exit_code, status.stdout, status.stderr) == (3, "out\n", "err\n")


def test_one_command_asks_for_all(site):
    jobs = [site.submit(name=f"plait.run12345.x.block-{number}") for number in range(4)]
    before = len(site.fake.calls("status"))
    site.provider.status(jobs)
    assert len(site.fake.calls("status")) == before + 1
    assert len(site.fake.calls("submit")) == 4


def test_another_process_finds_a_job_again_by_its_ticket(site):
    job = site.running()
    ticket = site.provider.ticket(job)
    assert ticket["system"] == site.fake.system
    for entries in (ticket, {**ticket, "job": ""}):  # the second: written before the submission
        provider, id_ = recall(entries)
        assert type(provider) is type(site.provider)
        assert provider.status([id_])[0].state == JobState.RUNNING
    assert provider.cancel([id_]) == [True]
    site.until(job, JobState.CANCELLED)


# ------------------------------------------------------------------ of one system
@pytest.fixture
def only(request, tmp_path, fake_of):  # noqa: F811
    system = request.node.get_closest_marker("parametrize").args[1][0]
    fake = fake_of(system)
    provider = KINDS[system](launcher=SimpleLauncher(), max_blocks=10)
    provider.script_dir = str(tmp_path / "jobs")
    return Site(fake, provider)


@pytest.mark.parametrize("system", ["pbspro"])
def test_a_server_without_history_is_asked_without(only, system, impatient):
    only.fake.rule("status", "fail", err="qstat: PBS is not configured to maintain job history\n")
    job = only.running()
    assert ["-x" in call for call in only.fake.calls("status")][:2] == [True, False]
    only.provider.cancel([job])
    only.until(job, JobState.CANCELLED)


@pytest.mark.parametrize("system", ["lsf"])
def test_lsf_reads_the_script_from_standard_input_when_it_is_told_to(only, system):
    only.provider.bsub_redirection = True
    job = only.submit("exit 3")
    assert only.until(job, JobState.FAILED).exit_code == 3
    assert only.fake.calls("submit") == [["bsub"]]
    assert only.fake.job()["limit_s"] == 600


@pytest.mark.parametrize("system", ["condor"])
def test_condor_asks_in_pieces(only, system):
    only.provider.cmd_chunk_size = 2
    jobs = [only.submit(name=f"plait.run12345.x.block-{number}") for number in range(5)]
    for job in jobs:
        only.until(job, JobState.RUNNING)
    before = len(only.fake.calls("status"))
    assert [status.state for status in only.provider.status(jobs)] == [JobState.RUNNING] * 5
    assert len(only.fake.calls("status")) == before + 3


@pytest.mark.parametrize("system", ["condor"])
def test_condor_forgets_a_job_only_when_its_machine_does_not_answer(only, system, monkeypatch):
    job = only.running()
    only.fake.set(only.number(), stuck=True)
    for _ in range(2):
        assert only.provider.cancel([job]) == [True]
        assert only.state(job) == JobState.UNKNOWN
    assert not any("-forcex" in call for call in only.fake.calls("cancel"))
    monkeypatch.setattr(condor, "_PATIENCE_S", 0.0)
    assert only.provider.cancel([job]) == [True]
    assert only.fake.calls("cancel")[-1] == ["condor_rm", "-forcex", job]
    only.until(job, JobState.CANCELLED)


# ------------------------------------------------------------------ the whole
@pytest.mark.parametrize("system", ["pbspro", "condor", "lsf"])
def test_tasks_run_in_blocks(system, tmp_path, fake_of):  # noqa: F811
    fake = fake_of(system)
    options = {"condor": {"shared_files": False, "python": sys.executable}}.get(system, {})
    if system == "lsf":  # which reports the only submission as failed
        fake.rule("submit", "accept and fail", err="Request timed out\n")
    provider = KINDS[system](worker_init="export PLAIT_CORES=2", **options)
    executor = plait.HighThroughputExecutor(max_workers_per_node=2, provider=provider)

    @plait.python_app
    def square(x):
        import os

        return x * x, os.environ["JOBNAME"]

    with plait.load(plait.Config(executors=[executor], run_dir=str(tmp_path / "runs"))):
        results = [future.result() for future in [square(x) for x in range(20)]]
    assert [value for value, _ in results] == [x * x for x in range(20)]
    assert {name for _, name in results} == {fake.job()["name"]}
    wait_until(lambda: not fake.running(), 10, fake.jobs)
    assert len(fake.calls("submit")) == 1
