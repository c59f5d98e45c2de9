"""``parsl.executors.high_throughput.mpi_executor``: tasks over whole nodes, with upstream's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.compat.parsl.executors.high_throughput.executor import HighThroughputExecutor
from plait.executors.mpi import WholeNodes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plait.providers.base import ExecutionProvider

__all__ = ["MPIExecutor"]


class MPIExecutor(HighThroughputExecutor, WholeNodes):  # type: ignore[misc]  # its submit takes functions too, as upstream's does
    """Runs tasks over whole nodes of a block. Its links are encrypted wherever others can reach them."""

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
        encrypted: bool = False,
        remote_monitoring_radio: Any = None,
    ) -> None:
        if provider is None:
            from plait.compat.parsl.launchers import SimpleLauncher
            from plait.compat.parsl.providers import LocalProvider

            provider = LocalProvider(launcher=SimpleLauncher())
        self.max_workers_per_block = max_workers_per_block
        super().__init__(
            label, provider, launch_cmd, interchange_launch_cmd, address, loopback_address, worker_port, worker_port_range,
            interchange_port_range, storage_access, working_dir, worker_debug,
            prefetch_capacity=prefetch_capacity, heartbeat_threshold=heartbeat_threshold, heartbeat_period=heartbeat_period,
            drain_period=drain_period, poll_period=poll_period, address_probe_timeout=address_probe_timeout,
            worker_logdir_root=worker_logdir_root, block_error_handler=block_error_handler,
            encrypted=encrypted, remote_monitoring_radio=remote_monitoring_radio, mpi_launcher=mpi_launcher,
        )  # fmt: skip

    def _keep_private(self) -> None:
        """Says nothing: without encryption is the default here."""
        self.encrypted = self.encrypted or not self._is_private()
        super()._keep_private()
