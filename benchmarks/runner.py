"""Runs measurements one after another, each in a fresh process, the libraries interleaved: A B C, A B C, …

    runner (this process)                      waits for a quiet moment, starts a child, waits, sweeps
      └─ python -m benchmarks.child            one library, one workload, one record
           └─ workers of the library

What a library leaves behind when its program has ended is counted and killed, so that it cannot disturb the next one. That means every descendant of
this process: call `run` in a process of its own, which `python -m benchmarks` is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import measure
from benchmarks.adapters import ADAPTERS
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.child import Record
    from benchmarks.workloads import Workload

ROOT = Path(__file__).resolve().parent.parent
_ERROR_LINES = 15


@dataclass(frozen=True)
class Plan:
    """What to run."""

    workloads: tuple[str, ...] = tuple(WORKLOADS)
    peers: tuple[str, ...] = ()
    """Empty for those that each workload names."""
    repeats: int = 3
    quick: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    """Counts instead of the usual ones, by workload; the key "" is for all."""
    pythons: dict[str, str] = field(default_factory=dict)
    """Interpreters of libraries that are installed elsewhere, by peer."""
    timeout_s: float | None = None
    wait_for_quiet_s: float = 2.5

    def peers_of(self, workload: Workload) -> list[str]:
        """Return the peers to run, the baselines first."""
        chosen = (workload.baselines and self.peers) or workload.peers or tuple(ADAPTERS)
        fitting = [name for name in chosen if workload.takes_batches or not ADAPTERS[name].for_batches]
        return sorted(fitting, key=list(ADAPTERS).index)

    def count_of(self, workload: Workload) -> int:
        """Return how many tasks, bytes or processes."""
        usual = workload.quick_count if self.quick else workload.count
        everywhere = self.counts.get("", usual) if workload.counts_tasks else usual
        return self.counts.get(workload.name, everywhere)

    def workers_of(self, workload: Workload) -> int:
        """Return how many workers."""
        return (workload.quick_workers if self.quick else None) or workload.workers


def run(plan: Plan, say: Callable[[str], object]) -> list[Record]:
    """Run the plan and return the records; `say` gets a line per measurement."""
    measure.require_linux()
    measure.become_subreaper()
    absent: set[str] = set()
    records: list[Record] = []
    for repeat, workload, peer in _schedule(plan):
        if peer in absent:
            continue
        _wait_for_quiet(plan.wait_for_quiet_s)
        record = _measure(plan, workload, peer) | {"repeat": repeat}
        if record["status"] == "not installed":
            absent.add(peer)
        say(_describe(record, workload))
        records.append(record)
    return records


def _schedule(plan: Plan) -> Iterator[tuple[int, Workload, str]]:
    for name in plan.workloads:
        workload = WORKLOADS[name]
        peers = plan.peers_of(workload)
        for repeat in range(min(plan.repeats, workload.most_repeats)):
            for peer in peers:
                yield repeat, workload, peer


def _environment(python: str) -> dict[str, str]:
    """Let workers import `benchmarks` and this checkout of plait, and find the console scripts of the interpreter."""
    environment = dict(os.environ)
    paths = [str(ROOT), str(ROOT / "src"), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    environment["PATH"] = os.pathsep.join((str(Path(python).parent), environment.get("PATH", os.defpath)))
    return environment


def _measure(plan: Plan, workload: Workload, peer: str) -> Record:
    """Run one child process and return its record, whatever becomes of it."""
    count, workers = plan.count_of(workload), plan.workers_of(workload)
    python = plan.pythons.get(peer, sys.executable)
    record: Record = {
        "workload": workload.name, "peer": peer, "workers": workers, "count": count, "status": "failed", "metrics": {}
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        report, log = Path(directory, "record.json"), Path(directory, "log")
        command = [python, "-m", "benchmarks.child", peer, workload.name, str(count), str(workers), str(report)]
        with log.open("wb") as output:
            exit_status = _run(command, directory, output.fileno(), python, plan.timeout_s or workload.timeout_s)
        record["left_behind"] = _sweep()
        if report.exists():
            record |= json.loads(report.read_text())
        if exit_status != 0:
            record["exit"] = exit_status
            record["log"] = log.read_text(errors="replace").splitlines()[-_ERROR_LINES:]
    return record


def _run(command: list[str], directory: str, output: int, python: str, timeout_s: float) -> int | str:
    """Return the exit status of the child, or "timeout" after its whole tree was killed."""
    child = subprocess.Popen(
        command, cwd=directory, env=_environment(python), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        start_new_session=True,
    )  # fmt: skip
    try:
        return child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        _kill(measure.descendants(os.getpid()))
        child.wait()
        return "timeout"
    except BaseException:
        _kill(measure.descendants(os.getpid()))
        raise


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _sweep() -> int:
    """Give the library's processes a moment to end, count and kill the rest, and reap the orphans."""
    deadline = time.monotonic() + 0.5
    while True:
        _reap()
        left = measure.descendants(os.getpid())
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    _kill(left)
    while measure.descendants(os.getpid()):
        _reap()
        time.sleep(0.01)
    return len(left)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _wait_for_quiet(limit_s: float, quiet_cores: float = 0.4) -> None:
    """Wait until others use little of the machine, but not for long."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        busy, start = measure.machine_busy_s()[0], time.monotonic()
        time.sleep(0.4)
        if (measure.machine_busy_s()[0] - busy) / (time.monotonic() - start) < quiet_cores:
            return


def _describe(record: Record, workload: Workload) -> str:
    head = f"{record['workload']:14} {record['peer']:16} "
    if record["status"] != "ok":
        return f"{head}{record['status']}" + "".join(f"\n    {line}" for line in record.get("log", ()))
    metrics = record["metrics"]
    figures = (workload.metric, *workload.columns, "cpu_us", "submit_us", "foreign_cores")
    text = "  ".join(f"{name}={float(metrics[name]):.4g}" for name in dict.fromkeys(figures) if name in metrics)
    left = f"  LEFT BEHIND: {record['left_behind']} processes" if record["left_behind"] else ""
    ended = f"  ENDED WITH {record['exit']}" if "exit" in record else ""
    return f"{head}{text}{left}{ended}"
