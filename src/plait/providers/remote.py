"""What providers share that begin blocks through a service's API, and not by commands: Kubernetes and clouds.

```
submit ──▶ name that nobody else has ──▶ _begin      the name is the id: to begin it twice is to begin it once
status ──▶ _look, one for all jobs   ──▶ judge ──▶ ended? ──▶ _output, _remove
cancel ──▶ _end
```

A service that gave no answer may have begun the job nonetheless. So it is looked for before it is begun again, and as long as nobody can say whether it
is there, it is kept as UNKNOWN.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import secrets
import tempfile
import time
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plait._util.represent import represent
from plait.errors import BadLauncher, OptionalModuleMissing, SubmitException, text_of
from plait.launchers.base import Launcher
from plait.launchers.simple import SingleNodeLauncher
from plait.model.jobs import JobState, JobStatus
from plait.providers.base import ExecutionProvider, check_blocks
from plait.providers.judge import ABSENT_S, Case, Report, seen, silent
from plait.providers.script import checked_lines, checked_seconds, walltime_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

#: A block's job as the keeper of blocks names it.
_BLOCK_NAME: Final = re.compile(r"plait\.(?P<run>[^.]+)\.(?P<executor>.+)\.block-(?P<block>[^.]+)")
_POLL_S: Final = 60.0


@dataclass
class Job:
    """A block at the service.

    Attributes:
        id: its name there, which is also the id of the job.
        name: the name for people.
        labels: what it is found again with: run, executor and block.
        case: what is known of it.
        path: of its files, without the ending; empty where there is no folder.
        doubt: why it cannot be said whether the service has it, or has all of it; empty when it does.
        made: whether the service has accepted a part of it.
        removed: whether nothing of it is left to take away.
        adopted: whether another process began it, which may still live: then a look at it changes nothing.
        notes: what a provider remembers of it.
    """

    id: str
    name: str
    labels: dict[str, str]
    case: Case
    path: str = ""
    doubt: str = ""
    made: bool = False
    removed: bool = False
    adopted: bool = False
    notes: dict[str, Any] = field(default_factory=dict)


class RemoteProvider(ExecutionProvider):
    """Blocks at a service.

    Args:
        nodes_per_block: nodes of one block.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        worker_init: lines of bash that come before the command.
        launcher: how copies of the command are started on one node.
        walltime_s: how long a block may run.
        cmd_timeout: seconds that one request may take.

    Raises:
        ConfigurationError: a value cannot work.
        BadLauncher: the launcher is none.
    """

    #: Name of the system, in tickets.
    SYSTEM: ClassVar[str]
    #: Characters of the longest name.
    NAME_CHARS: ClassVar[int] = 63

    #: Parameters that say where its jobs are, for tickets.
    ADDRESS: ClassVar[tuple[str, ...]] = ()

    #: Paths of this machine mean nothing there.
    shares_files = False
    #: The program that starts managers there.
    python: str | None = "python3"

    def __init__(
        self, nodes_per_block: int, init_blocks: int, min_blocks: int, max_blocks: int, parallelism: float, worker_init: str,
        launcher: Launcher | None, walltime_s: float, cmd_timeout: float,
    ) -> None:  # fmt: skip
        owner = type(self).__name__
        check_blocks(owner, nodes_per_block, init_blocks, min_blocks, max_blocks, parallelism)
        if launcher is not None and not isinstance(launcher, Launcher):
            raise BadLauncher(launcher)
        self.nodes_per_block = nodes_per_block
        self.init_blocks = init_blocks
        self.min_blocks = min_blocks
        self.max_blocks = max_blocks
        self.parallelism = parallelism
        self.worker_init = checked_lines(owner, "worker_init", worker_init)
        self.launcher = launcher or SingleNodeLauncher(debug=False)
        self.cmd_timeout = checked_seconds(owner, "cmd_timeout", cmd_timeout)
        self.script_dir: str | None = None
        self.resources: dict[str, Job] = {}
        self._walltime: str | float | None = walltime_s
        self._walltime_s = walltime_s
        self._clock = time.monotonic
        self._tag = ""

    @property
    def walltime(self) -> str | float | None:
        """How long a block may run; None for no limit. Programs assign it to configurations that they import."""
        return self._walltime

    @walltime.setter
    def walltime(self, value: str | float | None) -> None:
        self._walltime_s = math.inf if value is None else walltime_s(type(self).__name__, value)
        self._walltime = value

    # ------------------------------------------------------------------ what a service's class fills in
    @abstractmethod
    def _begin(self, job: Job, command: str) -> None:
        """Begins the job. To do so twice under one id must be the same as to do so once."""

    @abstractmethod
    def _look(self, jobs: Sequence[Job]) -> dict[str, Report]:
        """How jobs are, by id. Those that the service does not know are not in the answer; no answer is an exception."""

    @abstractmethod
    def _end(self, jobs: Sequence[Job]) -> None:
        """Ends jobs and has all that was made for them taken away; what is not there is no error."""

    @abstractmethod
    def _refused(self, error: Exception) -> bool:
        """Whether it is sure that the service did not begin what it was asked for."""

    def _unsent(self, error: Exception) -> bool:
        """Whether it is sure that this request began nothing: the service was not even reached, or had too many of them. Earlier ones may have."""
        del error
        return False

    def _output(self, job: Job) -> str | None:
        """What the job wrote, as far as the service has it."""
        del job
        return None

    def _each(self, jobs: Sequence[Job], end: Callable[[Job], None]) -> None:
        """Does it for each job. One that is refused does not keep the others; no answer does, because the next would have none either.

        Raises:
            Exception: the first that was raised.
        """
        first: Exception | None = None
        for job in jobs:
            try:
                end(job)
            except Exception as error:
                if not self._refused(error):
                    raise
                first = first or error
        if first is not None:
            raise first

    def _remove(self, jobs: Sequence[Job]) -> None:
        """Takes away what is left of jobs that have ended."""

    def close(self) -> None:
        """Takes away what is left of jobs that have ended."""
        self._tidy()

    # ------------------------------------------------------------------ the port
    @property
    def label(self) -> str:
        """Name of the provider."""
        return self.SYSTEM

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two looks at the jobs."""
        return _POLL_S

    def submit(self, command: str, tasks_per_node: int, job_name: str = "plait.auto") -> str:
        """Begins a block; its id is its name at the service.

        Raises:
            SubmitException: the service refused it.
        """
        job = self._new_job(job_name)
        text = self.launcher(command, tasks_per_node, 1, self.script_dir or "")
        try:
            self._begin(job, text)
        except OptionalModuleMissing:
            raise
        except Exception as error:  # noqa: BLE001 - libraries of others raise what they like
            self._settle(job, text, error)
        self.resources[job.id] = job
        return job.id

    def _settle(self, job: Job, command: str, error: Exception) -> None:
        """The service refused, or gave no answer. Then it is asked once more, which is safe, because the job has its name already.

        Raises:
            SubmitException: it is sure that there is no such job.
        """
        if not self._refused(error) and not self._unsent(error):
            job.doubt = text_of(error)
            try:
                self._begin(job, command)
            except Exception as second:  # noqa: BLE001 - libraries of others raise what they like
                error = second
            else:
                job.doubt = ""
                return
        if self._refused(error) or (self._unsent(error) and not job.doubt):
            try:
                self._end([job])  # half of it may be there
            except Exception:  # noqa: BLE001 - likewise
                gone = not job.made and not job.doubt
            else:
                gone = True
            if gone:
                raise SubmitException(job.name, text_of(error)) from error
        job.doubt = text_of(error)
        job.notes["command"] = command
        job.case.status = JobStatus(JobState.UNKNOWN, f"the service did not say whether it has the job: {job.doubt}")

    def _is_certain(self, job: Job) -> bool:
        """Whether a job that the service has is there as a whole; one that was begun in doubt is begun again, which completes it."""
        command = job.notes.get("command")
        if job.doubt and command is not None:
            try:
                self._begin(job, command)
            except Exception as error:  # noqa: BLE001 - likewise
                job.doubt = text_of(error)
                return False
        job.notes.pop("command", None)
        job.doubt = ""
        return True

    def status(self, job_ids: Sequence[str]) -> list[JobStatus]:
        """How jobs are, by one look at the service."""
        self._update([job for id_ in dict.fromkeys(job_ids) if (job := self.resources.get(id_)) is not None])
        return [
            self.resources[id_].case.status
            if id_ in self.resources
            else JobStatus(JobState.MISSING, f"the provider has begun no job {id_}")
            for id_ in job_ids
        ]

    def _update(self, jobs: Sequence[Job]) -> None:
        live = [job for job in jobs if not job.case.status.terminal]
        now_s = self._clock()
        if live:
            try:
                reports = self._look(live)
            except OptionalModuleMissing:
                raise
            except Exception as error:  # noqa: BLE001 - libraries of others raise what they like; not knowing is not an end
                for job in live:
                    silent(job.case, text_of(error), now_s)
                return
            for job in live:
                report = reports.get(job.id)
                if report is None:
                    self._absent(job, now_s)
                elif JobStatus(report.state).terminal or self._is_certain(job):
                    seen(job.case, report, None, now_s)
                if job.case.status.terminal:
                    self._keep_output(job)
        self._tidy()

    def _absent(self, job: Job, now_s: float) -> None:
        """The service answered, and does not have the job. That may be a list that is behind: one such answer is not believed."""
        case = job.case
        case.heard_s = now_s
        if not case.absent:
            case.absent_s = now_s
        case.absent += 1
        if case.cancelled:
            seen(case, Report(JobState.CANCELLED, "it was cancelled"), None, now_s)
        elif case.absent >= 2 and now_s - case.absent_s >= ABSENT_S:
            if job.doubt:
                report = Report(JobState.FAILED, f"the service never had it: {job.doubt}")
            elif case.began_s is not None and now_s - case.began_s >= case.walltime_s:
                report = Report(JobState.TIMEOUT, "it is gone: its walltime was over")
            else:
                report = Report(JobState.CANCELLED, "it is gone: somebody else deleted it")
            seen(case, report, None, now_s)

    def _keep_output(self, job: Job) -> None:
        """Puts what the job wrote into a file; services have one stream for both kinds."""
        try:
            text = self._output(job)
        except Exception:  # noqa: BLE001 - an end without its output is still an end
            return
        if not text or not job.path:
            return
        path = f"{job.path}.out"
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except OSError:
            return
        job.case.status = replace(job.case.status, stdout_path=path, stderr_path=path)

    def _tidy(self) -> None:
        """Takes away what is left of jobs that have ended; what cannot be now is tried again the next time."""
        ended = [
            job for job in self.resources.values() if job.case.status.terminal and not job.removed and not job.adopted
        ]
        if not ended:
            return
        try:
            self._remove(ended)
        except Exception:  # noqa: BLE001 - the next look tries it again
            return
        for job in ended:
            job.removed = True

    def cancel(self, job_ids: Sequence[str]) -> list[bool]:
        """Ends jobs."""
        live = [
            job
            for id_ in dict.fromkeys(job_ids)
            if (job := self.resources.get(id_)) is not None and not job.case.status.terminal
        ]
        if live:
            self._end(live)
            for job in live:
                job.case.cancelled = True
        return [id_ in self.resources for id_ in job_ids]

    # ------------------------------------------------------------------ names
    def ticket(self, job_id: str, job_name: str = "") -> dict[str, str]:
        """See `ExecutionProvider.ticket`. A job's name is known before the service has it."""
        job = self.resources.get(job_id)
        id_, name = (job.id, job.name) if job is not None else (job_id or self._next_id(job_name), job_name)
        where = {key: str(value) for key in self.ADDRESS if (value := getattr(self, key)) is not None}
        return {"system": self.SYSTEM, "job": id_, "name": name, **where}

    def adopt(self, ticket: Mapping[str, str]) -> str:
        """Takes over a job that another process began; its id."""
        job = self._known(ticket["job"], ticket.get("name") or ticket["job"])
        job.case.status = JobStatus(JobState.UNKNOWN, "it was begun by another process")
        job.doubt = "it was written down, and perhaps never begun"
        job.adopted = True
        self.resources[job.id] = job
        return job.id

    def _next_id(self, name: str) -> str:
        """A name that nobody else has, and that is known beforehand."""
        self._tag = self._tag or secrets.token_hex(4)
        ending = f"-{self._tag}-{len(self.resources)}"
        return f"{dns_name(name, self.NAME_CHARS - len(ending))}{ending}"

    def _new_job(self, name: str) -> Job:
        job = self._known(self._next_id(name), name)
        if self.script_dir is None:
            self.script_dir = tempfile.mkdtemp(prefix="plait-jobs-")
        job.path = os.path.join(os.path.abspath(self.script_dir), job.id)
        return job

    def _known(self, id_: str, name: str) -> Job:
        now_s = self._clock()
        status = JobStatus(JobState.PENDING, "it was begun")
        case = Case(status, submitted_s=now_s, walltime_s=self._walltime_s, heard_s=now_s)
        return Job(id_, name, labels_of(name, id_), case)

    def __repr__(self) -> str:
        return represent(self)


def dns_name(text: str, most: int) -> str:
    """A name as services take it: lower-case letters, digits and hyphens, a letter first. What is cut out is the middle, so that run and block stay."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    name = name if re.match(r"[a-z]", name) else f"p{name}"
    if len(name) > most:
        keep = most // 2
        name = f"{name[: most - keep].rstrip('-')}{name[-keep:]}"
    return name


def labels_of(name: str, id_: str) -> dict[str, str]:
    """What a job is found again with."""
    labels = {"plait-job": id_}
    found = _BLOCK_NAME.fullmatch(name)
    if found is not None:
        labels |= {
            f"plait-{key}": dns_name(value, 63) if key == "executor" else _label(value)
            for key, value in found.groupdict().items()
        }
    return labels


def _label(value: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:63].strip("-") or "none"


def batches(jobs: Sequence[Job], most: int) -> Iterable[Sequence[Job]]:
    """So many at a time."""
    return (jobs[start : start + most] for start in range(0, len(jobs), most))


def module(name: str, extra: str) -> Any:
    """A library that is not plait's own, imported when it is first needed.

    Raises:
        OptionalModuleMissing: it is not installed, with the command that does so.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise OptionalModuleMissing(
            [error.name or name], f"this provider needs: pip install 'plait[{extra}]'"
        ) from error
