"""From records to medians, ratios, tables, and verdicts on the targets."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.adapters import ADAPTERS
from benchmarks.targets import TARGETS, Target
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.child import Record

_HEADINGS = {
    "rate": "tasks/s",
    "p50_us": "p50 µs",
    "p99_us": "p99 µs",
    "mb_per_s": "MB/s",
    "echo_mb_per_s": "echo MB/s",
    "pipelined_mb_per_s": "pipelined MB/s",
    "kept_bytes": "kept B",
    "pending_bytes": "pending B",
    "dropped_bytes": "dropped B",
    "slow_down": "last/first part",
    "returned_share": "memory returned",
    "children_growth_mb": "workers grew MB",
    "import_s": "import s",
    "first_result_s": "first result s",
    "exit_s": "exit s",
    "efficiency": "efficiency",
    "up_s": "all up s",
    "wall_rate": "together tasks/s",
    "many_rate": "2,000 managers tasks/s",
    "slower_with_many": "slower by",
    "queued_bytes": "queued B",
    "heartbeat_cores": "4,000 heartbeats cores",
    "peak_mb": "peak MB",
    "cpu_us": "CPU µs/task",
    "cpu_s": "CPU s in all",
    "driver_cpu_us": "of it driver",
    "submit_us": "submit µs",
    "foreign_cores": "others' cores",
}


@dataclass
class Row:
    """One library on one workload, over all rounds."""

    workload: str
    peer: str
    count: int
    workers: int
    runs: int
    medians: dict[str, float]
    ratios: dict[str, dict[str, float]] = field(default_factory=dict)
    """By baseline, then by metric: the median over the rounds of this figure / the baseline's figure."""
    failures: list[str] = field(default_factory=list)
    """What went wrong: no figures, or a bad end after the figures."""
    left_behind: int = 0
    """Processes that were still there after a run, summed over the runs."""
    version: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return a form that survives JSON, with four significant digits."""
        ratios = {baseline: _rounded(values) for baseline, values in self.ratios.items()}
        return {**vars(self), "medians": _rounded(self.medians), "ratios": ratios}


@dataclass(frozen=True)
class Verdict:
    """What was found for a target; `value` is None where it was not measured."""

    target: Target
    value: float | None

    def words(self) -> str:
        """Return "yes" or "no" and by how much."""
        if self.value is None:
            return "not measured"
        reached, margin = self.target.reached(self.value), self.target.margin(self.value)
        return f"{'yes' if reached else 'NO'}, {abs(margin):.0%} {'to spare' if reached else 'short'}"


def rows(records: Sequence[Record]) -> list[Row]:
    """Summarise the records, in the order in which they were first seen."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record["status"] != "not installed":
            groups.setdefault((record["workload"], record["peer"]), []).append(record)
    return [_row(group, groups) for group in groups.values()]


def absent(records: Iterable[Record]) -> list[str]:
    """Return the libraries that were asked for and are not installed."""
    return sorted({record["peer"] for record in records if record["status"] == "not installed"})


def _row(group: list[Record], groups: dict[tuple[str, str], list[Record]]) -> Row:
    good, first = [record for record in group if record["status"] == "ok"], group[0]
    metrics: dict[str, list[float]] = {}
    for record in good:
        for name, value in record["metrics"].items():
            metrics.setdefault(name, []).append(value)
    row = Row(
        workload=first["workload"],
        peer=first["peer"],
        count=first["count"],
        workers=first["workers"],
        runs=len(good),
        medians={name: statistics.median(values) for name, values in metrics.items()},
        failures=[text for record in group if (text := _failure(record))],
        left_behind=sum(record.get("left_behind", 0) for record in group),
        version=next((record["version"] for record in group if "version" in record), ""),
    )
    for baseline in WORKLOADS[row.workload].baselines:
        if baseline != row.peer and (ratios := _ratios(good, groups.get((row.workload, baseline), []))):
            row.ratios[baseline] = ratios
    return row


def _failure(record: Record) -> str:
    """Say what went wrong in one run, or nothing."""
    if record["status"] != "ok":
        return f"no figures, exit status {record.get('exit', 0)}"
    return f"measured, then ended with exit status {record['exit']}" if "exit" in record else ""


def _ratios(mine: list[Record], theirs: list[Record]) -> dict[str, float]:
    """Divide figure by figure within each round, then take the median over the rounds."""
    by_round = {record["repeat"]: record["metrics"] for record in theirs if record["status"] == "ok"}
    found: dict[str, list[float]] = {}
    for record in mine:
        baseline = by_round.get(record["repeat"], {})
        for name, value in record["metrics"].items():
            if baseline.get(name):
                found.setdefault(name, []).append(value / baseline[name])
    return {name: statistics.median(values) for name, values in found.items()}


def verdicts(table: Sequence[Row]) -> list[Verdict]:
    """Judge every target whose workload was run."""
    by_key = {(row.workload, row.peer): row for row in table}
    run = {row.workload for row in table}
    found: list[Verdict] = []
    for target in TARGETS:
        if target.workload not in run:
            continue
        row = by_key.get((target.workload, target.peer))
        figures = (row.ratios.get(target.baseline, {}) if target.baseline else row.medians) if row else {}
        found.append(Verdict(target, figures.get(target.metric)))
    return found


def baseline_of(row: Row) -> str | None:
    """Return the baseline that the row is shown against: threads against threads, else the first."""
    baselines = WORKLOADS[row.workload].baselines
    wanted = "tpe" if row.peer == "plait-threads" and "tpe" in baselines else (*baselines, None)[0]
    return wanted if wanted in row.ratios else None


def markdown(records: Sequence[Record], machine: dict[str, Any]) -> str:
    """Return the whole report."""
    table = rows(records)
    parts = [_machine_line(machine)]
    names = dict.fromkeys(row.workload for row in table)
    parts += [_workload_table(name, [row for row in table if row.workload == name]) for name in names]
    judged = verdicts(table)
    if judged:
        parts.append(_target_table(judged))
    if missing := absent(records):
        parts.append("Not installed: " + ", ".join(f"{ADAPTERS[peer].title} ({peer})" for peer in missing) + ".")
    return "\n\n".join(parts) + "\n"


def _machine_line(machine: dict[str, Any]) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    commit = f"commit {machine['commit'] or 'unknown'}{' (modified)' if machine['modified'] else ''}"
    parts = (machine["cpu"], f"{machine['cores']} cores", machine["system"], machine["python"], libraries, commit)
    return " · ".join(part for part in parts if part)


def _workload_table(name: str, table: list[Row]) -> str:
    workload = WORKLOADS[name]
    wanted = (workload.metric, *workload.columns, "cpu_us", "driver_cpu_us", "submit_us", "foreign_cores")
    columns = [column for column in dict.fromkeys(wanted) if any(column in row.medians for row in table)]
    heading = ["", "n", "runs", *(_HEADINGS[column] for column in columns[:1]), "against", "ratio"]
    heading += [_HEADINGS[column] for column in columns[1:]]
    lines = [_table_line(row, workload.metric, columns) for row in table]
    text = f"### {workload.title} ({name}, {table[0].workers} workers)\n\n" + _table(heading, lines)
    notes = [
        f"{row.peer}: {text} ({times}x)" for row in table for text, times in Counter(row.failures).items()
    ] + [f"{row.peer}: left {row.left_behind} processes behind" for row in table if row.left_behind]  # fmt: skip
    return text + "".join(f"\n- {note}" for note in notes)


def _table_line(row: Row, metric: str, columns: list[str]) -> list[str]:
    cells = [_number(row.medians.get(column)) for column in columns]
    baseline = baseline_of(row)
    ratio = row.ratios[baseline].get(metric) if baseline else None
    return [row.peer, str(row.count), str(row.runs), *cells[:1], baseline or "-", _number(ratio), *cells[1:]]


def _target_table(judged: list[Verdict]) -> str:
    lines = [
        [verdict.target.workload, verdict.target.peer, verdict.target.text(), _number(verdict.value), verdict.words()]
        for verdict in judged
    ]
    reached = sum(verdict.value is not None and verdict.target.reached(verdict.value) for verdict in judged)
    table = _table(["workload", "library", "target", "measured", "reached"], lines)
    return f"### Targets: {reached} of {len(judged)} reached\n\n{table}"


def _table(heading: list[str], lines: list[list[str]]) -> str:
    """Lay out a Markdown table that can also be read as it is."""
    widths = [max(len(line[i]) for line in (heading, *lines)) for i in range(len(heading))]
    formatted = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (heading, ["-" * width for width in widths], *lines)
    ]
    return "\n".join(formatted)


def _number(value: float | None) -> str:
    """Write three significant digits, without an exponent."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in values.items()}
