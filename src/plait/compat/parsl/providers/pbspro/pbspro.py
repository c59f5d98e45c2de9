"""``parsl.providers.pbspro.pbspro``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.compat.parsl.launchers.base import with_folder
from plait.compat.parsl.providers.local.local import drop_removed, most_blocks
from plait.compat.parsl.utils import RepresentationMixin
from plait.providers.pbspro import PBSProProvider as _PBSProProvider

if TYPE_CHECKING:
    from plait.launchers.base import Launcher

__all__ = ["PBSProProvider"]


class PBSProProvider(_PBSProProvider, RepresentationMixin):
    """Blocks as jobs of PBS Professional."""

    __repr__ = RepresentationMixin.__repr__

    def __init__(
        self,
        account: str | None = None,
        queue: str | None = None,
        scheduler_options: str = "",
        select_options: str = "",
        worker_init: str = "",
        nodes_per_block: int = 1,
        cpus_per_node: int = 1,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        launcher: Launcher | None = None,
        walltime: str = "00:20:00",
        cmd_timeout: float = 120,
        **removed: Any,
    ) -> None:
        drop_removed("PBSProProvider", removed)
        super().__init__(
            account,
            queue,
            scheduler_options,
            select_options,
            worker_init,
            nodes_per_block,
            cpus_per_node,
            init_blocks,
            min_blocks,
            most_blocks("PBSProProvider", init_blocks, min_blocks, max_blocks),
            parallelism,
            with_folder(launcher),
            walltime,
            cmd_timeout,
        )
