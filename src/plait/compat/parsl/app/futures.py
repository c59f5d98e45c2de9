"""``parsl.app.futures``."""

from concurrent.futures import Future

from plait.futures import DataFuture

__all__ = ["DataFuture", "Future"]
