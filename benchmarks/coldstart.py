"""The user program of the cold-start workload: start the library, run one task, run a hundred, stop.

It imports as little as it can; what the library imports is part of the measurement.
"""

from __future__ import annotations

import time

from benchmarks import tasks
from benchmarks.adapters import ADAPTERS


def main(name: str, workers: str, report: str) -> None:
    """Run, and write the moments of the first and of the last result to the file `report`."""
    adapter = ADAPTERS[name]()
    adapter.start(int(workers))
    app = adapter.app(tasks.noop)
    adapter.result(app())
    first = time.monotonic()
    adapter.wait([app() for _ in range(100)])
    last = time.monotonic()
    with open(report, "w", encoding="utf-8") as file:
        file.write(f"{first} {last}")
    adapter.stop()
