"""What tests share: waiting without sleeping, and saying what a machine must have.

No test sleeps (tests/architecture/test_no_sleep.py): a sleep is too short on a loaded machine and too long on a quiet one.
A test that must wait for the outside world says what for, with `wait_until`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "plait"

POLL_S = 0.002


def wait_until(cond: Callable[[], T], timeout_s: float = 20.0, dump: Callable[[], object] | None = None) -> T:
    """Returns what `cond` returns as soon as that is true.

    After `timeout_s` the test fails with the text of the last answer, of `dump()` if given, and the stacks of all threads:
    enough to see what was being waited for, on a machine that nobody can log in to.
    """
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()  # never set; waiting on it is the one way in which tests let time pass
    while True:
        answer = cond()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            break
        pause.wait(POLL_S)
    what = getattr(cond, "__name__", repr(cond))
    details = f"\n{dump()}" if dump else ""
    pytest.fail(f"{what} was still {answer!r} after {timeout_s:g} s{details}\n{stacks()}", pytrace=True)


def stacks() -> str:
    """The stacks of all threads of this process, as text."""
    with tempfile.TemporaryFile("w+") as out:  # faulthandler writes to a descriptor
        faulthandler.dump_traceback(file=out, all_threads=True)
        out.seek(0)
        return out.read()


def require(present: object, what: str) -> None:
    """What a laptop lacks its tests skip; what CI lacks it fails on, so that nothing is silently untested there."""
    if present:
        return
    if os.environ.get("CI", "").lower() in {"true", "1"}:
        pytest.fail(f"CI lacks {what}", pytrace=False)
    pytest.skip(f"needs {what}")


def require_command(name: str) -> str:
    """The path of an executable that the test needs."""
    path = shutil.which(name)
    require(path, f"the command {name!r} on PATH")
    return str(path)


def require_linux(why: str) -> None:
    """Skips on systems without the named mechanism. It is not something that CI could lack."""
    if not sys.platform.startswith("linux"):
        pytest.skip(f"Linux only: {why}")


def in_forked_child(do: Callable[[], object], timeout_s: int = 10) -> int:
    """Status of a child that is forked from here, does something, and leaves; SIGALRM when that hangs."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(timeout_s)
        try:
            do()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


@contextlib.contextmanager
def held_by_another_thread(lock: Any) -> Iterator[None]:
    """Another thread holds the lock meanwhile."""
    holds, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            holds.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()
