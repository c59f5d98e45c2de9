"""Submodules as attributes of their package, as upstream's are once it was imported; they are imported when they are asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from plait.compat.parsl._absent import why_absent
from plait.compat.parsl._alias import exists

if TYPE_CHECKING:
    from collections.abc import Callable


def lazy(package: str) -> Callable[[str], object]:
    """A ``__getattr__`` for a package, whose ``__name__`` is given; for names that are no submodules it says why they are not there."""
    upstream = package.removeprefix("plait.compat.")

    def __getattr__(name: str) -> object:
        if not name.startswith("_") and exists(f"{upstream}.{name}"):
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(why_absent(f"{upstream}.{name}") or f"module {upstream!r} has no attribute {name!r}")

    return __getattr__
