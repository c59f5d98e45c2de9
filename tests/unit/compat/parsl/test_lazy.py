from __future__ import annotations

import importlib
import sys

import pytest

from plait.compat.parsl import launchers
from plait.compat.parsl._lazy import lazy


def test_submodules_are_imported_when_they_are_asked_for():
    get = lazy("plait.compat.parsl.jobs")
    assert get("states") is importlib.import_module("plait.compat.parsl.jobs.states")
    for name in ("zork", "__pycache__"):
        with pytest.raises(AttributeError, match=rf"module 'parsl\.jobs' has no attribute '{name}'"):
            get(name)


def test_programs_reach_them_without_importing_them():
    code = (
        "import plait.compat.parsl, parsl\n"
        "parsl.jobs.states, parsl.providers.base, parsl.launchers.launchers, parsl.executors.high_throughput.errors\n"
        "parsl.app.errors.AppException, parsl.app.futures, parsl.dataflow.errors.DependencyError, parsl.dataflow.memoization\n"
        "parsl.data_provider.files.File, parsl.logconfigs.json, parsl.usage_tracking.levels, parsl.serialize.errors, parsl.configs.local_threads\n"
        "import sys; print('zmq' in sys.modules, 'plait.executors.htex.executor' in sys.modules)"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n", "what nobody has asked for is not loaded"


def test_names_that_there_are_not():
    for module in (launchers, launchers.launchers):
        with pytest.raises(AttributeError, match="has no attribute 'Zork'"):
            _ = module.Zork


def test_what_launchers_compose():
    assert launchers.SimpleLauncher()("date", 1, 1) == "date"
    assert launchers.WrappedLauncher("nice -n 19", debug=False)("date", 1, 1) == "nice -n 19 date"
    assert "date" in launchers.SingleNodeLauncher(debug=True, fail_on_any=True)("date", 2, 1)
