"""SIGTERM and SIGHUP as an orderly end: the program leaves by SystemExit, so its ``with`` blocks and exit handlers run.

A child that the program forks is ended by them as if there were no run: an exception may be lost in it, and whoever forked waits for its end.
Only the main thread can set handlers. A run that is ended by another thread leaves them where they are; they then do what the default does.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

from plait.futures import EndedBySignal

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBERS: Final = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
#: One object for each run that wants the handlers.
_users: set[object] = set()


def leave_on_signals() -> Callable[[], None]:
    """Installs handlers where the program has none of its own; the returned function takes them away with the last run that wants them."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    user = object()
    _users.add(user)
    for number in _NUMBERS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _leave)

    def restore() -> None:
        _users.discard(user)
        if _users or threading.current_thread() is not threading.main_thread():
            return
        for number in _NUMBERS:
            if signal.getsignal(number) is _leave:
                signal.signal(number, signal.SIG_DFL)

    return restore


def _leave(number: int, frame: Any) -> None:
    del frame
    if not _users:  # what was ended by another thread
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    raise EndedBySignal(128 + number)


#: What the forking threads did not want to hear before, by thread: a signal between a fork and the end of the hooks in the child would be lost.
_masks: dict[int, set[int]] = {}


def _before_fork() -> None:
    if _users:
        _masks[threading.get_ident()] = set(signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS))


def _after_fork() -> None:
    mask = _masks.pop(threading.get_ident(), None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_forked_child() -> None:
    _users.clear()
    for number in _NUMBERS:
        if signal.getsignal(number) is _leave:
            signal.signal(number, signal.SIG_DFL)
    _after_fork()
    _masks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_forked_child)
