"""``parsl.executors.execute_task``."""

from __future__ import annotations

from typing import Any

from plait.compat.parsl.serialize.facade import unpack_apply_message

__all__ = ["execute_task"]


def execute_task(bufs: bytes) -> Any:
    """Does a call that `parsl.serialize.pack_apply_message` made bytes of; returns what it returns, raises what it raises."""
    func, args, kwargs = unpack_apply_message(bufs)
    return func(*args, **kwargs)
