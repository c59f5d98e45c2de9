from __future__ import annotations

import json

import pytest

from plait.cli.explain import explain
from plait.model import events as ev
from plait.model.task import EXEC_DONE, FAILED
from plait.monitoring.journal import Journal


@pytest.fixture
def a_run(tmp_path):
    folder = tmp_path / "runinfo" / "000"
    folder.mkdir(parents=True)
    log = Journal(str(folder))
    log.write(
        [
            ev.RunStarted(100.0, 1.7e9, "id", 1, "0.1.0", "3.11", "away", 7, "fit.py", ["p"]),
            ev.TaskSubmitted(101.0, 0, "f"),
            ev.TaskSubmitted(101.0, 1, "g", [0]),
            ev.AttemptStarted(101.5, 0, 1, "p", 2),
            ev.AttemptFailed(102.0, 0, 1, False, "E: first"),
            ev.AttemptStarted(102.5, 0, 2, "p", 2),
            ev.TaskEnded(103.0, 0, EXEC_DONE, 2, 102.5, 103.0, 2),
            ev.TaskEnded(104.0, 1, FAILED, 1, 0, 0, 2, "E: x", "task 1 (g) failed with E: x", "Traceback\n  line"),
            ev.RunEnded(105.0, 1.7e9, "1 done, 1 failed"),
        ]
    )
    log.close()
    return folder.parent


def test_a_task(a_run, capsys):
    assert explain(1, "last", str(a_run), as_json=False) == 0
    assert capsys.readouterr().out == "task 1 (g) failed with E: x\n\nTraceback\n  line\n"


def test_a_task_with_attempts(a_run, capsys):
    assert explain(0, "000", str(a_run), as_json=False) == 0
    out = capsys.readouterr().out
    assert out.startswith("task 0 (f) succeeded at attempt 2 2.0 s after it was submitted")
    assert "  attempt 1 failed: E: first\n" in out


def test_a_task_as_data(a_run, capsys):
    explain(0, "last", str(a_run), as_json=True)
    data = json.loads(capsys.readouterr().out)
    assert (data["task"], data["state"], data["attempt"], data["worker"], data["began"]) == (0, "exec_done", 2, 2, 2.5)
    assert data["failed_attempts"] == [{"attempt": 1, "lost": False, "reason": "E: first", "at": 2.0}]


def test_the_run(a_run, capsys):
    assert explain(None, "last", str(a_run), as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "run 000 (fit.py) ended after 5.0 s: 1 done, 1 failed",
        "  1× E in g(); the first: task 1 (g) failed with E: x",
    ]


def test_the_run_as_data(a_run, capsys):
    explain(None, "last", str(a_run), as_json=True)
    data = json.loads(capsys.readouterr().out)
    assert data["state"] == "ended"
    assert data["seconds"] == 5.0
    assert data["counts"]["failed"] == 1
    assert data["failures"] == [{"error": "E", "app": "g", "count": 1, "first_task": 1}]


def test_no_such_task(a_run, capsys):
    assert explain(9, "last", str(a_run), as_json=False) == 2
    assert "has 2 tasks, up to number 1, but none of number 9" in capsys.readouterr().err
