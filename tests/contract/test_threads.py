"""The thread executor and the contract of executors, as far as it concerns threads."""

from __future__ import annotations

import pytest

import plait
from plait import ThreadPoolExecutor
from plait.testing import tasks
from tests.support import wait_until

pytest.register_assert_rewrite("plait.testing.crash_matrix", "plait.testing.executor_contract")

from plait.testing.crash_matrix import CrashMatrix  # noqa: E402 - after its assertions were registered
from plait.testing.executor_contract import ExecutorContract  # noqa: E402 - after its assertions were registered


class Threads:
    def make_executor(self, workers=2, **options):
        return ThreadPoolExecutor(max_threads=workers, **options)


class TestContract(Threads, ExecutorContract):
    def test_a_running_task_cannot_be_cancelled(self, tmp_path):
        path, go = str(tmp_path / "notes"), tmp_path / "go"
        with self.load(workers=1):
            running = plait.python_app(tasks.hold)(path, "it", str(go))
            wait_until(lambda: tasks.notes(path))
            assert not running.cancel()
            assert not running.done()
            go.touch()
            assert running.result(20) == "it"

    def test_tasks_submit_tasks_and_wait_for_them(self):
        """More levels than threads: a task that waits lends its place."""
        echo = plait.python_app(tasks.echo)

        def down(level):
            return echo(0).result() if level == 0 else plait.python_app(down)(level - 1).result() + 1

        with self.load(workers=2):
            assert plait.python_app(down)(20).result(20) == 20


class TestCrashes(Threads, CrashMatrix):
    pass
