"""A simulation's answer for people: text for a terminal, and a page or picture that needs nothing else."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from plait._util.files import write_whole
from plait.model.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.simulate.result import Result

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 1000, 200, 70, 22
_STYLE: Final = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1d2330;--soft:#5d6675;--line:#dfe3ea;--ground:#f4f6f9;--a:#3b73c8;--b:#e08a2e;--c:#3f9e6a;--bad:#c62f2f}
@media (prefers-color-scheme:dark){:root{--bg:#14171d;--fg:#e4e7ec;--soft:#9aa3b2;--line:#2c323c;--ground:#1c2028;--a:#6c9be6;--b:#eda65a;--c:#6cc294;--bad:#f0716b}}
svg text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--soft)}svg text.title{font-size:13px;fill:var(--fg)}
svg .grid{stroke:var(--line)}svg .ground{fill:var(--ground)}
.fa{fill:var(--a)}.fb{fill:var(--b)}.fc{fill:var(--c);opacity:.22}.fd{fill:var(--soft);opacity:.14}
"""
_PAGE: Final = """
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:34px 0 10px}.sub{color:var(--soft);margin:0}
.sentence{font-size:17px;margin:18px 0;padding:12px 16px;border-left:4px solid var(--c);background:var(--ground)}.sentence.warn{border-color:var(--bad)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}
th,td{padding:5px 10px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{font-weight:600;color:var(--soft);font-size:13px}th:first-child,td:first-child{text-align:left;padding-left:0}
svg{display:block;width:100%;height:auto}
"""


def facts(result: Result) -> list[tuple[str, str]]:
    """What is to be known, as pairs of name and value."""
    cores = _hours(result.allocated_core_s)
    found = [
        ("makespan", f"{format_duration(result.makespan_s)} ({_rate(result.tasks_per_s)} tasks/s)"),
        ("utilisation", f"{result.utilisation:.1%} of {cores} core-hours"),
        (
            "waiting",
            f"{format_duration(result.mean_wait_s)} in the mean, at most {result.most_waiting:,} tasks at once",
        ),
        ("tasks", _tasks(result)),
    ]
    if result.attempts > result.done:
        parts = [f"{result.attempts:,} attempts"]
        if result.lost_attempts:
            parts.append(f"{result.lost_attempts:,} lost with a node or block")
        if result.failed_attempts:
            parts.append(f"{result.failed_attempts:,} failed")
        found.append(("attempts", f"{', '.join(parts)}; {_hours(result.wasted_core_s)} core-hours wasted"))
    blocks = f"{result.blocks:,} requested"
    if result.block_wait_s:
        blocks += f", {format_duration(result.block_wait_s)} in the queue in the mean"
    if result.blocks_expired:
        blocks += f", {result.blocks_expired:,} reached their walltime"
    if result.nodes_lost:
        blocks += f"; {result.nodes_lost:,} node{'s' if result.nodes_lost != 1 else ''} lost"
    found.append(("blocks", blocks))
    bytes_sent = f"{format_bytes(result.sent_bytes)} sent to nodes, {format_bytes(result.received_bytes)} back"
    found.append(
        (
            "plait itself",
            f"interchange {result.interchange_busy:.1%} busy, driver {result.driver_busy:.1%}; {bytes_sent}",
        )
    )
    return found


def headline(result: Result) -> str:
    """What was simulated."""
    return (
        f"{result.name}: {result.tasks:,} tasks on {result.nodes:,} node{'s' if result.nodes != 1 else ''} × {result.workers} worker{'s' if result.workers != 1 else ''}, "
        f"policy {result.policy}, seed {result.seed}"
    )


def closing(result: Result) -> str:
    """How the simulation itself went."""
    return (
        f"simulated {result.events:,} events in {format_duration(result.took_s)}, {result.us_per_task:.0f} µs per task"
    )


def _hours(core_s: float) -> str:
    hours = core_s / 3600
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.2g}"


def _tasks(result: Result) -> str:
    parts = [f"{result.done:,} done"]
    for count, what in ((result.failed, "failed"), (result.skipped, "never ran"), (result.unfinished, "unfinished")):
        if count:
            parts.append(f"{count:,} {what}")
    return ", ".join(parts)


# ------------------------------------------------------------------ terminal
def text(result: Result, width: int = 80) -> str:
    """The answer for a terminal."""
    lines = [headline(result), ""]
    lines += [f"{name:>12}  {value}" for name, value in facts(result)]
    if result.stuck:
        lines += [
            "",
            f"It came to no end: {result.stuck}" if result.unfinished else f"Not everything could run: {result.stuck}",
        ]
    history = result.history
    length_s = result.makespan_s
    columns = max(20, min(160, width - 14))
    for name, title in (("running", "workers with a task"), ("waiting", "tasks that wait for a worker")):
        bins = binned(history.times, history.columns[name], length_s, columns)
        top = max(history.columns["workers"], default=0.0) if name == "running" else max(bins)
        lines += ["", f"{'':>12}  {title}", *_rows(bins, max(top, *bins, 1.0))]
    lines += [f"{'':>12}  0{format_duration(length_s):>{columns - 1}}", "", closing(result)]
    return "\n".join(lines)


def _rows(bins: Sequence[float], top: float, height: int = 6) -> list[str]:
    rows = []
    for level in range(height - 1, -1, -1):
        cells = []
        for value in bins:
            eighths = round(value / top * height * 8) - level * 8
            if value > 0 and level == 0:
                eighths = max(1, eighths)  # a little is not nothing
            cells.append(_BLOCKS[max(0, min(8, eighths))])
        label = f"{top:,.0f}" if level == height - 1 else "0" if level == 0 else ""
        rows.append(f"{label:>12} ▕{''.join(cells)}".rstrip())
    return rows


def binned(times: Sequence[float], numbers: Sequence[float], length_s: float, bins: int) -> list[float]:
    """Means of a column over stretches of equal length."""
    if not times or length_s <= 0:
        return [0.0] * bins
    areas = [0.0] * bins
    width_s = length_s / bins
    for place, start_s in enumerate(times):
        stop_s = min(length_s, times[place + 1]) if place + 1 < len(times) else length_s
        first, last = int(start_s / width_s), int(stop_s / width_s)
        for number in range(min(first, bins - 1), min(last, bins - 1) + 1):
            share_s = min(stop_s, (number + 1) * width_s) - max(start_s, number * width_s)
            areas[number] += max(0.0, share_s) * numbers[place]
    return [area / width_s for area in areas]


# ------------------------------------------------------------------ files
def write_chart(result: Result, path: str) -> None:
    """Writes a page (``.html``) or a picture (``.svg``). The file appears whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, picture(result) if path.endswith(".svg") else page(result))


def page(result: Result) -> str:
    """One page of HTML: no script, and nothing loaded from anywhere."""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in facts(result)
    )
    kinds = "".join(
        f"<tr><td>{html.escape(kind.name)}</td><td>{kind.done:,}</td><td>{kind.failed:,}</td><td>{format_duration(kind.useful_s / max(1, kind.done))}</td>"
        f"<td>{format_duration(kind.first_s)}</td><td>{format_duration(kind.last_s)}</td></tr>"
        for kind in result.kinds
        if kind.done + kind.failed
    )
    sentence = f"{result.done:,} of {result.tasks:,} tasks done in {format_duration(result.makespan_s)}, {result.utilisation:.1%} of the cores well used"
    warn = ""
    if result.stuck:
        sentence, warn = f"{sentence}. {result.stuck}", " warn"
    title = html.escape(headline(result))
    return (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width,initial-scale=1'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{_STYLE}{_PAGE}</style></head><body><main>"
        f"<h1>Simulation of {html.escape(result.name)}</h1><p class='sub'>{title}</p><p class='sentence{warn}'>{html.escape(sentence)}</p>"
        f"<section><h2>Over time</h2>{_svg(result)}</section>"
        f"<section><h2>Numbers</h2><div class='wide'><table>{rows}</table></div></section>"
        "<section><h2>Tasks</h2><div class='wide'><table><tr><th>kind</th><th>done</th><th>failed</th><th>mean</th><th>first began</th><th>last ended</th></tr>"
        f"{kinds}</table></div></section><p class='sub'>{html.escape(closing(result))}</p></main></body></html>\n"
    )


def picture(result: Result) -> str:
    """The charts alone."""
    return _svg(result, style=f"<style>{_STYLE}svg{{background:var(--bg)}}</style>") + "\n"


def _svg(result: Result, style: str = "") -> str:
    history = result.history
    most = max([result.workers * number for number in history.columns["nodes"]], default=0.0)
    allocated = [result.workers * number for number in history.columns["nodes"]]
    upper = [("fd", allocated), ("fc", history.columns["workers"]), ("fa", history.columns["running"])]
    lower = [("fb", history.columns["waiting"])]
    step = _HEIGHT + _BOTTOM + 34
    parts = [
        _plot(
            "Workers: with a task (blue), connected (green), of allocated nodes (grey)",
            upper,
            max(most, 1.0),
            result,
            0,
        ),
        _plot(
            "Tasks that are ready and wait for a worker", lower, max([*history.columns["waiting"], 1.0]), result, step
        ),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {2 * step}" role="img" aria-label="Simulation over time">{style}'
        f"{''.join(parts)}</svg>"
    )


def _plot(title: str, layers: Sequence[tuple[str, Sequence[float]]], top: float, result: Result, y: int) -> str:
    times, length_s = result.history.times, max(result.makespan_s, 1e-9)
    floor = y + 26 + _HEIGHT
    scale_x, scale_y = (_WIDTH - _LEFT) / length_s, (_HEIGHT - 4) / top
    parts = [
        f'<text class="title" x="{_LEFT}" y="{y + 16}">{html.escape(title)}</text>',
        f'<rect class="ground" x="{_LEFT}" y="{y + 26}" width="{_WIDTH - _LEFT}" height="{_HEIGHT}"/>',
    ]
    for look, numbers in layers:
        line = [f"M{_LEFT} {floor}"]
        for when_s, number in zip(times, numbers, strict=True):
            x = _LEFT + min(when_s, length_s) * scale_x
            line.append(f"H{x:.1f}V{floor - number * scale_y:.1f}")
        parts.append(f'<path class="{look}" d="{"".join(line)}H{_WIDTH}V{floor}z"/>')
    for share in (0.0, 0.5, 1.0):
        at = floor - share * top * scale_y
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{share * top:,.0f}</text>')
    for number in range(5):
        x, anchor = (
            _LEFT + number / 4 * (_WIDTH - _LEFT),
            "start" if number == 0 else "end" if number == 4 else "middle",
        )
        mark = format_duration(number / 4 * result.makespan_s) if number else "0"
        parts.append(f'<text x="{x:.1f}" y="{floor + 15}" text-anchor="{anchor}">{mark}</text>')
    return "".join(parts)
