"""``parsl.providers.googlecloud.googlecloud``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.compat.parsl.launchers.base import with_folder
from plait.compat.parsl.providers.local.local import drop_removed, most_blocks
from plait.compat.parsl.utils import RepresentationMixin
from plait.providers.googlecloud import GoogleCloudProvider as _GoogleCloudProvider

if TYPE_CHECKING:
    from plait.launchers.base import Launcher

__all__ = ["GoogleCloudProvider"]


class GoogleCloudProvider(_GoogleCloudProvider, RepresentationMixin):
    """Blocks of instances of Google's Compute Engine."""

    __repr__ = RepresentationMixin.__repr__

    def __init__(
        self,
        project_id: str,
        key_file: str | None,
        region: str,
        os_project: str,
        os_family: str,
        google_version: str = "v1",
        instance_type: str = "n1-standard-1",
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 10,
        launcher: Launcher | None = None,
        parallelism: float = 1,
        **removed: Any,
    ) -> None:
        drop_removed("GoogleCloudProvider", removed)
        super().__init__(
            project_id,
            key_file,
            region,
            os_project,
            os_family,
            google_version,
            instance_type,
            init_blocks,
            min_blocks,
            most_blocks("GoogleCloudProvider", init_blocks, min_blocks, max_blocks),
            with_folder(launcher),
            parallelism,
        )
