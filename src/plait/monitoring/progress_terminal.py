"""Progress as a table at the foot of a terminal, beneath whatever the program prints.

What is printed passes through unchanged: the table is erased, the text written by the stream that it was meant for, the table drawn again.
The table comes from rich; keeping it in its place is done here, because rich's `Live` sends what the program prints to standard output
through its own console: wrapped, stripped of control characters, and to the terminal even when standard output is a file.
A line that is not finished yet is kept back until it is, or until it is flushed: then the table waits for its end.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, TextIO

from plait.model.units import format_duration
from plait.monitoring.progress_plain import left_text, rate_text

if TYPE_CHECKING:
    from plait.monitoring.progress import Progress, Row

#: Lines of the terminal that the table leaves free.
_FREE_LINES = 6
_MIN_ROWS = 3
#: What is shown on a terminal of this width at least: rather fewer columns than names and numbers that are cut.
_COLUMNS: Final = (
    (72, ("app", "bar", "waiting", "running", "done", "failed", "rate", "left")),
    (56, ("app", "waiting", "running", "done", "failed", "left")),
    (36, ("app", "running", "done", "failed")),
    (0, ("app", "done")),
)

_drawn: weakref.WeakSet[TerminalProgress] = weakref.WeakSet()


class TerminalProgress:
    """Draws on standard error. Standard output passes through it when it leads to a terminal too.

    Args:
        stream: the terminal; None for standard error.
    """

    refresh_s = 0.25

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.console import Console

        self.lock = threading.RLock()
        self._stream: Any = stream if stream is not None else sys.stderr
        self._console = Console(file=self._stream, force_terminal=True, legacy_windows=False)
        self._lines = 0  # of the table, on the screen now
        self._text = ""  # of the table as drawn last
        self._proxies: list[_Proxy] = []
        self._handlers: list[tuple[Any, Any]] = []
        self._ended = False
        self._is_only_one = not any(other.is_active for other in list(_drawn))
        if self._is_only_one:
            _drawn.add(self)
            self._step_between()

    @property
    def is_active(self) -> bool:
        """Whether the foot of the terminal is taken."""
        return not self._ended

    # ------------------------------------------------------------------ the display's side
    def show(self, progress: Progress) -> None:
        """Draws the table, or takes it away while there is nothing to do."""
        if not self._is_only_one:  # two runs at once: the first has the terminal
            return
        text = self._render(progress) if progress.total.unfinished else ""
        with self.lock:
            if self._ended or not self._in_foreground():
                return
            erase = self._erasing()
            self._text = text
            if not self._is_midline():
                self._write(erase + self._drawing())
            elif erase:
                self._write(erase)

    def hide(self) -> None:
        """Erases the table and gives the streams back as they were."""
        with self.lock:
            if self._ended:
                return
            self._ended = True
            self._write(self._erasing())
            self._text = ""
            self._step_out()

    def finish(self, sentence: str) -> None:
        """The closing line."""
        if sentence:
            self._write(sentence + "\n")

    def leave_in_child(self) -> None:
        """In a process that user code forked: the streams are shared with the driver, the display is the driver's."""
        self.lock = threading.RLock()  # the old one may have been held
        self._ended = True
        for proxy in self._proxies:
            proxy.forget()
        self._step_out()

    # ------------------------------------------------------------------ the program's side
    def pass_on(self, stream: Any, text: str) -> None:
        """Writes what the program prints above the table."""
        with self.lock:
            erase = self._erasing()
            if erase:
                self._write(erase)
            stream.write(text)
            if text.endswith("\n") and not self._ended and self._text:
                stream.flush()
                self._write(self._drawing())

    def _is_midline(self) -> bool:
        return any(proxy.is_midline for proxy in self._proxies)

    # ------------------------------------------------------------------ drawing
    def _erasing(self) -> str:
        lines, self._lines = self._lines, 0
        return f"\x1b[{lines}A\x1b[J" if lines else ""

    def _drawing(self) -> str:
        self._lines = self._text.count("\n")
        return self._text

    def _write(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()

    def _in_foreground(self) -> bool:
        """Whether the terminal is ours to draw on: not after ``^Z`` and ``bg``, and not behind ``&``."""
        try:
            return os.tcgetpgrp(self._stream.fileno()) == os.getpgrp()
        except (OSError, AttributeError, ValueError):
            return True

    def _render(self, progress: Progress) -> str:
        with self._console.capture() as capture:
            self._console.print(_table(progress, self._console.width, self._console.height), crop=True)
        return str(capture.get())

    # ------------------------------------------------------------------ streams
    def _step_between(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and _is_terminal(stream):
                proxy = _Proxy(stream, self)
                self._proxies.append(proxy)
                setattr(sys, name, proxy)
                for handler in logging.root.handlers:
                    if getattr(handler, "stream", None) is stream:
                        handler.stream = proxy  # type: ignore[attr-defined]
                        self._handlers.append((handler, stream))

    def _step_out(self) -> None:
        """Puts back what is still ours; a stream that the program replaced meanwhile stays as the program wants it."""
        for proxy in self._proxies:
            proxy.let_go()
            for name in ("stdout", "stderr"):
                if getattr(sys, name) is proxy:
                    setattr(sys, name, proxy.stream)
            for handler, stream in self._handlers:
                if handler.stream is proxy:
                    handler.stream = stream


class _Proxy:
    """Stands for ``sys.stdout`` or ``sys.stderr`` while the table is there. Everything but writing is the stream's own."""

    def __init__(self, stream: Any, display: TerminalProgress) -> None:
        self.stream = stream
        self.is_midline = False  # part of a line is on the screen
        self._display: TerminalProgress | None = display
        self._part = ""

    def write(self, text: str) -> int:
        """Passes whole lines on; keeps the beginning of a line until its end comes or it is flushed."""
        display = self._display
        if display is None:
            return int(self.stream.write(text))
        with display.lock:
            if self.is_midline or self._display is None:  # it was begun in sight: the rest goes the same way
                display.pass_on(self.stream, text)
                self.is_midline = self._display is not None and not text.endswith("\n")
                if self.is_midline:
                    self.stream.flush()
                return len(text)
            whole, newline, rest = (self._part + text).rpartition("\n")
            self._part = rest
            if newline:
                display.pass_on(self.stream, whole + newline)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Writes each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Shows a line that is not finished; the table comes back when it is."""
        display = self._display
        if display is not None:
            with display.lock:
                if self._part:
                    part, self._part = self._part, ""
                    self.is_midline = True
                    display.pass_on(self.stream, part)
        self.stream.flush()

    def forget(self) -> None:
        """Drops a line that was begun: its owner will write it."""
        self._part = ""

    def let_go(self) -> None:
        """From now on there is nothing between the program and its stream."""
        part, self._part = self._part, ""
        self._display = None
        if part:
            self.stream.write(part)
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __iter__(self) -> Any:
        return iter(self.stream)


def _table(progress: Progress, width: int, height: int) -> Any:
    """The table, no wider than the terminal and leaving it some lines."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, width=min(width - 1, 110), header_style="dim")
    columns = next(names for least, names in _COLUMNS if width >= least)
    for name in columns:
        if name == "app":
            table.add_column(name, ratio=2, min_width=6, no_wrap=True, overflow="ellipsis")
        elif name == "bar":
            table.add_column("", ratio=2, min_width=6)
        else:
            table.add_column(name, justify="right", no_wrap=True)
    rows, hidden = _choose(progress.apps, max(_MIN_ROWS, height - _FREE_LINES))
    total = progress.total
    if len(progress.apps) > 1 or hidden:
        rows = [*rows, total]
    for row in rows:
        is_total = row is total
        name = f"{len(progress.apps)} apps, {format_duration(progress.elapsed_s)}" if is_total else row.name
        cells: dict[str, Any] = {
            "app": Text(name, style="bold" if is_total else ""),
            "bar": ProgressBar(
                total=max(1, row.total), completed=row.ended, finished_style="green" if not row.failed else "red"
            ),
            "waiting": f"{row.waiting:,}",
            "running": Text(f"{row.running:,}", style="cyan" if row.running else "dim"),
            "done": Text(f"{row.done:,}", style="green" if row.done else "dim"),
            "failed": Text(f"{row.failed:,}", style="bold red" if row.failed else "dim"),
            "rate": rate_text(row.rate) if row.rate and row.unfinished else "",
            "left": left_text(row.eta_s) if row.eta_s is not None else "",
        }
        table.add_row(*(cells[name] for name in columns), style="" if row.unfinished or is_total else "dim")
    return table


def _choose(apps: tuple[Row, ...], room: int) -> tuple[list[Row], int]:
    """The apps that fit, those with something to do first, in the order of their first calls; and how many do not."""
    if len(apps) <= room:
        return list(apps), 0
    first = sorted(range(len(apps)), key=lambda i: (not apps[i].unfinished, i))[: room - 1]
    return [apps[i] for i in sorted(first)], len(apps) - len(first)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False


def _in_forked_child() -> None:
    for display in list(_drawn):
        display.leave_in_child()
    _drawn.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
