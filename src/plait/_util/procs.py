"""Processes and their trees: who lives, who descends from whom, and ending all of them.

A process is known by its number and its start time together, because numbers are used again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from plait.limits import GRACE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

#: Seconds for which SIGKILL is repeated. What is left then waits in the kernel (state D) and dies when that lets go of it.
KILL_S: Final = 2.0
#: Seconds between two looks at a tree that is being ended: the first, and the longest.
POLL_S: Final = (0.001, 0.02)
#: How many times what has come meanwhile is stopped before all are killed: each time it is less, unless it starts others and ends, for ever.
STOPS: Final = 50

_HAS_PROC: Final = sys.platform == "linux"
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


class Process(NamedTuple):
    """What the system says of one process.

    Attributes:
        pid: its number.
        state: one letter: R running, S sleeping, T stopped, Z zombie, X dead …
        parent: number of its parent.
        group: number of its process group.
        session: number of its session.
        start: when it started, in a unit of the system; 0 if unknown.
    """

    pid: int
    state: str
    parent: int
    group: int
    session: int
    start: float

    @property
    def is_alive(self) -> bool:
        """Whether it can still do anything."""
        return self.state not in "ZX"


def parse_stat(data: bytes) -> Process:
    """Reads the content of ``/proc/<pid>/stat``. The name in it may hold anything, parentheses and spaces included."""
    pid, _, rest = data.partition(b" ")
    fields = rest[rest.rindex(b")") + 2 :].split(None, 20)
    return Process(int(pid), chr(fields[0][0]), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def look(pid: int) -> Process | None:
    """One process, or None when there is none of that number."""
    if not _HAS_PROC:
        return look_by_psutil(pid)
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return parse_stat(os.read(fd, 4096))
    except (OSError, ValueError, IndexError):
        return None  # it ended while we read
    finally:
        os.close(fd)


def look_by_psutil(pid: int) -> Process | None:
    """The same for systems without ``/proc``."""
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            state = "Z" if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD} else "S"
            if process.status() == psutil.STATUS_STOPPED:
                state = "T"
            return Process(pid, state, process.ppid(), os.getpgid(pid), os.getsid(pid), process.create_time())
    except psutil.ZombieProcess:
        return Process(pid, "Z", 0, 0, 0, 0)
    except (psutil.Error, OSError):
        return None


def numbers() -> list[int]:
    """The numbers of all processes that this one may see."""
    if _HAS_PROC:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    import psutil

    return psutil.pids()


def snapshot() -> dict[int, Process]:
    """All processes that this one may see, by number."""
    return {pid: process for pid in numbers() if (process := look(pid)) is not None}


def number_space() -> str:
    """Within what the numbers of processes that this one sees count: in a container others often have them too. Empty where that is not known."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether there is such a process and it is not a zombie."""
    process = look(pid)
    return process is not None and process.is_alive


def children_of(pid: int) -> list[int]:
    """The children of one process, zombies included. Far cheaper than looking at all processes, where the kernel keeps such lists."""
    if _HAS_PROC:
        try:
            children: list[int] = []
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                    children += map(int, file.read().split())
            return children
        except OSError:
            pass  # a thread ended meanwhile, or the kernel was built without such lists
    return [process.pid for process in snapshot().values() if process.parent == pid]


def children_map() -> dict[int, list[int]]:
    """The living children of each process that has some."""
    children: dict[int, list[int]] = {}
    for process in snapshot().values():
        if process.is_alive:
            children.setdefault(process.parent, []).append(process.pid)
    return children


def descendants(root: int) -> list[int]:
    """Living children of ``root``, their children and so on; parents before their children."""
    children = children_map()
    found = list(children.get(root, ()))
    for pid in found:  # grows while it is walked
        found += children.get(pid, ())
    return found


def dies_of(pid: int, number: int) -> bool:
    """Whether the process neither catches nor ignores nor blocks the signal. False where that cannot be known."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = dict(line.split(b":", 1) for line in file if line.startswith(b"Sig"))
        sets = [int(lines[name], 16) for name in (b"SigBlk", b"SigIgn", b"SigCgt")]
    except (OSError, KeyError, ValueError):
        return False
    return not any(mask >> (number - 1) & 1 for mask in sets)


def signal_all(pids: Iterable[int], number: int) -> None:
    """Sends a signal to each process that is still there and may be signalled. Never to this one."""
    me = os.getpid()
    for pid in pids:
        if pid > 1 and pid != me:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or of another user by now
                os.kill(pid, number)


def image_of(pid: int) -> bytes:
    """Tells a program from the one that takes its place in the same process: where its parts lie in memory. Empty where that cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return b""
    return b" ".join(fields[23:26] + fields[45:49])


def ask_to_end(pids: Iterable[int], asked: dict[int, bytes]) -> list[int]:
    """Sends SIGTERM, once to each; those that got it now.

    Again to those that have become another program since, and would die of it: a shell that was just starting a command caught the signal in its
    copy, which then became the command. (A program that caught it and is about to end may die of a second one too, but has had the first.)

    Args:
        pids: living processes.
        asked: those that have been sent it before, and the program that each was then (`image_of`). Grows.
    """
    fresh = []
    for pid in pids:
        image = image_of(pid)
        if pid not in asked or (image != asked[pid] and dies_of(pid, signal.SIGTERM)):
            asked[pid] = image
            fresh.append(pid)
    signal_all(fresh, signal.SIGTERM)
    return fresh


def end_tree(
    root: int, grace_s: float = GRACE_S, *, include_root: bool = True, reap: bool = False, spare: Collection[int] = ()
) -> list[int]:
    """Ends a process and everything below it, and returns when they are gone.

    The tree is all descendants of ``root``, and the groups and sessions led by any process of the tree.
    It gets SIGTERM, ``grace_s`` later SIGKILL until nothing is left; what appears meanwhile gets the same.
    A process that forks, detaches itself from everything and ends between two looks leaves a child that cannot be traced to it,
    unless its orphans come to ``root``: that is so for a ``root`` that is a child subreaper and stays (``include_root=False``).

    Args:
        root: number of the process.
        grace_s: seconds between SIGTERM and SIGKILL; 0 for SIGKILL at once.
        include_root: False to leave the root, and the group and session that it leads.
        reap: whether this process is to take the exit status of its own dead children in the tree.
        spare: processes to leave in peace with all below them.

    Returns:
        The processes that not even SIGKILL ended within `KILL_S`; usually none.
    """
    return _Tree((root,), include_root, frozenset(spare)).end(grace_s, reap)


def end_trees(roots: Collection[int], grace_s: float = GRACE_S, *, reap: bool = False) -> list[int]:
    """As `end_tree` for several processes, whose times to leave run at once."""
    return _Tree(roots, include_root=True, spare=frozenset()).end(grace_s, reap) if roots else []


class _Tree:
    """The processes to be ended: those known so far, and how to find more."""

    def __init__(self, roots: Collection[int], include_root: bool, spare: frozenset[int]) -> None:
        self._roots = frozenset(roots)
        self._include_root = include_root
        self._me = os.getpid()
        self._spare = spare | {self._me}
        self._known: dict[int, float] = {}  # number -> start time, of the living and the dead
        self._asked: dict[int, bytes] = {}
        self._led = (
            set(self._roots) if include_root else set()
        )  # groups and sessions that belong to the tree, by their leader
        for root in self._roots - self._spare if include_root else ():
            process = look(root)
            if process is not None:
                self._known[root] = process.start

    def end(self, grace_s: float, reap: bool) -> list[int]:
        """Ends all; the processes that were not to be ended."""
        if grace_s > 0 and not self.wait(grace_s, self.terminate, reap):
            return []
        return sorted(self.wait(KILL_S, self.kill, reap))

    def wait(self, timeout_s: float, act: Callable[[dict[int, Process]], None], reap: bool) -> set[int]:
        """Acts on what is alive until nothing is, for at most ``timeout_s``; returns what is left."""
        deadline = time.monotonic() + timeout_s
        pause = POLL_S[0]
        while True:
            begin = time.monotonic()
            alive = self._look(reap)
            if not alive or begin >= deadline:
                return set(alive)
            act(alive)
            # On a machine with thousands of processes a look takes long: spend at most a third of the time on looking.
            spent = time.monotonic() - begin
            time.sleep(min(max(pause, 2 * spent), max(deadline - time.monotonic(), 0.0)))
            pause = min(pause * 2, POLL_S[1])

    def terminate(self, alive: dict[int, Process]) -> None:
        """SIGTERM; a stopped process is let go on, or it could not answer."""
        fresh = ask_to_end(alive, self._asked)
        signal_all([pid for pid in fresh if alive[pid].state in "Tt"], signal.SIGCONT)

    def kill(self, alive: dict[int, Process]) -> None:
        """SIGKILL to all, once all are stopped.

        The kernel does not finish a fork of what has been sent a signal, so a look that finds nothing but what is stopped already is the last.
        A parent killed before that would leave a child that cannot be traced to the tree.
        """
        stopped: set[int] = set()
        for _ in range(STOPS):
            fresh = alive.keys() - stopped
            if not fresh:
                break
            signal_all(fresh, signal.SIGSTOP)
            stopped |= fresh
            alive = self._look(reap=False)
        signal_all(alive, signal.SIGKILL)

    def _look(self, reap: bool) -> dict[int, Process]:
        """The living processes of the tree, found anew."""
        now = snapshot()
        for pid in [pid for pid, start in self._known.items() if pid in now and now[pid].start not in {start, 0}]:
            del self._known[pid]  # the number was given to another process
            self._led.discard(pid)
        while fresh := [p for p in now.values() if p.pid not in self._known and self._belongs(p)]:
            for process in fresh:
                self._known[process.pid] = process.start
                self._led.add(process.pid)
        members = [now[pid] for pid in self._known if pid in now]
        if reap:
            _reap(p.pid for p in members if not p.is_alive and p.parent == self._me)
        return {p.pid: p for p in members if p.is_alive}

    def _belongs(self, process: Process) -> bool:
        if process.pid in self._spare or (process.pid in self._roots and not self._include_root):
            return False
        return (
            process.parent in self._roots
            or process.parent in self._known
            or process.group in self._led
            or process.session in self._led
        )


def _reap(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):  # another thread of this process was faster
            os.waitpid(pid, os.WNOHANG)


def die_with_parent(parent: int | None = None) -> bool:
    """Has the kernel kill this process when the *thread* that started it ends.

    Args:
        parent: number of the process that should be the parent; when it has died before this call, this process ends now.

    Returns:
        Whether the system can do so (Linux).
    """
    if not _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL):
        return False
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return True


def become_subreaper() -> bool:
    """Has the kernel give orphans among the descendants of this process to it, however they detached themselves.

    Returns:
        Whether the system can do so (Linux).
    """
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    import ctypes

    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
