"""Progress in a notebook: HTML through the display handle of IPython, without widgets, so it also stays in the saved notebook."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from plait.model.units import format_duration
from plait.monitoring.progress_plain import left_text, rate_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.monitoring.progress import Progress, Row


class NotebookProgress:
    """Updates one output of a cell for as long as there is something to do; later work gets an output in the cell that started it.

    Args:
        show_html: makes an output of HTML and returns its handle; None for IPython's.
    """

    refresh_s = 0.5

    def __init__(self, show_html: Callable[[str], Any] | None = None) -> None:
        self._show_html = show_html or _show_with_ipython
        self._handle: Any = None
        self._shown: object = ()
        self._last: Progress | None = None
        self._rested = False  # there was nothing left to do

    def show(self, progress: Progress) -> None:
        """Draws, unless nothing changed since the work ended."""
        self._last = progress
        idle = not progress.total.unfinished
        if (idle and progress.counts == self._shown) or not progress.total.total:
            return
        self._shown = progress.counts
        if self._rested and not idle:
            self._handle = None
        self._rested = idle
        self._draw(html_of(progress))

    def hide(self) -> None:
        """Outputs of cells stay."""

    def finish(self, sentence: str) -> None:
        """The table once more, with the closing line beneath it."""
        if sentence:
            table = html_of(self._last) if self._last is not None else ""
            self._draw(f"{table}<p>{html.escape(sentence)}</p>")

    def _draw(self, text: str) -> None:
        if self._handle is None:
            self._handle = self._show_html(text)
        else:
            self._handle.update(_Html(text))


class _Html:
    """What IPython shows as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _repr_html_(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "(progress of plait)"  # for what shows no HTML


def _show_with_ipython(text: str) -> Any:
    from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

    return display(_Html(text), display_id=True)


def html_of(progress: Progress) -> str:
    """The table."""
    head = "".join(
        f"<th style='text-align:right'>{name}</th>"
        for name in ("", "waiting", "running", "done", "failed", "rate", "left")
    )
    rows = [*progress.apps, progress.total] if len(progress.apps) > 1 else list(progress.apps)
    body = "".join(_row(row) for row in rows)
    return (
        f"<table><thead><tr><th style='text-align:left'>app ({format_duration(progress.elapsed_s)})</th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _row(row: Row) -> str:
    total = max(1, row.total)
    cells = [
        f"<progress value='{row.ended}' max='{total}'></progress>",
        f"{row.waiting:,}",
        f"{row.running:,}",
        f"{row.done:,}",
        f"<b style='color:#c0392b'>{row.failed:,}</b>" if row.failed else "0",
        rate_text(row.rate) if row.rate and row.unfinished else "",
        left_text(row.eta_s) if row.eta_s is not None else "",
    ]
    right = "".join(f"<td style='text-align:right'>{cell}</td>" for cell in cells)
    return f"<tr><td style='text-align:left'>{html.escape(row.name)}</td>{right}</tr>"
