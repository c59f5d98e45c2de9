"""``parsl.channels``: removed upstream; the one that did nothing is accepted still."""

from __future__ import annotations

import warnings
from typing import Any

__all__ = ["LocalChannel"]


class LocalChannel:
    """Commands of providers run on this machine, as they do without it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        warnings.warn("LocalChannel(): upstream has removed channels; leave it out", FutureWarning, stacklevel=2)


def __getattr__(name: str) -> object:
    hint = (
        ": upstream has removed channels; start the program on the machine where jobs are submitted"
        if name.endswith("Channel")
        else ""
    )
    raise AttributeError(f"module 'parsl.channels' has no attribute {name!r}{hint}")
