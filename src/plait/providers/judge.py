"""How a job is, from what several witnesses say: its scheduler, the scheduler's accounting, the file that the job's script writes at its end, and the time.

Pure. The rules:

* An end is an end: a job that has ended stays as it ended.
* Not knowing is not an end: a command that fails changes nothing, and after `SILENCE_S` the state is UNKNOWN, with the reason.
* What the scheduler says counts, but for how a job ended: there its script knows the exit status.
* A job that the scheduler no longer knows has ended if accounting or its script say so, or it was absent twice, and for `ABSENT_S`.
* A job that the scheduler has given to another has ended if its script says so.
* What the script of a job wrote that was put back into the queue is of the try before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from plait.model.jobs import JobState, JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds without an answer after which the state of a job is UNKNOWN.
SILENCE_S: Final = 60.0
#: Seconds for which a job must be absent, in at least two answers, to be taken for ended.
ABSENT_S: Final = 30.0
#: Share of its walltime after which a job of which nothing else is known ended because of it.
_NEARLY: Final = 0.98


@dataclass(frozen=True)
class Report:
    """What a scheduler says of a job.

    Attributes:
        state: its state.
        message: its reason for that, in words for people.
        exit_code: of the job's script, where it is known.
        elsewhere: whether it has given the job to another scheduler, so that it will not hear of its end.
    """

    state: JobState
    message: str | None = None
    exit_code: int | None = None
    elsewhere: bool = False


@dataclass
class Case:
    """What is known of a job.

    Attributes:
        status: how it is.
        submitted_s: when it was submitted.
        began_s: when it was first seen running; None before, and when it waits for another try.
        walltime_s: how long it may run.
        cancelled: whether it was cancelled from here.
        heard_s: when the scheduler last answered.
        absent: answers in a row without it.
        absent_s: time of the first of these.
        again: whether it waits for another try, as far as that was seen.
    """

    status: JobStatus
    submitted_s: float
    walltime_s: float
    began_s: float | None = None
    cancelled: bool = False
    heard_s: float = 0.0
    absent: int = 0
    absent_s: float = 0.0
    again: bool = False


def seen(case: Case, report: Report, epilogue: int | None, now_s: float) -> None:
    """The scheduler, or its accounting, said this.

    Args:
        case: the job; changed.
        report: the answer.
        epilogue: the exit status that its script wrote at its end; None when there is none.
        now_s: the time.
    """
    case.heard_s = now_s
    case.absent = 0
    if report.elsewhere and epilogue is not None and not case.again:
        report = _by_script(epilogue)
    if report.state == JobState.RUNNING:
        case.again = False
        if case.began_s is None:
            case.began_s = now_s
    elif report.state == JobState.PENDING and case.began_s is not None:
        case.again, case.began_s = True, None
    _set(case, _with_epilogue(case, report, epilogue) if JobStatus(report.state).terminal else report)


def absent(case: Case, epilogue: int | None, now_s: float) -> None:
    """The scheduler answered, and does not know the job; accounting does not either."""
    case.heard_s = now_s
    if not case.absent:
        case.absent_s = now_s
    case.absent += 1
    if case.cancelled:
        _set(case, Report(JobState.CANCELLED, "it was cancelled", epilogue))
    elif epilogue is not None and not case.again:
        _set(case, _by_script(epilogue))
    elif case.absent >= 2 and now_s - case.absent_s >= ABSENT_S:
        if epilogue is not None:
            _set(case, _by_script(epilogue))
        elif case.began_s is not None and now_s - case.began_s >= case.walltime_s * _NEARLY:
            _set(case, Report(JobState.TIMEOUT, "it left the queue when its walltime was over"))
        else:
            _set(case, Report(JobState.COMPLETED, "it left the queue, and nothing says how it ended"))


def silent(case: Case, why: str, now_s: float) -> None:
    """The scheduler gave no answer."""
    if now_s - case.heard_s >= SILENCE_S:
        _set(case, Report(JobState.UNKNOWN, f"nothing has been heard of it for {now_s - case.heard_s:.0f} s: {why}"))
    elif case.status.state == JobState.UNKNOWN and not case.status.message:  # one of an earlier run, just looked for
        _set(case, Report(JobState.UNKNOWN, f"no answer: {why}"))


def split(answer: Mapping[str, Report], ids: list[str]) -> tuple[list[str], list[str]]:
    """Jobs of which an answer says how they are, and those that it does not know."""
    return [id_ for id_ in ids if id_ in answer], [id_ for id_ in ids if id_ not in answer]


def _by_script(code: int) -> Report:
    if code == 0:
        return Report(JobState.COMPLETED, None, 0)
    return Report(JobState.FAILED, f"its script ended with exit code {code}", code)


def _with_epilogue(case: Case, report: Report, epilogue: int | None) -> Report:
    """An end as the scheduler tells it, completed by what the script says of its own."""
    if report.state == JobState.COMPLETED:
        code = epilogue if report.exit_code is None else report.exit_code
        if case.cancelled and code:
            return Report(JobState.CANCELLED, "it was cancelled", code)
        return (
            replace(_by_script(code), message=report.message or _by_script(code).message)
            if code
            else replace(report, exit_code=code)
        )
    if case.cancelled and report.state == JobState.FAILED:
        return Report(JobState.CANCELLED, "it was cancelled", report.exit_code)
    if report.exit_code is None and epilogue is not None:
        return replace(report, exit_code=epilogue)
    return report


def _set(case: Case, report: Report) -> None:
    if case.status.terminal:
        return
    case.status = replace(case.status, state=report.state, message=report.message, exit_code=report.exit_code)
