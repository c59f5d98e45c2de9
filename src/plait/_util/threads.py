"""Which threads are plait's own: those that run tasks and those that bring outcomes."""

from __future__ import annotations

import threading

_local = threading.local()


def is_ours() -> bool:
    """Whether this thread runs tasks, or is about to deliver outcomes."""
    return getattr(_local, "ours", False)


def running() -> object | None:
    """What is being run in this thread, if it runs tasks."""
    return getattr(_local, "running", None)


def runs(what: object | None) -> None:
    """Says what this thread runs from now on; None for nothing."""
    _local.running = what


def mark(ours: bool = True) -> bool:
    """Says what this thread is from now on; what it was before."""
    before = is_ours()
    _local.ours = ours
    return before
