from __future__ import annotations

import time

import pytest

from plait.model import events as ev
from plait.model.jobs import JobState
from plait.monitoring.blocks import Blocks
from plait.monitoring.report import render
from plait.monitoring.runs import Run
from plait.monitoring.why import explain_run
from tests.unit.monitoring.test_report import EVIL, Page


def blocks(*events):
    found = Blocks()
    steps = found.steps()
    for event in events:
        steps[type(event)](event)
    return found


LIFE = [
    ev.BlocksScaled(10.0, "htex", ["0", "1"], [], "requests 2 blocks to begin with"),
    ev.BlockRequested(10.0, "htex", "0"),
    ev.BlockRequested(10.0, "htex", "1"),
    ev.BlockStatus(10.1, "htex", "0", "771", JobState.PENDING),
    ev.BlockStatus(11.0, "htex", "0", "771", JobState.RUNNING),
    ev.BlockUp(15.0, "htex", "0", 5.0),
    ev.ManagerStarted(15.0, "htex", "m1", "0", "node1", 1, 4),
    ev.ManagerStarted(15.5, "htex", "m2", "0", "node2", 1, 4),
    ev.BlockStatus(10.2, "htex", "1", "772", JobState.PENDING, "Priority"),
]


def test_a_block_has_its_history():
    found = blocks(
        *LIFE, ev.ManagerEnded(20.0, "htex", "m1", "lost", "silent"), ev.ManagerEnded(20.0, "htex", "m9", "lost", "")
    )
    block = found.blocks["htex", "0"]
    assert (block.job_id, block.requested_s, block.up_s, block.state) == ("771", 10.0, 15.0, JobState.RUNNING)
    assert [manager.hostname for manager in block.connected] == ["node2"]
    assert (block.managers["m1"].end_s, block.managers["m1"].how) == (20.0, "lost: silent")
    assert block.workers == 8
    assert not block.has_ended


def test_where_the_blocks_stand_is_a_sentence():
    assert blocks(*LIFE).explain(40.0) == [
        (
            "executor 'htex': 1 block is up with 8 workers, block 1 is queued as job 772 since 29.8 s (Priority); "
            "30.0 s ago it was decided: requests 2 blocks to begin with"
        )
    ]
    assert blocks().explain(40.0) == []


def test_what_failed_is_one_too():
    failed = ev.BlockEnded(30.0, "htex", "1", "772", JobState.FAILED, "its script ended", 127)
    lines = blocks(*LIFE, failed).explain(40.0)
    assert lines[1] == "executor 'htex': one block of it failed: block 1, FAILED, exit code 127: its script ended"
    lines = blocks(*LIFE, failed, ev.BlockEnded(31.0, "htex", "0", "771", JobState.MISSING)).explain(40.0)
    assert lines[0].startswith("executor 'htex': no block is there; ")
    assert (
        lines[1] == "executor 'htex': 2 blocks of it failed, the last: block 1, FAILED, exit code 127: its script ended"
    )


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (JobState.HELD, "block 1 is held as job 9 since 1.0 s"),
        (JobState.RUNNING, "block 1 runs without a manager as job 9 since 1.0 s"),
        (99, "block 1 is queued as job 9 since 1.0 s"),
    ],
)
def test_states(state, text):
    found = blocks(ev.BlockRequested(1.0, "htex", "1"), ev.BlockStatus(2.0, "htex", "1", "9", state))
    assert text in found.explain(3.0)[0]


def test_many_are_counted():
    found = blocks(*[ev.BlockRequested(1.0, "htex", str(n)) for n in range(10)])
    assert "7 more are not up yet" in found.explain(2.0)[0]


def test_a_lost_interchange_is_said():
    assert blocks(ev.InterchangeLost(5.0, "htex", "SIGKILL")).explain(8.0) == [
        "executor 'htex': its interchange ended 3.0 s ago: SIGKILL"
    ]


def run(*events):
    found = Run("runinfo/007")
    found.take([ev.RunStarted(5.0, time.time(), "id", 1, "0.1.0", "3.11", "elsewhere", 7, "fit.py", ["htex"]), *events])
    return found


def test_explain_shows_them():
    assert any("1 block is up with 8 workers" in line for line in explain_run(run(*LIFE)))


def test_the_report_has_a_table_and_the_decisions():
    evil = ev.BlockEnded(30.0, EVIL, EVIL, EVIL, JobState.FAILED, EVIL, 1)
    text = render(run(*LIFE, evil, ev.BlocksScaled(31.0, EVIL, [], [], EVIL)))
    page = Page(text)
    assert page.suspicious == []
    words = " ".join(page.words)
    assert "Blocks" in page.words
    for cell in ("htex, block 0", "771", "5.0 s", "FAILED 1", "2 decisions"):
        assert cell in words
    assert "after 5.0 s, htex: requests 2 blocks to begin with" in words


def test_a_run_without_blocks_has_no_table():
    assert "Blocks" not in Page(render(run())).words


def test_a_report_of_many_blocks_stays_small():
    text = render(run(*[ev.BlockRequested(6.0, "htex", str(n)) for n in range(5000)]))
    assert "4900 more blocks are not shown" in text
    assert len(text) < 100_000


def test_a_new_reason_to_wait_does_not_begin_the_waiting_anew():
    found = blocks(
        ev.BlockRequested(9.0, "htex", "0"),
        ev.BlockStatus(10.0, "htex", "0", "771", JobState.PENDING),
        ev.BlockStatus(20.0, "htex", "0", "771", JobState.PENDING, "Priority"),
    )
    assert found.explain(30.0) == ["executor 'htex': block 0 is queued as job 771 since 20.0 s (Priority)"]
