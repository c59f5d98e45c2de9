"""The process executor and the contract of executors."""

from __future__ import annotations

import pytest

from plait import ProcessPoolExecutor

pytest.register_assert_rewrite("plait.testing.crash_matrix", "plait.testing.executor_contract")

from plait.testing.crash_matrix import CrashMatrixOfProcesses
from plait.testing.executor_contract import ProcessContract


class Processes:
    def make_executor(self, workers=2, **options):
        return ProcessPoolExecutor(max_workers=workers, **options)


class TestContract(Processes, ProcessContract):
    pass


class TestCrashes(Processes, CrashMatrixOfProcesses):
    pass
