"""Around every test: a folder of its own, and the check that nothing is left behind (tests/leaks.py)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.leaks import adopt_orphans, collect_and_reap, leaks, snapshot
from tests.support import ROOT, stacks, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEAVE_S = 5.0  # what ends by itself has this long to be gone; a clean test does not wait at all

# Deadlines of single examples are off: on a busy machine they measure the neighbours.
hypothesis.settings.register_profile(
    "plait", deadline=None, print_blob=True, database=DirectoryBasedExampleDatabase(ROOT / ".hypothesis" / "examples")
)
hypothesis.settings.load_profile("plait")
set_hypothesis_home_dir(ROOT / ".hypothesis")


def pytest_configure(config: pytest.Config) -> None:
    """One temporary folder for the session, so that what product code leaves there is seen to be ours."""
    adopt_orphans()
    # started by nohup or in the background of a script, these would be ignored here and in every program that a test starts
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = os.path.realpath(
        tempfile.mkdtemp(prefix="plait-t-")
    )  # short: paths of Unix sockets have at most 107 bytes
    os.environ["TMPDIR"] = tempfile.tempdir = folder

    def remove() -> None:
        # A failed test's folder lies in it: keep that for the person who will look, and nothing else.
        with contextlib.suppress(OSError):
            if config.stash.get(FAILED, False):
                print(f"\nfolders of the failed tests: {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)

    config.add_cleanup(remove)


FAILED = pytest.StashKey[bool]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remembers for `remove` above whether there is something to look at."""
    session.config.stash[FAILED] = session.testsfailed > 0


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(tmp_path: Path) -> Iterator[None]:
    """Runs the test in a folder of its own, and fails it if anything of it outlives it. There is no opting out.

    It is set up before the test's other fixtures, so what they own is checked after they have ended.
    """
    home = os.getcwd()
    os.chdir(tmp_path)
    before = snapshot()
    try:
        yield
    finally:
        os.chdir(home)
    if not leaks(before, tmp_path):
        return

    def gone() -> bool:
        collect_and_reap()
        return not leaks(before, tmp_path)

    with contextlib.suppress(pytest.fail.Exception):
        wait_until(gone, LEAVE_S)
        return
    left = leaks(before, tmp_path)
    _end(before.processes)
    where = stacks() if any(line.startswith("thread") for line in left) else ""
    pytest.fail("the test left behind:\n  " + "\n  ".join(left) + "\n" + where, pytrace=False)


def _end(known: frozenset[int]) -> None:
    """Ends leaked processes, so that one leak fails one test."""
    import signal

    from tests.leaks import descendants

    for pid in descendants() - known:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    collect_and_reap()
