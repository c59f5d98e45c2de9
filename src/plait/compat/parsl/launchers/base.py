"""``parsl.launchers.base``: the port of launchers, which is plait's own."""

from __future__ import annotations

import inspect
from typing import Any

from plait.launchers.base import Launcher

__all__ = ["Launcher"]


def with_folder(launcher: Any) -> Any:
    """The launcher as plait calls it: one that was written before launchers were told of a folder for their files is not told."""
    if not isinstance(launcher, Launcher) or _takes_folder(launcher):
        return launcher
    return WithoutFolder(launcher)


def _takes_folder(launcher: Launcher) -> bool:
    try:
        inspect.signature(launcher).bind("", 1, 1, "")
    except TypeError:
        return False
    return True


class WithoutFolder(Launcher):
    """A launcher of three parameters as one of four. It has the attributes of the other."""

    def __init__(self, launcher: Launcher) -> None:
        super().__init__(getattr(launcher, "debug", True))
        self.launcher = launcher

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:  # noqa: ARG002 - that is what this is for
        return self.launcher(command, tasks_per_node, nodes_per_block)

    def __getattr__(self, name: str) -> Any:
        if name == "launcher":  # not there yet: it is being copied
            raise AttributeError(name)
        return getattr(self.launcher, name)

    def __repr__(self) -> str:
        return repr(self.launcher)
