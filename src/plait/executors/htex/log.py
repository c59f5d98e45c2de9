"""The log of a helper process: written by a thread of its own, so that a file system that hangs stops nothing."""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import Final

#: Lines that may wait; later ones are dropped while the file system hangs.
_LINES: Final = 10_000


class Log:
    """Lines into a file.

    Args:
        path: of the file, to which it appends; empty for none.
        debug: whether `debug` says anything.
    """

    def __init__(self, path: str, *, debug: bool = False) -> None:
        self._debug = debug
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        if path:
            self._thread = threading.Thread(target=self._write, args=(path,), name="plait-log", daemon=True)
            self._thread.start()

    def debug(self, text: str, *args: object) -> None:
        """Says something that only those want to know who look for a fault."""
        if self._debug:
            self._put("DEBUG", text, args)

    def info(self, text: str, *args: object) -> None:
        """Says what happened."""
        self._put("INFO", text, args)

    def warning(self, text: str, *args: object) -> None:
        """Says what should not have happened."""
        self._put("WARNING", text, args)

    def _put(self, level: str, text: str, args: tuple[object, ...]) -> None:
        if self._thread is None or self._queue.qsize() > _LINES:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        self._queue.put(f"{stamp}.{int(now % 1 * 1000):03d} {level} {text % args}\n")

    def _write(self, path: str) -> None:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            fd = -1
        line = self._queue.get()
        while line is not None:
            try:
                if fd >= 0:
                    os.write(fd, line.encode(errors="replace"))
            except OSError:  # the disk is full: the log has a hole
                pass
            line = self._queue.get()
        if fd >= 0:
            os.close(fd)

    def close(self, timeout_s: float = 0.5) -> None:
        """Writes what waits, if that does not take long."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout_s)
