"""Parsl's import paths over plait.

Importing this module makes ``import parsl`` and its documented submodules resolve to thin modules over plait, in this process and in
its workers: ``parsl.x`` is ``plait.compat.parsl.x``, one module under both names. What it means is what it means upstream: threads by
default, an app called before `load` raises. The differences are listed in docs/reference/differences-from-parsl.md.

    python -m plait.compat.parsl script.py      a program that says ``import parsl``
    pytest -p plait.compat.parsl                its tests
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from plait.compat.parsl._absent import why_absent
from plait.compat.parsl._alias import install

if TYPE_CHECKING:
    from plait.compat.parsl.app.app import bash_app as bash_app
    from plait.compat.parsl.app.app import join_app as join_app
    from plait.compat.parsl.app.app import python_app as python_app
    from plait.compat.parsl.config import Config as Config
    from plait.compat.parsl.data_provider.files import File as File
    from plait.compat.parsl.dataflow.dflow import DataFlowKernel as DataFlowKernel
    from plait.compat.parsl.dataflow.dflow import DataFlowKernelLoader as DataFlowKernelLoader
    from plait.compat.parsl.executors.high_throughput.executor import HighThroughputExecutor as HighThroughputExecutor
    from plait.compat.parsl.executors.threads import ThreadPoolExecutor as ThreadPoolExecutor
    from plait.compat.parsl.log_utils import set_file_logger as set_file_logger
    from plait.compat.parsl.log_utils import set_stream_logger as set_stream_logger
    from plait.compat.parsl.version import VERSION as VERSION

    load = DataFlowKernelLoader.load
    clear = DataFlowKernelLoader.clear
    dfk = DataFlowKernelLoader.dfk
    wait_for_current_tasks = DataFlowKernelLoader.wait_for_current_tasks
    __version__: str

AUTO_LOGNAME = -1

_HOME = {
    "python_app": "app.app", "bash_app": "app.app", "join_app": "app.app",
    "Config": "config",
    "DataFlowKernel": "dataflow.dflow", "DataFlowKernelLoader": "dataflow.dflow",
    "File": "data_provider.files",
    "HighThroughputExecutor": "executors.high_throughput.executor", "ThreadPoolExecutor": "executors.threads",
    "set_stream_logger": "log_utils", "set_file_logger": "log_utils",
    "VERSION": "version",
}  # fmt: skip
_LOADER = ("load", "clear", "dfk", "wait_for_current_tasks")
#: Submodules that upstream's package has imported when it is imported, so that programs reach them as attributes.
_MODULES = frozenset({
    "addresses", "app", "concurrent", "config", "configs", "data_provider", "dataflow", "errors", "executors", "jobs", "launchers", "log_utils", "logconfigs",
    "multiprocessing", "providers", "serialize", "usage_tracking", "utils", "version",
})  # fmt: skip

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "AUTO_LOGNAME", "Config", "DataFlowKernel", "File", "HighThroughputExecutor", "ThreadPoolExecutor", "bash_app", "clear", "dfk", "join_app", "load",
    "python_app", "set_file_logger", "set_stream_logger", "wait_for_current_tasks",
]  # fmt: skip

logging.getLogger("parsl").addHandler(logging.NullHandler())
install()


def __getattr__(name: str) -> Any:
    here = "plait.compat.parsl"
    if name in _HOME:
        value = getattr(importlib.import_module(f"{here}.{_HOME[name]}"), name)
    elif name in _LOADER:
        value = getattr(importlib.import_module(f"{here}.dataflow.dflow").DataFlowKernelLoader, name)
    elif name == "__version__":
        value = importlib.import_module(f"{here}.version").VERSION
    elif name in _MODULES:
        return importlib.import_module(f"{here}.{name}")
    else:
        raise AttributeError(why_absent(f"parsl.{name}") or f"module 'parsl' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_LOADER, *_MODULES, "__version__"})
