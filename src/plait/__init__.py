"""plait: ordinary Python functions and shell commands, run in parallel.

>>> import plait
>>> @plait.python_app
... def double(x):
...     return 2 * x
>>> with plait.load():
...     print(double(double(3)).result())
12

Names are loaded when they are first used, so that importing plait costs little, in workers above all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait import errors as errors
    from plait.apps import App as App
    from plait.apps import as_completed as as_completed
    from plait.apps import bash_app as bash_app
    from plait.apps import join_app as join_app
    from plait.apps import map as map  # noqa: A004 - what users look for
    from plait.apps import python_app as python_app
    from plait.apps import wait as wait
    from plait.config import Config as Config
    from plait.dataflow.memo import BasicMemoizer as BasicMemoizer
    from plait.dataflow.memo import Memoizer as Memoizer
    from plait.dataflow.memo import id_for_memo as id_for_memo
    from plait.dataflow.resolve import DEEP_DEPENDENCY_RESOLVER as DEEP_DEPENDENCY_RESOLVER
    from plait.dataflow.resolve import SHALLOW_DEPENDENCY_RESOLVER as SHALLOW_DEPENDENCY_RESOLVER
    from plait.dataflow.resolve import DependencyResolver as DependencyResolver
    from plait.dataflow.retry import Retry as Retry
    from plait.executors.base import Executor as Executor
    from plait.executors.htex.executor import HighThroughputExecutor as HighThroughputExecutor
    from plait.executors.mpi import MPIExecutor as MPIExecutor
    from plait.executors.processes import ProcessPoolExecutor as ProcessPoolExecutor
    from plait.executors.threads import ThreadPoolExecutor as ThreadPoolExecutor
    from plait.futures import AppFuture as AppFuture
    from plait.futures import DataFuture as DataFuture
    from plait.kernel.arguments import AUTO_LOGNAME as AUTO_LOGNAME
    from plait.kernel.kernel import DataFlowKernel as DataFlowKernel
    from plait.kernel.loader import DataFlowKernelLoader as _Loader
    from plait.kernel.loggers import set_file_logger as set_file_logger
    from plait.kernel.loggers import set_stream_logger as set_stream_logger
    from plait.model.files import File as File
    from plait.providers.local import LocalProvider as LocalProvider

    load = _Loader.load
    dfk = _Loader.dfk
    clear = _Loader.clear
    wait_for_current_tasks = _Loader.wait_for_current_tasks
    __version__: str

_HOME = {
    "App": "apps", "as_completed": "apps", "bash_app": "apps", "join_app": "apps", "map": "apps", "python_app": "apps", "wait": "apps",
    "Config": "config",
    "BasicMemoizer": "dataflow.memo", "Memoizer": "dataflow.memo", "id_for_memo": "dataflow.memo",
    "DEEP_DEPENDENCY_RESOLVER": "dataflow.resolve", "SHALLOW_DEPENDENCY_RESOLVER": "dataflow.resolve", "DependencyResolver": "dataflow.resolve",
    "Retry": "dataflow.retry",
    "Executor": "executors.base", "HighThroughputExecutor": "executors.htex.executor", "MPIExecutor": "executors.mpi", "ProcessPoolExecutor": "executors.processes", "ThreadPoolExecutor": "executors.threads",
    "AppFuture": "futures", "DataFuture": "futures",
    "AUTO_LOGNAME": "kernel.arguments", "DataFlowKernel": "kernel.kernel",
    "set_file_logger": "kernel.loggers", "set_stream_logger": "kernel.loggers",
    "File": "model.files",
    "LocalProvider": "providers.local",
    "errors": "",
}  # fmt: skip
_LOADER = ("load", "dfk", "clear", "wait_for_current_tasks")

__all__ = [*_HOME, *_LOADER, "__version__"]  # noqa: PLE0604 # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _LOADER:
        from plait.kernel.loader import DataFlowKernelLoader

        value: Any = getattr(DataFlowKernelLoader, name)
    elif name == "__version__":
        value = importlib.import_module("importlib.metadata").version("plait")
    elif name in _HOME:
        home = _HOME[name]
        value = (
            getattr(importlib.import_module(f"plait.{home}"), name)
            if home
            else importlib.import_module(f"plait.{name}")
        )
    else:
        raise AttributeError(f"module 'plait' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
