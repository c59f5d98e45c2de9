"""What a test may not leave behind: processes, threads, descriptors, files, signal handlers, environment.

`snapshot()` before, `leaks(before)` after. The fixture in conftest.py does so around every test, and no test can opt out: leaving
nothing behind is a promise of the product, so each test of anything is a test of it. A clean test pays under a millisecond.

Processes: on Linux the test process makes itself a *child subreaper*, so a descendant whose parent died, however it detached itself
(`setsid`, double fork), becomes its child instead of vanishing to init, and is seen.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import stat
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

LINUX = sys.platform.startswith("linux")
PR_SET_CHILD_SUBREAPER = 36
WATCHED_SIGNALS = [  # SIGALRM is pytest-timeout's
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD") if hasattr(signal, name)
]


@dataclass(frozen=True)
class Snapshot:
    """What there was before the test."""

    processes: frozenset[int]
    threads: frozenset[threading.Thread]
    fds: frozenset[tuple[int, str]]
    temp: frozenset[str]
    handlers: dict[int, object]
    environ: dict[str, str]


def adopt_orphans() -> None:
    """Makes orphans of this process's tree its own children."""
    if LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def snapshot() -> Snapshot:
    """The state of this process, cheap enough to be taken around every test."""
    return Snapshot(
        frozenset(descendants()),
        frozenset(threading.enumerate()),
        open_fds(),
        frozenset(temp_entries()),
        {number: signal.getsignal(number) for number in WATCHED_SIGNALS},
        dict(os.environ),
    )


def leaks(before: Snapshot, run_dir: Path) -> list[str]:
    """One line for each thing that is there now and was not before. Empty when the test was clean."""
    found = [f"process {pid}: {describe(pid)}" for pid in sorted(descendants() - before.processes)]
    found += [
        f"thread {t.name!r} ({'daemon' if t.daemon else 'not daemon'})"
        for t in set(threading.enumerate()) - before.threads
    ]
    found += [f"descriptor {fd} -> {target}" for fd, target in sorted(open_fds() - before.fds)]
    found += [f"in the temporary folder: {name}" for name in sorted(temp_entries() - before.temp)]
    found += [f"in the run's folder: {path}" for path in stray_files(run_dir)]
    found += [
        f"handler of {signal.Signals(number).name}: {signal.getsignal(number)!r}, was {was!r}"
        for number, was in before.handlers.items()
        if signal.getsignal(number) != was
    ]
    if os.environ != before.environ:
        now = dict(os.environ)
        changed = sorted(k for k in now.keys() | before.environ.keys() if now.get(k) != before.environ.get(k))
        found += [f"environment variable {k}" for k in changed if k != "PYTEST_CURRENT_TEST"]
    return found


def collect_and_reap() -> None:
    """What a person would do before calling it a leak: collect garbage, take the exit status of dead orphans."""
    gc.collect()
    for pid in _children(os.getpid(), dead=True):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def descendants() -> set[int]:
    """Living processes below this one, at any depth. Zombies do not count: they hold nothing but a number."""
    if not LINUX:
        import psutil

        return {p.pid for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE}
    found: set[int] = set()
    todo = [os.getpid()]
    while todo:
        new = set(_children(todo.pop())) - found
        found |= new
        todo += new
    return found


def _children(pid: int, *, dead: bool = False) -> list[int]:
    """Children of a process by the kernel's own list, which is far cheaper than reading every process's status."""
    children = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as listing:
                children += [child for child in map(int, listing.read().split()) if _is_dead(child) is dead]
    return children


def _is_dead(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as text:
            return text.read().rpartition(")")[2].split()[0] in "ZX"  # the name in parentheses may hold anything
    except OSError:
        return True


def describe(pid: int) -> str:
    """The command line of a process, for the message."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return command[:300] or "(no command line)"
    except OSError:
        return "(gone, or not to be read here)"


def open_fds() -> frozenset[tuple[int, str]]:
    """Open descriptors with what they lead to, so that a number that was closed and used again is noticed too."""
    folder = "/proc/self/fd" if LINUX else "/dev/fd"
    found = set()
    for name in os.listdir(folder):
        try:
            found.add((int(name), os.readlink(f"{folder}/{name}") if LINUX else ""))
        except OSError:
            continue  # the descriptor of the listing itself
    return frozenset(found)


def temp_entries() -> set[str]:
    """Names in the temporary folder, which conftest.py makes for this test session alone; pytest's own folder aside."""
    return {name for name in os.listdir(tempfile.gettempdir()) if not name.startswith("pytest-of-")}


def stray_files(folder: Path) -> list[str]:
    """Files under the test's folder that are for the time of a run only: sockets, pipes, half-written files."""
    found = []
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            with contextlib.suppress(FileNotFoundError):
                mode = os.lstat(path).st_mode
                if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or name.endswith((".tmp", ".part", ".lock")):
                    found.append(path)
    return found
