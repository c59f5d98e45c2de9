"""Executors: where tasks run. The names are loaded when they are first used: workers need none of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.executors.base import Executor, ExecutorContext, ExecutorStatus
    from plait.executors.htex.executor import HighThroughputExecutor
    from plait.executors.processes import ProcessPoolExecutor
    from plait.executors.threads import ThreadPoolExecutor

__all__ = [
    "Executor",
    "ExecutorContext",
    "ExecutorStatus",
    "HighThroughputExecutor",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
]

_HOME = {"HighThroughputExecutor": "htex.executor", "ProcessPoolExecutor": "processes", "ThreadPoolExecutor": "threads"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'plait.executors' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"plait.executors.{_HOME.get(name, 'base')}"), name)
    globals()[name] = value
    return value
