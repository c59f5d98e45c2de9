"""F11: the driver, or the process that starts workers, is killed: everything below is gone within 2 s, however it hides."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from plait import Config, ProcessPoolExecutor, load, python_app
from plait.testing import tasks
from tests.fault.lab import all_gone, below, driver, numbers
from tests.leaks import descendants
from tests.support import require_linux, wait_until

FAMILY = """
with load():
    futures = [family(path, deaf=True) for path in sys.argv[1:]]
    print("submitted", flush=True)
    futures[0].result()
"""


@pytest.fixture
def paths(tmp_path):
    require_linux("child subreaper")
    return [tmp_path / "one", tmp_path / "two"]


def families(paths: list[Path]) -> set[int]:
    """Numbers of all that two running tasks started."""
    wait_until(lambda: all(len(numbers(path, "child")) == 4 and numbers(path, "family") for path in paths), 20)
    return {pid for path in paths for word in ("child", "family") for pid in numbers(path, word)}


def test_driver_killed_while_tasks_run(paths):
    before = descendants()
    with driver(FAMILY, *map(str, paths)) as program:
        pids = families(paths)
        assert pids <= descendants()
        program.signal(signal.SIGKILL)
        all_gone(before, 2.0)


def test_driver_killed_while_it_starts(paths):
    for _ in range(3):
        before = descendants()
        with driver("with load(): time.sleep(100)") as program:
            wait_until(lambda: below(program.pid), 20)  # the process that starts workers is there, and hardly more
            program.signal(signal.SIGKILL)
            all_gone(before, 2.0)


def test_driver_killed_while_it_stops(paths):
    before = descendants()
    body = FAMILY.replace("futures[0].result()", "").replace(
        'print("submitted", flush=True)',
        "while any(len(tasks.notes(path)) < 5 for path in sys.argv[1:]): time.sleep(0.01)",
    )
    with driver(body + "print('stopped')", *map(str, paths)) as program:
        families(paths)
        program.signal(signal.SIGKILL)
        all_gone(before, 2.0)


def test_zygote_killed_with_an_idle_pool(tmp_path):
    require_linux("child subreaper")
    before = descendants()
    with load(Config(executors=[ProcessPoolExecutor(max_workers=2)], initialize_logging=False, progress=False)):
        echo, pid = python_app(tasks.echo), python_app(tasks.pid)
        assert echo(1).result(20) == 1
        old = descendants() - before
        os.kill(zygote_of(before), signal.SIGKILL)
        wait_until(lambda: not old & descendants(), 2.0)
        assert echo(2).result(20) == 2
        assert pid().result(20) not in old
    all_gone(before, 2.0)


def test_zygote_killed_while_tasks_run(paths, tmp_path):
    before = descendants()
    with load(
        Config(executors=[ProcessPoolExecutor(max_workers=2)], initialize_logging=False, progress=False, max_losses=0)
    ):
        family, note = python_app(tasks.family), python_app(tasks.note)
        running = [family(str(path), deaf=True) for path in paths]
        pids = families(paths)
        waiting = [note(str(tmp_path / "notes"), str(number)) for number in range(50)]
        os.kill(zygote_of(before), signal.SIGKILL)
        errors = [future.exception(20) for future in running]
        wait_until(lambda: not pids & descendants(), 2.0)
        assert [future.result(20) for future in waiting] == [str(number) for number in range(50)]

    assert [type(error).__name__ for error in errors] == ["WorkerLost", "WorkerLost"]
    assert "SIGKILL" in str(errors[0])
    assert sorted(tasks.notes(str(tmp_path / "notes"))) == sorted(str(number) for number in range(50))
    all_gone(before, 2.0)


def test_zygote_killed_then_driver_killed(paths):
    before = descendants()
    body = FAMILY.replace("family(path, deaf=True)", "family.options(max_losses=0)(path, deaf=True)").replace(
        "futures[0].result()", "print(futures[0].exception(), flush=True); time.sleep(100)"
    )
    with driver(body, *map(str, paths)) as program:
        families(paths)
        os.kill(zygote_of(set(), program.pid), signal.SIGKILL)
        program.says("loss of worker")
        program.signal(signal.SIGKILL)
        all_gone(before, 2.0)


def zygote_of(before: set[int], driver_pid: int = 0) -> int:
    """The process that starts workers: the only new child of the driver."""
    (zygote,) = [pid for pid in descendants() - before if _parent(pid) == (driver_pid or os.getpid())]
    return zygote


def _parent(pid: int) -> int:
    from plait._util import procs

    process = procs.look(pid)
    return process.parent if process is not None else 0
