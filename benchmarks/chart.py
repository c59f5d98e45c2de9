"""Draws the ratios of a run as one SVG file: a bar per library and workload, on a logarithmic scale, no dependencies."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from benchmarks.report import Row, baseline_of
from benchmarks.targets import TARGETS
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _LEFT, _RIGHT, _BAR, _GAP = 900, 250, 90, 16, 14
_OURS, _OTHERS, _TARGET = "#2b6cb0", "#a0aec0", "#c53030"


class _Scale:
    """Maps a ratio to a horizontal position."""

    def __init__(self, ratios: list[float]) -> None:
        self.low = math.floor(math.log10(min([0.5, *ratios])))
        self.high = math.ceil(math.log10(max([2.0, *ratios])))

    def __call__(self, ratio: float) -> float:
        share = (math.log10(ratio) - self.low) / (self.high - self.low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _times_better(row: Row) -> float | None:
    """How many times better than its baseline, whichever direction is better for this workload."""
    baseline, workload = baseline_of(row), WORKLOADS[row.workload]
    ratio = row.ratios[baseline].get(workload.metric) if baseline else None
    if ratio is None or ratio <= 0:
        return None
    return 1 / ratio if workload.less_is_better else ratio


def _target(row: Row) -> float | None:
    """Return the target for this bar, as "times better", if there is one."""
    workload = WORKLOADS[row.workload]
    for target in TARGETS:
        wanted = (row.workload, row.peer, workload.metric, baseline_of(row))
        if (target.workload, target.peer, target.metric, target.baseline) == wanted:
            return target.bound if target.at_least else 1 / target.bound
    return None


def svg(table: Sequence[Row], caption: str) -> str:
    """Return the drawing as text."""
    bars = [(row, better) for row in table if (better := _times_better(row)) is not None]
    scale = _Scale([better for _, better in bars] + [found for row, _ in bars if (found := _target(row)) is not None])
    body: list[str] = []
    y = 60
    for name in dict.fromkeys(row.workload for row, _ in bars):
        body.append(_text(10, y + 12, f"{WORKLOADS[name].title}", weight="bold"))
        y += _BAR + 4
        for row, better in (bar for bar in bars if bar[0].workload == name):
            body += _bar(row, better, y, scale)
            y += _BAR + 2
        y += _GAP
    frame = [
        _text(10, 20, "Times better than the baseline (logarithmic; red: target)", weight="bold"),
        _text(10, 38, caption, size=11),
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 10}" font-family="sans-serif">'
    back = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, back, *frame, *_grid(scale, y), *body, "</svg>"]) + "\n"


def _bar(row: Row, better: float, y: int, scale: _Scale) -> list[str]:
    zero, end = scale(1), scale(better)
    colour = _OURS if row.peer.startswith("plait") else _OTHERS
    label = f"{row.peer} / {baseline_of(row)}"
    shapes = [
        _text(30, y + 12, label, size=11),
        f'<rect x="{min(zero, end):.1f}" y="{y}" width="{abs(end - zero):.1f}" height="{_BAR - 2}" fill="{colour}"/>',
        _text(max(zero, end) + 5, y + 12, f"{better:.3g} x", size=11),
    ]
    target = _target(row)
    if target is not None:
        x = scale(target)
        shapes.append(f'<path d="M{x:.1f} {y - 2}v{_BAR + 2}" stroke="{_TARGET}" stroke-width="2.5"/>')
    return shapes


def _grid(scale: _Scale, bottom: int) -> list[str]:
    lines = []
    for power in range(scale.low, scale.high + 1):
        x, colour = scale(10.0**power), "#4a5568" if power == 0 else "#e2e8f0"
        lines.append(f'<path d="M{x:.1f} 50V{bottom - _GAP}" stroke="{colour}"/>')
        lines.append(_text(x, bottom, f"{10.0**power:g} x", size=10, anchor="middle"))
    return lines


def _text(x: float, y: float, text: str, *, size: int = 12, weight: str = "normal", anchor: str = "start") -> str:
    style = f'font-size="{size}" font-weight="{weight}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y}" {style}>{escape(text)}</text>'
