"""``parsl.executors``."""

from __future__ import annotations

from plait.compat.parsl._absent import why_absent
from plait.compat.parsl.executors.threads import ThreadPoolExecutor

__all__ = ["ThreadPoolExecutor"]


def __getattr__(name: str) -> object:
    raise AttributeError(why_absent(f"parsl.executors.{name}") or f"module 'parsl.executors' has no attribute {name!r}")
