from __future__ import annotations

import json
import os
import platform
import time

import pytest

from plait.cli.blocks import blocks
from plait.model import events as ev
from plait.model.jobs import JobState
from plait.monitoring.journal import Journal
from plait.monitoring.runs import RunNotFound
from plait.testing import Plan
from tests.unit.cli.test_lost_jobs import leave, systems  # noqa: F401 - a fixture

DEAD = 2**22 + 1  # no process has this number


def run(folder, *events, pid=DEAD, ended=False, host=None):
    """A run's folder with a journal."""
    folder.mkdir(parents=True)
    log = Journal(str(folder))
    ago_s = 100 if pid == DEAD else 0  # this process is not older than a run of its own
    began = ev.RunStarted(
        time.monotonic() - ago_s, time.time() - ago_s, "0123abcd-45", 1, "0.1.0", "3.11", host or platform.node(), pid, "fit.py", ["x"]
    )  # fmt: skip
    log.write([began, *events, *([ev.RunEnded(time.monotonic(), time.time(), "5 done")] if ended else [])])
    log.close()
    return folder


def answer(capsys, *what, **how):
    code = blocks(*what, **{"cancel": False, "as_json": True, **how})
    return json.loads(capsys.readouterr().out), code


def test_blocks_of_a_live_driver_as_its_journal_has_them(tmp_path, systems, capsys):  # noqa: F811
    provider = systems()
    began_s = time.monotonic() - 60
    run(
        tmp_path / "000",
        ev.BlockRequested(began_s, "x", "0"),
        ev.BlockStatus(began_s, "x", "0", "1000", int(JobState.RUNNING), "on node7"),
        ev.ManagerStarted(began_s, "x", "m", "0", "node7", 1, 4),
        ev.BlockRequested(began_s, "x", "1"),
        ev.BlockEnded(began_s + 1, "x", "1", "1001", int(JobState.FAILED), "no such queue", 1),
        pid=os.getpid(),
    )
    leave(tmp_path / "000", provider)
    (row,), code = answer(capsys, None, str(tmp_path))
    assert code == 0
    assert (row["driver"], row["job"], row["state"], row["nodes"], row["why"]) == (
        "live",
        "1000",
        "RUNNING",
        ["node7"],
        "on node7",
    )
    assert 59 < row["age_s"] < 70
    assert provider.called("status") == [], "its driver asks; nobody else needs to"
    rows, _ = answer(capsys, "last", str(tmp_path))
    assert [(row["block"], row["state"], row["why"]) for row in rows][1] == ("1", "FAILED", "no such queue")


def test_blocks_of_a_dead_driver_as_the_batch_system_has_them(tmp_path, systems, capsys):  # noqa: F811
    provider = systems(plans=[Plan(), Plan(queue_s=None)])
    leave(run(tmp_path / "000"), provider, 2)
    rows, code = answer(capsys, None, str(tmp_path))
    assert code == 0
    assert [(row["driver"], row["job"], row["state"]) for row in rows] == [
        ("crashed", "1000", "RUNNING"),
        ("crashed", "1001", "PENDING"),
    ]
    assert [row["name"] for row in rows] == ["plait.0123abcd.x.block-0", "plait.0123abcd.x.block-1"]
    blocks(None, str(tmp_path), cancel=False, as_json=False)
    head, first, _ = capsys.readouterr().out.splitlines()
    assert head.split() == ["RUN", "EXECUTOR", "BLOCK", "JOB", "STATE", "NODES", "AGE", "WHY"]
    assert first.split()[:5] == ["000", "x", "0", "1000", "RUNNING"]
    assert first.endswith("its driver is dead.")
    assert len(provider.unfinished()) == 2


def test_they_are_cancelled_when_somebody_says_so(tmp_path, systems, capsys):  # noqa: F811
    provider = systems()
    leave(run(tmp_path / "000"), provider, 2)
    rows, code = answer(capsys, None, str(tmp_path), cancel=True)
    assert code == 0
    assert [row["cancelled"] for row in rows] == [True, True]
    assert provider.unfinished() == []
    assert answer(capsys, None, str(tmp_path)) == ([], 0)


def test_what_is_not_accepted_is_said(tmp_path, systems, capsys):  # noqa: F811
    provider = systems()
    provider.be_deaf(5)
    leave(run(tmp_path / "000"), provider)
    assert blocks(None, str(tmp_path), cancel=True, as_json=False) == 1
    assert "not cancelled. " in capsys.readouterr().out


def test_those_of_a_live_driver_only_when_it_is_named(tmp_path, systems, capsys):  # noqa: F811
    provider = systems()
    began_s = time.monotonic()
    leave(run(tmp_path / "000", ev.BlockRequested(began_s, "x", "0"), pid=os.getpid()), provider)
    rows, _ = answer(capsys, None, str(tmp_path), cancel=True)
    assert len(provider.unfinished()) == 1
    rows, code = answer(capsys, "0", str(tmp_path), cancel=True)
    assert provider.unfinished() == []
    assert ([row["cancelled"] for row in rows], code) == ([True], 0)


def test_whether_a_driver_on_another_host_lives_is_not_known(tmp_path, systems, capsys):  # noqa: F811
    """Its jobs are shown as the batch system has them, and ended only by somebody who names the run."""
    provider = systems()
    leave(run(tmp_path / "000", host="login2"), provider)
    rows, code = answer(capsys, None, str(tmp_path), cancel=True)
    assert [(row["driver"], row["state"], row["cancelled"]) for row in rows] == [("elsewhere", "RUNNING", None)]
    assert code == 0
    assert len(provider.unfinished()) == 1
    rows, _ = answer(capsys, "0", str(tmp_path), cancel=True)
    assert provider.unfinished() == []


def test_a_block_that_was_left_by_a_run_that_ended_is_shown(tmp_path, systems, capsys):  # noqa: F811
    """Its cancelling was not accepted in time."""
    leave(run(tmp_path / "000", ended=True), systems())
    (row,), _ = answer(capsys, None, str(tmp_path))
    assert (row["driver"], row["state"]) == ("ended", "RUNNING")


def test_blocks_on_this_machine_end_with_their_driver(tmp_path, systems, capsys):  # noqa: F811
    provider = systems()
    provider.ticket = lambda *_: None
    leave(run(tmp_path / "000"), provider)
    assert answer(capsys, None, str(tmp_path)) == ([], 0)


def test_a_block_that_was_never_submitted_is_none(tmp_path, systems, capsys):  # noqa: F811
    began_s = time.monotonic()
    leave(run(tmp_path / "000", ev.BlockRequested(began_s, "x", "0"), ev.BlockRequested(began_s, "x", "1")), systems())
    rows, code = answer(capsys, None, str(tmp_path), cancel=True)
    assert ([(row["block"], row["cancelled"]) for row in rows], code) == ([("0", True)], 0)


def test_none(tmp_path, capsys):
    assert blocks(None, str(tmp_path), cancel=False, as_json=False) == 0
    assert "no block of the runs in" in capsys.readouterr().err
    run(tmp_path / "000")
    blocks("0", str(tmp_path), cancel=False, as_json=False)
    assert "run 0 has had no blocks" in capsys.readouterr().err
    with pytest.raises(RunNotFound):
        blocks("7", str(tmp_path), cancel=False, as_json=False)


def test_jobs_of_a_run_whose_journal_cannot_be_read_are_shown_and_can_be_ended(tmp_path, systems, capsys):  # noqa: F811
    provider = systems()
    (tmp_path / "000" / "journal.plj").mkdir(parents=True)
    leave(tmp_path / "000", provider)
    (row,), code = answer(capsys, None, str(tmp_path), cancel=True)
    assert (row["driver"], row["state"], row["cancelled"], code) == ("unreadable", "RUNNING", None, 0)
    (row,), code = answer(capsys, "000", str(tmp_path), cancel=True)
    assert (row["cancelled"], code) == (True, 0)
