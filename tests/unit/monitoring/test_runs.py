from __future__ import annotations

import os
import platform
import time

import pytest

from plait._util import procs
from plait.model import events as ev
from plait.model.task import DEP_FAIL, EXEC_DONE, FAILED, JOINING, LAUNCHED, PENDING, TaskState
from plait.monitoring.journal import Journal
from plait.monitoring.runs import (
    CRASHED,
    ELSEWHERE,
    ENDED,
    LIVE,
    UNREADABLE,
    Run,
    RunNotFound,
    find_run,
    find_runs,
    glance,
    read_run,
    state_of,
)


def started(pid=None, host=None, wall_s=None, space=""):
    return ev.RunStarted(
        100.0,
        time.time() if wall_s is None else wall_s,
        "id",
        1,
        "0.1",
        "3.11",
        host or platform.node(),
        pid or os.getpid(),
        "a.py",
        ["p"],
        space,
    )


def write(folder, *events):
    folder.mkdir(parents=True)
    log = Journal(str(folder))
    for event in events:
        log.write([event])
    log.close()
    return str(folder)


ENDING = ev.RunEnded(110.0, 1.0, "1 done")


def test_finding(tmp_path):
    base = tmp_path / "runinfo"
    for name in ("000", "002", "010", "1000"):
        write(base / name, started())
    (base / "003").mkdir()  # without a journal
    (base / "20260101").mkdir()
    (base / "notes").mkdir()
    assert [os.path.basename(run) for run in find_runs(base)] == ["000", "002", "010", "1000"]
    assert find_run("last", base) == str(base / "1000")
    assert find_run("2", base) == find_run("002", base) == str(base / "002")
    assert find_run(str(base / "010")) == str(base / "010")


@pytest.mark.parametrize(
    ("which", "where", "says"),
    [
        ("last", "nowhere", "does not exist"),
        ("last", "empty", "has no run with a journal"),
        ("9", "runinfo", "has 1, from 000 to 000"),
        ("nonsense", "runinfo", "expected `last`, a number, or a run's folder"),
        ("²", "runinfo", "expected `last`, a number"),
        ("runinfo", "runinfo", "use --run-dir runinfo"),
    ],
)
def test_what_is_not_there_is_said_with_the_next_step(tmp_path, which, where, says):
    write(tmp_path / "runinfo" / "000", started())
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunNotFound, match=says):
        find_run(which, where)


def test_another_users_folders_say_so(tmp_path, monkeypatch):
    (tmp_path / "runinfo").mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(RunNotFound, match="the folder runinfo cannot be read by you"):
        find_run()
    with pytest.raises(RunNotFound, match="you may not read this folder"):
        find_run("./runinfo")


def test_a_run_is_rebuilt(tmp_path):
    path = write(
        tmp_path / "000",
        started(),
        ev.WorkerStarted(100.1, "p", 0, 55),
        ev.TaskSubmitted(101.0, 0, "f"),
        ev.TaskSubmitted(101.1, 1, "g", [0]),
        ev.TaskSubmitted(101.2, 2, "j"),
        ev.TaskSubmitted(101.3, 3, "g", [2]),
        ev.AttemptStarted(101.5, 0, 1, "p", 0),
        ev.AttemptFailed(102.0, 0, 1, True, "killed", 0.0),
        ev.AttemptStarted(102.1, 0, 2, "p", 1),
        ev.TaskEnded(103.0, 0, FAILED, 2, 102.2, 102.9, 1, "ValueError: no", "task 0 (f) failed", "Traceback"),
        ev.TaskEnded(103.1, 1, DEP_FAIL, 0, 0.0, 0.0, -1, "DependencyError: x", "task 1 (g) did not run"),
        ev.TaskJoining(103.2, 2, [3, -1]),
        ev.WorkerEnded(104.0, "p", 0, "killed"),
        ev.Note(105.0, "careful"),
    )
    run = read_run(path)
    task = run.tasks[0]
    assert (task.app, task.state, task.attempt, task.worker, task.executor) == ("f", FAILED, 2, 1, "p")
    assert task.run_s == pytest.approx(0.7)
    assert task.error_class == "ValueError"
    assert [a.reason for a in task.failed_attempts] == ["killed"]
    assert run.tasks[1].depends == [0]
    assert (run.tasks[2].state, run.tasks[2].joins) == (JOINING, [3, -1])
    assert run.tasks[3].state == PENDING
    assert run.workers[0].reason == "killed"
    assert [note.text for note in run.notes] == ["careful"]
    assert run.counts()[TaskState.failed] == 1
    assert run.failures() == {("ValueError", "f"): (1, 0), ("DependencyError", "g"): (1, 1)}
    assert run.last_s == 105.0
    assert run.name == "000"


def test_events_out_of_order_do_not_revive_a_task():
    run = Run("x")
    run.take(
        [
            ev.TaskEnded(103.0, 0, EXEC_DONE, 2, 102.0, 103.0, 0),
            ev.TaskJoining(102.5, 0, [1]),
            ev.AttemptFailed(102.0, 0, 1, False, "late"),
            ev.AttemptStarted(102.1, 0, 2, "p", 0),
            ev.TaskSubmitted(101.0, 0, "f"),
        ]
    )
    task = run.tasks[0]
    assert (task.state, task.app, task.attempt, task.executor) == (EXEC_DONE, "f", 2, "p")


def test_an_old_attempt_does_not_replace_a_newer():
    run = Run("x")
    run.take([ev.AttemptStarted(102.0, 0, 2, "p", 1), ev.AttemptStarted(101.0, 0, 1, "p", 0)])
    assert (run.tasks[0].attempt, run.tasks[0].worker, run.tasks[0].state) == (2, 1, LAUNCHED)


@pytest.mark.parametrize(
    ("start", "end", "state"),
    [
        (started(), ENDING, ENDED),
        (started(), None, LIVE),
        (started(pid=2**22 + 5), None, CRASHED),
        (started(wall_s=1000.0), None, CRASHED),  # the number was used again since
        (started(host="elsewhere"), None, ELSEWHERE),
        (started(space="pid:[1]"), None, ELSEWHERE),  # in a container, whose numbers are its own
        (started(pid=2**22 + 5, space="pid:[1]"), None, ELSEWHERE),
        (started(pid=2**22 + 5, space=procs.number_space()), None, CRASHED),
        (None, None, UNREADABLE),
    ],
)
def test_states(start, end, state):
    assert state_of(start, end) == state


def test_a_live_runs_clock_goes_on_and_others_stand():
    live = Run("x", started=started(wall_s=time.time() - 50))
    live.started = ev.RunStarted(100.0, time.time() - 0.0, "id", 1, "", "", platform.node(), os.getpid(), "", [])
    assert live.now_s() == pytest.approx(100.0, abs=5)
    assert Run("x", started=started(), ended=ENDING, last_s=110.0).now_s() == 110.0


def test_a_glance_sees_both_ends(tmp_path):
    path = write(tmp_path / "000", started(), *[ev.TaskSubmitted(101.0, n, "f") for n in range(50)], ENDING)
    line = glance(path)
    assert (line.state, line.started.name, line.ended.sentence) == (ENDED, "a.py", "1 done")


def test_a_glance_at_a_torn_journal(tmp_path):
    path = write(tmp_path / "000", started(pid=2**22 + 5), ev.TaskSubmitted(101.0, 0, "f"))
    with open(os.path.join(path, "journal.plj"), "ab") as file:
        file.write(b"\x10\x00\x00\x00torn")
    line = glance(path)
    assert (line.state, line.ended) == (CRASHED, None)
    assert list(read_run(path).tasks) == [0]


def test_a_glance_at_a_journal_that_cannot_be_opened(tmp_path):
    (tmp_path / "000" / "journal.plj").mkdir(parents=True)
    line = glance(str(tmp_path / "000"))
    assert (line.state, line.started, line.ended) == (UNREADABLE, None, None)
