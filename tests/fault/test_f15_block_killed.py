"""F15, with pilot jobs: blocks that are killed, given back and requested again while tasks come. Each task has its result."""

from __future__ import annotations

import os
import signal
import time

import plait
from plait.model.jobs import JobState
from plait.testing import tasks
from tests.fault import pilot
from tests.support import wait_until


def alive(htex):
    return [block for block, status in htex.block_status().items() if not status.terminal]


def test_a_killed_block_is_noticed_long_before_its_managers_would_be_missed(tmp_path):
    """The heartbeats' threshold is 120 s. The provider knows at once that the job is over, and the managers do not answer."""
    options = {"heartbeat_period": 30, "heartbeat_threshold": 120}
    path, go = str(tmp_path / "notes"), tmp_path / "go"
    with pilot.pilot_jobs(1, options=options) as kernel:
        htex = pilot.up(kernel)
        (job,) = htex._keeper.blocks_to_job_id.values()
        running = plait.python_app(tasks.hold)(path, "it", str(go))
        wait_until(lambda: tasks.notes(path))
        go.touch()
        begin = time.monotonic()
        os.killpg(int(job), signal.SIGKILL)
        running.result(60)
        assert time.monotonic() - begin < 30
        assert htex.block_status()["0"].state == JobState.FAILED


def test_blocks_come_and_go_with_the_work():
    provider = {"init_blocks": 0, "min_blocks": 0, "max_blocks": 2}
    with pilot.pilot_jobs(1, options={"provider": provider}, max_idletime=0.3) as kernel:
        echo = plait.python_app(tasks.echo)
        (htex,) = [e for e in kernel.executors.values() if hasattr(e, "block_status")]
        for _ in range(2):
            assert [future.result(60) for future in [echo(n) for n in range(20)]] == list(range(20))
            assert 1 <= len(htex.connected_managers()) <= 2
            wait_until(lambda: not alive(htex), 30)
        assert {status.state for status in htex.block_status().values()} == {JobState.SCALED_IN}
