"""``parsl.executors``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from plait.compat.parsl._lazy import lazy
from plait.compat.parsl.executors.threads import ThreadPoolExecutor

if TYPE_CHECKING:
    from plait.compat.parsl.executors.high_throughput.executor import HighThroughputExecutor as HighThroughputExecutor

__all__ = ["HighThroughputExecutor", "ThreadPoolExecutor"]


def __getattr__(name: str) -> object:
    if name == "HighThroughputExecutor":
        value = importlib.import_module("plait.compat.parsl.executors.high_throughput.executor").HighThroughputExecutor
        globals()[name] = value
        return value
    return _submodule(name)


_submodule = lazy(__name__, "base", "errors", "execute_task", "high_throughput", "status_handling", "threads")
