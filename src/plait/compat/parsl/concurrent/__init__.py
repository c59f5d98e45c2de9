"""``parsl.concurrent``: the executor of the standard library's kind."""

from plait.compat.parsl._lazy import lazy
from plait.compat.parsl.concurrent.pool import ParslPoolExecutor

__all__ = ["ParslPoolExecutor"]

__getattr__ = lazy(__name__)
