"""The thread executor and the contract of executors, as far as it concerns threads."""

from __future__ import annotations

import pytest

from plait import ThreadPoolExecutor

pytest.register_assert_rewrite("plait.testing.crash_matrix", "plait.testing.executor_contract")

from plait.testing.crash_matrix import CrashMatrix


class Threads:
    def make_executor(self, workers=2, **options):
        return ThreadPoolExecutor(max_threads=workers, **options)


class TestCrashes(Threads, CrashMatrix):
    pass
