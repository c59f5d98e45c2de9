"""Clocks and counters: wall time, CPU of the driver and of all its descendants, memory, and how busy others were.

Linux only: everything is read from `/proc`. Each measuring process is a child subreaper, so that daemons which detach
from their parent stay in the tree and are counted.
"""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PR_SET_CHILD_SUBREAPER = 36
_CPU_CLOCK_OF_PROCESS = 2


class Process(NamedTuple):
    """One line of the process table."""

    parent: int
    own_cpu_s: float
    reaped_cpu_s: float
    rss_bytes: int


class TreeUsage(NamedTuple):
    """What this process and its descendants have used so far."""

    cpu_s: float
    children_rss_bytes: int
    processes: int


def require_linux() -> None:
    """Raise with a clear message on systems that have no `/proc`."""
    if not Path("/proc/self/stat").exists():
        message = "the benchmarks read CPU and memory from /proc, which this system does not have: run them on Linux"
        raise SystemExit(message)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def process_table() -> dict[int, Process]:
    """Return all visible processes by id."""
    table: dict[int, Process] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path(f"/proc/{entry}/stat").read_bytes()
        except OSError:
            continue  # it ended between the listing and the reading
        field = text[text.rindex(b")") + 2 :].split()
        own, reaped = int(field[11]) + int(field[12]), int(field[13]) + int(field[14])
        table[int(entry)] = Process(
            int(field[1]), own / _TICKS_PER_S, reaped / _TICKS_PER_S, int(field[21]) * _PAGE_BYTES
        )
    return table


def descendants(root: int, table: dict[int, Process] | None = None) -> list[int]:
    """Return the ids of all processes below `root`."""
    children: dict[int, list[int]] = {}
    for pid, process in (table or process_table()).items():
        children.setdefault(process.parent, []).append(pid)
    found: list[int] = []
    todo = list(children.get(root, ()))
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, ())
    return found


def _cpu_s(pid: int, process: Process) -> float:
    """CPU of one process and of the children it has reaped; nanosecond clock where it can be read, else ticks."""
    try:
        own = time.clock_gettime((~pid << 3) | _CPU_CLOCK_OF_PROCESS)
    except OSError:
        own = process.own_cpu_s
    return own + process.reaped_cpu_s


def tree_usage() -> TreeUsage:
    """Sum CPU and memory over this process and all its descendants."""
    table = process_table()
    me = os.getpid()
    below = descendants(me, table)
    cpu = sum(_cpu_s(pid, table[pid]) for pid in (me, *below))
    return TreeUsage(cpu, sum(table[pid].rss_bytes for pid in below), 1 + len(below))


def own_rss_bytes() -> int:
    """Return the resident memory of this process."""
    return process_rss_bytes("self")


def process_rss_bytes(pid: int | str) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES


def process_cpu_s(pid: int) -> float:
    """Return the CPU that a process has used so far, all its threads."""
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK_OF_PROCESS)


def machine_busy_s() -> tuple[float, float]:
    """Return the CPU seconds that the whole machine has worked, and those that its host took away."""
    with Path("/proc/stat").open() as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(text) for text in file.readline().split()[1:9])
    return (user + nice + system + irq + softirq) / _TICKS_PER_S, steal / _TICKS_PER_S


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Window:
    """A measured stretch of time: `with Window() as window: …; window.metrics(tasks)`."""

    wall_s: float
    cpu_s: float
    driver_cpu_s: float
    foreign_cores: float
    stolen_cores: float
    processes: int

    def __enter__(self) -> Window:  # noqa: PYI034 - typing.Self needs Python 3.11
        """Start measuring."""
        self._cpu = tree_usage().cpu_s
        self._driver_cpu = time.process_time()
        self._busy, self._stolen = machine_busy_s()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop measuring."""
        self.wall_s = time.perf_counter() - self._start
        self.driver_cpu_s = time.process_time() - self._driver_cpu
        busy, stolen = machine_busy_s()
        usage = tree_usage()
        self.cpu_s = usage.cpu_s - self._cpu
        self.processes = usage.processes
        self.foreign_cores = max(0.0, (busy - self._busy - self.cpu_s) / self.wall_s)
        self.stolen_cores = (stolen - self._stolen) / self.wall_s

    def metrics(self, tasks: int) -> dict[str, float]:
        """Return the figures that every workload reports; what others did only if it is longer than a few ticks."""
        others = {"foreign_cores": self.foreign_cores, "stolen_cores": self.stolen_cores}
        return {
            "wall_s": self.wall_s,
            "rate": tasks / self.wall_s,
            "cpu_us": 1e6 * self.cpu_s / tasks,
            "driver_cpu_us": 1e6 * self.driver_cpu_s / tasks,
            "processes": self.processes,
            **(others if self.wall_s > 10 / _TICKS_PER_S else {}),
        }
