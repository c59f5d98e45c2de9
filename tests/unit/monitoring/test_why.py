from __future__ import annotations

import os
import platform
import time

import pytest

from plait.model import events as ev
from plait.model.task import CANCELLED, DEP_FAIL, EXEC_DONE, FAILED, MEMO_DONE
from plait.monitoring.runs import Run
from plait.monitoring.why import explain_run, explain_task, headline


def run_of(*events, pid=None, host=None, ended=False):
    """A live run that began 100 s ago, unless something else is said."""
    run = Run("runinfo/007")
    begin = ev.RunStarted(
        0.0, time.time() - 100, "id", 1, "0.1", "3.11", host or platform.node(), pid or os.getpid(), "fit.py", ["p"]
    )
    # this test's process must not seem younger than the run
    run.take([begin, *events])
    if ended:
        run.take([ev.RunEnded(90.0, time.time(), "2 done")])
    return run


@pytest.fixture(autouse=True)
def _alive(monkeypatch):
    """The process of this test stands for the run's, whenever it was started."""
    monkeypatch.setattr("plait.monitoring.runs._is_its_process", lambda started: started.pid == os.getpid())


def said(run, number):
    return explain_task(run, run.tasks[number])


def test_succeeded():
    run = run_of(
        ev.TaskSubmitted(1.0, 0, "f"),
        ev.AttemptStarted(2.0, 0, 2, "p", 3),
        ev.TaskEnded(5.0, 0, EXEC_DONE, 2, 2.5, 4.0, 3),
    )
    assert (
        said(run, 0)
        == "task 0 (f) succeeded at attempt 2 4.0 s after it was submitted; it ran for 1.5 s on worker 3 of executor 'p'"
    )


@pytest.mark.parametrize(
    ("ending", "sentence"),
    [
        (
            ev.TaskEnded(5.0, 0, FAILED, 1, 0, 0, 0, "E: x", "task 0 (f) failed with E: x"),
            "task 0 (f) failed with E: x",
        ),
        (ev.TaskEnded(5.0, 0, FAILED, 1, 0, 0, 0, "E: x"), "task 0 (f) failed with E: x"),
        (
            ev.TaskEnded(5.0, 0, DEP_FAIL, 0, 0, 0, -1, "D: x", "task 0 (f) did not run because"),
            "task 0 (f) did not run because",
        ),
        (ev.TaskEnded(5.0, 0, CANCELLED, 0, 0, 0, -1), "task 0 (f) was cancelled"),
        (
            ev.TaskEnded(5.0, 0, MEMO_DONE, 0, 0, 0, -1),
            "task 0 (f) was not run: an equal call gave its result earlier in this run",
        ),
    ],
)
def test_ended(ending, sentence):
    assert said(run_of(ev.TaskSubmitted(1.0, 0, "f"), ending), 0) == sentence


def test_runs_and_waits_behind_one_that_runs():
    run = run_of(
        ev.TaskSubmitted(1.0, 0, "f"),
        ev.TaskSubmitted(1.0, 1, "f"),
        ev.AttemptStarted(40.0, 0, 1, "p", 0),
        ev.AttemptStarted(40.0, 1, 1, "p", 0),
    )
    assert said(run, 0) == "task 0 (f) has been running for 1m00s on worker 0 of executor 'p'"
    assert said(run, 1).startswith("task 1 (f) waits behind task 0 (f) on worker 0 of executor 'p'")


def test_is_with_a_manager_that_chooses_the_worker():
    run = run_of(
        ev.TaskSubmitted(1.0, 0, "f"),
        ev.ManagerStarted(2.0, "htex", "m1", "0", "node7", 42, 32),
        ev.AttemptStarted(40.0, 0, 2, "htex", -1, "m1"),
    )
    assert (
        said(run, 0) == "task 0 (f) has been with manager m1 on node7 (block 0 of executor 'htex') for 1m00s, attempt 2"
    )
    run = run_of(ev.TaskSubmitted(1.0, 0, "f"), ev.AttemptStarted(40.0, 0, 1, "htex", -1, "m1"))
    assert said(run, 0) == "task 0 (f) has been with manager m1 of executor 'htex' for 1m00s"


def test_waits_for_tasks():
    run = run_of(*[ev.TaskSubmitted(1.0, n, "f") for n in range(7)], ev.TaskSubmitted(2.0, 7, "g", list(range(7))))
    assert said(run, 7) == (
        "task 7 (g) waits for task 0 (f), which is pending, task 1 (f), which is pending, task 2 (f), which is pending, "
        "task 3 (f), which is pending, task 4 (f), which is pending and 2 more"
    )


def test_waits_for_what_it_joined():
    run = run_of(ev.TaskSubmitted(1.0, 0, "j"), ev.TaskSubmitted(1.0, 1, "f"), ev.TaskJoining(2.0, 0, [1, -1]))
    assert (
        said(run, 0)
        == "task 0 (j) ran, and waits for what it returned: task 1 (f), which is pending and 1 future of other origin"
    )


def test_waits_before_the_next_attempt():
    run = run_of(
        ev.TaskSubmitted(1.0, 0, "f"),
        ev.AttemptStarted(2.0, 0, 1, "p", 0),
        ev.AttemptFailed(90.0, 0, 1, False, "E: x", 600.0),
    )
    assert said(run, 0) == "task 0 (f) waits 9m50s before attempt 2; before that, attempt 1 failed: E: x"


def test_waits_for_a_worker():
    assert "waits for a free worker, or" in said(run_of(ev.TaskSubmitted(1.0, 0, "f")), 0)
    asking = ev.TaskSubmitted(1.0, 0, "f", [], "2 cores, 1 GPU")
    assert "waits for a free worker and the 2 cores, 1 GPU that it asks for, or" in said(run_of(asking), 0)


@pytest.mark.parametrize(
    ("how", "words"),
    [({"pid": 999_999_999}, "ended without cleaning up"), ({"host": "away"}, "the run is on host away")],
)
def test_says_that_the_run_is_not_alive(how, words):
    assert words in said(run_of(ev.TaskSubmitted(1.0, 0, "f"), **how), 0)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({}, "run 007 (fit.py) has been running for 1m40s: 0 done, 1 to go"),
        ({"ended": True}, "run 007 (fit.py) ended after 1m30s: 2 done"),
        (
            {"host": "away"},
            f"run 007 (fit.py) is on another host or in another container (process {os.getpid()} on away), so whether it still lives cannot be seen",
        ),
        ({"pid": 999_999_999}, "run 007 (fit.py) crashed: its process (process 999999999 on "),
    ],
)
def test_headlines(how, text):
    assert headline(run_of(ev.TaskSubmitted(1.0, 0, "f"), **how)).startswith(text)


def test_a_run_names_the_root_of_the_waiting():
    chain = [ev.TaskSubmitted(1.0, 0, "slow"), *[ev.TaskSubmitted(1.0, n, "g", [n - 1]) for n in range(1, 2000)]]
    run = run_of(*chain, ev.AttemptStarted(40.0, 0, 1, "p", 0))
    busy, stuck = explain_run(run)
    assert busy.startswith(
        "1 task of slow() is in the hands of workers or queued for them; the oldest, task 0 (slow), for 1m00s"
    )
    assert (
        stuck
        == "1999 tasks wait for task 0 (slow): task 0 (slow) has been running for 1m00s on worker 0 of executor 'p'"
    )


def test_a_circle_in_a_damaged_journal_ends():
    run = run_of(ev.TaskSubmitted(1.0, 0, "f", [1]), ev.TaskSubmitted(1.0, 1, "f", [0]))
    assert explain_run(run)


def test_failures_are_grouped_and_those_that_follow_come_last():
    run = run_of(
        *[ev.TaskSubmitted(1.0, n, "f") for n in range(5)],
        *[ev.TaskEnded(5.0, n, DEP_FAIL, 0, 0, 0, -1, "DependencyError: x", "w") for n in range(3)],
        *[ev.TaskEnded(5.0, n, FAILED, 1, 0, 0, 0, "ValueError: x", f"task {n} (f) failed") for n in (3, 4)],
        ev.Note(6.0, "workers could not start"),
    )
    first, second, note = explain_run(run)
    assert first == "2× ValueError in f(); the first: task 3 (f) failed"
    assert second.startswith("3× DependencyError")
    assert note == "note: workers could not start"


def test_a_journal_without_its_beginning_is_no_proof_of_a_crash():
    run = Run("runinfo/007")
    run.take([ev.TaskSubmitted(1.0, 0, "f")])
    assert headline(run).startswith("run 007 has a journal whose beginning cannot be read")
    assert said(run, 0).endswith(", as far as can be read of the journal")
