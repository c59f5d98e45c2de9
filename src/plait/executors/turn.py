"""Who serves an executor: one thread at a time, which is not held up by callbacks of users that wait.

Outcomes are delivered by the thread that also takes them in, and a callback of the user's runs in it. When the callback waits for another
future, nobody would take in what it waits for. So another thread serves from then on, and the first ends after the callback.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from plait.futures import blocking

if TYPE_CHECKING:
    from collections.abc import Callable


class HandedOver(BaseException):
    """Another thread serves now: this one is to end, and to touch nothing more."""


class Turn:
    """The serving threads of one executor.

    Attributes:
        lock: held by the thread that serves.
        thread: which one that is; None before `start`.
    """

    def __init__(self, name: str, serve: Callable[[], None], lock: threading.Lock | threading.RLock) -> None:
        self.lock = lock
        self.thread: threading.Thread | None = None
        self._name = name
        self._serve = serve
        self._calls = False

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread is the one that serves."""
        return threading.current_thread() is self.thread

    def start(self) -> None:
        """Has a thread call `serve`, which takes the lock first."""
        before = self.thread
        self.thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            self.thread.start()
        except BaseException:  # the system has no more threads to give
            self.thread = before
            raise

    def call(self, function: Callable[..., None], *args: Any) -> None:
        """Calls what may call users' functions.

        Raises:
            HandedOver: one of them waited, and another thread serves since then.
        """
        thread = self.thread
        self._calls = True
        try:
            function(*args)
        finally:
            if self.thread is not thread:
                raise HandedOver
            self._calls = False

    def _run(self) -> None:
        blocking.before, blocking.after = self._hand_over, _nothing
        try:
            self._serve()
        except HandedOver:
            pass

    def _hand_over(self) -> None:
        """A callback is about to wait."""
        if self._calls and self.is_mine:
            self.start()  # it waits for the lock
            self._calls = False
            self.lock.release()


def _nothing() -> None:
    """Nothing to do."""
