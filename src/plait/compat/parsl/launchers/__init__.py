"""``parsl.launchers``."""

from plait.compat.parsl._lazy import lazy
from plait.compat.parsl.launchers.launchers import SimpleLauncher, SingleNodeLauncher, WrappedLauncher

__all__ = ["SimpleLauncher", "SingleNodeLauncher", "WrappedLauncher"]

__getattr__ = lazy(__name__, "base", "errors", "launchers")
