"""``parsl.providers.azure.azure``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.compat.parsl.launchers.base import with_folder
from plait.compat.parsl.providers.local.local import drop_removed, most_blocks
from plait.compat.parsl.utils import RepresentationMixin
from plait.providers.azure import AzureProvider as _AzureProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plait.launchers.base import Launcher

__all__ = ["AzureProvider"]


class AzureProvider(_AzureProvider, RepresentationMixin):
    """Blocks of virtual machines of Azure."""

    __repr__ = RepresentationMixin.__repr__

    def __init__(
        self,
        vm_reference: Mapping[str, Any],
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 10,
        parallelism: float = 1,
        worker_init: str = "",
        location: str = "westus",
        group_name: str = "parsl.group",
        key_name: str | None = None,
        key_file: str | None = None,
        vnet_name: str = "parsl.vnet",
        linger: bool = False,
        launcher: Launcher | None = None,
        **removed: Any,
    ) -> None:
        drop_removed("AzureProvider", removed)
        super().__init__(
            vm_reference,
            init_blocks,
            min_blocks,
            most_blocks("AzureProvider", init_blocks, min_blocks, max_blocks),
            parallelism,
            worker_init,
            location,
            group_name,
            key_name,
            key_file,
            vnet_name,
            linger,
            with_folder(launcher),
        )
