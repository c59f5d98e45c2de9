"""``parsl.launchers.launchers``."""

from plait.compat.parsl._lazy import lazy
from plait.launchers.aprun import AprunLauncher
from plait.launchers.base import Launcher
from plait.launchers.jsrun import JsrunLauncher
from plait.launchers.mpi import MpiExecLauncher, MpiRunLauncher
from plait.launchers.parallel import GnuParallelLauncher
from plait.launchers.simple import SimpleLauncher, SingleNodeLauncher, WrappedLauncher
from plait.launchers.srun import SrunLauncher, SrunMPILauncher

__all__ = [
    "AprunLauncher",
    "GnuParallelLauncher",
    "JsrunLauncher",
    "Launcher",
    "MpiExecLauncher",
    "MpiRunLauncher",
    "SimpleLauncher",
    "SingleNodeLauncher",
    "SrunLauncher",
    "SrunMPILauncher",
    "WrappedLauncher",
]

__getattr__ = lazy(__name__)
