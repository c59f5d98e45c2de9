"""SIGTERM and SIGHUP as an orderly end: the program leaves by SystemExit, so its ``with`` blocks and exit handlers run."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def leave_on_signals() -> Callable[[], None]:
    """Installs handlers where the program has none of its own; the returned function takes them away again."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    installed: list[int] = []
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _leave)
            installed.append(number)

    def restore() -> None:
        for number in installed:
            if signal.getsignal(number) is _leave and threading.current_thread() is threading.main_thread():
                signal.signal(number, signal.SIG_DFL)

    return restore


def _leave(number: int, frame: Any) -> None:
    del frame
    raise SystemExit(128 + number)
