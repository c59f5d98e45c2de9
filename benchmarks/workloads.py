"""The workloads: what is run, how often, and which figure counts. Each runs in a fresh process with a fresh library."""

from __future__ import annotations

import gc
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import byhand, tasks
from benchmarks.measure import Window, own_rss_bytes, quantile, tree_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.adapters import Adapter, Handle

Metrics = dict[str, float]

SEGMENTS = 10
"""A long run is timed in this many equal parts."""


def _warm_up(adapter: Adapter, workers: int) -> None:
    """Start every worker and let each run a few tasks."""
    if adapter.for_batches:
        adapter.wait(adapter.submit_many(tasks.noop, 40 * workers))
        return
    noop, sleep = adapter.app(tasks.noop), adapter.app(tasks.sleep)
    adapter.wait([sleep(0.01) for _ in range(workers)])
    for _ in range(2):
        adapter.wait([noop() for _ in range(20 * min(workers, 8))])


def throughput(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Submit `count` no-ops, then wait for all; the handles are kept."""
    _warm_up(adapter, workers)
    with Window() as window:
        start = time.perf_counter()
        handles = adapter.submit_many(tasks.noop, count)
        submit_s = time.perf_counter() - start
        adapter.wait(handles)
    submit = {} if adapter.blocking else {"submit_us": 1e6 * submit_s / count}
    return {**window.metrics(count), **submit}


def latency(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Submit one no-op and wait for it, `count` times."""
    _warm_up(adapter, workers)
    app, times = adapter.app(tasks.noop), []
    with Window() as window:
        for _ in range(count):
            start = time.perf_counter()
            adapter.result(app())
            times.append(time.perf_counter() - start)
    return {**window.metrics(count), "p50_us": 1e6 * quantile(times, 0.5), "p99_us": 1e6 * quantile(times, 0.99)}


def _check(found: object, expected: object) -> None:
    if found != expected:
        message = f"wrong result: {found!r} instead of {expected!r}"
        raise AssertionError(message)


def chain(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Run `count` tasks, each of which takes the result of the one before."""
    _warm_up(adapter, workers)
    app = byhand.app(adapter, tasks.increment)
    with Window() as window:
        handle = app(0)
        for _ in range(count - 1):
            handle = app(handle)
        result = adapter.result(handle)
    _check(result, count)
    return window.metrics(count)


def tree(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Reduce `count` leaves to one by adding pairs: one task less than twice as many."""
    _warm_up(adapter, workers)
    leaf, add = byhand.app(adapter, tasks.identity), byhand.app(adapter, tasks.add)
    with Window() as window:
        level = [leaf(1) for _ in range(count)]
        while len(level) > 1:
            pairs = [add(*level[i : i + 2]) for i in range(0, len(level) - 1, 2)]
            level = pairs + level[len(pairs) * 2 :]
        result = adapter.result(level[0])
    _check(result, count % 1_000_003)
    return window.metrics(2 * count - 1)


def layers(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Run a square of about `count` tasks; each has three random parents in the layer above."""
    _warm_up(adapter, workers)
    side = math.isqrt(count)
    choose = random.Random(1).choices
    leaf, add = byhand.app(adapter, tasks.identity), byhand.app(adapter, tasks.add)
    with Window() as window:
        layer = [leaf(1) for _ in range(side)]
        for _ in range(side - 1):
            layer = [add(*choose(layer, k=3)) for _ in range(side)]
        adapter.wait(layer)
    return window.metrics(side * side)


def payload(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Send a numpy array of `count` bytes and get one back, one at a time; MB/s count both ways.

    The main figure is for `array + 1` (all of it read, a new one returned), `echo_` for a function that returns its
    argument, `pipelined_` for `array + 1` with all tasks submitted at once.
    """
    import numpy as np

    _warm_up(adapter, workers)
    repeats = 200 if count <= 1 << 14 else max(5, min(40, (1 << 29) // count))
    array = np.resize(np.arange(251, dtype=np.uint8), count)
    plus_one, echo = adapter.app(tasks.plus_one), adapter.app(tasks.identity)
    _check(adapter.result(plus_one(array)).tobytes(), (array + 1).tobytes())
    _check(adapter.result(echo(array)).tobytes(), array.tobytes())

    def one_at_a_time(app: Callable[..., Handle]) -> float:
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            adapter.result(app(array))
            times.append(time.perf_counter() - start)
        return 2e-6 * count / quantile(times, 0.5)

    with Window() as window:
        megabytes_per_s = one_at_a_time(plus_one)
    echo_megabytes_per_s = one_at_a_time(echo)
    start = time.perf_counter()
    for handle in [plus_one(array) for _ in range(repeats)]:
        adapter.result(handle)
    pipelined = 2e-6 * count * repeats / (time.perf_counter() - start)
    return {
        **window.metrics(repeats),
        "mb_per_s": megabytes_per_s,
        "echo_mb_per_s": echo_megabytes_per_s,
        "pipelined_mb_per_s": pipelined,
    }


def _settled_rss() -> int:
    """Resident memory after garbage collection and a moment for the background threads."""
    gc.collect()
    time.sleep(1.0)
    gc.collect()
    return own_rss_bytes()


def memory(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Driver memory per task: `count` no-ops behind blocked workers, then finished, then with their handles dropped."""
    _warm_up(adapter, workers)
    with tempfile.TemporaryDirectory() as directory:
        gate = Path(directory, "open")
        block, noop = adapter.app(tasks.wait_for_file), adapter.app(tasks.noop)
        blockers = [block(str(gate)) for _ in range(workers)]
        time.sleep(0.3)
        before, children = _settled_rss(), tree_usage().children_rss_bytes
        with Window() as window:
            handles = [noop() for _ in range(count)]
            pending = _settled_rss()
            gate.touch()
            adapter.wait(blockers)
            adapter.wait(handles)
    kept, children_kept = _settled_rss(), tree_usage().children_rss_bytes
    del handles, blockers
    dropped = _settled_rss()
    return {
        **window.metrics(count),
        "pending_bytes": (pending - before) / count,
        "kept_bytes": (kept - before) / count,
        "dropped_bytes": (dropped - before) / count,
        "children_kept_bytes": (children_kept - children) / count,
    }


def long_run(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Run `count` no-ops in ten parts, all futures kept to the end: does it slow down, does it return its memory?"""
    _warm_up(adapter, workers)
    part = max(1, count // SEGMENTS)
    app = adapter.app(tasks.noop)
    before, children, times = _settled_rss(), tree_usage().children_rss_bytes, []
    kept: list[list[Handle]] = []
    with Window() as window:
        for _ in range(SEGMENTS):
            start = time.perf_counter()
            kept.append([app() for _ in range(part)])
            adapter.wait(kept[-1])
            times.append(time.perf_counter() - start)
    peak = _settled_rss()
    del kept
    after = _settled_rss()
    seconds = {f"part_{number}_s": seconds for number, seconds in enumerate(times)}
    return {
        **window.metrics(part * SEGMENTS),
        **seconds,
        "slow_down": times[-1] / times[0],
        "kept_bytes": (peak - before) / (part * SEGMENTS),
        "dropped_bytes": (after - before) / (part * SEGMENTS),
        "children_growth_mb": (tree_usage().children_rss_bytes - children) / 1e6,
        "returned_share": (peak - after) / max(1, peak - before),
    }


def sleeps(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Sleep 10 ms `count` times; efficiency is the ideal time over the time it took."""
    app = adapter.app(tasks.sleep)
    adapter.wait([app(0.05) for _ in range(4 * workers)])  # until all workers are there
    with Window() as window:
        adapter.wait([app(0.01) for _ in range(count)])
    return {**window.metrics(count), "efficiency": count * 0.01 / workers / window.wall_s}


def workers_up(adapter: Adapter, count: int, workers: int) -> Metrics:
    """From before the library is started until all workers ran a task at the same time; the median of `count` starts."""
    times = []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as directory:
            start = time.perf_counter()
            adapter.start(workers)
            try:
                app = adapter.app(tasks.meet)
                adapter.wait([app(directory, workers) for _ in range(workers)])
                times.append(time.perf_counter() - start)
            finally:
                adapter.stop()
    return {"up_s": statistics.median(times)}


def exchange(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Run plait's interchange process alone: what it routes on one core, with 2 managers and with 2,000; queued tasks; heartbeats of 4,000 managers.

    `rate` is tasks per CPU second of the interchange: its feeders need the machine's other cores. `wall_rate` is what came out in all.
    """
    from benchmarks.exchange import Exchange

    del adapter
    many = 2_000 if count >= 100_000 else 100
    with Exchange(0) as alone:
        queued = alone.queue(count)
    with Exchange(2, workers) as few, Exchange(many, workers) as crowd:
        rounds = []
        for number in range(3):  # the first warms up: functions are sent, and how long tasks take is learnt
            first = number * count
            rounds.append((few.route(count // 2, first), crowd.route(count // 2, first)))
    with Exchange(2 * many, period_s=30.0) as idle:
        idle.idle(5)  # what connecting left to do
        heartbeats = idle.idle(10)
    with_few, with_many = min((r[0] for r in rounds[1:]), key=_cpu), min((r[1] for r in rounds[1:]), key=_cpu)
    return {
        **with_few,
        "many_rate": with_many["rate"],
        "many_wall_rate": with_many["wall_rate"],
        "slower_with_many": statistics.median(b["cpu_us"] / a["cpu_us"] for a, b in rounds[1:]),
        **queued,
        "heartbeat_cores": heartbeats["cores"],
    }


def simulator(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Simulate a run on 8,192 nodes of 32 workers: what it costs, its beginning and its end included."""
    from plait.simulate import Machine, simulate

    del adapter, workers
    nodes = 8_192 if count >= 1_000_000 else 64
    work = {"bag": {"task": {"tasks": count, "duration": "lognormal:60s,0.3"}}}
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    result = simulate(work, Machine(nodes=nodes, workers=32))
    cpu_s = time.process_time() - start_cpu_s
    assert result.done == count
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "rate": count / cpu_s,
        "wall_rate": count / (time.perf_counter() - start_s),
        "cpu_us": cpu_s / count * 1e6,
        "cpu_s": cpu_s,
        "peak_mb": peak_bytes / 1e6,
    }


def _cpu(metrics: Metrics) -> float:
    return metrics["cpu_us"]


def shell(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Run the shell command `true` `count` times."""
    _warm_up(adapter, workers)
    app = adapter.shell()
    adapter.wait([app() for _ in range(8)])
    with Window() as window:
        adapter.wait([app() for _ in range(count)])
    return window.metrics(count)


_IMPORT_TIMER = "import time; t = time.perf_counter()\n{}\nprint(time.perf_counter() - t)"
_COLD_START = "import sys; from benchmarks.coldstart import main; main(*sys.argv[1:])"


def _import_s(statement: str) -> float:
    command = [sys.executable, "-c", _IMPORT_TIMER.format(statement)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _cold_run(name: str, workers: int, report: Path) -> Metrics:
    """One user program in a fresh process; the clock is the system-wide monotonic one."""
    command = [sys.executable, "-c", _COLD_START, name, str(workers), str(report)]
    start = time.monotonic()
    subprocess.run(command, check=True)
    end = time.monotonic()
    first, last = (float(text) for text in report.read_text().split())
    return {"first_result_s": first - start, "exit_s": end - last, "wall_s": end - start}


def cold_start(adapter: Adapter, count: int, workers: int) -> Metrics:
    """Time, in `count` fresh processes each: the import; process start to first result; last result to process end."""
    from benchmarks.adapters import ADAPTERS

    name = next(name for name, kind in ADAPTERS.items() if kind is type(adapter))
    _import_s(adapter.import_statement)  # compiles what is not compiled yet
    imports = [_import_s(adapter.import_statement) for _ in range(count)]
    with tempfile.TemporaryDirectory() as directory:
        runs = [_cold_run(name, workers, Path(directory, "times")) for _ in range(count)]
    return {
        "import_s": statistics.median(imports),
        **{key: statistics.median(run[key] for run in runs) for key in runs[0]},
    }


@dataclass(frozen=True)
class Workload:
    """A workload as it is listed, run and reported."""

    name: str
    title: str
    run: Callable[[Adapter, int, int], Metrics]
    count: int
    quick_count: int
    metric: str
    """The figure that is compared with the baseline's."""
    columns: Sequence[str] = ()
    """Further figures for the table; CPU and submit time are always there."""
    workers: int = 2
    quick_workers: int | None = None
    baselines: tuple[str, ...] = ("ppe",)
    """A peer is compared with the first of these; threads with the second, if there is one."""
    peers: tuple[str, ...] = ()
    """Peers that run it unless others are asked for; empty for all."""
    less_is_better: bool = False
    counts_tasks: bool = True
    """Whether `count` is a number of tasks, which is bounded for slow libraries."""
    takes_batches: bool = False
    """Whether the tasks are one batch, so that the batch interfaces of libraries can run it."""
    starts_library: bool = True
    timeout_s: float = 240
    most_repeats: int = 99


_BOTH = ("ppe", "tpe")

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload("noop-1k", "1,000 no-ops", throughput, 1_000, 500, "rate", baselines=_BOTH, takes_batches=True),
        Workload("noop-10k", "10,000 no-ops", throughput, 10_000, 3_000, "rate", baselines=_BOTH, takes_batches=True),
        Workload(
            "noop-100k", "100,000 no-ops", throughput, 100_000, 10_000, "rate", baselines=_BOTH, takes_batches=True
        ),
        Workload(
            "latency",
            "submit().result(), one at a time",
            latency,
            2_000,
            500,
            "p50_us",
            ("p99_us",),
            baselines=_BOTH,
            less_is_better=True,
        ),
        Workload("chain", "chain of 2,000 tasks", chain, 2_000, 500, "rate", baselines=_BOTH),
        Workload("tree", "reduction tree of 4,096 leaves", tree, 4_096, 512, "rate", baselines=_BOTH),
        Workload("layers", "100 x 100 random layers, 3 parents", layers, 10_000, 900, "rate", baselines=_BOTH),
        *(
            Workload(
                f"payload-{label}",
                f"numpy array of {label} as argument and result",
                payload,
                size,
                size,
                "mb_per_s",
                ("echo_mb_per_s", "pipelined_mb_per_s"),
                counts_tasks=False,
            )
            for label, size in (("1kb", 1 << 10), ("1mb", 1 << 20), ("50mb", 50 << 20))
        ),
        Workload(
            "memory",
            "driver memory per task, 100,000 tasks",
            memory,
            100_000,
            20_000,
            "kept_bytes",
            ("pending_bytes", "dropped_bytes"),
            baselines=_BOTH,
            less_is_better=True,
        ),
        Workload(
            "million",
            "a million no-ops in ten parts, futures kept",
            long_run,
            1_000_000,
            50_000,
            "slow_down",
            ("rate", "kept_bytes", "dropped_bytes", "returned_share", "children_growth_mb"),
            peers=("plait-processes",),
            less_is_better=True,
            timeout_s=1_200,
            most_repeats=1,
        ),
        Workload(
            "cold-start",
            "import, first result, exit",
            cold_start,
            5,
            2,
            "import_s",
            ("first_result_s", "exit_s"),
            less_is_better=True,
            counts_tasks=False,
            starts_library=False,
        ),
        Workload(
            "sleeps",
            "64 workers, 6,400 sleeps of 10 ms",
            sleeps,
            6_400,
            800,
            "efficiency",
            workers=64,
            quick_workers=16,
        ),
        Workload(
            "workers-up",
            "from load until 16 workers are at work together",
            workers_up,
            3,
            1,
            "up_s",
            workers=16,
            less_is_better=True,
            counts_tasks=False,
            starts_library=False,
        ),
        Workload(
            "exchange",
            "the interchange process alone",
            exchange,
            1_000_000,
            20_000,
            "rate",
            ("wall_rate", "many_rate", "slower_with_many", "queued_bytes", "heartbeat_cores"),
            baselines=(),
            peers=("plait-htex",),
            starts_library=False,
            timeout_s=600,
            most_repeats=2,
        ),
        Workload(
            "simulator",
            "a simulated run on 8,192 nodes of 32 workers",
            simulator,
            1_000_000,
            20_000,
            "rate",
            ("wall_rate", "cpu_us", "cpu_s", "peak_mb"),
            baselines=(),
            peers=("plait-htex",),
            starts_library=False,
            timeout_s=7_200,  # ten million tasks, when asked for, on a busy machine
            most_repeats=1,
        ),
        Workload("shell", "bash apps `true`", shell, 1_000, 200, "rate"),
    )
}
