"""``plait explain``: why a task waits or failed, or where the run stands."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from plait.cli.main import DONE, WRONG_INPUT
from plait.model.task import TaskState
from plait.monitoring.runs import find_run, read_run
from plait.monitoring.why import explain_run, explain_task, headline

if TYPE_CHECKING:
    from plait.monitoring.runs import Run, TaskHistory


def explain(number: int | None, which: str, run_dir: str, *, as_json: bool) -> int:
    """Prints the answer; returns the exit code.

    Args:
        number: of the task; None for the whole run.
        which: run, as `find_run` takes it.
        run_dir: where runs are.
        as_json: whether to answer with data.

    Raises:
        RunNotFound: there is no such run.
    """
    run = read_run(find_run(which, run_dir))
    if number is None:
        _print_run(run, as_json=as_json)
        return DONE
    task = run.tasks.get(number)
    if task is None:
        has = f"{len(run.tasks)} tasks, up to number {max(run.tasks)}" if run.tasks else "no tasks"
        print(f"plait: run {run.name} in {run.path} has {has}, but none of number {number}", file=sys.stderr)
        return WRONG_INPUT
    if as_json:
        print(json.dumps(task_data(run, task), indent=2))
        return DONE
    print(explain_task(run, task))
    for attempt in task.failed_attempts:
        print(f"  attempt {attempt.attempt} {'was lost' if attempt.lost else 'failed'}: {attempt.reason}")
    if task.traceback:
        print("\n" + task.traceback.rstrip())
    return DONE


def _print_run(run: Run, *, as_json: bool) -> None:
    sentences = explain_run(run)
    if as_json:
        data = {
            **run_data(run),
            "sentence": headline(run),
            "reasons": sentences,
            "counts": {state.name: count for state, count in run.counts().items()},
            "failures": [
                {"error": error, "app": app, "count": count, "first_task": first}
                for (error, app), (count, first) in run.failures().items()
            ],
        }
        print(json.dumps(data, indent=2))
        return
    print(headline(run))
    for sentence in sentences:
        print(f"  {sentence}")


def run_data(run: Any) -> dict[str, Any]:
    """What a run is, for `Run` and `RunLine` alike."""
    started, ended = run.started, run.ended
    return {
        "path": run.path,
        "state": run.state,
        "script": started.name if started else None,
        "started": started.wall_time_s if started else None,
        "seconds": ended.t_s - started.t_s if started and ended else None,
        "host": started.hostname if started else None,
        "pid": started.pid if started else None,
        "plait": started.plait_version if started else None,
        "python": started.python_version if started else None,
        "ended": ended.sentence if ended else None,
    }


def task_data(run: Run, task: TaskHistory) -> dict[str, Any]:
    """What is known of a task; times are seconds since the beginning of the run."""
    start_s = run.started.t_s if run.started is not None else 0.0

    def since(moment_s: float) -> float | None:
        return round(moment_s - start_s, 6) if moment_s else None

    return {
        "task": task.id,
        "app": task.app,
        "state": TaskState(task.state).name,
        "sentence": explain_task(run, task),
        "attempt": task.attempt,
        "depends": task.depends,
        "joins": task.joins,
        "executor": task.executor or None,
        "worker": task.worker if task.worker >= 0 else None,
        "submitted": since(task.submit_s),
        "began": since(task.start_s),
        "stopped": since(task.stop_s),
        "ended": since(task.end_s),
        "error": task.error or None,
        "traceback": task.traceback or None,
        "failed_attempts": [
            {"attempt": a.attempt, "lost": a.lost, "reason": a.reason, "at": since(a.t_s)} for a in task.failed_attempts
        ],
    }
