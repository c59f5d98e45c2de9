"""One measurement in this process: `python -m benchmarks.child PEER WORKLOAD COUNT WORKERS REPORT`.

The record goes to the file REPORT as JSON, because libraries print on the standard streams.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.adapters import ADAPTERS, installed, version
from benchmarks.workloads import WORKLOADS

Record = dict[str, Any]


def measure_one(peer: str, name: str, count: int, workers: int, report: Path) -> None:
    """Run one workload with one library and write the record: before the library is stopped, and again after."""
    kind, workload = ADAPTERS[peer], WORKLOADS[name]
    record: Record = {"workload": name, "peer": peer, "workers": workers, "status": "not installed", "metrics": {}}
    if not installed(kind):
        _write(record, report)
        return
    if workload.counts_tasks:
        count = min(count, kind.most_tasks)
    adapter = kind()
    with _Stopwatch() as start:
        if workload.starts_library:
            adapter.start(workers)
    try:
        metrics = workload.run(adapter, count, workers) | {"start_s": start.seconds}
        record |= {"count": count, "version": version(kind), "python": sys.version.split()[0]}
        record |= {"status": "ok", "metrics": metrics}
        _write(record, report)
    finally:
        with _Stopwatch() as stop:
            if workload.starts_library:
                adapter.stop()
    metrics["stop_s"] = stop.seconds
    _write(record, report)


class _Stopwatch:
    seconds: float

    def __enter__(self) -> _Stopwatch:  # noqa: PYI034 - typing.Self needs Python 3.11
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start


def _write(record: Record, report: Path) -> None:
    report.write_text(json.dumps(record))


def main(arguments: list[str]) -> None:
    """Measure what the command line says."""
    peer, name, count, workers, report = arguments
    measure.require_linux()
    measure.become_subreaper()
    measure_one(peer, name, int(count), int(workers), Path(report))


if __name__ == "__main__":
    main(sys.argv[1:])
