"""A run as one HTML file: no script, nothing loaded from anywhere, readable in light and dark, and small whatever the size of the run."""

from __future__ import annotations

import datetime as dt
import html
import os
from array import array
from typing import TYPE_CHECKING, Final

from plait._util.files import write_whole
from plait.model.task import CANCELLED, DEP_FAIL, EXEC_DONE, FAILED, MEMO_DONE
from plait.model.units import format_duration
from plait.monitoring.runs import CRASHED, ENDED, LIVE, Run, TaskHistory, read_run
from plait.monitoring.summary import closing_sentence
from plait.monitoring.timeline import COLOURS, lanes, spans_of, throughput, timeline
from plait.monitoring.usage import core_time_text, usage_of
from plait.monitoring.why import explain_run, explain_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STYLE: Final = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1d2330;--soft:#5d6675;--line:#dfe3ea;--ground:#f4f6f9;--bad:#c62f2f;--good:#1f7a45;--accent:#2f5fb3;
--k0:#3b73c8;--k1:#e08a2e;--k2:#3f9e6a;--k3:#9063c0;--k4:#c9a227;--k5:#3aa0b0;--k6:#b5638f;--k7:#7d8a3c;--k8:#8b93a1}
@media (prefers-color-scheme:dark){:root{--bg:#14171d;--fg:#e4e7ec;--soft:#9aa3b2;--line:#2c323c;--ground:#1c2028;--bad:#f0716b;--good:#64c08a;--accent:#8fb4f2;
--k0:#6c9be6;--k1:#eda65a;--k2:#6cc294;--k3:#b18fdc;--k4:#dcc062;--k5:#6bc3d1;--k6:#d68db4;--k7:#a9b56a;--k8:#737c8b}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:34px 0 10px}
.sub,.note{color:var(--soft);margin:0}.sentence{font-size:17px;margin:18px 0;padding:12px 16px;border-left:4px solid var(--good);background:var(--ground)}
.sentence.warn{border-color:var(--bad)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}
th,td{padding:5px 10px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{font-weight:600;color:var(--soft);font-size:13px}th:first-child,td:first-child{text-align:left;padding-left:0}
td.bad,b.bad{color:var(--bad);font-weight:600}tr.sum td{font-weight:600}
.key{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:8px}
svg{display:block;width:100%;height:auto}svg text.axis{font-size:11px;fill:var(--soft)}svg .grid{stroke:var(--line)}svg .ground{fill:var(--ground)}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0 0 10px;color:var(--soft);font-size:13px}
details{border-bottom:1px solid var(--line);padding:8px 0}summary{cursor:pointer}summary b{color:var(--bad)}
pre{background:var(--ground);padding:12px 14px;overflow:auto;font:12.5px/1.45 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre-wrap;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 20px;margin:0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
path.bad{fill:var(--bad)}.key.bad{background:var(--bad)}
""" + "".join(f"path.k{n}{{fill:var(--k{n})}}.key.k{n}{{background:var(--k{n})}}" for n in range(COLOURS + 1))  # fmt: skip
#: Groups of failures that are shown.
_GROUPS: Final = 40
_APPS: Final = 500
_CONFIG_BYTES: Final = 20_000


def write_report(folder: str, path: str) -> None:
    """Reads the journal in a run's folder and writes the page. The file appears whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, render(read_run(folder)))


def render(run: Run) -> str:
    """The page."""
    zero_s = run.started.t_s if run.started is not None else 0.0
    length_s = max(0.001, run.now_s() - zero_s)
    stats = _stats(run)
    looks = {
        name: min(number, COLOURS) for number, name in enumerate(sorted(stats, key=lambda name: -stats[name].total_s))
    }
    title = f"run {run.name}" + (f" of {run.started.name}" if run.started is not None else "")
    ends_s = [task.end_s - zero_s for task in run.tasks.values() if task.has_ended]
    sections = [
        f"<h1>{html.escape(title)}</h1><p class='sub'>{html.escape(_subtitle(run, length_s))}</p>",
        _sentence(run),
        _section("Apps", _apps_table(stats, looks)),
        _section(
            "Workers",
            _legend(looks, failed=any(s.failed for s in stats.values()))
            + timeline(lanes(spans_of(run, looks)), length_s),
        ),
        _section("Blocks", _usage(run) + run.blocks.render(zero_s, run.now_s())),
        _section("Tasks that ended, over time", throughput(ends_s, length_s)),
        _section("Failures", _failures(run)),
        _section("Unfinished", _unfinished(run)),
        _section("Circumstances", _circumstances(run)),
    ]
    return (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width,initial-scale=1'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


# ------------------------------------------------------------------ top
def _subtitle(run: Run, length_s: float) -> str:
    if run.started is None:
        return "the beginning of its journal is lost"
    began = dt.datetime.fromtimestamp(run.started.wall_time_s).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006 - local time
    how = {ENDED: "took", LIVE: "still runs, since", CRASHED: "crashed after"}.get(run.state, "was last heard of after")
    return f"{began} on {run.started.hostname}; {how} {format_duration(length_s)}; {len(run.tasks):,} tasks on {len(run.workers) or 'no'} worker processes"


def _sentence(run: Run) -> str:
    failures = run.failures()
    text = run.ended.sentence if run.ended is not None else closing_sentence(run.counts(), failures, usage_of(run))
    if run.state == CRASHED:
        text = f"Its process was ended without cleaning up. Until then: {text}"
    kind = " warn" if failures or run.state == CRASHED else ""
    return f"<p class='sentence{kind}'>{html.escape(text)}</p>"


def _usage(run: Run) -> str:
    return "".join(
        f"<p>{html.escape(str(usage))}: {core_time_text(usage.useful_core_s)}</p>" for usage in usage_of(run)
    )


# ------------------------------------------------------------------ apps
class _Stats:
    """Numbers of one app."""

    def __init__(self) -> None:
        self.tasks = self.done = self.failed = self.other = self.retries = 0
        self.durations_s = array("d")

    @property
    def total_s(self) -> float:
        """Time of workers that it took."""
        return sum(self.durations_s)

    def take(self, task: TaskHistory) -> None:
        """Counts a task."""
        self.tasks += 1
        self.done += task.state in {EXEC_DONE, MEMO_DONE}
        self.failed += task.state == FAILED
        self.other += task.state in {DEP_FAIL, CANCELLED}
        self.retries += len(task.failed_attempts)
        if task.run_s is not None and not task.executor.startswith("_"):
            self.durations_s.append(task.run_s)


def _stats(run: Run) -> dict[str, _Stats]:
    stats: dict[str, _Stats] = {}
    for task in run.tasks.values():
        stats.setdefault(task.app, _Stats()).take(task)
    return stats


def _apps_table(stats: dict[str, _Stats], looks: dict[str, int]) -> str:
    if not stats:
        return "<p class='note'>No app was called.</p>"
    names = ("app", "tasks", "done", "failed", "not run", "retries", "total time", "mean", "median", "p95", "longest")
    head = "".join(f"<th>{name}</th>" for name in names)
    order = sorted(stats, key=lambda name: looks[name])
    order.sort(key=lambda name: -stats[name].total_s)
    rows = "".join(_app_row(name, stats[name], looks[name]) for name in order[:_APPS])
    more = f"<p class='note'>{len(order) - _APPS} more apps are not shown.</p>" if len(order) > _APPS else ""
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}"


def _app_row(name: str, stats: _Stats, look: int) -> str:
    ordered = sorted(stats.durations_s)
    durations = (
        (stats.total_s, stats.total_s / len(ordered), _quantile(ordered, 0.5), _quantile(ordered, 0.95), ordered[-1])
        if ordered
        else ()
    )
    bad = " class='bad'" if stats.failed else ""
    cells = [
        f"<td><span class='key k{look}'></span>{html.escape(name)}</td><td>{stats.tasks:,}</td><td>{stats.done:,}</td>",
        f"<td{bad}>{stats.failed or ''}</td><td>{stats.other or ''}</td><td>{stats.retries or ''}</td>",
        *(f"<td>{_exact(value)}</td>" for value in durations),
        "<td></td>" * (5 - len(durations)),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _exact(seconds: float) -> str:
    """Tasks may be very short."""
    return (
        f"{seconds * 1e6:.0f} µs"
        if seconds < 0.001
        else f"{seconds * 1e3:.1f} ms"
        if seconds < 0.1
        else format_duration(seconds)
    )


def _legend(looks: dict[str, int], *, failed: bool) -> str:
    names = [(f"k{look}", name) for name, look in looks.items() if look < COLOURS]
    if len(looks) > COLOURS:
        names.append((f"k{COLOURS}", f"{len(looks) - COLOURS} other apps"))
    if failed:
        names.append(("bad", "failed"))
    items = "".join(f"<span><span class='key {look}'></span>{html.escape(name)}</span>" for look, name in names)
    return f"<p class='legend'>{items}</p>" if items else ""


# ------------------------------------------------------------------ failures
def _failures(run: Run) -> str:
    groups: dict[tuple[str, str, int], list[TaskHistory]] = {}
    for task in run.tasks.values():
        if task.state in {FAILED, DEP_FAIL}:
            groups.setdefault((task.error_class, task.app, task.state), []).append(task)
    order = sorted(groups, key=lambda key: (key[2] == DEP_FAIL, -len(groups[key]), key))
    shown = "".join(_failure(*key, groups[key], is_open=number == 0) for number, key in enumerate(order[:_GROUPS]))
    more = (
        f"<p class='note'>{len(order) - _GROUPS} more kinds of failure are not shown.</p>"
        if len(order) > _GROUPS
        else ""
    )
    return shown + more


def _failure(error: str, app: str, state: int, tasks: Sequence[TaskHistory], *, is_open: bool) -> str:
    first = min(tasks, key=lambda task: task.end_s)
    numbers = ", ".join(str(task.id) for task in tasks[:12]) + (" …" if len(tasks) > 12 else "")
    what = "not run:" if state == DEP_FAIL else ""
    trace = f"<pre>{html.escape(first.traceback.rstrip())}</pre>" if first.traceback else ""
    return (
        f"<details{' open' if is_open else ''}><summary>{len(tasks):,}× {what} <b>{html.escape(error)}</b> in {html.escape(app)}()</summary>"
        f"<p>{html.escape(first.why or first.error)}</p><p class='note'>tasks {html.escape(numbers)}</p>{trace}</details>"
    )


def _unfinished(run: Run) -> str:
    tasks = [task for task in run.tasks.values() if not task.has_ended]
    if not tasks:
        return ""
    sentences = [line for line in explain_run(run) if not line[0].isdigit() or "×" not in line.split()[0]]
    items = "".join(f"<li>{html.escape(line)}</li>" for line in sentences or [explain_task(run, tasks[0])])
    return f"<p>{len(tasks):,} tasks.</p><ul>{items}</ul>"


# ------------------------------------------------------------------ circumstances
def _circumstances(run: Run) -> str:
    facts: list[tuple[str, str]] = []
    started = run.started
    if started is not None:
        facts = [
            ("program", started.name),
            ("plait", started.plait_version),
            ("Python", started.python_version),
            ("host, process", f"{started.hostname}, {started.pid}"),
            ("executors", ", ".join(started.executors)),
            ("run", started.run_id),
        ]
    lost = [worker for worker in run.workers if worker.end_s]
    if lost:
        facts.append(("workers that ended early", _reasons(worker.reason for worker in lost)))
    facts += [("note", note.text) for note in run.notes[:20]]
    items = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts)
    config = configuration_of(run.path)
    shown = f"<details><summary>configuration</summary><pre>{html.escape(config)}</pre></details>" if config else ""
    return f"<dl>{items}</dl>{shown}"


def _reasons(reasons: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return "; ".join(f"{count}: {reason}" if count > 1 else reason for reason, count in list(counts.items())[:8])


def configuration_of(folder: str) -> str:
    """The configuration as the run's log shows it; empty when there is no log."""
    try:
        with open(os.path.join(folder, "plait.log"), encoding="utf-8", errors="replace") as file:
            text = file.read(_CONFIG_BYTES)
    except OSError:
        return ""
    begin = text.find("Config(")
    if begin < 0:
        return ""
    line_end = text.find("\n", begin)
    if text[begin:line_end].rstrip().endswith(")"):
        return text[begin:line_end].rstrip()
    end = text.find("\n)", begin)
    return text[begin : end + 2] if end >= 0 else ""
