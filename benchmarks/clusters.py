"""What a batch system adds: `python -m benchmarks.clusters [--rounds 5]`, as root on a machine that can start Slurm (tests/testbed).

Start-up of blocks
    From the call of `submit` to the first manager. Slurm's own time is that of a job which only writes down when it began; the rest is ours:
    the batch script, the launcher, Python, the connection. Beside it the same on the LocalProvider, which has no scheduler.
Polling
    One look at 100 jobs that wait in the queue: elapsed time and CPU time of this process and of the command, against the bare command.
Throughput
    No-op tasks per second on managers that Slurm started, against managers of the LocalProvider, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import plait
from benchmarks import machine, tasks
from benchmarks.runner import ROOT
from plait.launchers import SrunLauncher
from plait.providers import LocalProvider, SlurmProvider
from tests.testbed.slurm import Slurm

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.providers.base import ExecutionProvider

WORKERS = 2
JOBS = 100


def slurm(**options: object) -> SlurmProvider:
    """One node of the bed; no task of the benchmark asks for more."""
    return SlurmProvider(launcher=SrunLauncher(), exclusive=True, walltime="00:10:00", cmd_timeout=60, **options)  # type: ignore[arg-type]


def local() -> LocalProvider:
    return LocalProvider()


# ------------------------------------------------------------------ start-up
def scheduler_s(folder: Path) -> float:
    """Slurm's own time: from before `sbatch` to the first line of the job."""
    began = folder / "began"
    began.unlink(missing_ok=True)
    start_s = time.time()
    command = f"date +%s.%N > {began}.new; mv {began}.new {began}"
    subprocess.run(
        ["sbatch", "--exclusive", "--output=/dev/null", f"--wrap={command}"], check=True, capture_output=True
    )
    while not began.exists():
        time.sleep(0.005)
    return float(began.read_text()) - start_s


def manager_s(make: Callable[[], ExecutionProvider]) -> float:
    """From the request of a block to its first manager. The interchange is up before that."""
    provider = make()
    provider.init_blocks = 0
    executor = plait.HighThroughputExecutor("htex", provider, max_workers_per_node=WORKERS, cores_per_worker=0.5)
    config = plait.Config([executor], strategy="none", initialize_logging=False, progress=False)
    with plait.load(config):
        executor.connected_managers()  # waits for the interchange
        start_s = time.perf_counter()
        executor.scale_out(1)
        while not executor.connected_managers():
            time.sleep(0.002)
        return time.perf_counter() - start_s


# ------------------------------------------------------------------ polling
def cpu_s() -> float:
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def timed(function: Callable[[], object], count: int = 20) -> tuple[float, float]:
    """Median elapsed time of a call, and its mean CPU time, commands included; seconds."""
    elapsed, before_s = [], cpu_s()
    for _ in range(count):
        start_s = time.perf_counter()
        function()
        elapsed.append(time.perf_counter() - start_s)
    return statistics.median(elapsed), (cpu_s() - before_s) / count


def polling(folder: Path) -> dict[str, float]:
    provider = slurm(max_blocks=JOBS, status_batch_size=JOBS, scheduler_options="#SBATCH --hold")
    provider.script_dir = str(folder)
    answers = provider.submit_many([("true", 1, f"plait.bench.block-{number}") for number in range(JOBS)])
    jobs = [answer for answer in answers if isinstance(answer, str)]
    try:
        assert len(jobs) == JOBS, answers
        wall_s, used_s = timed(lambda: provider.status(jobs))
        bare_s, bare_cpu_s = timed(lambda: subprocess.run(["squeue", "--me"], check=True, capture_output=True))
    finally:
        provider.cancel(jobs)
    return {
        "poll_ms": 1e3 * wall_s,
        "poll_cpu_ms": 1e3 * used_s,
        "squeue_ms": 1e3 * bare_s,
        "squeue_cpu_ms": 1e3 * bare_cpu_s,
    }


# ------------------------------------------------------------------ throughput
def rate(make: Callable[[], ExecutionProvider], count: int) -> float:
    executor = plait.HighThroughputExecutor("htex", make(), max_workers_per_node=WORKERS, cores_per_worker=0.5)
    with plait.load(plait.Config([executor], strategy="none", initialize_logging=False, progress=False)):
        noop = plait.python_app(tasks.noop)
        for future in [noop() for _ in range(200)]:
            future.result()
        start_s = time.perf_counter()
        for future in [noop() for _ in range(count)]:
            future.result()
        return count / (time.perf_counter() - start_s)


def measure(rounds: int, count: int) -> dict[str, float]:
    """All figures: medians over the rounds."""
    rows: list[dict[str, float]] = []
    with Slurm(nodes=2) as bed, tempfile.TemporaryDirectory() as name:
        os.environ["SLURM_CONF"] = bed.env["SLURM_CONF"]
        for _ in range(rounds):
            scheduler, ours, here = scheduler_s(Path(name)), manager_s(slurm), manager_s(local)
            there, beside = rate(slurm, count), rate(local, count)
            rows.append(
                {
                    "scheduler_s": scheduler, "block_s": ours, "overhead_s": ours - scheduler, "local_block_s": here,
                    "slurm_rate": there, "local_rate": beside, "rate_ratio": there / beside,
                }
            )  # fmt: skip
            bed.cancel_all()
        rows[-1].update(polling(Path(name)))
        bed.cancel_all()
    keys = rows[-1].keys()
    return {key: statistics.median(row[key] for row in rows if key in row) for key in keys}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clusters", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.rounds, options.tasks)
    if options.json:
        print(json.dumps({"machine": machine.describe(ROOT), "rounds": options.rounds, **figures}, indent=2))
        return
    print(
        f"Slurm: a job begins after {figures['scheduler_s']:.2f} s; a block's manager is up after {figures['block_s']:.2f} s,"
    )
    print(
        f"       of which {figures['overhead_s']:.2f} s are ours (on the LocalProvider {figures['local_block_s']:.2f} s)"
    )
    print(
        f"Polling {JOBS} blocks: {figures['poll_ms']:.0f} ms, {figures['poll_cpu_ms']:.0f} ms of CPU; squeue alone {figures['squeue_ms']:.0f} ms, {figures['squeue_cpu_ms']:.0f} ms of CPU"
    )
    print(
        f"Tasks: {figures['slurm_rate']:,.0f}/s on Slurm, {figures['local_rate']:,.0f}/s on the LocalProvider: {figures['rate_ratio']:.2f} x"
    )


if __name__ == "__main__":
    main()
