"""Why a task of a run waits or failed, and where a whole run stands, in sentences, from its journal alone.

What a future says of itself (`dataflow.explain`) comes from memory; this is for other terminals, for runs that ended, and for runs that crashed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from plait.model.task import CANCELLED, EXEC_DONE, JOINING, LAUNCHED, MEMO_DONE, PENDING, TaskState
from plait.model.units import format_duration
from plait.monitoring.runs import CRASHED, ELSEWHERE, ENDED, LIVE, UNREADABLE, Run, TaskHistory
from plait.monitoring.summary import closing_sentence
from plait.monitoring.usage import usage_of

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Things that are named; the others are counted.
_SHOWN: Final = 5
#: Errors that only say that something else failed: they come last.
_FOLLOWING: Final = frozenset({"DependencyError", "JoinError"})


# ------------------------------------------------------------------ a task
def explain_task(run: Run, task: TaskHistory) -> str:
    """One sentence on where the task stands, or how it ended."""
    if task.has_ended:
        return _ended(task)
    sentence = _waiting(run, task) if task.state in {PENDING, JOINING} else _launched(run, task)
    if task.failed_attempts:
        last = task.failed_attempts[-1]
        sentence += f"; before that, attempt {last.attempt} {'was lost' if last.lost else 'failed'}: {last.reason}"
        more = len(task.failed_attempts) - 1
        sentence += f" (and {more} more)" if more else ""
    return sentence + _but(run)


def _ended(task: TaskHistory) -> str:
    if task.state == EXEC_DONE:
        tries = f" at attempt {task.attempt}" if task.attempt > 1 else ""
        ran = f"; it ran for {format_duration(task.run_s)}{_place(task)}" if task.run_s is not None else ""
        return f"{task} succeeded{tries} {format_duration(task.end_s - task.submit_s)} after it was submitted{ran}"
    if task.state == MEMO_DONE:
        return f"{task} was not run: an equal call gave its result earlier in this run"
    if task.state == CANCELLED:
        return task.why or f"{task} was cancelled"
    return task.why or f"{task} failed" + (f" with {task.error}" if task.error else "")


def _waiting(run: Run, task: TaskHistory) -> str:
    names = _needs(run, task)
    if task.state == JOINING:
        return (
            f"{task} ran, and waits for what it returned: {_list(names)}"
            if names
            else f"{task} ran, and what it returned is done"
        )
    if names:
        return f"{task} waits for {_list(names)}"
    retry_s = _retry_s(run, task)
    if retry_s > 0:
        return f"{task} waits {format_duration(retry_s)} before attempt {task.failed_attempts[-1].attempt + 1}"
    asks = f" and the {task.asks} that it asks for" if task.asks else ""
    return f"{task} waits for a free worker{asks}, or for something that is no task of this run"


def _launched(run: Run, task: TaskHistory) -> str:
    since = format_duration(max(0.0, run.now_s() - task.sent_s))
    busy = _ahead(run, task)
    if busy is not None:
        return f"{task} waits behind {busy}{_place(task)}, since {since}"
    if task.manager and task.worker < 0:
        return f"{task} has been with {run.blocks.sentence_on(task.executor, task.manager)} for {since}" + (
            f", attempt {task.attempt}" if task.attempt > 1 else ""
        )
    return f"{task} has been running for {since}{_place(task)}" + (
        f", attempt {task.attempt}" if task.attempt > 1 else ""
    )


def _ahead(run: Run, task: TaskHistory) -> TaskHistory | None:
    """The task before this one in the same worker's hands, if there is one: a worker runs one at a time, in the order of sending."""
    if task.worker < 0:
        return None
    same = [
        other
        for other in run.tasks.values()
        if other.state == LAUNCHED and (other.executor, other.worker) == (task.executor, task.worker)
    ]
    first = min(same, key=lambda other: (other.sent_s, other.id))
    return None if first is task else first


def _needs(run: Run, task: TaskHistory) -> list[str]:
    """The unfinished things that the task waits for."""
    names = []
    others = 0
    for number in task.joins if task.state == JOINING else task.depends:
        if number < 0:
            others += 1
            continue
        other = run.tasks.get(number)
        if other is not None and not other.has_ended:
            names.append(f"{other}, which is {TaskState(other.state).name}")
    if others:
        names.append(f"{others} future{'s' if others > 1 else ''} of other origin")
    return names


def _retry_s(run: Run, task: TaskHistory) -> float:
    if not task.failed_attempts:
        return 0.0
    last = task.failed_attempts[-1]
    return last.t_s + last.retry_in_s - run.now_s()


def _place(task: TaskHistory) -> str:
    if not task.executor or task.executor.startswith("_"):
        return ""
    return (
        f" on worker {task.worker} of executor {task.executor!r}"
        if task.worker >= 0
        else f" on executor {task.executor!r}"
    )


def _but(run: Run) -> str:
    """What is to be added for a run that is not alive."""
    return {
        CRASHED: ", when the run's process was ended without cleaning up",
        ENDED: ", when the run ended",
        UNREADABLE: ", as far as can be read of the journal",
        ELSEWHERE: f", as far as the journal says (the run is on host {run.started.hostname if run.started else '?'})",
    }.get(run.state, "")


def _list(names: Sequence[str]) -> str:
    shown = list(names[:_SHOWN])
    if len(names) > _SHOWN:
        shown.append(f"{len(names) - _SHOWN} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


# ------------------------------------------------------------------ a run
def headline(run: Run) -> str:
    """``run 003 (fit.py) ended after 12.3 s: 812 done, 3 failed: …``."""
    script = f" ({run.started.name})" if run.started is not None else ""
    took = format_duration(max(0.0, run.now_s() - run.started.t_s)) if run.started is not None else "an unknown time"
    how = {
        ENDED: f"ended after {took}",
        LIVE: f"has been running for {took}",
        CRASHED: f"crashed: its process{_process(run)} is gone without having ended the run; the journal holds {took} of it",
        UNREADABLE: "has a journal whose beginning cannot be read (damaged, of another version, or never written for want of space); what can be read says",
        ELSEWHERE: f"is on another host or in another container{_process(run)}, so whether it still lives cannot be seen from here; the journal holds {took} of it",
    }[run.state]
    if run.ended is not None:
        return f"run {run.name}{script} {how}: {run.ended.sentence}"
    counts = run.counts()
    unfinished = sum(counts[TaskState(state)] for state in (PENDING, LAUNCHED, JOINING))
    still = f", {unfinished} {'unfinished' if run.state != LIVE else 'to go'}" if unfinished else ""
    return f"run {run.name}{script} {how}: {closing_sentence(counts, run.failures(), usage_of(run))}{still}"


def _process(run: Run) -> str:
    return f" (process {run.started.pid} on {run.started.hostname})" if run.started is not None else ""


def explain_run(run: Run) -> list[str]:
    """What the run waits for and what went wrong, a sentence each."""
    notes = (f"note: {note.text}" for note in run.notes[-_SHOWN:])
    return [*_busy(run), *_stuck(run), *_failed(run), *run.blocks.explain(run.now_s()), *notes]


def _busy(run: Run) -> list[str]:
    launched = [task for task in run.tasks.values() if task.state == LAUNCHED]
    lines = []
    by_app = Counter(task.app for task in launched)
    for app, count in by_app.most_common(_SHOWN):
        first = min(
            (task for task in launched if task.app == app and task.sent_s), key=lambda task: task.sent_s, default=None
        )
        verb = ("was" if count == 1 else "were") if run.state != LIVE else ("is" if count == 1 else "are")
        line = (
            f"{count} {'task' if count == 1 else 'tasks'} of {app}() {verb} in the hands of workers or queued for them"
        )
        if first is not None:
            line += f"; the oldest, {first}, for {format_duration(max(0.0, run.now_s() - first.sent_s))}{_place(first)}"
        lines.append(line)
    return lines


def _stuck(run: Run) -> list[str]:
    """Tasks that wait, grouped by the task that is at the root of their waiting."""
    roots: Counter[int] = Counter()
    known: dict[int, int] = {}
    for task in run.tasks.values():
        if task.state in {PENDING, JOINING}:
            roots[_root(run, task, known)] += 1
    lines = []
    for number, count in roots.most_common(_SHOWN):
        root = run.tasks[number]
        others = count - (root.state in {PENDING, JOINING})
        if others:
            lines.append(
                f"{others} {'task waits' if others == 1 else 'tasks wait'} for {root}: {explain_task(run, root)}"
            )
        else:
            lines.append(explain_task(run, root))
    if len(roots) > _SHOWN:
        rest = len(roots) - _SHOWN
        lines.append(
            f"and {sum(roots.values()) - sum(n for _, n in roots.most_common(_SHOWN))} more tasks wait for {rest} others"
        )
    return lines


def _root(run: Run, task: TaskHistory, known: dict[int, int]) -> int:
    """Follows what is waited for, always the first that is unfinished, to a task that waits for none."""
    path: list[int] = []
    current = task
    while current.id not in known:
        path.append(current.id)
        known[current.id] = current.id  # for now; also ends a walk in a circle, which only a damaged journal has
        needs = current.joins if current.state == JOINING else current.depends if current.state == PENDING else []
        following = next((t for n in needs if (t := run.tasks.get(n)) is not None and not t.has_ended), None)
        if following is None:
            break
        current = following
    root = known.get(current.id, current.id)
    for number in path:
        known[number] = root
    return root


def _failed(run: Run) -> list[str]:
    groups = [(count, key, first) for key, (count, first) in run.failures().items()]
    groups.sort(key=lambda group: (group[1][0] in _FOLLOWING, -group[0], group[1]))
    lines = [
        f"{count}× {error} in {app}(); the first: {explain_task(run, run.tasks[first])}"
        for count, (error, app), first in groups[:_SHOWN]
    ]
    if len(groups) > _SHOWN:
        rest = len(groups) - _SHOWN
        lines.append(f"and {rest} more kind{'s' if rest > 1 else ''} of failure")
    return lines
