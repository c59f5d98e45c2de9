"""Things to do later: one thread, started when the first is asked for."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import TYPE_CHECKING, Any

from plait.limits import LONGEST_WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable


class Timers:
    """Calls functions at given times of the monotonic clock.

    Args:
        name: of the thread.
        blocking: where a thread leaves what to call before and after it waits (`plait.futures.blocking`). With it, what is due may call users'
            functions: while one of them waits, which may be for something that is due later, another thread goes on.
    """

    def __init__(self, name: str, blocking: Any = None) -> None:
        self._name = name
        self._blocking = blocking
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._ties = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def at(self, when_s: float, do: Callable[[], None]) -> None:
        """Calls ``do`` at that time, in the timers' own thread. It must not wait for anything."""
        with self._changed:
            if self._stopped:
                return
            heapq.heappush(self._heap, (when_s, next(self._ties), do))
            if self._thread is None:
                self._start()
            elif self._heap[0][0] == when_s:
                self._changed.notify()

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        """Calls ``do`` after some seconds."""
        self.at(time.monotonic() + delay_s, do)

    def stop(self) -> None:
        """Forgets what is left."""
        with self._changed:
            self._stopped = True
            self._heap.clear()
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    def _start(self) -> None:
        before = self._thread
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._thread = before
            raise

    def _hand_over(self) -> None:
        """What is being called is about to wait."""
        with self._changed:
            if self._thread is threading.current_thread() and not self._stopped:
                self._start()

    def _run(self) -> None:
        if self._blocking is not None:
            self._blocking.before, self._blocking.after = self._hand_over, _nothing
        while self._thread is threading.current_thread():
            with self._changed:
                while not self._stopped and (not self._heap or self._heap[0][0] > time.monotonic()):
                    left_s = self._heap[0][0] - time.monotonic() if self._heap else LONGEST_WAIT_S
                    self._changed.wait(min(left_s, LONGEST_WAIT_S))
                if self._stopped:
                    return
                do = heapq.heappop(self._heap)[2]
            try:
                do()
            except Exception:
                import logging

                logging.getLogger("plait").exception("something that was due raised")


def _nothing() -> None:
    """Nothing to do."""
