"""The process executor and the contract of executors."""

from __future__ import annotations

import pytest

from plait import ProcessPoolExecutor

pytest.register_assert_rewrite("plait.testing.crash_matrix", "plait.testing.executor_contract")

from plait.testing.crash_matrix import CrashMatrixOfProcesses  # noqa: E402 - after its assertions were registered
from plait.testing.executor_contract import ProcessContract  # noqa: E402 - after its assertions were registered


class Processes:
    def make_executor(self, workers=2, **options):
        return ProcessPoolExecutor(max_workers=workers, **options)


class TestContract(Processes, ProcessContract):
    pass


class TestCrashes(Processes, CrashMatrixOfProcesses):
    pass
