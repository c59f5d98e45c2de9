"""``plait blocks``: the blocks of runs, those of dead drivers too, and ending their jobs."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait.cli import lost_jobs
from plait.cli.main import DONE, FAILED
from plait.executors.jobs_file import run_jobs
from plait.model.events import RunEnded, RunStarted
from plait.model.jobs import JobState
from plait.model.units import format_duration
from plait.monitoring.blocks import Blocks
from plait.monitoring.journal import read_journal
from plait.monitoring.runs import CRASHED, ENDED, LIVE, find_run, find_runs, glance, state_of

if TYPE_CHECKING:
    from plait.cli.lost_jobs import LostJob

#: Characters of a reason in a line; JSON has all of it.
_WHY: Final = 100


@dataclass
class Row:
    """One block.

    Attributes:
        run: folder of its run.
        driver: the run's state.
        executor: label.
        block: its name.
        job: id of its job.
        name: of its job.
        state: of its job.
        nodes: that are connected, by host name.
        age_s: since it was requested.
        why: what is known beside.
        is_over: whether its job has ended.
        cancelled: whether its end was accepted now; None when nobody asked for it.
    """

    run: str
    driver: str
    executor: str
    block: str
    job: str = ""
    name: str = ""
    state: str = JobState.UNKNOWN.name
    nodes: tuple[str, ...] = ()
    age_s: float = 0.0
    why: str = ""
    is_over: bool = False
    cancelled: bool | None = None


def blocks(which: str | None, run_dir: str, *, cancel: bool, as_json: bool) -> int:
    """Prints a line for each block; returns the exit code: 1 when something that was to be cancelled was not.

    Args:
        which: a run, as `find_run` takes it; None for what has not ended of all runs.
        run_dir: where runs are.
        cancel: whether the jobs are to be ended: of the run that was named, or of all whose drivers are dead.
        as_json: whether to answer with data.

    Raises:
        RunNotFound: there is no such run.
    """
    folders = find_runs(run_dir) if which is None else [find_run(which, run_dir)]
    rows: list[Row] = []
    asked: list[LostJob] = []
    to_cancel: list[LostJob] = []
    for folder in folders:
        some, lost = rows_of(folder, cancel_live=cancel and which is not None)
        asked += lost
        if which is not None or lost_jobs.is_dead(glance(folder)):
            to_cancel += lost
        rows += some if which is not None else [row for row in some if not row.is_over]
    if cancel:
        lost_jobs.cancel(to_cancel)
        _take_answers(rows, to_cancel, named=which is not None)
    lost_jobs.close(asked)
    if as_json:
        print(json.dumps([vars(row) for row in rows], indent=2))
    else:
        _print(rows, which, run_dir)
    left = [row for row in rows if row.cancelled is False]
    return FAILED if left else DONE


def rows_of(folder: str, *, cancel_live: bool = False) -> tuple[list[Row], list[LostJob]]:
    """The blocks of a run, and those of its jobs that were asked about.

    Args:
        folder: of the run.
        cancel_live: whether jobs of a driver that lives are asked about, too, because they are to be cancelled.
    """
    line = glance(folder)
    driver = state_of(line.started, line.ended)
    rows = _from_journal(folder, driver)
    left = []
    for record in run_jobs(folder):
        row = rows.setdefault((record.label, record.block), Row(folder, driver, record.label, record.block))
        row.job, row.name = row.job or record.job, record.name
        row.age_s = row.age_s or max(0.0, time.time() - record.requested_s)
        if record.ended_s:
            row.is_over, row.state, row.why = True, record.state or row.state, record.message or row.why
        elif driver != LIVE or cancel_live:
            left.append((folder, record))
    for row in rows.values():
        if lost_jobs.is_dead(line) and not (row.name or row.job or row.is_over):  # a name is written down first
            row.is_over, row.why = True, "its driver was dead before its job was submitted"
    asked = lost_jobs.find(left)
    if driver != LIVE:
        for job in asked:
            row = rows[job.record.label, job.record.block]
            row.job, row.nodes = job.record.job or row.job, ()
            row.is_over, row.state, row.why = job.is_over, job.status.state.name, job.status.message or ""
            if not job.is_findable and not job.record.ticket:  # on this machine, with the driver
                row.is_over = driver in {CRASHED, ENDED}
    return list(rows.values()), asked


def _from_journal(folder: str, driver: str) -> dict[tuple[str, str], Row]:
    """What the journal says of blocks."""
    found = Blocks()
    steps = found.steps()
    zero_s, wall_s, last_s = 0.0, time.time(), 0.0
    try:
        for event in read_journal(folder):
            last_s = max(last_s, getattr(event, "t_s", 0.0))
            if isinstance(event, RunStarted):
                zero_s, wall_s = event.t_s, event.wall_time_s
            elif isinstance(event, RunEnded):
                last_s = event.t_s
            elif type(event) in steps:
                steps[type(event)](event)
    except OSError as error:  # its jobs were written down elsewhere too
        print(f"plait: the journal of {folder} cannot be read ({error.strerror})", file=sys.stderr)
    now_s = max(last_s, zero_s + time.time() - wall_s)
    return {
        key: Row(
            folder, driver, block.executor, block.id, block.job_id, "", block.state.name,
            tuple(dict.fromkeys(manager.hostname for manager in block.connected)) if driver == LIVE else (),
            max(0.0, (block.end_s or now_s) - block.requested_s), block.message, block.has_ended,
        )
        for key, block in found.blocks.items()
    }  # fmt: skip


def _take_answers(rows: list[Row], asked: list[LostJob], *, named: bool) -> None:
    by_key = {(job.run, job.record.label, job.record.block): job for job in asked}
    for row in rows:
        job = by_key.get((row.run, row.executor, row.block))
        if job is None:
            if not row.is_over and (named or row.driver in {CRASHED, ENDED}):
                row.cancelled, row.why = False, row.why or lost_jobs.NO_TICKET
            continue
        row.state, row.why, row.is_over = job.status.state.name, job.status.message or row.why, job.is_over
        row.cancelled = job.cancelled if job.cancelled is not None else (True if job.is_over else False)  # noqa: SIM210 - plain


def _print(rows: list[Row], which: str | None, run_dir: str) -> None:
    if not rows:
        what = f"run {which} has had no blocks" if which is not None else f"no block of the runs in {run_dir} is left"
        print(f"{what}; name another folder with --run-dir" if which is None else what, file=sys.stderr)
        return
    table = [("RUN", "EXECUTOR", "BLOCK", "JOB", "STATE", "NODES", "AGE", "WHY")]
    for row in rows:
        nodes = ",".join(row.nodes[:3]) + (f"+{len(row.nodes) - 3}" if len(row.nodes) > 3 else "")
        why = row.why if row.driver != CRASHED or row.is_over else f"its driver is dead. {row.why}".strip()
        done = {True: "cancelled. ", False: "not cancelled. ", None: ""}[row.cancelled]
        why = f"{done}{why}"
        short = why if len(why) <= _WHY else f"{why[: _WHY - 1]}…"
        name = os.path.basename(os.path.normpath(row.run))
        table.append(
            (name, row.executor, row.block, row.job or "-", row.state, nodes or "-", format_duration(row.age_s), short)
        )
    widths = [max(len(line[column]) for line in table) for column in range(7)]
    for line in table:
        cells: Any = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        print("  ".join([*cells, line[7]]).rstrip())
