"""The try of ``plait check --submit``: one block for each executor, one task in it, and everything ended again."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plait.cli.dry_run import cluster_of
from plait.configfile.rules import permits
from plait.errors import InvalidResourceSpecification, text_of
from plait.model.resources import DEFAULT
from plait.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.config import Config
    from plait.model.jobs import JobStatus

#: Seconds between two looks at the blocks.
_LOOK_S: Final = 1.0
#: A block of the try asks for no more than this, so that it begins soon.
_WALLTIME_S: Final = 600
_WALLTIME: Final = "00:10:00"


@dataclass
class Trial:
    """How it went with one executor.

    Attributes:
        executor: its label.
        worked: whether the task ran.
        text: what happened, in a sentence.
        seconds: until the task had ended.
        blocks: what was seen of the blocks: (seconds since the start, sentence).
        node: what the task said of the node that it ran on.
    """

    executor: str
    worked: bool = False
    text: str = ""
    seconds: float = 0.0
    blocks: list[tuple[float, str]] = field(default_factory=list)
    node: dict[str, Any] = field(default_factory=dict)


def _where() -> dict[str, Any]:
    """The task: what it finds where it runs."""
    import os
    import platform
    import socket

    variables = (
        "CUDA_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "ZE_AFFINITY_MASK",
        "SLURM_JOB_PARTITION",
        "PBS_QUEUE",
        "QUEUE",
        "LSB_QUEUE",
    )
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "cores": cores,
        "folder": os.getcwd(),
        "environment": {name: os.environ[name] for name in variables if name in os.environ},
    }


def one_block(config: Config) -> Config:
    """The same with one small block for each executor, and nothing that begins more of them, as far as the machine's rules let that be."""
    made = copy.copy(config)
    made.strategy, made.progress, made.retries = "none", False, 0
    for executor in made.executors:
        provider = getattr(executor, "provider", None)
        if provider is None:
            continue
        _say(provider, "min_blocks", 0)
        _say(provider, "init_blocks", max(1, provider.min_blocks))
        _say(provider, "max_blocks", max(1, provider.init_blocks, provider.min_blocks))
        if not provider.init_blocks:  # by a rule: blocks come when there are tasks
            made.strategy = "simple"
        _shorten(provider)
        inner = cluster_of(provider)
        if inner is not None and inner is not provider:  # behind ssh
            _shorten(inner)
            provider.walltime = inner.walltime
    return made


def _say(provider: Any, name: str, value: Any) -> None:
    if permits(provider, name, value):
        setattr(provider, name, value)


def _shorten(provider: Any) -> None:
    lasts_s = getattr(provider, "walltime_s", None)
    if lasts_s is not None and lasts_s > _WALLTIME_S and permits(provider, "walltime", _WALLTIME):
        provider.walltime, provider.walltime_s = _WALLTIME, _WALLTIME_S


def try_out(config: Config, timeout_s: float, say: Callable[[str], object]) -> list[Trial]:
    """Runs a task on a block of each executor and ends everything; one answer for each.

    Args:
        config: the configuration. It is used up.
        timeout_s: how long each may take.
        say: is told what happens as it happens.
    """
    import plait

    trials = [Trial(executor.label) for executor in config.executors]
    begin_s = time.monotonic()
    kernel = plait.load(one_block(config))
    try:
        say(f"\nTrying, for at most {format_duration(timeout_s)}; files in {kernel.run_dir}")
        futures = [
            plait.python_app(_where, kernel, executors=[executor.label], **_options(executor))()
            for executor in config.executors
        ]
        _follow(kernel, trials, futures, begin_s, timeout_s, say)
    finally:
        kernel.cleanup()
        say("Everything of the try was ended.")
    return trials


def _options(executor: Any) -> dict[str, Any]:
    """What a task must ask for to be taken."""
    try:
        executor.check(DEFAULT)
    except InvalidResourceSpecification:
        return {"nodes": 1, "ranks_per_node": 1}
    return {}


def _follow(kernel: Any, trials: list[Trial], futures: list[Any], begin_s: float, timeout_s: float, say: Any) -> None:
    executors = {executor.label: executor for executor in kernel.config.executors}
    left = dict(zip((trial.executor for trial in trials), zip(trials, futures, strict=True), strict=True))
    seen: dict[str, str] = {}
    while left:
        now_s = time.monotonic() - begin_s
        for label, (trial, future) in list(left.items()):
            _blocks(executors[label], trial, seen, now_s, say)
            if future.done():
                _ended(trial, future, now_s)
            elif now_s > timeout_s:
                trial.text = f"after {format_duration(now_s)} it had not run: {future.explain()}"
            else:
                continue
            trial.seconds = now_s
            say(f"{label}: {trial.text}")
            del left[label]
        if left:
            future = next(iter(left.values()))[1]
            _wait(future, min(_LOOK_S, max(0.05, timeout_s - now_s)))


def _wait(future: Any, seconds: float) -> None:
    import concurrent.futures

    concurrent.futures.wait([future], timeout=seconds)


def _ended(trial: Trial, future: Any, now_s: float) -> None:
    error = future.exception()
    if error is not None:
        trial.text = f"the task failed after {format_duration(now_s)}: {text_of(error)}"
        return
    trial.worked = True
    trial.node = future.result()
    trial.text = f"a task ran after {format_duration(now_s)} on {trial.node['host']}, Python {trial.node['python']}, {trial.node['cores']} cores"


def _blocks(executor: Any, trial: Trial, seen: dict[str, str], now_s: float, say: Any) -> None:
    """Says what changed about the blocks of an executor."""
    ask: Callable[[], dict[str, JobStatus]] | None = getattr(executor, "block_status", None)
    for block, job in ask().items() if ask is not None else ():
        text = f"block {block} is {job.state.name.lower()}{f' ({job.message})' if job.message else ''}"
        if seen.get(f"{executor.label}/{block}") != text:
            seen[f"{executor.label}/{block}"] = text
            trial.blocks.append((round(now_s, 1), text))
            say(f"{executor.label}: {text} after {format_duration(now_s)}")
