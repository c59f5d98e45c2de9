"""Providers: where blocks of nodes come from. The names are loaded when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.providers.base import ExecutionProvider
    from plait.providers.local import LocalProvider

__all__ = ["ExecutionProvider", "LocalProvider"]

_HOME = {"LocalProvider": "local"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'plait.providers' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"plait.providers.{_HOME.get(name, 'base')}"), name)
    globals()[name] = value
    return value
