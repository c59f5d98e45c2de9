"""``parsl.launchers``."""

from __future__ import annotations

from plait.compat.parsl._absent import why_absent
from plait.compat.parsl.launchers.launchers import SimpleLauncher, SingleNodeLauncher, WrappedLauncher

__all__ = ["SimpleLauncher", "SingleNodeLauncher", "WrappedLauncher"]


def __getattr__(name: str) -> object:
    raise AttributeError(why_absent(f"parsl.launchers.{name}") or f"module 'parsl.launchers' has no attribute {name!r}")
