"""F22: the interchange is killed in mid-run: another takes its place, and every task ends once."""

from __future__ import annotations

import os
import signal

import pytest

import plait
from plait.testing import tasks
from tests.fault.lab import let_pass, seeded
from tests.fault.pilot import LINKS, interchanges, managers, pilot_jobs, up
from tests.support import require_linux, wait_until

hold = plait.python_app(tasks.hold)
echo = plait.python_app(tasks.echo)
note = plait.python_app(tasks.note)


@pytest.fixture(autouse=True)
def on_linux():
    require_linux("reads /proc")


@pytest.fixture(params=LINKS, ids=str)
def link(request):
    """How managers are reached: configuration of the run."""
    return LINKS[request.param]


def kill_interchange(number=signal.SIGKILL):
    (pid,) = interchanges()
    os.kill(pid, number)
    return pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda n: n.name)
def test_what_runs_goes_on_and_what_waits_is_offered_again(tmp_path, number, link):
    with pilot_jobs(max_losses=0, **link, options={"blocks": 2, "heartbeat_threshold": 15.0}) as kernel:
        htex = up(kernel, 2)
        before = {m["manager"] for m in htex.connected_managers()}
        notes, gate = tmp_path / "notes", tmp_path / "gate"
        running = [hold(str(notes), f"t{i}", str(gate), 60.0) for i in range(4)]
        wait_until(lambda: len(tasks.notes(str(notes))) == 4, 20)
        waiting = [echo(i) for i in range(500)]
        old = kill_interchange(number)
        wait_until(lambda: interchanges() not in ([], [old]), 20)
        late = [echo(-i) for i in range(100)]
        gate.touch()
        assert all(future.result(30) for future in running)
        assert [future.result(30) for future in waiting] == list(range(500))
        assert [future.result(30) for future in late] == [-i for i in range(100)]
        assert len(tasks.notes(str(notes))) == 4  # each began once
        assert {m["manager"] for m in htex.connected_managers()} == before


def test_nothing_runs_twice_when_it_is_killed_at_any_moment(tmp_path, link):
    chance = seeded("interchange")
    with pilot_jobs(max_losses=0, **link, options={"blocks": 2, "heartbeat_threshold": 15.0}) as kernel:
        up(kernel, 2)
        path = str(tmp_path / "notes")
        for round_ in range(3):
            futures = [note(path, f"{round_}-{i}") for i in range(400)]
            let_pass(chance.uniform(0, 0.15))
            kill_interchange()
            for future in futures:
                future.result(30)
    lines = tasks.notes(path)
    assert len(lines) == 1200
    assert len(set(lines)) == 1200


def test_a_big_result_on_its_way_arrives(tmp_path, link):
    with pilot_jobs(max_losses=0, **link, options={"heartbeat_threshold": 15.0}) as kernel:
        up(kernel)
        big = [echo(bytes([i]) * 30_000_000) for i in range(4)]
        wait_until(lambda: any(future.done() for future in big) or managers(), 20)
        kill_interchange()
        for i, future in enumerate(big):
            assert future.result(60) == bytes([i]) * 30_000_000


def test_one_that_cannot_be_started_again_ends_every_future_with_the_reason(monkeypatch):
    with pilot_jobs(max_losses=0, options={"heartbeat_threshold": 15.0}) as kernel:
        up(kernel)
        futures = [echo(i) for i in range(3)]
        for future in futures:
            future.result(30)
        endless = plait.python_app(tasks.loop)("/dev/null")
        monkeypatch.setenv("PYTHONHOME", "/nowhere")  # no interpreter starts with that
        kill_interchange()
        with pytest.raises(plait.errors.ExecutorError, match="interchange"):
            endless.result(30)
        with pytest.raises(plait.errors.PlaitError):
            echo(1).result(30)
