"""Invariants of the blocks. Tests call `check` after each step; ``PLAIT_VALIDATE=1`` makes the keeper call it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait.errors import InternalConsistencyError

if TYPE_CHECKING:
    from plait.scaling.core import BlockCore


def check(core: BlockCore) -> None:
    """Holds what is known of the blocks against itself.

    Raises:
        InternalConsistencyError: naming what does not fit.
    """
    limit = core.limits.max_blocks
    _expect(len(core.live) <= limit, f"{len(core.live)} blocks, though there may be {limit}")
    _expect(
        not core.live.keys() & core.ended.keys(), f"blocks both alive and ended: {core.live.keys() & core.ended.keys()}"
    )
    for block in core.live.values():
        _expect(not block.status.terminal, f"block {block.id} is among the living and {block.status.state.name}")
        _expect(block.drain_by_s is None or bool(block.leaving), f"block {block.id} is drained and takes tasks")
        _expect(block.verdict is None or bool(block.leaving), f"block {block.id} is cancelled and takes tasks")
        _expect(not block.managers or block.deserted_s is None, f"block {block.id} is deserted and has managers")
        _expect(not block.managers or block.up_s is not None, f"block {block.id} has managers and is not up")
        _expect(block.connected <= block.workers, f"block {block.id} has more workers than it ever had")
        _expect(
            block.verdict is None or block.cancel_s is not None or bool(block.job_id),
            f"block {block.id} is to be cancelled and nothing does it",
        )


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise InternalConsistencyError(what)
