"""F25: the driver is killed: interchange, managers, workers and what tasks started are gone soon; F11: a manager is killed."""

from __future__ import annotations

import os
import signal

import plait
from plait.testing import tasks
from tests.fault.lab import all_gone, driver, numbers
from tests.fault.pilot import interchanges, managers, pilot_jobs, up, workers_of
from tests.leaks import descendants
from tests.support import require_linux, wait_until

BODY = """
from plait.providers import LocalProvider
htex = plait.HighThroughputExecutor(address="127.0.0.1", max_workers_per_node=2, cores_per_worker=0.25, heartbeat_period=0.2, heartbeat_threshold=2,
                                    provider=LocalProvider(init_blocks=2, min_blocks=2, max_blocks=2))
with load(executors=[htex], initialize_logging=True, run_dir="runs"):
    while len(htex.connected_managers()) < 2:  # one that is just starting has its own time to find out
        time.sleep(0.01)
    futures = [family(sys.argv[1]) for _ in range(2)]
    print("up", flush=True)
    futures[0].result()
"""


def test_of_a_killed_driver_nothing_is_left(tmp_path):
    require_linux("child subreaper")
    before = descendants()
    with driver(BODY, str(tmp_path / "notes")) as program:
        wait_until(lambda: len(numbers(tmp_path / "notes", "child")) == 8, 30, program.text)
        program.signal(signal.SIGKILL)
        program.wait(5)
        all_gone(before, 5.0)


def test_of_a_driver_and_interchange_killed_together_nothing_is_left_after_the_threshold(tmp_path):
    require_linux("child subreaper")
    before = descendants()
    with driver(BODY, str(tmp_path / "notes")) as program:
        wait_until(lambda: len(numbers(tmp_path / "notes", "child")) == 8, 30, program.text)
        (interchange,) = interchanges()
        program.signal(signal.SIGKILL)
        os.kill(interchange, signal.SIGKILL)
        program.wait(5)
        all_gone(before, 10.0)


def test_of_a_killed_manager_no_worker_is_left_and_its_tasks_run_elsewhere(tmp_path):
    require_linux("reads /proc")
    echo, hold = plait.python_app(tasks.echo), plait.python_app(tasks.hold)
    with pilot_jobs(max_losses=2) as kernel:
        up(kernel)
        notes, gate = tmp_path / "notes", tmp_path / "gate"
        future = hold(str(notes), "t", str(gate), 60.0)
        wait_until(lambda: tasks.notes(str(notes)), 20)
        (manager,) = managers()
        workers = workers_of(manager)
        assert workers
        os.kill(manager, signal.SIGKILL)
        wait_until(lambda: not set(workers) & descendants(), 2.5)
        gate.touch()
        assert future.result(30)
        assert echo(1).result(30) == 1
