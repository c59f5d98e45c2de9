"""``parsl.dataflow.futures``."""

from concurrent.futures import Future

from plait.futures import AppFuture

__all__ = ["AppFuture", "Future"]
