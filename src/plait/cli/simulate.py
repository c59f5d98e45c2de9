"""``plait simulate``: how a run would go on another machine, or under another policy."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait.cli.main import DONE, FAILED
from plait.errors import ConfigurationError
from plait.model.units import format_duration, parse_bytes, parse_duration

if TYPE_CHECKING:
    from plait.simulate import Machine, Result, Workload

#: Seconds between two lines that say how far a long simulation is.
_PROGRESS_S: Final = 5.0


@dataclass(frozen=True)
class Order:
    """What was asked for on the command line, as text where it has units."""

    workload: str
    run_dir: str = "runinfo"
    nodes: int = 1
    workers: int = 1
    policy: str = "spread"
    strategy: str = "simple"
    nodes_per_block: int | None = None
    init_blocks: int | None = None
    memory: str | None = None
    gpus: int = 0
    latency: str = "100us"
    bandwidth: str = "1.25GB"
    queue_wait: str = "0"
    start: str = "1"
    walltime: str | None = None
    fail_rate: float = 0.0
    seed: int = 0
    copies: int = 1
    recorded_times: bool = False
    asks: tuple[str, ...] = ()
    chart: str | None = None


def simulate(order: Order, *, as_json: bool) -> int:
    """Simulates and prints; returns the exit code.

    Raises:
        ConfigurationError: something that was asked for cannot be done.
        RunNotFound: there is no such run.
    """
    from plait import simulate as simulator
    from plait.simulate import charts

    if order.chart is not None and not order.chart.endswith((".html", ".svg")):
        raise ConfigurationError(f"--chart {order.chart}: expected a file that ends in .html or .svg")
    machine = machine_of(order)
    result = simulator.simulate(
        _workload(order), machine, order.policy, order.seed, None if as_json or not sys.stderr.isatty() else _Progress()
    )
    if as_json:
        print(json.dumps(result.data(), indent=2))
    else:
        print(charts.text(result, shutil.get_terminal_size().columns))
    if order.chart is not None:
        try:
            charts.write_chart(result, order.chart)
        except OSError as error:
            raise ConfigurationError(
                f"--chart {order.chart}: {error.strerror or error}; name a file that you may write"
            ) from error
        if not as_json:
            print(f"chart in {order.chart}")
    return FAILED if result.unfinished else DONE


def machine_of(order: Order) -> Machine:
    """The machine that was described.

    Raises:
        ConfigurationError: naming the option, its value and what was expected.
    """
    from plait.simulate import Machine, parse_draw

    def quantity(option: str, text: str, read: Any) -> Any:
        try:
            return read(text, option)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

    return Machine(
        nodes=order.nodes,
        workers=order.workers,
        memory_bytes=0 if order.memory is None else quantity("--memory", order.memory, parse_bytes),
        gpus=order.gpus,
        nodes_per_block=order.nodes_per_block,
        init_blocks=order.init_blocks,
        strategy=order.strategy,
        queue_wait=parse_draw(order.queue_wait, "--queue-wait"),
        start=parse_draw(order.start, "--start"),
        walltime_s=None if order.walltime is None else quantity("--walltime", order.walltime, parse_duration),
        latency_s=quantity("--latency", order.latency, _small_duration),
        bandwidth_bytes_s=float(quantity("--bandwidth", order.bandwidth.removesuffix("/s"), parse_bytes)),
        failures_per_hour=order.fail_rate,
    )


def _small_duration(text: str, name: str) -> float:
    """Durations of messages are often below a millisecond: ``"50us"``."""
    text = text.strip()
    if text.endswith(("us", "µs")):
        return parse_duration(text[:-2] + "ms", name) / 1000
    return parse_duration(text, name)


def _workload(order: Order) -> Workload:
    from plait.monitoring.runs import find_run
    from plait.simulate import read_workload

    path = order.workload
    described = path.endswith((".toml", ".json"))
    if described and (order.copies != 1 or order.asks or order.recorded_times):
        raise ConfigurationError(
            "--copies, --ask and --recorded-times are for recorded runs; a description says these things itself"
        )
    if not described and not os.path.isfile(path):
        path = find_run(path, order.run_dir)
    return read_workload(path, dict(map(_ask, order.asks)), copies=order.copies, at_once=not order.recorded_times)


def _ask(text: str) -> tuple[str, dict[str, Any]]:
    """``train:cores=4,gpus=1``: an app, and what each of its tasks asks for."""
    app, colon, rest = text.partition(":")
    pairs = [part.partition("=") for part in rest.split(",") if part.strip()]
    known = {"cores", "memory", "gpus", "disk", "walltime", "priority", "label"}
    if not colon or not pairs or any(key.strip() not in known or not equals for key, equals, _ in pairs):
        raise ConfigurationError(f"--ask {text}: expected APP:cores=N,gpus=N, with some of {', '.join(sorted(known))}")
    return app, {key.strip(): value.strip() for key, _, value in pairs}


class _Progress:
    """A line on standard error now and then, while a simulation takes long."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + _PROGRESS_S

    def __call__(self, result: Result) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + _PROGRESS_S
            ended = result.done + result.failed
            when_s = result.history.times[-1] if result.history.times else 0.0
            print(
                f"plait: {ended / result.tasks:.0%} of {result.tasks:,} tasks, {format_duration(when_s)} of the run",
                file=sys.stderr,
            )
