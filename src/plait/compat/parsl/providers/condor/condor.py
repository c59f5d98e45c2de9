"""``parsl.providers.condor.condor``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from plait.compat.parsl.launchers.base import with_folder
from plait.compat.parsl.providers.local.local import drop_removed, most_blocks
from plait.compat.parsl.utils import RepresentationMixin
from plait.providers.condor import CondorProvider as _CondorProvider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.launchers.base import Launcher

__all__ = ["CondorProvider"]

#: Upstream's default, which it does not tell HTCondor.
_NO_WALLTIME: Final = "00:10:00"


class CondorProvider(_CondorProvider, RepresentationMixin):
    """Blocks as jobs of HTCondor."""

    __repr__ = RepresentationMixin.__repr__

    def __init__(
        self,
        nodes_per_block: int = 1,
        cores_per_slot: int | None = None,
        mem_per_slot: float | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        environment: Mapping[str, str] | None = None,
        project: str = "",
        scheduler_options: str = "",
        transfer_input_files: Sequence[str] = (),
        walltime: str = _NO_WALLTIME,
        worker_init: str = "",
        launcher: Launcher | None = None,
        requirements: str = "",
        cmd_timeout: float = 60,
        cmd_chunk_size: int = 100,
        **removed: Any,
    ) -> None:
        drop_removed("CondorProvider", removed)
        if isinstance(nodes_per_block, int) and nodes_per_block > 1:
            warnings.warn(
                f"CondorProvider(nodes_per_block={nodes_per_block}): a job of HTCondor has one slot, so it is taken as 1; set max_blocks to have more",
                UserWarning,
                stacklevel=2,
            )
            nodes_per_block = 1
        super().__init__(
            nodes_per_block,
            cores_per_slot,
            mem_per_slot,
            init_blocks,
            min_blocks,
            most_blocks("CondorProvider", init_blocks, min_blocks, max_blocks),
            parallelism,
            environment,
            project,
            scheduler_options,
            transfer_input_files,
            None if walltime == _NO_WALLTIME else walltime,
            worker_init,
            with_folder(launcher),
            requirements,
            cmd_timeout,
            cmd_chunk_size,
        )
