from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time

import pytest

from plait.errors import TooManyJobFailuresError
from plait.executors.blocks import walltime_of
from plait.executors.jobs_file import read_jobs
from plait.launchers import SimpleLauncher
from plait.model.events import BLOCK_ENDED, BLOCK_UP, BLOCKS_SCALED
from plait.model.jobs import JobState
from plait.providers import LocalProvider
from plait.scaling.policy import Decision
from plait.testing import FakeProvider, Plan
from tests.blocks import Owner
from tests.support import wait_until

ALL_FAIL = [Plan(run_s=0.0, end=JobState.FAILED, exit_code=7, stderr="it cannot work\n")]


@pytest.fixture
def owner():
    """Makes owners whose keepers run, and shuts them down."""
    with contextlib.ExitStack() as stack:

        def make(provider=None, *, start=True, **options):
            made = Owner(provider, **options)
            stack.callback(made.keeper.shutdown, 5.0)
            if isinstance(made.provider, FakeProvider):
                stack.callback(made.provider.go_on)
            if start:
                made.keeper.start()
            return made

        yield make


# ------------------------------------------------------------------ the beginning
def test_the_first_blocks_are_requested_at_once(owner):
    begin = time.monotonic()
    it = owner(FakeProvider(init_blocks=2, max_blocks=2), period_s=1000.0)
    wait_until(lambda: len(it.provider.jobs) == 2)
    assert time.monotonic() - begin < 10.0
    assert it.launched == ["0", "1"]
    assert [job.name for job in it.provider.jobs.values()] == ["plait.x.block-0", "plait.x.block-1"]
    assert [job.command for job in it.provider.jobs.values()] == [f"echo manager of {n}; sleep 600" for n in (0, 1)]
    wait_until(lambda: it.states() == {"0": JobState.RUNNING, "1": JobState.RUNNING})
    assert it.keeper.blocks_to_job_id == {"0": "1000", "1": "1001"}


def test_scripts_go_where_they_are_wanted_and_the_provider_is_left_as_it_was(owner, tmp_path):
    it = owner(script_dir=str(tmp_path / "scripts"))
    assert it.provider.script_dir == str(tmp_path / "scripts")
    wait_until(lambda: it.provider.jobs)
    it.keeper.shutdown(5.0)
    assert it.provider.script_dir is None
    assert os.listdir(tmp_path / "scripts") != []


def test_without_a_place_they_go_to_one_that_is_removed(owner, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    it = owner()
    wait_until(lambda: it.provider.jobs)
    assert len(os.listdir(tmp_path)) == 1
    it.keeper.shutdown(5.0)
    assert os.listdir(tmp_path) == []


def test_a_provider_serves_one_keeper_after_another(owner):
    provider = FakeProvider()
    for _ in range(3):
        it = owner(provider)
        it.running("0")
        it.keeper.shutdown(5.0)
    assert len(provider.jobs) == 3
    assert provider.unfinished() == []


# ------------------------------------------------------------------ more and fewer
def test_blocks_come_with_work_and_go_without(owner):
    it = owner(FakeProvider(init_blocks=0, max_blocks=3), max_idletime_s=0.1)
    assert it.provider.jobs == {}
    it.tasks = 9
    it.keeper.wake()
    wait_until(lambda: len(it.provider.jobs) == 3)
    it.running("0", "1", "2")
    it.tasks = 0
    wait_until(lambda: sorted(block for block, _ in it.drained) == ["0", "1", "2"])
    assert len(it.provider.unfinished()) == 3, "none is cancelled before it is drained"
    for block in ("0", "1", "2"):
        it.keeper.manager_gone(block, "drained", f"m{block}")
    wait_until(lambda: sorted(it.gone) == ["0", "1", "2"])
    assert it.provider.unfinished() == []
    assert set(it.states().values()) == {JobState.SCALED_IN}
    assert [len(event[3]) - len(event[4]) for event in it.of(BLOCKS_SCALED)] == [3, -3]


def test_a_block_is_requested_within_a_moment_of_the_first_task(owner):
    it = owner(FakeProvider(init_blocks=0), period_s=1000.0)
    it.tasks = 1
    it.keeper.wake()
    wait_until(lambda: it.provider.jobs, timeout_s=2.0)


def test_people_may_scale_too(owner):
    it = owner(FakeProvider(max_blocks=3), strategy="none")
    it.running("0")
    assert it.keeper.scale_out(1) == ["1"]
    it.running("1")
    assert it.keeper.scale_out(5) == ["2"]
    wait_until(lambda: it.states().get("2") == JobState.RUNNING)
    it.idle = {"1": 100.0}
    assert it.keeper.scale_in(2, max_idletime_s=50.0) == ["2", "1"]
    assert it.keeper.scale_in("0") == ["0"]
    it.keeper.manager_gone("0", "drained", "m0")
    it.keeper.manager_gone("1", "drained", "m1")
    wait_until(lambda: len(it.gone) == 3)


@pytest.mark.parametrize("blocks", [-1, 1.5, None, True])
def test_what_is_no_number_of_blocks_is_named(owner, blocks):
    it = owner(FakeProvider(max_blocks=3), strategy="none")
    for scale in (it.keeper.scale_out, it.keeper.scale_in):
        with pytest.raises(ValueError, match=rf"{scale.__name__}\(blocks={blocks}\): expected a whole number"):
            scale(blocks)


def test_a_block_that_is_not_drained_in_time_is_cancelled(owner):
    it = owner(strategy="none", drain_timeout_s=0.1)
    it.running("0")
    it.keeper.scale_in(1)
    wait_until(lambda: it.provider.unfinished() == [])
    it.keeper.manager_gone("0", "lost", "m0")
    wait_until(lambda: it.gone == ["0"])
    assert "not drained in time" in it.keeper.status()["0"].message


def test_another_strategy_may_take_over(owner):
    it = owner(FakeProvider(init_blocks=0, max_blocks=3), strategy="none", period_s=1000.0)
    it.tasks = 9
    it.keeper.wake()
    it.keeper.scale_as("simple", 0.1, 0.05)
    wait_until(lambda: len(it.provider.jobs) == 3)
    it.tasks = 0
    wait_until(lambda: it.provider.unfinished() == [])


def test_a_policy_of_ones_own(owner):
    class Two:
        def decide(self, view):
            return Decision(add=2 - len(view.active), why="two are nice")

    it = owner(FakeProvider(init_blocks=0, max_blocks=9), strategy=Two())
    wait_until(lambda: len(it.provider.jobs) == 2)
    assert it.of(BLOCKS_SCALED)[0][5] == "two are nice"


def test_a_policy_that_asks_for_too_many_gets_as_many_as_there_may_be(owner):
    class Greedy:
        def decide(self, view):
            return Decision(add=1000, why="more")

    it = owner(FakeProvider(init_blocks=1, max_blocks=4), strategy=Greedy())
    wait_until(lambda: len(it.of(BLOCKS_SCALED)) == 2)
    wait_until(lambda: len(it.provider.jobs) == 4)
    assert it.provider.most_at_once == 4


def test_a_policy_that_raises_ends_the_scaling_and_not_the_blocks_of_others(owner, caplog):
    class Broken:
        def decide(self, view):
            raise ZeroDivisionError("in the policy")

    it = owner(strategy=Broken())
    wait_until(lambda: it.broken)
    assert isinstance(it.broken[0], ZeroDivisionError)
    wait_until(lambda: it.provider.unfinished() == [])


def test_a_policy_that_calls_sys_exit_ends_the_scaling_too(owner):
    class Leaves:
        def decide(self, view):
            sys.exit("enough")

    it = owner(strategy=Leaves())
    (error,) = wait_until(lambda: it.broken)
    assert str(error) == "Executor x failed due to: its strategy called sys.exit(enough)"
    wait_until(lambda: it.provider.unfinished() == [])


def test_a_provider_that_calls_sys_exit_has_failed_blocks(owner, monkeypatch):
    it = owner(start=False)
    monkeypatch.setattr(it.provider, "submit", lambda *_: sys.exit("bad usage"))
    it.keeper.start()
    (error,) = wait_until(lambda: it.broken)
    assert "could not be begun: SystemExit: bad usage" in str(error)


def test_a_policy_whose_error_says_nothing_ends_the_scaling_too(owner):
    class Broken:
        def decide(self, view):
            raise AssertionError

    it = owner(strategy=Broken())
    (error,) = wait_until(lambda: it.broken)
    assert isinstance(error, AssertionError)
    wait_until(lambda: it.provider.unfinished() == [])
    assert it.keeper.explain().endswith("the executor is shut down")


# ------------------------------------------------------------------ names, and what is written down
def test_jobs_have_the_runs_name_and_are_written_down(owner, tmp_path):
    it = owner(FakeProvider(init_blocks=2, max_blocks=2), run_id="0123abcd-4567-89ef", folder=str(tmp_path))
    wait_until(lambda: len(it.provider.jobs) == 2)
    names = [f"plait.0123abcd.x.block-{n}" for n in (0, 1)]
    assert [job.name for job in it.provider.jobs.values()] == names
    it.keeper.shutdown(5.0)
    records = read_jobs(str(tmp_path / "jobs.jsonl"))
    assert [(record.name, record.job, record.run_id) for record in records] == [
        (name, job, "0123abcd-4567-89ef") for name, job in zip(names, ("1000", "1001"), strict=True)
    ]
    assert {record.state for record in records} == {"SCALED_IN"}
    assert all(record.ended_s for record in records)


@pytest.mark.parametrize(
    ("attributes", "seconds"),
    [
        ({}, None),
        ({"walltime": "00:10:00"}, 600.0),
        ({"walltime": "1h30m"}, 5400.0),
        ({"walltime": "soon"}, None),
        ({"walltime_s": 60.0, "walltime": "00:10:00"}, 60.0),
        ({"walltime": 0}, None),
    ],
)
def test_how_long_blocks_last(attributes, seconds):
    provider = FakeProvider()
    for name, value in attributes.items():
        setattr(provider, name, value)
    assert walltime_of(provider) == seconds


# ------------------------------------------------------------------ providers that take their time
def test_a_slow_submission_delays_nobody_where_the_provider_takes_calls_from_two_threads(owner):
    provider = FakeProvider(init_blocks=2, max_blocks=3)
    provider.concurrent = True
    it = owner(provider, strategy="none")
    it.running("0", "1")
    provider.stall("submit")
    it.keeper.scale_out(1)
    wait_until(lambda: it.launched == ["0", "1", "2"])
    provider.end("block-0", JobState.FAILED, 1)
    it.lost("0")
    wait_until(lambda: "0" in it.gone)
    it.keeper.scale_in(["1"])
    it.lost("1", "drained")
    wait_until(lambda: "1" in it.gone)
    assert "is being requested" in it.keeper.explain()
    provider.go_on()
    wait_until(lambda: it.states().get("2") == JobState.RUNNING)


def test_a_submission_that_is_too_late_is_cancelled(owner, caplog):
    provider = FakeProvider()
    provider.concurrent = True
    provider.stall("submit")
    it = owner(provider)
    wait_until(lambda: it.launched)
    it.keeper.shutdown(0.2)
    assert "one that is being begun as plait.x.block-0 (block 0)" in caplog.text
    provider.go_on()
    wait_until(lambda: provider.jobs)
    wait_until(lambda: provider.unfinished() == [])


def test_many_jobs_are_cancelled_in_batches_and_what_is_left_is_listed(owner, caplog, monkeypatch):
    """F60: a batch system that takes its time for each job."""
    monkeypatch.setattr("plait.executors.blocks._CANCEL_TOGETHER", 10)
    provider = FakeProvider(init_blocks=35, max_blocks=35)
    it = owner(provider, strategy="none")
    wait_until(lambda: it.count(JobState.RUNNING) == 35)
    cancel, calls = provider.cancel, []

    def slow(job_ids):
        calls.append(len(job_ids))
        answers = cancel(job_ids)
        if len(calls) == 2:
            it.keeper._deadline_s = time.monotonic()  # the time is over
        return answers

    monkeypatch.setattr(provider, "cancel", slow)
    it.keeper.shutdown(5.0)
    assert calls == [10, 10]
    assert len(provider.unfinished()) == 15
    (text,) = (record.message for record in caplog.records if "may be left" in record.message)
    assert text.count("(block ") == 15
    assert "`plait blocks --cancel`" in text


def test_requests_that_come_together_are_submitted_together(owner):
    class Together(FakeProvider):
        def submit_many(self, requests):
            batches.append(len(requests))
            return super().submit_many(requests)

    batches = []
    it = owner(Together(init_blocks=5, max_blocks=5))
    wait_until(lambda: it.count(JobState.RUNNING) == 5)
    assert sum(batches) >= 4
    assert len(batches) <= 2


# ------------------------------------------------------------------ asking how jobs are
def test_all_jobs_are_asked_about_in_one_call_and_not_too_often(owner):
    it = owner(FakeProvider(init_blocks=3, max_blocks=3, poll_s=0.05))
    begin = time.monotonic()
    it.running("0", "1", "2")
    wait_until(lambda: time.monotonic() - begin > 0.5)
    polls = it.provider.called("status")
    assert len(polls[-1]) == 3
    assert len(polls) <= (time.monotonic() - begin) / 0.05 + 5


def test_when_a_manager_is_lost_the_provider_is_asked_before_its_time(owner):
    it = owner(FakeProvider(poll_s=5.0))
    wait_until(lambda: it.provider.called("status"))
    it.keeper.manager_up("0", 4, "m0")
    it.provider.end("block-0", JobState.FAILED, 1)
    it.keeper.manager_gone("0", "lost", "m0")
    wait_until(lambda: it.gone == ["0"], timeout_s=3.0)


@pytest.mark.parametrize("answer", [TimeoutError("squeue: timed out"), SystemExit(2), ["too", "many"], None, [None]])
def test_answers_that_are_none_leave_everything_as_it_is(owner, answer, monkeypatch):
    it = owner()
    it.running("0")
    asked = []

    def status(jobs):
        asked.append(jobs)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    truth = it.provider.status
    monkeypatch.setattr(it.provider, "status", status)
    wait_until(lambda: len(asked) > 4)
    assert it.states() == {"0": JobState.RUNNING}
    assert it.broken == []
    monkeypatch.setattr(it.provider, "status", truth)
    it.provider.end("block-0")
    it.keeper.manager_gone("0", "left", "m0")
    wait_until(lambda: it.gone == ["0"])


class Numbered(FakeProvider):
    """Names its jobs by numbers, as plug-ins of other libraries may."""

    def submit(self, command, tasks_per_node, job_name="x"):
        return int(super().submit(command, tasks_per_node, job_name))

    def status(self, job_ids):
        assert all(isinstance(job, int) for job in job_ids)
        return super().status([str(job) for job in job_ids])

    def cancel(self, job_ids):
        assert all(isinstance(job, int) for job in job_ids)
        return super().cancel([str(job) for job in job_ids])


def test_a_provider_gets_its_own_names_of_jobs(owner):
    it = owner(Numbered())
    wait_until(lambda: it.states().get("0") == JobState.RUNNING)
    assert it.keeper.blocks_to_job_id == {"0": "1000"}
    it.keeper.shutdown(5.0)
    assert it.provider.unfinished() == []


def test_people_are_told_once_when_it_lasts(owner, caplog):
    it = owner()
    it.running("0")
    it.provider.be_silent(times=6)
    wait_until(lambda: not it.provider._silent)
    assert len([r for r in caplog.records if "has not said for a while" in r.message]) == 1


# ------------------------------------------------------------------ failures
def test_a_block_that_fails_stops_the_scaling_with_what_it_said(owner):
    it = owner(FakeProvider(plans=ALL_FAIL), tasks=5)
    (error,) = wait_until(lambda: it.broken)
    assert isinstance(error, TooManyJobFailuresError)
    assert "Block 0: FAILED, exit code 7" in str(error)
    assert "    it cannot work" in str(error)
    assert it.gone == ["0"]
    assert "requests no more blocks: TooManyJobFailuresError: 1 block failed" in it.keeper.explain()


def test_a_command_that_cannot_be_made_is_a_failed_block(owner):
    def launch(block):
        raise OSError("disk full")

    it = owner(launch=launch)
    (error,) = wait_until(lambda: it.broken)
    assert "could not be begun: OSError: disk full" in str(error)
    assert it.provider.jobs == {}


def test_a_provider_that_says_nothing_has_begun_nothing(owner):
    provider = FakeProvider()
    provider.say_nothing()
    it = owner(provider)
    (error,) = wait_until(lambda: it.broken)
    assert "the provider fake did not say why it begins no job" in str(error)


def test_with_false_failed_blocks_are_replaced(owner, monkeypatch):
    monkeypatch.setattr("plait.scaling.throttle.BACKOFF_S", (0.01, 0.02))
    it = owner(FakeProvider(plans=[*ALL_FAIL * 5, Plan()]), error_handler=False, tasks=1)
    it.running("5")
    assert it.broken == []
    assert [event[5] for event in it.of(BLOCK_ENDED)] == [JobState.FAILED] * 5


def test_a_handler_of_ones_own_sees_all_blocks_and_the_executor(owner):
    calls = []

    def handler(executor, statuses):
        calls.append((executor, statuses))
        return ValueError("enough") if len(statuses) > 2 else None

    it = owner(FakeProvider(init_blocks=3, max_blocks=3), error_handler=handler, owner="me")
    (error,) = wait_until(lambda: it.broken)
    assert str(error) == "enough"
    assert {executor for executor, _ in calls} == {"me"}
    assert sorted(calls[-1][1]) == ["0", "1", "2"]


def test_a_handler_may_give_the_executor_up_itself(owner):
    def handler(executor, statuses):
        executor.set_bad_state_and_fail_all(ValueError("first"))
        executor.set_bad_state_and_fail_all(ValueError("second"))

    it = owner(error_handler=handler)
    wait_until(lambda: it.broken)
    it.keeper.shutdown(5.0)
    assert [str(error) for error in it.broken] == ["first"], "and it is not asked again"


def test_an_error_without_a_text_gives_it_up_likewise(owner):
    it = owner(error_handler=lambda executor, statuses: RuntimeError() if statuses else None)
    (error,) = wait_until(lambda: it.broken)
    assert isinstance(error, RuntimeError)
    assert it.keeper.explain().endswith("requests no more blocks: RuntimeError")


def test_a_handler_that_raises_is_noted_and_blocks_go_on(owner, caplog):
    def handler(executor, statuses):
        raise ZeroDivisionError

    it = owner(error_handler=handler)
    it.running("0")
    wait_until(lambda: "block_error_handler raised" in caplog.text)
    assert it.broken == []


def test_an_executor_that_cannot_take_note_stops_nothing(owner, caplog):
    it = owner(FakeProvider(init_blocks=2, max_blocks=2), strategy="none")
    it.keeper._gone = lambda block: 1 / 0
    it.running("0", "1")
    it.provider.end("block-0")
    it.keeper.manager_gone("0", "left", "m0")
    wait_until(lambda: "could not take note of block 0" in caplog.text)
    assert it.states()["1"] == JobState.RUNNING
    assert it.broken == []


def test_a_block_whose_manager_does_not_come_fails_with_the_reason(owner):
    it = owner(FakeProvider(plans=[Plan(stderr="waiting for a licence\n")]), start_timeout_s=0.1)
    (error,) = wait_until(lambda: it.broken)
    assert "has run for 100 ms and no manager has connected" in str(error)
    assert "    waiting for a licence" in str(error)
    assert it.provider.unfinished() == []


# ------------------------------------------------------------------ the end
def test_the_end_cancels_everything_and_does_not_wait_for_managers(owner):
    it = owner(FakeProvider(init_blocks=3, max_blocks=3, plans=[Plan(), Plan(queue_s=None), Plan()]))
    it.running("0")
    wait_until(lambda: len(it.provider.jobs) == 3)
    begin = time.monotonic()
    it.keeper.shutdown(10.0)
    assert time.monotonic() - begin < 5.0
    assert it.provider.unfinished() == []
    assert it.provider.called("cancel") == [["1000", "1001", "1002"]]
    assert set(it.states().values()) == {JobState.SCALED_IN}
    assert sorted(it.gone) == ["0", "1", "2"]
    it.keeper.shutdown(5.0)


def test_before_the_beginning_there_is_nothing_to_end(owner):
    it = owner(start=False)
    it.keeper.shutdown(5.0)
    assert it.provider.calls == []


def test_a_job_that_is_just_being_begun_is_ended_too(owner):
    provider = FakeProvider()
    provider.stall("submit")
    it = owner(provider)
    wait_until(lambda: it.launched)
    ending = threading.Thread(target=it.keeper.shutdown, args=(10.0,))
    ending.start()
    wait_until(lambda: it.keeper._stopping)
    provider.go_on()
    ending.join()
    assert len(provider.jobs) == 1
    assert provider.unfinished() == []


def test_requests_that_were_not_begun_are_not_begun_then(owner):
    provider = FakeProvider(init_blocks=5, max_blocks=5)
    provider.stall("submit")
    it = owner(provider)
    wait_until(lambda: it.launched)
    threading.Timer(0.05, provider.go_on).start()
    it.keeper.shutdown(10.0)
    assert len(provider.jobs) == 1
    assert sorted(it.gone) == ["0", "1", "2", "3", "4"]


def test_cancelling_that_is_not_accepted_is_tried_again(owner):
    it = owner()
    it.running("0")
    it.provider.be_deaf(times=2)
    it.keeper.shutdown(5.0)
    assert it.provider.unfinished() == []
    assert len(it.provider.called("cancel")) == 3


def test_what_is_left_is_listed(owner, caplog):
    it = owner()
    it.running("0")
    it.provider.be_deaf(times=1000)
    begin = time.monotonic()
    it.keeper.shutdown(0.5)
    assert time.monotonic() - begin < 2.0
    assert (
        "these jobs of provider fake may be left, because the provider did not accept their cancelling: 1000 (block 0)"
        in caplog.text
    )


def test_a_provider_that_hangs_does_not_hang_the_end(owner, caplog):
    it = owner()
    it.running("0")
    it.provider.stall("status")
    polls = len(it.provider.called("status"))
    del polls
    begin = time.monotonic()
    it.keeper.shutdown(0.3)
    assert time.monotonic() - begin < 2.0
    if it.keeper._thread is not None:  # it was just asking
        assert "because the provider has not answered: 1000 (block 0)" in caplog.text


def test_a_provider_that_answers_too_late_leaves_nothing_either(owner, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    it = owner()
    it.running("0")
    it.provider.stall("cancel")
    it.keeper.shutdown(0.1)
    assert len(os.listdir(tmp_path)) == 1
    it.provider.go_on()
    wait_until(lambda: os.listdir(tmp_path) == [])
    assert it.provider.script_dir is None
    assert it.provider.unfinished() == []


def test_a_shutdown_that_a_signal_interrupts_goes_on_when_it_is_called_again(owner, caplog):
    """Interrupted, Thread.join takes a thread that runs for one that has ended: the jobs would be left."""
    it = owner()
    it.running("0")
    it.provider.stall("cancel")
    main = threading.main_thread().ident

    def interrupt():
        wait_until(lambda: it.keeper._stopping)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        it.keeper.shutdown(10.0)
    thread.join()
    it.keeper.shutdown(0.1)
    assert "because the provider has not answered: 1000 (block 0)" in caplog.text
    it.provider.go_on()
    it.keeper.shutdown(5.0)
    assert it.provider.unfinished() == []


# ------------------------------------------------------------------ really
@pytest.fixture
def local(tmp_path):
    provider = LocalProvider(launcher=SimpleLauncher())
    provider.script_dir = str(tmp_path)
    return provider


def test_a_local_block_comes_and_goes_at_once(owner, local, tmp_path):
    begin = time.monotonic()
    it = owner(local, launch=lambda block: f"touch {tmp_path}/up; sleep 600", period_s=1000.0)
    wait_until((tmp_path / "up").exists)
    assert time.monotonic() - begin < 10.0
    it.keeper.manager_up("0", 2, "m0")
    wait_until(lambda: it.of(BLOCK_UP))
    begin = time.monotonic()
    it.keeper.shutdown(10.0)
    assert time.monotonic() - begin < 5.0


def test_a_local_block_that_ends_is_noticed_at_once(owner, local, tmp_path):
    it = owner(
        local,
        launch=lambda block: f"while ! test -e {tmp_path}/go; do read -t 0.01 <> <(:); done; exit 0",
        period_s=1000.0,
    )
    wait_until(lambda: it.states().get("0") == JobState.RUNNING)
    it.keeper.manager_up("0", 2, "m0")
    (tmp_path / "go").touch()
    begin = time.monotonic()
    wait_until(lambda: it.states()["0"] == JobState.COMPLETED)
    assert time.monotonic() - begin < 10.0


def test_a_local_block_that_cannot_start_says_why(owner, local):
    it = owner(local, launch=lambda block: "no_such_python -m plait")
    (error,) = wait_until(lambda: it.broken)
    assert "exit code 127" in str(error)
    assert "no_such_python" in str(error)


def test_it_is_quiet_when_nothing_happens(owner, caplog):
    caplog.set_level(logging.WARNING)
    it = owner(FakeProvider(init_blocks=1, max_blocks=4))
    it.running("0")
    turns = []
    turn = it.keeper._turn
    it.keeper._turn = lambda: (turns.append(1), turn())
    begin = time.monotonic()
    wait_until(lambda: time.monotonic() - begin > 0.5)
    assert len(turns) < 0.5 / 0.01 * 2
    assert caplog.records == []
