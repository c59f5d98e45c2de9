"""Progress as plain lines, for logs and pipes: one every few seconds at most, and only when something changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from plait.model.units import format_duration

if TYPE_CHECKING:
    from plait.monitoring.progress import Progress, Row

#: (until this many seconds of the run, seconds between two lines): a log of a long run stays readable.
PACE: Final = ((60.0, 5.0), (600.0, 15.0), (float("inf"), 60.0))


class PlainProgress:
    """Writes lines."""

    refresh_s = 0.5

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next_s = 2.0
        self._shown: object = ()

    def show(self, progress: Progress) -> None:
        """Writes a line when it is time for one and there is something new to say."""
        if progress.elapsed_s < self._next_s or progress.counts == self._shown or not progress.total.total:
            return
        self._shown = progress.counts
        self._next_s = progress.elapsed_s + next(pause for until, pause in PACE if progress.elapsed_s < until)
        self._stream.write(line_of(progress) + "\n")
        self._stream.flush()

    def hide(self) -> None:
        """Nothing stays open."""

    def finish(self, sentence: str) -> None:
        """The closing line."""
        if sentence:
            self._stream.write(sentence + "\n")
            self._stream.flush()


def line_of(progress: Progress) -> str:
    """``plait 12.3 s: 120 of 500 done, 2 failed, 4 running, 374 waiting; 24/s, about 16 s left; now: simulate()``."""
    total = progress.total
    parts = [f"{total.done} of {total.total} done"]
    parts += [
        f"{count} {what}"
        for count, what in (
            (total.failed, "failed"),
            (total.other, "not run"),
            (total.running, "running"),
            (total.waiting, "waiting"),
        )
        if count
    ]
    text = f"plait {format_duration(progress.elapsed_s)}: {', '.join(parts)}"
    if total.rate and total.unfinished:
        text += f"; {rate_text(total.rate)}"
    if total.eta_s is not None:
        text += f", about {left_text(total.eta_s)} left"
    busy: list[Row] = sorted((r for r in progress.apps if r.running), key=lambda r: -r.running)
    if busy:
        text += f"; now: {', '.join(r.name + '()' for r in busy[:3])}"
    return text


def rate_text(rate: float) -> str:
    """``1,234/s``, ``3.5/s``, ``12/min``."""
    if rate >= 10:
        return f"{rate:,.0f}/s"
    if rate >= 1:
        return f"{rate:.1f}/s"
    return f"{rate * 60:.1f}/min"


def left_text(seconds: float) -> str:
    """A guess, so without fractions: ``4 s``, ``2m05s``."""
    return f"{max(1, round(seconds))} s" if seconds < 60 else format_duration(seconds)
