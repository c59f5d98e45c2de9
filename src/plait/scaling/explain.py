"""Where the blocks of an executor stand, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plait.model.jobs import FAILED_STATES
from plait.scaling.view import blocks_text

if TYPE_CHECKING:
    from plait.scaling.core import BlockCore

#: Blocks that a sentence names.
_SHOWN: Final = 3


def explain(core: BlockCore, now_s: float) -> str:
    """Where they stand, what failed and what was decided last, without the last full stop."""
    parts = [block.describe(now_s, core.start_timeout_s) for block in core.live.values()]
    text = f"{len(parts)} of at most {blocks_text(core.limits.max_blocks)}"
    if parts:
        more = f", and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
        text += f": {', '.join(parts[:_SHOWN])}{more}"
    failed = [(name, status) for name, status in core.ended.items() if status.state in FAILED_STATES]
    if failed:
        name, status = failed[-1]
        count = f"{len(failed)} blocks have failed, the last" if len(failed) > 1 else "one has failed"
        text += f"; {count}: block {name}: {status}"
    if core.throttle.refusal:
        text += f"; the provider takes no job for the time being: {core.throttle.refusal}"
    return f"{text}; {core.reason}"
