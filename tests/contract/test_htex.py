"""The pilot-job executor and the contract of executors: interchange, manager and workers are the real ones, on this machine."""

from __future__ import annotations

import pytest

import plait
from plait.providers import LocalProvider

pytest.register_assert_rewrite("plait.testing.crash_matrix", "plait.testing.executor_contract")

from plait.testing.crash_matrix import CrashMatrixOfProcesses  # noqa: E402 - after its assertions were registered
from plait.testing.executor_contract import ProcessContract, wait_for  # noqa: E402 - after its assertions were registered


class Pilot:
    def make_executor(self, workers=2, **options):
        """A node that says that it has a core for each worker, whatever this machine has."""
        provider = LocalProvider(worker_init=f"export PLAIT_CORES={workers}")
        provider.cores_per_node = workers
        prefetch = options.pop("prefetch", 0)
        if "cpu_affinity" in options:
            options["cpu_affinity"] = "list:" + ":".join(",".join(map(str, cores)) for cores in options["cpu_affinity"])
        return plait.HighThroughputExecutor(
            max_workers_per_node=workers, provider=provider, prefetch_capacity=prefetch, **options
        )

    def load(self, workers=2, **options):
        """Waits for the node: times in the contract are those of an executor that is up."""
        kernel = super().load(workers, **options)
        (executor,) = kernel.config.executors
        wait_for(lambda: executor.status().workers, "the node is up")
        return kernel


class TestContract(Pilot, ProcessContract):
    pass


class TestCrashes(Pilot, CrashMatrixOfProcesses):
    pass
