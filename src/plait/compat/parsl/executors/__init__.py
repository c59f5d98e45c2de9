"""``parsl.executors``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from plait.compat.parsl._lazy import lazy
from plait.compat.parsl.executors.threads import ThreadPoolExecutor

if TYPE_CHECKING:
    from plait.compat.parsl.executors.high_throughput.executor import HighThroughputExecutor as HighThroughputExecutor
    from plait.compat.parsl.executors.high_throughput.mpi_executor import MPIExecutor as MPIExecutor

__all__ = ["HighThroughputExecutor", "MPIExecutor", "ThreadPoolExecutor"]

_HOME = {"HighThroughputExecutor": "executor", "MPIExecutor": "mpi_executor"}


def __getattr__(name: str) -> object:
    if name in _HOME:
        value = getattr(importlib.import_module(f"plait.compat.parsl.executors.high_throughput.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    return _submodule(name)


_submodule = lazy(__name__)
