"""``plait runs``: the runs there are."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys

from plait.cli.explain import run_data
from plait.cli.main import DONE
from plait.model.units import format_duration
from plait.monitoring.runs import find_runs, glance


def list_runs(run_dir: str, *, as_json: bool) -> int:
    """Prints a line for each run, oldest first; returns the exit code."""
    lines = [glance(path) for path in find_runs(run_dir)]
    if as_json:
        print(json.dumps([run_data(line) for line in lines], indent=2))
        return DONE
    if not lines:
        print(f"no runs in {run_dir}; name another folder with --run-dir", file=sys.stderr)
    for line in lines:
        started, ended = line.started, line.ended
        when = dt.datetime.fromtimestamp(started.wall_time_s).strftime("%Y-%m-%d %H:%M:%S") if started else "?"  # noqa: DTZ006
        took = format_duration(ended.t_s - started.t_s) if started and ended else ""
        what = ended.sentence if ended else ""
        print(
            f"{os.path.basename(line.path)}  {when}  {line.state:9}  {took:>8}  {started.name if started else '?'}  {what}".rstrip()
        )
    return DONE
