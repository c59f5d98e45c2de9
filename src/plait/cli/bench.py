"""``plait bench``: tasks per second of an executor on this machine, with tasks that do nothing."""

from __future__ import annotations

import ast
import copy
import importlib
import json
import os
import re
import runpy
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from plait.cli.main import DONE, FAILED, INTERRUPTED
from plait.cli.tracebacks import text_of
from plait.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Tasks of the first measurement.
_FIRST: Final = 10
#: Share of the time from which on a measurement counts as long enough.
_ENOUGH: Final = 0.75
#: Says that a file of configuration is one of Parsl's.
_USES_PARSL: Final = re.compile(rb"^\s*(?:import|from)\s+parsl\b", re.MULTILINE)


@dataclass(frozen=True)
class Order:
    """What was asked for on the command line; the names are those that users of the field know.

    Attributes:
        config: Python file; None for the defaults.
        resources: literal of a dictionary with what each task asks for.
        time: seconds that a measurement is to take.
        argsize: bytes of each task's argument.
        iterate: ``estimate``, ``exponential``, or numbers of tasks separated by commas.
    """

    config: str | None = None
    resources: str | None = None
    time: float = 120.0
    argsize: int = 0
    iterate: str = "estimate"


@dataclass(frozen=True)
class Iteration:
    """A measurement.

    Attributes:
        tasks: how many.
        submit_s: seconds until all were submitted.
        run_s: seconds until all had ended.
        tasks_per_s: of the whole.
    """

    tasks: int
    submit_s: float
    run_s: float
    tasks_per_s: float


def bench(order: Order, *, as_json: bool) -> int:
    """Measures and prints; returns the exit code.

    Raises:
        ConfigurationError: something that was asked for cannot be done.
    """
    import plait

    if not order.time < float("inf"):
        raise ConfigurationError(f"--time {order.time}: expected seconds")
    resources = _resources(order.resources)
    sizes = _sizes(order.iterate)
    config = _config(order.config)
    where = ", ".join(" ".join(repr(executor).split()) for executor in config.executors)
    if not as_json:
        print(f"plait {plait.__version__} on {where}; arguments of {order.argsize} bytes")
    done: list[Iteration] = []
    try:
        with plait.load(config):
            measure = _measure(resources, order.argsize)
            for iteration in _iterate(sizes, order.time, measure, exponential=order.iterate == "exponential"):
                done.append(iteration)
                if not as_json:
                    print(_line(iteration), flush=True)
    except KeyboardInterrupt:
        print("plait: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ConfigurationError, BrokenPipeError):  # wrong input; or whoever read this has seen enough
        raise
    except Exception as error:  # noqa: BLE001 - whatever the executor or a task of the measurement raised
        print(f"plait: the measurement failed\n{text_of(error)}", end="", file=sys.stderr)
        return FAILED
    if as_json:
        data = {
            "plait": plait.__version__,
            "executors": where,
            "argsize": order.argsize,
            "iterations": [asdict(i) for i in done],
        }
        print(json.dumps(data, indent=2))
    else:
        print(f"{done[-1].tasks_per_s:,.0f} tasks per second")
    return DONE


# ------------------------------------------------------------------ input
def _resources(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigurationError(
            f"--resources {text!r}: expected a dictionary such as \"{{'cores': 2, 'memory': '1GB'}}\""
        )
    return value


def _sizes(text: str) -> list[int]:
    """The numbers of tasks; empty for the two modes that choose them."""
    if text in {"estimate", "exponential"}:
        return []
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ConfigurationError(
            f"--iterate {text!r}: expected `estimate`, `exponential`, or numbers of tasks such as 10,100,1000"
        )
    return [int(part) for part in parts]


def _config(path: str | None) -> Any:
    """A fresh configuration, without a progress display, which would be measured too."""
    import plait

    if path is None:
        return plait.Config(progress=False)
    if not os.path.isfile(path):
        raise ConfigurationError(f"--config {path}: there is no such file")
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))  # as for a script
    try:
        with open(path, "rb") as file:
            if _USES_PARSL.search(file.read()):  # written for parsl-perf
                importlib.import_module("plait.compat.parsl")
        names = runpy.run_path(path, run_name="plait_bench_config")
        made: Any = names["fresh_config"]() if callable(names.get("fresh_config")) else names.get("config")
    except Exception as error:
        raise ConfigurationError(f"--config {path}: it raised {type(error).__name__}: {error}") from error
    if hasattr(type(made), "as_plait"):
        made = made.as_plait()
    if not isinstance(made, plait.Config):
        raise ConfigurationError(
            f"--config {path}: expected a variable `config` that is a plait.Config, or a function `fresh_config` that returns one"
        )
    config = copy.copy(made)
    config.progress = False
    return config


# ------------------------------------------------------------------ measuring
def _noop(_: Any, **_kwargs: Any) -> None:
    """What is measured."""


def _measure(resources: dict[str, Any], argsize: int) -> Callable[[int], Iteration]:
    import plait

    app = plait.python_app(_noop)
    try:
        argument = b"x" * argsize
    except (MemoryError, OverflowError):
        raise ConfigurationError(f"--argsize {argsize}: there is not that much memory") from None
    keywords: dict[str, Any] = {"parsl_resource_specification": resources} if resources else {}

    def measure(tasks: int) -> Iteration:
        begin_s = time.monotonic()
        futures = [app(argument, **keywords) for _ in range(tasks)]
        submitted_s = time.monotonic()
        for future in futures:
            future.result()
        end_s = time.monotonic()
        return Iteration(tasks, submitted_s - begin_s, end_s - begin_s, tasks / (end_s - begin_s))

    return measure


def _iterate(
    sizes: list[int], target_s: float, measure: Callable[[int], Iteration], *, exponential: bool
) -> Iterator[Iteration]:
    """Measures the given numbers of tasks; or ever more, until a measurement has taken the time (at least two)."""
    if sizes:
        yield from map(measure, sizes)
        return
    tasks = _FIRST
    iterations = 0
    while True:
        iteration = measure(tasks)
        iterations += 1
        yield iteration
        if iteration.run_s >= _ENOUGH * target_s and iterations >= 2:
            return
        tasks = tasks * 2 if exponential else max(1, round(target_s * iteration.tasks_per_s))


def _line(iteration: Iteration) -> str:
    return (
        f"{iteration.tasks:>9,} tasks: submitted in {iteration.submit_s:8.3f} s, done in {iteration.run_s:8.3f} s, "
        f"{iteration.tasks_per_s:10,.0f}/s"
    )
