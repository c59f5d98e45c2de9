"""``parsl.providers.lsf.lsf``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from plait.compat.parsl.launchers.base import with_folder
from plait.compat.parsl.providers.local.local import drop_removed, most_blocks
from plait.compat.parsl.utils import RepresentationMixin
from plait.providers.lsf import LSFProvider as _LSFProvider

if TYPE_CHECKING:
    from plait.launchers.base import Launcher

__all__ = ["LSFProvider"]


class LSFProvider(_LSFProvider, RepresentationMixin):
    """Blocks as jobs of LSF."""

    __repr__ = RepresentationMixin.__repr__

    def __init__(
        self,
        nodes_per_block: int = 1,
        cores_per_block: int | None = None,
        cores_per_node: int | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        walltime: str = "00:10:00",
        scheduler_options: str = "",
        worker_init: str = "",
        project: str | None = None,
        queue: str | None = None,
        cmd_timeout: float = 120,
        bsub_redirection: bool = False,
        request_by_nodes: bool = True,
        launcher: Launcher | None = None,
        **removed: Any,
    ) -> None:
        drop_removed("LSFProvider", removed)
        if request_by_nodes and cores_per_block is not None:
            warnings.warn(
                f"LSFProvider(cores_per_block={cores_per_block}): nodes are asked for, so it has no effect; set request_by_nodes=False, or leave it out",
                UserWarning,
                stacklevel=2,
            )
            cores_per_block = None
        super().__init__(
            nodes_per_block if request_by_nodes else 1,  # with cores their number follows from those
            cores_per_block,
            cores_per_node,
            init_blocks,
            min_blocks,
            most_blocks("LSFProvider", init_blocks, min_blocks, max_blocks),
            parallelism,
            walltime,
            scheduler_options,
            worker_init,
            project,
            queue,
            cmd_timeout,
            bsub_redirection,
            request_by_nodes,
            with_folder(launcher),
        )
