"""F37: shutdown finds any of its processes dead or stopped already: it ends in time, and nothing stays."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time

import pytest

import plait
from plait._util import procs
from plait.testing import tasks
from tests.fault.lab import all_gone, in_processes
from tests.leaks import descendants
from tests.support import require_linux, wait_until

SUBSETS = [names for size in range(4) for names in itertools.combinations(("zygote", "worker 0", "worker 1"), size)]


def members(before: set[int]) -> dict[str, int]:
    """Processes of an idle pool of two workers."""
    assert {future.result(20) for future in [plait.python_app(tasks.echo)(n) for n in range(2)]} == {0, 1}
    (zygote,) = [pid for pid in descendants() - before if procs.look(pid).parent == os.getpid()]
    workers = wait_until(lambda: len(children := sorted(procs.children_of(zygote))) == 2 and children)
    return {"zygote": zygote, "worker 0": workers[0], "worker 1": workers[1]}


#: A zygote that stands still passes nothing on: its workers make no difference then.
CASES = [
    (names, number)
    for number in (signal.SIGKILL, signal.SIGSTOP)
    for names in SUBSETS
    if number == signal.SIGKILL or "zygote" not in names or len(names) == 1
]


@pytest.mark.parametrize(
    ("names", "number"), CASES, ids=lambda value: getattr(value, "name", None) or "+".join(value) or "none"
)
def test_any_subset(names, number):
    require_linux("child subreaper")
    before = descendants()
    with in_processes() as kernel:
        pids = members(before)
        for name in names:
            with contextlib.suppress(ProcessLookupError):  # a worker ends with the zygote
                os.kill(pids[name], number)
        begin_s = time.monotonic()
        kernel.cleanup(3.0)
        took_s = time.monotonic() - begin_s
    all_gone(before, 1.0)
    assert took_s < 5.0


def test_while_tasks_run_and_their_worker_is_dead(tmp_path):
    require_linux("child subreaper")
    before = descendants()
    with in_processes(max_losses=0) as kernel:
        pids = members(before)
        futures = [plait.python_app(tasks.family)(str(tmp_path / str(number)), deaf=True) for number in range(2)]
        wait_until(lambda: all(len(tasks.notes(str(tmp_path / str(number)))) == 5 for number in range(2)))
        os.kill(pids["worker 0"], signal.SIGKILL)
        os.kill(pids["zygote"], signal.SIGKILL)
        kernel.cleanup()
        assert all(future.done() for future in futures)
    all_gone(before, 1.0)


def test_the_run_directory_is_gone(tmp_path):
    import shutil

    before = descendants()
    with in_processes(initialize_logging=True, run_dir=str(tmp_path / "runs")) as kernel:
        assert plait.python_app(tasks.echo)(1).result(20) == 1
        shutil.rmtree(tmp_path / "runs")
        kernel.cleanup()
    all_gone(before, 1.0)
