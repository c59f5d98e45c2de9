"""``parsl.providers.aws.aws``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.compat.parsl.launchers.base import with_folder
from plait.compat.parsl.providers.local.local import drop_removed, most_blocks
from plait.compat.parsl.utils import RepresentationMixin
from plait.providers.aws import AWSProvider as _AWSProvider

if TYPE_CHECKING:
    from plait.launchers.base import Launcher

__all__ = ["AWSProvider"]


class AWSProvider(_AWSProvider, RepresentationMixin):
    """Blocks of instances of Amazon's EC2."""

    __repr__ = RepresentationMixin.__repr__

    def __init__(
        self,
        image_id: str,
        key_name: str | None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 10,
        nodes_per_block: int = 1,
        parallelism: float = 1,
        worker_init: str = "",
        instance_type: str = "t2.small",
        region: str = "us-east-2",
        spot_max_bid: float = 0,
        key_file: str | None = None,
        profile: str | None = None,
        iam_instance_profile_arn: str = "",
        state_file: str | None = None,
        walltime: str = "01:00:00",
        linger: bool = False,
        launcher: Launcher | None = None,
        **removed: Any,
    ) -> None:
        drop_removed("AWSProvider", removed)
        super().__init__(
            image_id,
            key_name,
            init_blocks,
            min_blocks,
            most_blocks("AWSProvider", init_blocks, min_blocks, max_blocks),
            nodes_per_block,
            parallelism,
            worker_init,
            instance_type,
            region,
            spot_max_bid,
            key_file,
            profile,
            iam_instance_profile_arn,
            state_file,
            walltime,
            linger,
            with_folder(launcher),
        )
