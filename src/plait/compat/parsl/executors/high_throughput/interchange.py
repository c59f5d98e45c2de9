"""``parsl.executors.high_throughput.interchange``: the exceptions that programs import from there. The process itself is plait's own."""

from plait.compat.parsl.executors.high_throughput.errors import ManagerLost, VersionMismatch

__all__ = ["ManagerLost", "VersionMismatch"]
