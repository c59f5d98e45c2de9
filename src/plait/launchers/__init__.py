"""Launchers: how the nodes of a block start their managers."""

from __future__ import annotations

from plait.launchers.base import Launcher
from plait.launchers.simple import SimpleLauncher, SingleNodeLauncher, WrappedLauncher

__all__ = ["Launcher", "SimpleLauncher", "SingleNodeLauncher", "WrappedLauncher"]
