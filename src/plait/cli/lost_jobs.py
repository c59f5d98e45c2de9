"""Jobs of runs, found again: what a run wrote down (`executors.jobs_file`), held against what its batch system says now.

Used by ``plait blocks`` and ``plait doctor``. A driver that ends cancels its jobs; one that is killed cannot.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait.errors import text_of
from plait.executors.jobs_file import NAME, JobsFile, run_jobs
from plait.model.jobs import JobState, JobStatus
from plait.monitoring.runs import CRASHED, ENDED
from plait.providers.tickets import recall

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plait.executors.jobs_file import JobRecord
    from plait.monitoring.runs import RunLine
    from plait.providers.base import ExecutionProvider

#: Entries of a ticket that say which job it is; the others say where.
_OF_THE_JOB: Final = ("job", "name")
#: Systems whose providers take away at `close` what all of their jobs share; here they are only looked at.
_KEPT: Final = {"aws", "azure", "googlecloud"}
NO_TICKET: Final = "it ends with its driver: nothing else can find it"
#: Seconds for which a submission that was cut off may still arrive: the longest that its command may take, and more.
_MAY_COME_S: Final = 600.0
NOT_THERE: Final = "the batch system does not know it: it is over, or never was"
MAY_COME: Final = "the batch system does not know it yet: its driver died while it submitted it, so it may still come; look again in some minutes"


@dataclass
class LostJob:
    """A job of which a run has not seen the end.

    Attributes:
        run: folder of the run.
        record: what the run wrote down.
        status: how it is now, as far as its batch system says.
        is_gone: whether the batch system answered and does not know it.
        cancelled: whether the batch system has accepted its end; None when it was not asked.
    """

    run: str
    record: JobRecord
    status: JobStatus
    is_gone: bool = False
    cancelled: bool | None = None
    _provider: ExecutionProvider | None = None
    _id: str = ""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to be ended any more."""
        return self.is_gone or self.has_ended

    @property
    def has_ended(self) -> bool:
        """Whether its batch system said so. Not to know it is not the same."""
        return self.status.terminal and self.status.state != JobState.MISSING

    @property
    def is_findable(self) -> bool:
        """Whether it can be looked at and ended from here."""
        return self._provider is not None

    def forget(self) -> None:
        """Writes down that it is over, so that nobody needs to look for it again.

        One that is only not known is asked for again the next time: a single answer without it is no proof.
        """
        if not self.has_ended:
            return
        folder = os.path.join(self.run, self.record.label)
        if os.path.exists(os.path.join(folder, NAME)):
            jobs = JobsFile(folder, {})
            jobs.ended(
                self.record.block, self.record.job, self.status.state, "found by `plait doctor` or `plait blocks`"
            )


def is_dead(line: RunLine) -> bool:
    """Whether the driver of a run is surely gone. Of one on another host or in another container, or whose journal has lost its beginning, that is not known."""
    return line.started is not None and line.state in {CRASHED, ENDED}


def unfinished(run_folder: str) -> list[JobRecord]:
    """Jobs of which the run has not seen the end."""
    return [record for record in run_jobs(run_folder) if not record.ended_s]


def find(jobs: Iterable[tuple[str, JobRecord]]) -> list[LostJob]:
    """Asks the batch systems, each once for all of its jobs, how these are.

    Args:
        jobs: folder of the run and record of each.
    """
    found = [LostJob(run, record, JobStatus(JobState.UNKNOWN, NO_TICKET)) for run, record in jobs]
    for group in _by_place(found):
        _recall(group)
    for provider, group in _by_provider(found):
        _look(provider, group)
    return found


def cancel(jobs: Sequence[LostJob]) -> None:
    """Ends those of them that are not over; what became of each is in `LostJob.cancelled`."""
    for provider, group in _by_provider([job for job in jobs if not job.is_over]):
        try:
            answers = [bool(answer) for answer in provider.cancel([job._id for job in group])]  # noqa: SLF001 - this module's own class
        except Exception as error:  # noqa: BLE001 - plug-ins and the world
            answers = []
            for job in group:
                job.status = JobStatus(job.status.state, f"cannot be cancelled: {text_of(error)}")
        answers += [False] * (len(group) - len(answers))
        for job, answer in zip(group, answers, strict=False):
            job.cancelled = answer
        _look(provider, group)
    for job in jobs:
        if job.is_over:
            job.forget()


def close(jobs: Iterable[LostJob]) -> None:
    """Gives up what providers keep open."""
    for provider, group in _by_provider(jobs):
        if not any(job.record.ticket and job.record.ticket.get("system") in _KEPT for job in group):
            provider.close()


# ------------------------------------------------------------------ parts
def _by_place(jobs: Iterable[LostJob]) -> list[list[LostJob]]:
    """Those whose tickets lead to one place together."""
    groups: dict[tuple[tuple[str, str], ...], list[LostJob]] = {}
    for job in jobs:
        ticket = job.record.ticket
        if ticket:
            place = tuple(sorted((key, value) for key, value in ticket.items() if key not in _OF_THE_JOB))
            groups.setdefault(place, []).append(job)
    return list(groups.values())


def _by_provider(jobs: Iterable[LostJob]) -> list[tuple[ExecutionProvider, list[LostJob]]]:
    groups: dict[int, tuple[ExecutionProvider, list[LostJob]]] = {}
    for job in jobs:
        provider = job._provider  # noqa: SLF001 - this module's own class
        if provider is not None:
            groups.setdefault(id(provider), (provider, []))[1].append(job)
    return list(groups.values())


def _recall(group: Sequence[LostJob]) -> None:
    provider: Any = None
    for job in group:
        ticket = job.record.ticket or {}
        try:
            if provider is None:
                provider, job._id = recall(ticket)  # noqa: SLF001
            else:
                job._id = provider.adopt(ticket)  # noqa: SLF001
        except Exception as error:  # noqa: BLE001 - another version's ticket, a missing library, a service that cannot be reached
            job.status = JobStatus(JobState.UNKNOWN, f"cannot be looked for: {text_of(error)}")
        else:
            job._provider = provider  # noqa: SLF001


def _look(provider: ExecutionProvider, group: Sequence[LostJob]) -> None:
    try:
        statuses = provider.status([job._id for job in group])  # noqa: SLF001
    except Exception as error:  # noqa: BLE001 - plug-ins and the world
        for job in group:
            job.status = JobStatus(JobState.UNKNOWN, f"cannot be asked about: {text_of(error)}")
        return
    for job, status in zip(group, statuses, strict=False):
        known: Any = getattr(provider, "resources", {}).get(job._id)  # noqa: SLF001
        is_absent = bool(getattr(getattr(known, "case", None), "absent", 0)) or status.state == JobState.MISSING
        job.is_gone = is_absent and not _may_come(job.record)
        words = NOT_THERE if job.is_gone else MAY_COME
        job.status = status
        if is_absent and not job.has_ended:
            job.status = JobStatus(status.state, words)
        job.record.job = job.record.job or ("" if is_absent else str(getattr(known, "id", "")))


def _may_come(record: JobRecord) -> bool:
    """Whether nothing says yet what became of its submission."""
    return not record.submitted_s and time.time() - record.requested_s < _MAY_COME_S
