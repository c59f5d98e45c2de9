"""Which threads are plait's own: those that run tasks and those that bring outcomes."""

from __future__ import annotations

import threading

_local = threading.local()


def is_ours() -> bool:
    """Whether this thread runs tasks, or is about to deliver outcomes."""
    return getattr(_local, "ours", False)


def mark(ours: bool = True) -> bool:
    """Says what this thread is from now on; what it was before."""
    before = is_ours()
    _local.ours = ours
    return before
