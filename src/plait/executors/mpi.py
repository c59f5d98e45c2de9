"""`MPIExecutor`: tasks over whole nodes, each of which starts its own processes with the launcher of an MPI library.

```
first node of a block                                        other nodes
┌────────────────────────────────────────────────────┐      ┌────────────┐
│ manager: gives the nodes of the block to tasks     │      │            │
│   worker 1: $PLAIT_MPI_PREFIX ./simulate ──────────┼─────▶│ ranks 4-7  │
│      └─ mpiexec -n 8 -ppn 4 -hosts a,b ── ranks 0-3│      │            │
└────────────────────────────────────────────────────┘      └────────────┘
```

It differs from a `HighThroughputExecutor` in that nothing of plait runs on the other nodes. That one can run tasks over several nodes as well,
beside small ones.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import TYPE_CHECKING, Any, Final

from plait.errors import ConfigurationError, InvalidResourceSpecification
from plait.executors.htex import options
from plait.executors.htex.executor import HighThroughputExecutor
from plait.executors.htex.expected import expected_nodes
from plait.executors.htex.shapes import check_nodes
from plait.executors.pool.core import resources_of
from plait.launchers.simple import SimpleLauncher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plait.model.resources import Resources
    from plait.model.task import Task
    from plait.providers.base import ExecutionProvider
    from plait.scaling.view import Load

_logger: Final = logging.getLogger("plait")

#: What a task must not ask for here, because it gets nodes as a whole.
_PARTS: Final = (("cores", 1.0), ("memory_bytes", 0), ("gpus", 0.0), ("disk_bytes", 0))


class WholeNodes(HighThroughputExecutor):
    """What is different where one manager gives out the nodes of its block."""

    gives_nodes = True
    max_workers_per_block: int

    def _settle(self) -> None:
        check_launcher(self.provider)
        self.max_workers_per_node = self.max_workers_per_block
        try:
            options.whole("max_workers_per_block", self.max_workers_per_block, 1)
            super()._settle()
        except ConfigurationError as error:
            raise ConfigurationError(str(error).replace("HighThroughputExecutor(", "MPIExecutor(", 1)) from None

    def _expected_workers(self) -> int | None:
        return self.max_workers_per_block

    def check(self, resources: Resources) -> None:
        """Refuses what no block can ever give, with the numbers."""
        if not resources.nodes:
            raise InvalidResourceSpecification(
                {"nodes"},
                f"executor {self.label!r} (MPIExecutor) gives whole nodes: expected nodes (or num_nodes), ranks_per_node, ranks (or num_ranks)",
            )
        parts = {name for name, none in _PARTS if getattr(resources, name) != none}
        if parts:
            raise InvalidResourceSpecification(
                {name.removesuffix("_bytes") for name in parts},
                f"executor {self.label!r} (MPIExecutor) gives whole nodes, with all that they have: leave this out",
            )
        link = self._link
        listed = [manager.nodes for manager in list(link.hearing.managers.values())] if link is not None else []
        expected = expected_nodes(self.provider, os.environ)
        if expected is not None:
            check_nodes(resources, self.label, max([expected, *listed]))
        elif listed:
            check_nodes(resources, self.label, max(listed), "nodes that its list names")

    def _load(self) -> Load:
        """Tasks that ask for more nodes than `expected_nodes` knew of ask for a block."""
        load = super()._load()
        there = self.provider.nodes_per_block
        if any(want.shape.nodes > there for want in load.wants):
            wants = [
                dataclasses.replace(want, shape=dataclasses.replace(want.shape, nodes=min(there, want.shape.nodes)))
                for want in load.wants
            ]
            load = dataclasses.replace(load, wants=tuple(wants))
        return load

    # ------------------------------------------------------------------ tasks
    def submit(self, task: Task) -> None:
        """Takes a task over whole nodes."""
        self.check(resources_of(task))
        super().submit(task)

    def submit_simple(self, task: Task) -> None:
        """Refuses a task that asks for nothing."""
        self.submit(task)

    def submit_many(self, tasks: Sequence[Task]) -> list[tuple[Task, Exception]]:
        """Refuses such tasks."""
        refused: list[tuple[Task, Exception]] = []
        for task in tasks:
            try:
                self.submit(task)
            except Exception as error:  # noqa: BLE001 - whatever stops a task is its outcome
                refused.append((task, error))
        return refused


class MPIExecutor(WholeNodes):
    """Runs tasks over whole nodes of a block, as many of them at once as their nodes and ``max_workers_per_block`` allow.

    Each task must say how many nodes it wants: ``@bash_app(nodes=2, ranks_per_node=4)``, ``app.options(nodes=2)``, or in a call
    ``parsl_resource_specification={"num_nodes": 2, "ranks_per_node": 4}``. It finds the beginning of its command line in ``$PLAIT_MPI_PREFIX``.

    Args:
        label: name of the executor.
        provider: where blocks come from; its launcher must be a `SimpleLauncher`, because one manager speaks for the whole block. None for this machine.

        max_workers_per_block: tasks that run at once in a block, at most.
        mpi_launcher: what ``$PLAIT_MPI_PREFIX`` begins with: ``"mpiexec"`` (MPICH and its relatives), ``"mpirun"`` (Open MPI), ``"srun"`` or ``"aprun"``.

        encrypted: whether the links to the nodes are encrypted. Only loopback goes without, whatever is said here.

        address, worker_port, worker_port_range, address_probe_timeout: as for a `HighThroughputExecutor`.
        heartbeat_period, heartbeat_threshold, drain_period, block_error_handler, block_start_timeout: likewise.
        launch_cmd, interchange_launch_cmd, worker_logdir_root, worker_debug, working_dir, storage_access, max_result_size: likewise.
        prefetch_capacity, initializer, initargs, max_tasks_per_worker, env: likewise.

        loopback_address, interchange_port_range, poll_period, remote_monitoring_radio: accepted for those who move over; nothing depends on them.

    Raises:
        TypeError: the launcher is another one.
        ConfigurationError: a value cannot work.
    """

    def __init__(
        self,
        label: str = "MPIExecutor",
        provider: ExecutionProvider | None = None,
        launch_cmd: str | None = None,
        interchange_launch_cmd: Sequence[str] | None = None,
        address: str | None = None,
        loopback_address: str = "127.0.0.1",
        worker_port: int | None = None,
        worker_port_range: tuple[int, int] | None = (54000, 55000),
        interchange_port_range: tuple[int, int] | None = (55000, 56000),
        storage_access: Sequence[Any] | None = None,
        working_dir: str | None = None,
        worker_debug: bool = False,
        max_workers_per_block: int = 1,
        prefetch_capacity: int = 0,
        heartbeat_threshold: float = 120,
        heartbeat_period: float = 30,
        drain_period: float | None = None,
        poll_period: int = 10,
        address_probe_timeout: float | None = None,
        worker_logdir_root: str | None = None,
        mpi_launcher: str = "mpiexec",
        block_error_handler: bool | Callable[..., Any] = True,
        encrypted: bool = True,
        remote_monitoring_radio: Any = None,
        *,
        block_start_timeout: float = 300.0,
        max_result_size: float | str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Sequence[Any] = (),
        max_tasks_per_worker: int | None = None,
        env: Mapping[str, str | None] | None = None,
    ) -> None:
        if provider is None:
            from plait.providers import LocalProvider

            provider = LocalProvider(launcher=SimpleLauncher())
        self.max_workers_per_block = max_workers_per_block
        super().__init__(
            label, provider, launch_cmd, interchange_launch_cmd, address, loopback_address, worker_port, worker_port_range, interchange_port_range,
            storage_access, working_dir, worker_debug, prefetch_capacity=prefetch_capacity,
            heartbeat_threshold=heartbeat_threshold, heartbeat_period=heartbeat_period, drain_period=drain_period, poll_period=poll_period,
            address_probe_timeout=address_probe_timeout, worker_logdir_root=worker_logdir_root, block_error_handler=block_error_handler,
            encrypted=encrypted, remote_monitoring_radio=remote_monitoring_radio, mpi_launcher=mpi_launcher,
            block_start_timeout=block_start_timeout, max_result_size=max_result_size, initializer=initializer, initargs=initargs,
            max_tasks_per_worker=max_tasks_per_worker, env=env,
        )  # fmt: skip

    def _keep_private(self) -> None:
        """Nothing is sent in the clear beyond this machine."""
        if not self.encrypted and not self._is_private():
            _logger.warning(
                "MPIExecutor(encrypted=False): the links are encrypted nevertheless, because other machines can reach them"
            )
            self.encrypted = True
        super()._keep_private()


def check_launcher(provider: Any) -> None:
    """Refuses a provider that would start more than one manager in a block.

    Raises:
        TypeError: its launcher is another one than `SimpleLauncher`.
    """
    launcher = getattr(provider, "launcher", None)
    if not isinstance(launcher, SimpleLauncher):
        raise TypeError(
            f"MPIExecutor(provider=…): its launcher is {launcher!r}, and must be a SimpleLauncher: one manager on the first node gives out "
            f"the nodes of a block; write {type(provider).__name__}(launcher=SimpleLauncher(), …)"
        )
