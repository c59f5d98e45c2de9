"""``parsl.executors.high_throughput.errors``."""

from __future__ import annotations

from plait.errors import ManagerLost, WorkerLost

__all__ = ["CommandClientBadError", "CommandClientTimeoutError", "ManagerLost", "VersionMismatch", "WorkerLost"]


class VersionMismatch(Exception):
    """Managers and driver have versions that cannot work together. plait refuses the manager and goes on, so it is never raised."""

    def __init__(self, interchange_version: str, manager_version: str) -> None:
        super().__init__(interchange_version, manager_version)
        self.interchange_version = interchange_version
        self.manager_version = manager_version

    def __str__(self) -> str:
        return f"Manager version info {self.manager_version} does not match interchange version info {self.interchange_version}"


class CommandClientTimeoutError(Exception):
    """The interchange did not answer in time."""


class CommandClientBadError(Exception):
    """The interchange cannot be asked any more."""
