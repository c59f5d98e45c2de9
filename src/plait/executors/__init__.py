"""Executors: where tasks run. The names are loaded when they are first used: workers need none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait._util.lazy import lazy

if TYPE_CHECKING:
    from plait.executors.base import Executor as Executor
    from plait.executors.base import ExecutorContext as ExecutorContext
    from plait.executors.base import ExecutorStatus as ExecutorStatus
    from plait.executors.htex.executor import HighThroughputExecutor as HighThroughputExecutor
    from plait.executors.mpi import MPIExecutor as MPIExecutor
    from plait.executors.processes import ProcessPoolExecutor as ProcessPoolExecutor
    from plait.executors.threads import ThreadPoolExecutor as ThreadPoolExecutor

_HOME = {
    "Executor": "base",
    "ExecutorContext": "base",
    "ExecutorStatus": "base",
    "HighThroughputExecutor": "htex.executor",
    "MPIExecutor": "mpi",
    "ProcessPoolExecutor": "processes",
    "ThreadPoolExecutor": "threads",
}
__all__ = [*_HOME]  # noqa: PLE0604 # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazy(__name__, _HOME)
