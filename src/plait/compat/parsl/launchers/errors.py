"""``parsl.launchers.errors``."""

from plait.errors import BadLauncher

__all__ = ["BadLauncher"]
