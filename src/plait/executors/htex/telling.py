"""What interchange, managers and block commands are told of an executor's parameters."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from plait._util.paths import search_path
from plait._util.version import loaded_versions
from plait.errors import ConfigurationError
from plait.executors.blocks import walltime_of
from plait.executors.htex.expected import GIB
from plait.executors.htex.near import this_host
from plait.executors.htex.settings import InterchangeSettings, ManagerSettings
from plait.executors.htex.where import stays_here
from plait.executors.pool.initializer import as_told
from plait.serialize import dumps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.executors.htex.executor import HighThroughputExecutor
    from plait.providers.base import ExecutionProvider


def interchange_settings(
    executor: HighThroughputExecutor,
    addresses: Sequence[str],
    keys: tuple[str, str],
    log_dir: str,
    max_result_bytes: int,
    near: tuple[str, str] = ("", ""),
    strategy: Any = "none",
) -> InterchangeSettings:
    """For the first life of the interchange.

    Args:
        executor: whose it is.
        addresses: where to listen.
        keys: public and secret; empty without encryption.
        log_dir: for its log; empty for none.
        max_result_bytes: larger results are refused; 0 for no limit.
        near: the socket for managers on this host, and the secret of their tokens; empty for none.
        strategy: how blocks are asked for and given back.
    """
    return InterchangeSettings(
        label=executor.label,
        run_id=executor.run_id or "",
        bind=list(addresses),
        port=executor.worker_port,
        port_range=executor.worker_port_range,
        server_public=keys[0],
        server_secret=keys[1],
        heartbeat_period_s=executor.heartbeat_period,
        heartbeat_threshold_s=executor.heartbeat_threshold,
        cores_per_worker=executor.cores_per_worker,
        memory_per_worker=int((executor.mem_per_worker or 0) * GIB),
        policy=b"" if executor.manager_selector is None else dumps(executor.manager_selector),
        packs=_gives_back_blocks(executor.provider, strategy),
        expected=[],
        epoch="",
        max_result_bytes=max_result_bytes,
        log=os.path.join(_utf8(log_dir), "interchange.log") if log_dir else "",
        debug=executor.worker_debug,
        python=".".join(map(str, sys.version_info[:3])),
        path=[] if executor.manager_selector is None else _path(),
        near=near[0],
        near_secret=near[1],
    )


def _gives_back_blocks(provider: ExecutionProvider, strategy: Any) -> bool:
    """Whether single blocks may go while others work; the strategy ``"simple"`` gives them back together."""
    return strategy not in ("none", "simple", None) and provider.max_blocks > max(1, provider.min_blocks)


def _path() -> list[str]:
    return [_utf8(path) for path in search_path()]


def _utf8(path: str) -> str:
    """The path, if messages can hold it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"HighThroughputExecutor: the name of {path!r} is not in UTF-8, so nodes cannot be told of it; rename the folder, "
            "or work in another"
        ) from None
    return path


def manager_settings(
    executor: HighThroughputExecutor,
    addresses: Sequence[str],
    port: int,
    server_public: str,
    log_dir: str,
    near: str = "",
) -> ManagerSettings:
    """For all managers; block and keys are filled in for each block.

    Args:
        executor: whose they are.
        addresses: where the interchange may be reached.
        port: likewise.
        server_public: the interchange's public key; empty without encryption.
        log_dir: the executor's folder in the run's; empty for none.
        near: the interchange's socket for managers on this host; empty for none.
    """
    here = executor.provider.shares_files
    if not here:
        log_dir = ""  # a folder of this machine
    if executor.worker_logdir_root is not None:
        log_dir = os.path.join(executor.worker_logdir_root, executor.label)
    return ManagerSettings(
        label=executor.label,
        run_id=executor.run_id or "",
        block="",
        addresses=list(addresses),
        port=port,
        server_public=server_public,
        public="",
        secret="",
        probe_timeout_s=executor.address_probe_timeout or 30.0,
        heartbeat_threshold_s=executor.heartbeat_threshold,
        max_workers=executor.max_workers_per_node,
        cores_per_worker=executor.cores_per_worker,
        mem_per_worker_gb=executor.mem_per_worker,
        cpu_affinity=executor.cpu_affinity,
        accelerators=executor.available_accelerators,
        prefetch=executor.prefetch_capacity,
        drain_after_s=executor.drain_period,
        walltime_s=walltime_of(executor.provider),
        path=_path() if here else [],
        cwd=_utf8(os.getcwd()) if stays_here(executor.provider) else "",
        log_dir=_utf8(log_dir),
        preload=["plait.compat.parsl"] if "plait.compat.parsl" in sys.modules else [],
        debug=executor.worker_debug,
        env=executor.env,
        initializer=as_told(executor.initializer, executor.initargs),
        max_tasks=executor.max_tasks_per_worker or 0,
        mpi_launcher=executor.mpi_launcher,
        gives_nodes=executor.gives_nodes,
        packages=loaded_versions(),
        near=near if here else "",
        near_host=this_host() if here and near else "",
    )


def template_values(executor: HighThroughputExecutor) -> dict[str, Any]:
    """What `launch_cmd` may name, beside what `launch` knows itself."""
    return {
        "cores_per_worker": executor.cores_per_worker,
        "mem_per_worker": executor.mem_per_worker,
        "max_workers_per_node": executor.max_workers_per_node,
        "prefetch_capacity": executor.prefetch_capacity,
        "heartbeat_period": executor.heartbeat_period,
        "heartbeat_threshold": executor.heartbeat_threshold,
        "drain_period": executor.drain_period,
        "cpu_affinity": executor.cpu_affinity,
        "available_accelerators": " ".join(executor.available_accelerators),
    }
