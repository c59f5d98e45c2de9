"""Runs on pilot jobs, and the processes that they are made of."""

from __future__ import annotations

import os
from pathlib import Path

from plait._util import procs
from tests.support import wait_until

#: How managers on this host are reached: a run without files has no socket for them.
LINKS: dict[str, dict] = {"tcp": {}, "unix": {"initialize_logging": True, "run_dir": "runs"}}


def executor(workers: int = 2, *, blocks: int = 1, provider: dict | None = None, **options):
    """A pilot-job executor on this machine that notices losses quickly."""
    import plait
    from plait.providers import LocalProvider

    given = {
        "address": "127.0.0.1",
        "max_workers_per_node": workers,
        "cores_per_worker": 0.25,
        "heartbeat_period": 0.2,
        "heartbeat_threshold": 1.5,
        "provider": LocalProvider(
            **{"init_blocks": blocks, "min_blocks": blocks, "max_blocks": blocks, **(provider or {})}
        ),
    }
    return plait.HighThroughputExecutor(**{**given, **options})


def pilot_jobs(workers: int = 2, *, options: dict | None = None, **config):
    """A run in this process, on `executor`, that leaves no file."""
    import plait

    chosen = {"initialize_logging": False, "progress": False, "strategy_period": 0.1, **config}
    return plait.load(plait.Config(executors=[executor(workers, **(options or {}))], **chosen))


def jobs_on(node, threshold_s: float, **config):
    """A run whose one manager is on another host (`network.node`)."""
    import plait
    from plait.launchers import WrappedLauncher

    there = executor(
        address=node.here,
        provider={"launcher": WrappedLauncher(node.prefix)},
        heartbeat_period=threshold_s / 10,
        heartbeat_threshold=threshold_s,
    )
    return plait.load(plait.Config([there], initialize_logging=False, progress=False, strategy_period=0.1, **config))


def interchanges() -> list[int]:
    """Processes below this one that are interchanges."""
    return _running("htex.interchange")


def managers() -> list[int]:
    """Processes below this one that are managers."""
    return _running("htex.manager")


def workers_of(manager: int) -> list[int]:
    """The workers of a manager: its zygote's children."""
    return [worker for zygote in procs.children_of(manager) for worker in procs.children_of(zygote)]


def up(kernel, count: int = 1):
    """Waits until so many managers are connected; the executor."""
    (htex,) = [one for label, one in kernel.executors.items() if hasattr(one, "connected_managers")]
    wait_until(lambda: len(htex.connected_managers()) >= count, 20)
    return htex


def _running(module: str) -> list[int]:
    return sorted(pid for pid in procs.descendants(os.getpid()) if module in _command(pid))


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return b" ".join(words[1:3]).decode(errors="replace") if words[1:2] in ([b"-m"], [b"-c"]) else ""
