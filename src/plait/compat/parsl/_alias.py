"""``import parsl.x`` gives the module ``plait.compat.parsl.x``: one object under two names.

It is an importer in front of all others, so it comes before an installed upstream as well.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from typing import TYPE_CHECKING, Any, Final

from plait.compat.parsl._absent import why_absent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

HERE: Final = "plait.compat."


class _Loader(importlib.abc.Loader):
    """Gives the module that is there under its real name."""

    def __init__(self) -> None:
        self._spec: Any = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(HERE + spec.name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has put the alias's there


class Finder(importlib.abc.MetaPathFinder):
    """Finds `parsl` and what is below it; says why where plait does not have it yet."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname.startswith(HERE + "parsl."):
            # `from parsl.executors import X` looks for a submodule X of the real package when X is no attribute
            _refuse(fullname[len(HERE) :])
            return None
        if fullname != "parsl" and not fullname.startswith("parsl."):
            return None
        if importlib.util.find_spec(HERE + fullname) is None:
            return None
        return importlib.util.spec_from_loader(fullname, _Loader(), is_package=fullname == "parsl")


def _refuse(name: str) -> None:
    reason = "" if exists(name) else why_absent(name)
    if reason:
        raise ModuleNotFoundError(reason, name=name)


def exists(name: str) -> bool:
    """Whether there is a module for ``parsl.x``."""
    import os

    *folders, last = name.split(".")[1:]
    path = os.path.join(os.path.dirname(__file__), *folders, last)
    return os.path.isdir(path) or os.path.isfile(path + ".py")


def install() -> None:
    """Makes `parsl` resolve to this package, in this process. Calling it again does nothing.

    Raises:
        ImportError: another parsl was imported before.
    """
    ours = sys.modules[HERE + "parsl"]
    other = sys.modules.get("parsl")
    if other is not None and other is not ours:
        raise ImportError(
            f"parsl was imported from {getattr(other, '__file__', '?')} before plait.compat.parsl could take its place; "
            "import plait.compat.parsl first, or start the program with `python -m plait.compat.parsl script.py`"
        )
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
    sys.modules["parsl"] = ours
