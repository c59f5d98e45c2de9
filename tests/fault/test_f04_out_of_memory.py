"""F04: the system ends a worker because memory ran out: the worker, not the driver, and the message says so."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from tests.fault.lab import driver
from tests.support import require, wait_until

ROOT_V1 = Path("/sys/fs/cgroup/memory")
LIMIT = 160 << 20


@pytest.fixture
def group():
    """A memory cgroup of our own, the first version's or the second's."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    usable = os.geteuid() == 0 and (
        os.access(ROOT_V1, os.W_OK) or (unified.exists() and "memory" in unified.read_text())
    )
    require(usable, "a memory cgroup that may be changed (root)")
    v1 = ROOT_V1.is_dir()
    folder = (ROOT_V1 if v1 else Path("/sys/fs/cgroup")) / f"plait-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(str(LIMIT))
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        require(False, f"a memory cgroup that may be changed ({error})")
    yield folder
    wait_until(lambda: not (folder / "cgroup.procs").read_text().strip())
    folder.rmdir()


def test_the_worker_goes_and_the_message_says_why(group):
    body = f"""
    open({str(group / "cgroup.procs")!r}, "w").write(str(os.getpid()))
    with load(max_losses=0):
        assert echo(1).result(30) == 1
        error = python_app(lambda: len(b"x" * {2 * LIMIT}))().exception(30)
        print(type(error).__name__, error)
        print("still", echo(2).result(30))
    """
    with driver(body) as program:
        assert program.wait(60) == 0, program.text()
    assert "WorkerLost" in program.text()
    assert "SIGKILL, probably because memory ran out" in program.text()
    assert "still 2" in program.text()
