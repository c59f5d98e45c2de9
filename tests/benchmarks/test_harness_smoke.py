"""The benchmark harness works: the quickest workload with the standard library, and the figures that it must give."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support import ROOT


def test_the_quickest_workload_gives_every_figure(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--only", "noop-1k", "--peers", "ppe,tpe", "--repeats", "1"]
    command += ["--tasks", "20", "--no-wait", "--no-history", "--json", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    summary = json.loads(done.stdout)
    rows = {row["peer"]: row for row in summary["results"]}
    assert set(rows) == {"ppe", "tpe"}
    for row in rows.values():
        assert (row["workload"], row["count"], row["runs"], row["failures"]) == ("noop-1k", 20, 1, [])
        for figure in ("rate", "wall_s", "cpu_us", "driver_cpu_us", "submit_us", "start_s", "stop_s"):
            assert row["medians"][figure] >= 0
        assert row["medians"]["rate"] > 0
    assert rows["tpe"]["ratios"]["ppe"]["rate"] > 0
    assert {"cpu", "cores", "python", "commit", "libraries"} <= set(summary["machine"])
    assert {path.name for path in tmp_path.iterdir()} >= {"report.md", "records.json", "chart.svg"}


def test_a_library_that_is_not_installed_is_named_and_does_not_fail(tmp_path):
    plain = "import sys; sys.modules['ray'] = None; from benchmarks.child import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", plain, "ray", "noop-1k", "20", "2", str(tmp_path / "record")]
    subprocess.run(command, cwd=ROOT, timeout=60, check=True)
    assert json.loads((tmp_path / "record").read_text())["status"] == "not installed"
