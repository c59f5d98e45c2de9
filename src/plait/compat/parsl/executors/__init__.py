"""``parsl.executors``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from plait.compat.parsl._absent import why_absent
from plait.compat.parsl.executors.threads import ThreadPoolExecutor

if TYPE_CHECKING:
    from plait.compat.parsl.executors.high_throughput.executor import HighThroughputExecutor as HighThroughputExecutor

__all__ = ["HighThroughputExecutor", "ThreadPoolExecutor"]


def __getattr__(name: str) -> object:
    if name == "HighThroughputExecutor":
        value = importlib.import_module("plait.compat.parsl.executors.high_throughput.executor").HighThroughputExecutor
        globals()[name] = value
        return value
    if name in {"base", "errors", "high_throughput", "status_handling"}:  # upstream has imported them
        return importlib.import_module(f"plait.compat.parsl.executors.{name}")
    raise AttributeError(why_absent(f"parsl.executors.{name}") or f"module 'parsl.executors' has no attribute {name!r}")
