"""``parsl.multiprocessing``."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

__all__ = ["ForkProcess", "SpawnContext", "SpawnEvent", "SpawnProcess", "SpawnQueue", "join_terminate_close_proc"]

ForkProcess = getattr(multiprocessing.context, "ForkProcess", None)
SpawnContext = multiprocessing.get_context("spawn")
SpawnEvent = SpawnContext.Event
SpawnProcess = SpawnContext.Process
SpawnQueue = SpawnContext.Queue


def join_terminate_close_proc(process: BaseProcess, *, timeout: float = 30) -> None:
    """Waits for a process; ends one that takes too long, first gently, then not."""
    process.join(timeout)
    if process.is_alive():
        process.terminate()
        process.join(timeout)
    if process.is_alive():
        process.kill()
        process.join(timeout)
    process.close()
