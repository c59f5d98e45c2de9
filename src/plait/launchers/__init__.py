"""Launchers: how the nodes of a block start their managers. The names are loaded when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait._util.lazy import lazy

if TYPE_CHECKING:
    from plait.launchers.aprun import AprunLauncher as AprunLauncher
    from plait.launchers.base import Launcher as Launcher
    from plait.launchers.flux import FluxRunLauncher as FluxRunLauncher
    from plait.launchers.jsrun import JsrunLauncher as JsrunLauncher
    from plait.launchers.mpi import MpiExecLauncher as MpiExecLauncher
    from plait.launchers.mpi import MpiRunLauncher as MpiRunLauncher
    from plait.launchers.parallel import GnuParallelLauncher as GnuParallelLauncher
    from plait.launchers.simple import SimpleLauncher as SimpleLauncher
    from plait.launchers.simple import SingleNodeLauncher as SingleNodeLauncher
    from plait.launchers.simple import WrappedLauncher as WrappedLauncher
    from plait.launchers.srun import SrunLauncher as SrunLauncher
    from plait.launchers.srun import SrunMPILauncher as SrunMPILauncher

_HOME = {
    "Launcher": "base",
    "SimpleLauncher": "simple", "SingleNodeLauncher": "simple", "WrappedLauncher": "simple",
    "SrunLauncher": "srun", "SrunMPILauncher": "srun",
    "AprunLauncher": "aprun",
    "JsrunLauncher": "jsrun",
    "FluxRunLauncher": "flux",
    "MpiExecLauncher": "mpi", "MpiRunLauncher": "mpi",
    "GnuParallelLauncher": "parallel",
}  # fmt: skip
__all__ = [*_HOME]  # noqa: PLE0604 # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazy(__name__, _HOME)
