"""``parsl.providers.slurm.slurm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.compat.parsl.launchers.base import with_folder
from plait.compat.parsl.providers.local.local import drop_removed, most_blocks
from plait.compat.parsl.utils import RepresentationMixin
from plait.providers.slurm import SlurmProvider as _SlurmProvider
from plait.providers.slurm_answers import SUBMITTED

if TYPE_CHECKING:
    from plait.launchers.base import Launcher

__all__ = ["SlurmProvider"]


class SlurmProvider(_SlurmProvider, RepresentationMixin):
    """Blocks as jobs of Slurm."""

    __repr__ = RepresentationMixin.__repr__

    def __init__(
        self,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        clusters: str | None = None,
        nodes_per_block: int = 1,
        cores_per_node: int | None = None,
        mem_per_node: float | None = None,
        gpus_per_node: int | None = None,
        gres: str | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        walltime: str = "00:10:00",
        scheduler_options: str = "",
        regex_job_id: str = SUBMITTED,
        worker_init: str = "",
        cmd_timeout: float = 10,
        status_batch_size: int = 50,
        exclusive: bool = True,
        launcher: Launcher | None = None,
        **removed: Any,
    ) -> None:
        drop_removed("SlurmProvider", removed)
        max_blocks = most_blocks("SlurmProvider", init_blocks, min_blocks, max_blocks)
        super().__init__(
            partition,
            account,
            qos,
            constraint,
            clusters,
            nodes_per_block,
            cores_per_node,
            mem_per_node,
            gpus_per_node,
            gres,
            init_blocks,
            min_blocks,
            max_blocks,
            parallelism,
            walltime,
            scheduler_options,
            regex_job_id,
            worker_init,
            cmd_timeout,
            status_batch_size,
            exclusive,
            with_folder(launcher),
        )
