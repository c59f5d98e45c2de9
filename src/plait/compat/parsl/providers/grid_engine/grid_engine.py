"""``parsl.providers.grid_engine.grid_engine``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.compat.parsl.launchers.base import with_folder
from plait.compat.parsl.providers.local.local import drop_removed, most_blocks
from plait.compat.parsl.utils import RepresentationMixin
from plait.providers.grid_engine import GridEngineProvider as _GridEngineProvider

if TYPE_CHECKING:
    from plait.launchers.base import Launcher

__all__ = ["GridEngineProvider"]


class GridEngineProvider(_GridEngineProvider, RepresentationMixin):
    """Blocks as jobs of Grid Engine."""

    __repr__ = RepresentationMixin.__repr__

    def __init__(
        self,
        nodes_per_block: int = 1,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        walltime: str = "00:10:00",
        scheduler_options: str = "",
        worker_init: str = "",
        launcher: Launcher | None = None,
        cmd_timeout: float = 60,
        queue: str | None = None,
        *,
        parallel_environment: str | None = None,
        cores_per_node: int | None = None,
        **removed: Any,
    ) -> None:
        drop_removed("GridEngineProvider", removed)
        max_blocks = most_blocks("GridEngineProvider", init_blocks, min_blocks, max_blocks)
        super().__init__(
            nodes_per_block,
            init_blocks,
            min_blocks,
            max_blocks,
            parallelism,
            walltime,
            scheduler_options,
            worker_init,
            with_folder(launcher),
            cmd_timeout,
            queue,
            parallel_environment=parallel_environment,
            cores_per_node=cores_per_node,
        )
