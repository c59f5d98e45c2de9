"""The timeline of a run's workers, as SVG of bounded size: who was busy when, and with which app.

A run of a hundred thousand tasks has more of them than a screen has points, so time is cut into bins, and each worker gets for each bin the app that
took most of it. Neighbouring bins that look the same are one rectangle, and all rectangles of a look are one path.
"""

from __future__ import annotations

import heapq
import html
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plait.model.task import FAILED, LAUNCHED
from plait.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.monitoring.runs import Run

#: Rectangles that are drawn at most, by which the number of bins is chosen.
_CELLS: Final = 16_000
_BINS: Final = (50, 500)
#: Rows that are drawn; more workers are counted.
ROWS: Final = 160
#: Apps with a colour of their own; the others share one.
COLOURS: Final = 8
_WIDTH: Final = 1000.0
_STEPS: Final = (1, 2, 5)


@dataclass(frozen=True)
class Span:
    """A time in which a worker ran a task.

    Attributes:
        executor: label.
        worker: its number; -1 when it has none.
        start_s: beginning, in seconds of the run.
        stop_s: end.
        look: number of the app's colour.
        failed: whether the task failed.
    """

    executor: str
    worker: int
    start_s: float
    stop_s: float
    look: int
    failed: bool


def spans_of(run: Run, looks: dict[str, int]) -> list[Span]:
    """The spans of a run's tasks, of the last attempt of each."""
    zero_s = run.started.t_s if run.started is not None else min((t.submit_s for t in run.tasks.values()), default=0.0)
    now_s = run.now_s()
    spans = []
    for task in run.tasks.values():
        if not task.executor or task.executor.startswith("_"):  # never ran, or only the body of a join app
            continue
        if task.start_s and task.stop_s:
            start_s, stop_s = task.start_s, task.stop_s
        elif (
            task.sent_s and (task.has_ended or task.state == LAUNCHED) and task.worker >= 0
        ):  # ended by force, or runs still
            start_s, stop_s = task.sent_s, task.end_s or now_s
        else:
            continue
        if stop_s >= start_s:
            look = looks.get(task.app, COLOURS)
            spans.append(
                Span(task.executor, task.worker, start_s - zero_s, stop_s - zero_s, look, task.state == FAILED)
            )
    return spans


def lanes(spans: Sequence[Span]) -> list[tuple[str, list[Span]]]:
    """Rows with their names: one for each worker; tasks that ran in threads, which have no number, share as few rows as they need."""
    rows: dict[tuple[str, int], list[Span]] = defaultdict(list)
    threads: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        if span.worker >= 0:
            rows[span.executor, span.worker].append(span)
        else:
            threads[span.executor].append(span)
    for executor, some in threads.items():
        free: list[tuple[float, int]] = []  # (when it is free, lane)
        for span in sorted(some, key=lambda span: span.start_s):
            lane = heapq.heappop(free)[1] if free and free[0][0] <= span.start_s else len(free)
            heapq.heappush(free, (span.stop_s, lane))
            rows[executor, lane].append(span)
    executors = {executor for executor, _ in rows}
    return [
        (f"{executor} {number}" if len(executors) > 1 else str(number), some)
        for (executor, number), some in sorted(rows.items())
    ]


def timeline(rows: Sequence[tuple[str, list[Span]]], length_s: float) -> str:
    """The picture, with a row for each worker and an axis; colours are the page's (classes ``k0`` … and ``bad``)."""
    shown = rows[:ROWS]
    if not shown or length_s <= 0:
        return "<p>No task ran on a worker.</p>"
    height = 18 if len(shown) <= 24 else 9 if len(shown) <= 64 else 5
    labelled = {18: 1, 9: 4, 5: 10}[height]  # so that names do not cover each other
    bins = max(_BINS[0], min(_BINS[1], _CELLS // len(shown)))
    paths: dict[str, list[str]] = defaultdict(list)
    labels = []
    left = 12 + 6.5 * max(len(name) for name, _ in shown)
    for number, (name, spans) in enumerate(shown):
        y = number * height
        if number % labelled == 0:
            labels.append(
                f'<text class="axis" x="{left - 6:.0f}" y="{y + height / 2 + 3.5:.1f}" text-anchor="end">{html.escape(name)}</text>'
            )
        for look, from_bin, to_bin in _runs(spans, bins, length_s):
            x, width = left + from_bin / bins * (_WIDTH - left), (to_bin - from_bin) / bins * (_WIDTH - left)
            paths[look].append(f"M{x:.1f} {y + 1}h{width:.1f}v{height - 2}h-{width:.1f}z")
    drawn = "".join(f'<path class="{look}" d="{"".join(parts)}"/>' for look, parts in sorted(paths.items()))
    bottom = len(shown) * height
    axis = _axis(length_s, left, bottom)
    more = f"<p>{len(rows) - ROWS} more workers are not drawn.</p>" if len(rows) > ROWS else ""
    return (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {bottom + 22}" role="img" aria-label="Timeline of workers">'
        f'<rect class="ground" x="{left:.1f}" y="0" width="{_WIDTH - left:.1f}" height="{bottom}"/>{axis}{drawn}{"".join(labels)}</svg>{more}'
    )


def _runs(spans: Sequence[Span], bins: int, length_s: float) -> list[tuple[str, int, int]]:
    """(look, first bin, bin after the last) of a worker: in each bin the look that took most of it; a failure shows whatever its length."""
    per_s = bins / length_s
    busy: dict[int, dict[str, float]] = {}
    for span in spans:
        look = "bad" if span.failed else f"k{span.look}"
        start, stop = max(0.0, span.start_s) * per_s, min(length_s, span.stop_s) * per_s
        first, last = min(int(start), bins - 1), min(int(stop), bins - 1)
        for number in range(first, last + 1):
            share = min(stop, number + 1) - max(start, number)
            looks = busy.setdefault(number, {})
            looks[look] = looks.get(look, 0.0) + max(share, 1e-9)
    found: list[tuple[str, int, int]] = []
    for number in sorted(busy):
        looks = busy[number]
        if "bad" not in looks and sum(looks.values()) < _visible(spans):
            continue
        look = "bad" if "bad" in looks else max(looks, key=lambda name: looks[name])
        if found and found[-1][0] == look and found[-1][2] == number:
            found[-1] = (look, found[-1][1], number + 1)
        else:
            found.append((look, number, number + 1))
    return found


def _visible(spans: Sequence[Span]) -> float:
    """The share of a bin below which a worker looks idle: none while each task can be seen, a tenth in a crowd."""
    return 0.1 if len(spans) > 500 else 0.0


def _axis(length_s: float, left: float, bottom: int) -> str:
    step_s = next(s * 10.0**e for e in range(-4, 9) for s in _STEPS if length_s / (s * 10.0**e) <= 8)
    parts = []
    for number in range(int(length_s / step_s) + 1):
        x = left + number * step_s / length_s * (_WIDTH - left)
        anchor = "start" if number == 0 else "end" if x > _WIDTH - 30 else "middle"
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom + 4}"/>'
            f'<text class="axis" x="{x:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{_mark(number * step_s)}</text>'
        )
    return "".join(parts)


def throughput(ends_s: Sequence[float], length_s: float) -> str:
    """Tasks that ended, over time."""
    if not ends_s or length_s <= 0:
        return ""
    bins = 120
    counts = [0] * bins
    for moment_s in ends_s:
        counts[max(0, min(bins - 1, int(moment_s / length_s * bins)))] += 1
    top = max(counts)
    left, height = 60.0, 90
    width = (_WIDTH - left) / bins
    bars = "".join(
        f"M{left + i * width:.1f} {height - count / top * (height - 12):.1f}V{height}h{max(0.5, width - 1):.1f}V{height - count / top * (height - 12):.1f}z"
        for i, count in enumerate(counts)
        if count
    )
    per_s = top / (length_s / bins)
    return (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {height + 22}" role="img" aria-label="Tasks that ended, over time">'
        f"{_axis(length_s, left, height)}"
        f'<line class="grid" x1="{left}" x2="{_WIDTH:.0f}" y1="12" y2="12"/>'
        f'<text class="axis" x="{left - 6}" y="16" text-anchor="end">{_number(per_s)}/s</text>'
        f'<text class="axis" x="{left - 6}" y="{height}" text-anchor="end">0</text><path class="k0" d="{bars}"/></svg>'
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _mark(seconds: float) -> str:
    return format_duration(seconds).replace(".0 s", " s") if seconds else "0"
