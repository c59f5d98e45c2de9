"""``parsl.launchers.launchers``."""

from plait.compat.parsl._lazy import lazy
from plait.launchers.base import Launcher
from plait.launchers.simple import SimpleLauncher, SingleNodeLauncher, WrappedLauncher

__all__ = ["Launcher", "SimpleLauncher", "SingleNodeLauncher", "WrappedLauncher"]

__getattr__ = lazy(__name__)
