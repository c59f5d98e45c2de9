"""Whether and how a run shows its progress.

One daemon thread looks at the kernel's counts a few times a second and hands them to what shows them: a table that stays at the foot of a
terminal (`progress_terminal`), plain lines (`progress_plain`) or HTML in a notebook (`progress_notebook`). It starts to draw, and to import what
that needs, after half a second, so a short run pays for a thread and nothing else. Whatever goes wrong here ends the display only.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from plait.monitoring.summary import closing_sentence

if TYPE_CHECKING:
    from plait.monitoring.progress import Meter, Progress

_logger = logging.getLogger("plait")

#: Seconds before anything is drawn or imported.
QUIET_S: Final = 0.5
#: Seconds for which `Display.stop` waits for the thread.
_STOP_S: Final = 0.1
_NO: Final = frozenset({"0", "false", "no", "off"})


class Renderer(Protocol):
    """Shows progress somewhere.

    Attributes:
        refresh_s: seconds between two looks.
    """

    refresh_s: float

    def show(self, progress: Progress) -> None:
        """Shows it. Called by the display's thread."""
        ...

    def hide(self) -> None:
        """Takes away what is to be seen for a time only. May be called by another thread than `show`, and more than once."""
        ...

    def finish(self, sentence: str) -> None:
        """Says how the run ended; nothing to say when the sentence is empty."""
        ...


def is_wanted() -> bool:
    """Whether a run whose configuration does not say so shows progress: on a terminal and in notebooks."""
    if is_silenced() or "PLAIT_WORKER" in os.environ:
        return False
    return _in_notebook() or (_is_terminal(sys.stderr) and not _is_interactive())


def start(kernel: Any) -> Display:
    """Begins to show the progress of a run, in the way that fits where the output goes."""
    return Display(kernel, _kind())


class Display:
    """Shows one run until it is stopped.

    Args:
        kernel: the run; only its counts are read.
        kind: ``"terminal"``, ``"plain"``, ``"notebook"`` or ``"none"``.
        quiet_s: seconds before the first look.
    """

    def __init__(self, kernel: Any, kind: str, quiet_s: float = QUIET_S) -> None:
        self._kernel = kernel
        self._kind = kind
        self._quiet_s = quiet_s
        self._start_s = time.monotonic()
        self._pid = os.getpid()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._renderer: Renderer | None = None
        self._meter: Meter | None = None
        self._ended = False
        self._thread: threading.Thread | None = None
        if kind != "none":
            self._thread = threading.Thread(target=self._run, name="plait-progress", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Takes the display away and says in one line what became of the run."""
        if self._ended or os.getpid() != self._pid:
            return
        self._ended = True
        self._stop.set()
        if self._thread is None:
            return
        self._thread.join(_STOP_S / 2)
        if not self._lock.acquire(timeout=_STOP_S / 2):
            return  # it is stuck in writing: whoever stopped the terminal's output does not stop us
        try:
            renderer = self._renderer
            sentence = self._sentence()
            if renderer is not None:
                renderer.hide()
                if self._kind == "notebook" and self._meter is not None:  # its table stays, so it is to be the last
                    renderer.show(self._meter.look(time.monotonic()))
                renderer.finish(sentence)
            elif sentence and self._kind != "notebook":
                sys.stderr.write(sentence + "\n")
                sys.stderr.flush()
        except Exception:
            _logger.exception("the end of the progress display failed")
        finally:
            self._lock.release()

    def _sentence(self) -> str:
        counts = self._kernel.task_state_counts
        return closing_sentence(counts, self._kernel.failures, self._kernel.usages) if any(counts.values()) else ""

    def _run(self) -> None:
        if self._stop.wait(self._quiet_s):
            return
        try:
            self._follow()
        except Exception:
            _logger.exception("the progress display failed and is switched off; tasks are not affected")
            renderer = self._renderer
            if renderer is not None:
                renderer.hide()

    def _follow(self) -> None:
        from plait.monitoring.progress import Meter

        meter = self._meter = Meter(self._kernel, self._start_s)
        renderer = _renderer(self._kind)
        try:
            while not self._stop.is_set():
                with self._lock:
                    if self._ended:
                        return
                    self._renderer = renderer
                    renderer.show(meter.look(time.monotonic()))
                self._stop.wait(renderer.refresh_s)
        finally:  # `stop` may have come before there was a renderer, or have given up on one that was stuck
            with self._lock:
                renderer.hide()


def _renderer(kind: str) -> Renderer:
    if kind == "notebook":
        from plait.monitoring.progress_notebook import NotebookProgress

        return NotebookProgress()
    if kind == "terminal":
        from plait.monitoring.progress_terminal import TerminalProgress

        return TerminalProgress()
    from plait.monitoring.progress_plain import PlainProgress

    return PlainProgress(sys.stderr)


def _kind() -> str:
    if is_silenced():
        return "none"
    if _in_notebook():
        return "notebook"
    if _is_terminal(sys.stderr) and not _is_interactive() and os.environ.get("TERM") != "dumb":
        return "terminal"
    return "plain"


def is_silenced() -> bool:
    """Whether nothing is to be shown on standard error, whatever the configuration says."""
    return os.environ.get("PLAIT_PROGRESS", "").strip().lower() in _NO or sys.stderr is None


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False  # closed, or a replacement that knows nothing of terminals


def _is_interactive() -> bool:
    """Whether somebody types at a prompt, over which a display would write."""
    return hasattr(sys, "ps1") or bool(sys.flags.interactive)


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook; asks only what is imported already."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    try:
        shell = ipython.get_ipython()
    except Exception:  # noqa: BLE001 - another program's module may be half imported
        return False
    return shell is not None and hasattr(shell, "kernel")
