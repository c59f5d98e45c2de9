"""Submodules as attributes of their package, as upstream's are once it was imported; they are imported when they are asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from plait.compat.parsl._absent import why_absent

if TYPE_CHECKING:
    from collections.abc import Callable


def lazy(package: str, *submodules: str) -> Callable[[str], object]:
    """A ``__getattr__`` for a package, whose ``__name__`` is given; for other names it says why they are not there."""
    upstream = package.removeprefix("plait.compat.")

    def __getattr__(name: str) -> object:
        if name in submodules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(why_absent(f"{upstream}.{name}") or f"module {upstream!r} has no attribute {name!r}")

    return __getattr__
