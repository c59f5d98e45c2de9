"""``parsl.concurrent``: the executor of the standard library's kind."""

from plait.compat.parsl.concurrent.pool import ParslPoolExecutor

__all__ = ["ParslPoolExecutor"]
