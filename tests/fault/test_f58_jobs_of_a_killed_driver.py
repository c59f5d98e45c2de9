"""F58: the driver is killed while its blocks are queued, running or just being submitted. `plait doctor` and `plait blocks` find and end their jobs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.fakes.fixtures import fake_of  # noqa: F401 - a fixture
from tests.fault.lab import all_gone, driver
from tests.leaks import descendants
from tests.support import require_command, require_linux, wait_until

BODY = """
from plait.providers import PBSProProvider
from plait.launchers import SimpleLauncher
htex = plait.HighThroughputExecutor(
    "htex", PBSProProvider(init_blocks=2, max_blocks=2, launcher=SimpleLauncher()), address="127.0.0.1",
    launch_cmd="sleep 600; echo {config}",  # as a job that notices nothing
)
with load(executors=[htex], initialize_logging=True, run_dir="runs", progress=False):
    print("up", flush=True)
    echo = plait.python_app(tasks.echo)
    echo(1).result()
"""


def plait_says(*words):
    """What a command answers, in JSON, and its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "plait", *words, "--json", "--run-dir", "runs"],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return json.loads(done.stdout), done.returncode


@pytest.fixture
def pbs(fake_of):  # noqa: F811
    require_linux("reads /proc")
    require_command("bash")
    return fake_of("pbspro")


def test_queued_and_running_jobs_of_a_killed_driver_are_found_and_ended(pbs):
    pbs.queue()
    with driver(BODY) as program:
        wait_until(lambda: len(pbs.running()) == 2, 30, program.text)
        pbs.start(pbs.running()[0])
        rows, code = plait_says("blocks")
        assert [row["driver"] for row in rows] == ["live", "live"]
        assert code == 0
        health, _ = plait_says("doctor", "--fix")
        assert (health["jobs"], health["processes"]) == ([], []), "a driver that lives is left alone"
        program.signal(signal.SIGKILL)
        program.wait(5)

    health, code = plait_says("doctor")
    assert code == 1
    assert health["dead_runs"] == ["000"]
    assert sorted(job["state"] for job in health["jobs"]) == ["PENDING", "RUNNING"]
    assert {job["executor"] for job in health["jobs"]} == {"htex"}
    assert all(job["name"].startswith("plait.") for job in health["jobs"])
    assert any("sleep 600" in process["command"] for process in health["processes"])
    rows, _ = plait_says("blocks")
    assert sorted(row["state"] for row in rows) == ["PENDING", "RUNNING"]
    assert len(pbs.running()) == 2, "looking changes nothing"

    health, code = plait_says("doctor", "--fix")
    assert code == 0
    assert [job["cancelled"] for job in health["jobs"]] == [True, True]
    wait_until(lambda: pbs.running() == [], 10)
    health, code = plait_says("doctor")
    assert (code, health["jobs"], health["processes"]) == (0, [], [])
    asked = len(pbs.calls("status"))
    plait_says("blocks")
    assert len(pbs.calls("status")) == asked, "what was found to be over is not asked about again"


def test_one_that_was_submitted_and_not_yet_written_down_is_found_by_its_name(pbs):
    pbs.queue()
    pbs.rule("submit", "accept and hang")
    before = descendants()
    with driver(BODY) as program:
        wait_until(pbs.running, 30, program.text)
        program.signal(signal.SIGKILL)
        program.wait(5)
    rows, _ = plait_says("blocks", "--cancel")
    assert [row["cancelled"] for row in rows] == [True]
    assert rows[0]["name"].startswith("plait.")
    wait_until(lambda: pbs.running() == [], 10)
    for pid in descendants() - before:  # the command that hangs, which has no time-out any more
        os.kill(pid, signal.SIGKILL)
    all_gone(before, 5.0)
