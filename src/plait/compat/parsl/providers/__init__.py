"""``parsl.providers``."""

from __future__ import annotations

from plait.compat.parsl._absent import why_absent
from plait.compat.parsl.providers.local.local import LocalProvider

__all__ = ["LocalProvider"]


def __getattr__(name: str) -> object:
    raise AttributeError(why_absent(f"parsl.providers.{name}") or f"module 'parsl.providers' has no attribute {name!r}")
