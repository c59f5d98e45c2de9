"""``parsl.providers.local.local``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from plait.compat.parsl.launchers.base import with_folder
from plait.compat.parsl.utils import RepresentationMixin
from plait.providers.local import LocalProvider as _LocalProvider

if TYPE_CHECKING:
    from plait.launchers.base import Launcher

__all__ = ["LocalProvider"]


class LocalProvider(_LocalProvider, RepresentationMixin):
    """Blocks on this machine."""

    __repr__ = RepresentationMixin.__repr__

    def __init__(
        self,
        nodes_per_block: int = 1,
        launcher: Launcher | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        worker_init: str = "",
        cmd_timeout: float = 30,
        parallelism: float = 1,
        **removed: Any,
    ) -> None:
        drop_removed("LocalProvider", removed)
        max_blocks = most_blocks("LocalProvider", init_blocks, min_blocks, max_blocks)
        super().__init__(
            nodes_per_block,
            with_folder(launcher),
            init_blocks,
            min_blocks,
            max_blocks,
            worker_init,
            cmd_timeout,
            parallelism,
        )


def drop_removed(provider: str, removed: dict[str, Any]) -> None:
    """Warns of parameters that upstream had once and that released programs still pass.

    Raises:
        TypeError: upstream never had one of them.
    """
    for name in removed:
        if name not in {"channel", "move_files"}:
            raise TypeError(f"{provider}() got an unexpected keyword argument {name!r}")
        warnings.warn(
            f"{provider}({name}=…): upstream has removed this parameter, and it has no effect; leave it out",
            FutureWarning,
            stacklevel=3,
        )


def most_blocks(provider: str, init_blocks: int, min_blocks: int, max_blocks: int) -> int:
    """``max_blocks`` as plait takes it. Upstream begins with more blocks than there may be when it is told so, and never takes them back."""
    if not all(isinstance(blocks, int) for blocks in (init_blocks, min_blocks, max_blocks)):
        return max_blocks  # the provider names what is none
    most = max(init_blocks, min_blocks)
    if most <= max_blocks:
        return max_blocks
    warnings.warn(
        f"{provider}(init_blocks={init_blocks}, min_blocks={min_blocks}, max_blocks={max_blocks}): taken as max_blocks={most}",
        UserWarning,
        stacklevel=3,
    )
    return most
