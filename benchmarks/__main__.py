"""The command line: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import chart, machine, report
from benchmarks.adapters import ADAPTERS
from benchmarks.runner import ROOT, Plan, run
from benchmarks.workloads import WORKLOADS

HERE = Path(__file__).resolve().parent
_DEFAULT_REPEATS, _QUICK_REPEATS = 3, 1


def _names(text: str, known: dict[str, Any], what: str) -> tuple[str, ...]:
    """Expand comma-separated names, each of which may be the beginning of several."""
    found: list[str] = []
    for part in text.split(","):
        matches = [part] if part in known else [name for name in known if name.startswith(part)]
        if not matches:
            message = f"no {what} is called {part!r}; there are: {', '.join(known)}"
            raise argparse.ArgumentTypeError(message)
        found += matches
    return tuple(dict.fromkeys(found))


def _workloads(text: str) -> tuple[str, ...]:
    return _names(text, WORKLOADS, "workload")


def _peers(text: str) -> tuple[str, ...]:
    return _names(text, ADAPTERS, "peer")


def _count(text: str) -> tuple[str, int]:
    """Read `N` or `WORKLOAD=N`."""
    name, separator, number = text.rpartition("=")
    if separator and name not in WORKLOADS:
        message = f"no workload is called {name!r}; there are: {', '.join(WORKLOADS)}"
        raise argparse.ArgumentTypeError(message)
    return name, int(number)


def _python(text: str) -> tuple[str, str]:
    """Read `PEER=INTERPRETER`."""
    name, _, path = text.partition("=")
    if name not in ADAPTERS or not path:
        message = f"expected PEER=INTERPRETER with one of the peers {', '.join(ADAPTERS)}, not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return name, path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure plait against other libraries.")
    add = parser.add_argument
    add("--list", action="store_true", help="list workloads and peers, and end")
    add("--only", type=_workloads, default=tuple(WORKLOADS), metavar="WORKLOAD,…", help="only these (or beginnings)")
    add("--peers", type=_peers, default=(), metavar="PEER,…", help="only these (or beginnings)")
    add("--repeats", type=int, help=f"interleaved rounds (default {_DEFAULT_REPEATS}, with --quick {_QUICK_REPEATS})")
    add("--quick", action="store_true", help="small counts, one round: a check, not a measurement")
    add("--tasks", type=_count, action="append", default=[], metavar="[WORKLOAD=]N", help="this many tasks")
    add("--python", type=_python, action="append", default=[], metavar="PEER=INTERPRETER", help="for a peer elsewhere")
    add("--timeout", type=float, metavar="S", help="limit for one measurement")
    add("--no-wait", action="store_true", help="do not wait for a quiet machine before each measurement")
    add("--no-history", action="store_true", help="do not append to history.jsonl")
    add("--output", type=Path, default=HERE / "results", metavar="DIR", help="where report, records and chart go")
    add("--json", action="store_true", help="print the summary as JSON instead of tables")
    add("--check", action="store_true", help="exit with status 1 if a target was not reached or a run failed")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = _parser().parse_args(arguments)
    if options.list:
        sys.stdout.write(_listing())
        return 0
    plan = Plan(
        workloads=options.only,
        peers=options.peers,
        repeats=options.repeats or (_QUICK_REPEATS if options.quick else _DEFAULT_REPEATS),
        quick=options.quick,
        counts=dict(options.tasks),
        pythons=dict(options.python),
        timeout_s=options.timeout,
        wait_for_quiet_s=0 if options.no_wait else Plan.wait_for_quiet_s,
    )
    description = machine.describe(ROOT)
    records = run(plan, lambda line: print(line, file=sys.stderr, flush=True))
    table, text = report.rows(records), report.markdown(records, description)
    summary = _summary(plan, description, table)
    _write(options.output, records, table, text, summary)
    if not options.no_history:
        with (HERE / "history.jsonl").open("a", encoding="utf-8") as history:
            history.write(json.dumps(summary, ensure_ascii=False) + "\n")
    sys.stdout.write(json.dumps(summary, indent=1, ensure_ascii=False) + "\n" if options.json else "\n" + text)
    failed = any(row.failures for row in table) or any(found["reached"] is not True for found in summary["targets"])
    return int(options.check and failed)


def _listing() -> str:
    lines = ["workloads"]
    lines += [f"  {workload.name:16} {workload.title}" for workload in WORKLOADS.values()]
    lines += ["peers", *(f"  {name:16} {adapter.title}" for name, adapter in ADAPTERS.items())]
    return "\n".join(lines) + "\n"


def _summary(plan: Plan, description: dict[str, Any], table: list[report.Row]) -> dict[str, Any]:
    """Return one run as it is kept in the history."""
    targets = [
        {
            "workload": verdict.target.workload,
            "peer": verdict.target.peer,
            "target": verdict.target.text(),
            "measured": verdict.value,
            "reached": None if verdict.value is None else verdict.target.reached(verdict.value),
        }
        for verdict in report.verdicts(table)
    ]
    head = {"date": machine.now(), "quick": plan.quick, "rounds": plan.repeats, "machine": description}
    return {**head, "targets": targets, "results": [row.as_json() for row in table]}


def _write(
    directory: Path, records: list[dict[str, Any]], table: list[report.Row], text: str, summary: dict[str, Any]
) -> None:
    """Write the report, the raw records and the chart next to each other."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.md").write_text(text, encoding="utf-8")
    (directory / "records.json").write_text(json.dumps(records, indent=1), encoding="utf-8")
    caption = f"{summary['date']} · {summary['machine']['cpu']} · {summary['machine']['python']}"
    (directory / "chart.svg").write_text(chart.svg(table, caption), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
