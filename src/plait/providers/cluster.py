"""`ClusterProvider`: what all batch systems with commands have in common. A system's class says how its commands are called and read.

```
submit ─▶ launcher ─▶ script (private) ─▶ sbatch, qsub …     fails? the job is looked up by its name: never submitted twice
status ─▶ one command for all jobs ─▶ judge.py ─▶ JobStatus  fails? what was known stays
cancel ─▶ one command for many jobs, each with a time-out
```

Files of a job, in ``script_dir``: ``.sh`` its script, ``.out`` and ``.err`` its output, ``.ec`` the exit status, which the script writes at its very end.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import shlex
import tempfile
import time
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plait._util.represent import represent
from plait.errors import BadLauncher, ConfigurationError, ScriptPathError, SubmitException, text_of
from plait.launchers.base import Launcher
from plait.model.jobs import JobState, JobStatus
from plait.providers import judge
from plait.providers.base import ExecutionProvider, check_blocks
from plait.providers.script import Script, checked_lines, checked_seconds, job_name, walltime_s
from plait.providers.shell import CommandFailed, LocalShell, Shell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.providers.judge import Report

_logger: Final = logging.getLogger("plait")

#: Jobs that one command cancels.
_CHUNK: Final = 100
#: What the id of a job begins with that may have been submitted, as long as its own is not known.
_BY_NAME: Final = "name:"

_PROLOGUE: Final = """\
plait_ec={ec}
rm -f "$plait_ec"
trap 'plait_status=$?; echo "$plait_status" > "$plait_ec.new"; mv -f "$plait_ec.new" "$plait_ec"; exit "$plait_status"' EXIT
export JOBNAME={name}
{worker_init}"""


@dataclass
class Job:
    """A job that was submitted, or may have been.

    Attributes:
        id: the batch system's, once it is known.
        name: by which it can be looked up.
        path: of its files, where the commands run, without the ending.
        local: the same on this machine.
        case: what is known of it.
    """

    id: str
    name: str
    path: str
    local: str
    case: judge.Case

    @property
    def is_named_only(self) -> bool:
        """Whether it is not known yet whether there is such a job."""
        return self.id.startswith(_BY_NAME)


class ClusterProvider(ExecutionProvider):
    """Blocks as jobs of a batch system that has commands. Subclasses are for one system each.

    Args:
        nodes_per_block: nodes of one block.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        walltime: how long a block may run: ``"hours:minutes:seconds"``, ``"90m"``, or seconds.
        launcher: how the command is started on the nodes of a block; None for the system's default.
        worker_init: lines of bash that come before the command, such as ``module load python``.
        scheduler_options: lines of directives that come behind plait's, as they are; the name of a job stays plait's.
        cmd_timeout: seconds that a command of the system may take.
        shell: where the commands are run; None for this machine.

    Raises:
        ConfigurationError: a value cannot work.
        BadLauncher: the launcher is none.
    """

    #: Name of the system.
    SYSTEM: ClassVar[str]
    #: What its directives begin with.
    PREFIX: ClassVar[str]
    #: Characters that the name of a job may have.
    NAME_CHARS: ClassVar[int] = 64
    #: Seconds between two looks when nothing happens.
    POLL_S: ClassVar[float] = 60
    concurrent = True
    #: Parameters that say where its jobs are, for `ticket`.
    ADDRESS: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        nodes_per_block: int = 1,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        walltime: str | float | None = "00:10:00",
        launcher: Launcher | None = None,
        worker_init: str = "",
        scheduler_options: str = "",
        cmd_timeout: float = 10,
        shell: Shell | None = None,
    ) -> None:
        owner = type(self).__name__
        if launcher is not None and not isinstance(launcher, Launcher):
            raise BadLauncher(launcher)
        if shell is not None and not callable(getattr(shell, "run", None)):
            raise ConfigurationError(f"{owner}(shell={shell!r}): expected a plait.providers.shell.Shell, or None")
        check_blocks(owner, nodes_per_block, init_blocks, min_blocks, max_blocks, parallelism)
        self.nodes_per_block = nodes_per_block
        self.init_blocks = init_blocks
        self.min_blocks = min_blocks
        self.max_blocks = max_blocks
        self.parallelism = parallelism
        self.walltime = walltime
        self.launcher = launcher or self._default_launcher()
        self.worker_init = checked_lines(owner, "worker_init", worker_init)
        self.scheduler_options = checked_lines(owner, "scheduler_options", scheduler_options)
        self.cmd_timeout = checked_seconds(owner, "cmd_timeout", cmd_timeout)
        self.shell = shell
        self.script_dir: str | None = None
        self.resources: dict[str, Job] = {}
        self._tag = ""
        self._numbers: dict[str, int] = {}
        self._files = itertools.count()

    @property
    def walltime(self) -> str | float | None:
        """How long a block may run. Programs assign it to configurations that they import."""
        return self._walltime

    @walltime.setter
    def walltime(self, value: str | float | None) -> None:
        self.walltime_s = self._seconds(value)
        self._walltime = value

    def _seconds(self, walltime: str | float | None) -> int:
        return walltime_s(type(self).__name__, walltime)

    # ------------------------------------------------------------------ what a system's class says
    def _default_launcher(self) -> Launcher:
        from plait.launchers.simple import SingleNodeLauncher

        return SingleNodeLauncher()

    @abstractmethod
    def _options(self, script: Script, job: Job, tasks_per_node: int) -> None:
        """Writes the directives: the job's name, where its output goes (``job.path`` with ``.out`` and ``.err``), nodes, walltime and so on.

        Variables for the job may be exported here too.
        """

    @abstractmethod
    def _submit_argv(self, job: Job) -> list[str]:
        """The command that submits the script ``job.path`` + ``.sh``."""

    def _named(self, option: str, *words: str) -> list[str]:
        """The job's name on the command line, where the user's directives have another: jobs are known by their names.

        What is said there counts more than directives in all systems.

        Args:
            option: what such directives begin with.
            words: the name, as the submitting command takes it.
        """
        return list(words) if any(word.startswith(option) for word in self.scheduler_options.split()) else []

    @abstractmethod
    def _parse_id(self, out: str) -> str:
        """The id of the job, from what that command wrote.

        Raises:
            ValueError: there is none in it.
        """

    @abstractmethod
    def _ask(self, jobs: Sequence[Job]) -> Mapping[str, Report]:
        """How jobs are, by id, with one command; those that it does not know are not in the answer.

        Raises:
            CommandFailed: it did not answer.
            ValueError: what it wrote is no answer, or half of one.
        """

    def _history(self, jobs: Sequence[Job]) -> Mapping[str, Report]:  # noqa: ARG002 - where there is accounting
        """How jobs ended that the scheduler no longer knows; raises as `_ask`."""
        return {}

    @abstractmethod
    def _find(self, names: Sequence[str]) -> Mapping[str, str]:
        """Ids of this user's jobs, queued, running or just ended, by their names; raises as `_ask`."""

    @abstractmethod
    def _kill(self, jobs: Sequence[Job]) -> None:
        """Cancels jobs with one command. One that has ended, or is not known any more, is no failure.

        Raises:
            CommandFailed: it was not accepted.
        """

    def _submit(self, job: Job) -> str:
        """Submits; the id. Raises as `_parse_id` and `Shell.run`."""
        finished = self._run(*self._submit_argv(job))
        return self._parse_id(finished.check())

    # ------------------------------------------------------------------ the port
    @property
    def label(self) -> str:
        """Name of the system."""
        return self.SYSTEM

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two looks when nothing happens."""
        return self.POLL_S

    @property
    def shares_files(self) -> bool:  # type: ignore[override]
        """Whether the nodes see this machine's files."""
        return self._shell.shares_files

    def submit(self, command: str, tasks_per_node: int, job_name: str = "plait.auto") -> str:
        """Submits a job; its id.

        Raises:
            ScriptPathError: its script cannot be written.
            SubmitException: the batch system did not take it.
        """
        job = self._prepare(job_name)
        wrapped = self.launcher(command, tasks_per_node, self.nodes_per_block, os.path.dirname(job.path))
        self._write(job, self._script(job, wrapped, tasks_per_node))
        try:
            job.id = self._submit(job)
        except (CommandFailed, ValueError) as error:
            job.id = self._look_up(job, error)
        job.case.heard_s = time.monotonic()
        self.resources[job.id] = job
        return job.id

    def status(self, job_ids: Sequence[str]) -> list[JobStatus]:
        """How the jobs are, with one command for all that have not ended."""
        live = [job for id_ in job_ids if (job := self.resources.get(id_)) is not None and not job.case.status.terminal]
        if live:
            try:
                self._look(live)
            except (CommandFailed, ValueError) as error:
                for job in live:
                    judge.silent(job.case, text_of(error), time.monotonic())
            for job in live:
                if job.case.status.terminal:
                    self._fetch_output(job)
        return [self._status_of(id_) for id_ in job_ids]

    def cancel(self, job_ids: Sequence[str]) -> list[bool]:
        """Cancels jobs, queued or running, some hundred with each command."""
        live = [job for id_ in job_ids if (job := self.resources.get(id_)) is not None and not job.case.status.terminal]
        done = {id_ for id_ in job_ids if (job := self.resources.get(id_)) is not None and job.case.status.terminal}
        self._resolve(live)
        known = [job for job in live if not job.is_named_only and not self._is_another(job)]
        for first in range(0, len(known), _CHUNK):
            chunk = known[first : first + _CHUNK]
            try:
                self._kill(chunk)
            except (CommandFailed, ValueError) as error:
                _logger.warning(
                    "%s: jobs %s could not be cancelled: %s",
                    self.label,
                    ", ".join(job.id for job in chunk),
                    text_of(error),
                )
                continue
            for job in chunk:
                job.case.cancelled = True
        done |= {id_ for id_ in job_ids if (job := self.resources.get(id_)) is not None and job.case.cancelled}
        return [id_ in done for id_ in job_ids]

    def ticket(self, job_id: str, job_name: str = "") -> dict[str, str]:
        """See `ExecutionProvider.ticket`."""
        job = self.resources.get(job_id)
        where = {name: str(value) for name in self.ADDRESS if (value := getattr(self, name)) is not None}
        name = job.name if job is not None else self._final_name(job_name)
        return {"system": self.SYSTEM, "job": "" if job is None or job.is_named_only else job.id, "name": name, **where}

    def adopt(self, ticket: Mapping[str, str]) -> str:
        """Takes over a job that another process submitted; its id here."""
        id_ = ticket.get("job") or f"{_BY_NAME}{ticket['name']}"
        job = Job(id_, ticket.get("name", ""), "", "", self._case(JobStatus(JobState.UNKNOWN)))
        self.resources[id_] = job
        return id_

    def _is_another(self, job: Job) -> bool:
        """Whether a job that was absent lately is gone, so that what has its id now would be somebody else's. It is then as good as cancelled."""
        if not job.case.absent or not job.name:
            return False
        try:
            gone = self._find([job.name]).get(job.name) != job.id
        except (CommandFailed, ValueError):
            return False
        job.case.cancelled |= gone
        return gone

    # ------------------------------------------------------------------ submitting
    @property
    def _shell(self) -> Shell:
        return self.shell or _HERE

    def _run(self, *argv: str, stdin: str = "", timeout_s: float | None = None) -> Any:
        return self._shell.run(argv, timeout_s=timeout_s or self.cmd_timeout, stdin=stdin)

    def _final_name(self, name: str) -> str:
        """As the batch system will see it, unlike that of any other job."""
        self._tag = self._tag or secrets.token_hex(3)
        number = self._numbers.get(name, 0)
        return job_name(f"{name}.{self._tag}{number or ''}", self.NAME_CHARS)

    def _case(self, status: JobStatus) -> judge.Case:
        now_s = time.monotonic()
        return judge.Case(status, now_s, self.walltime_s, heard_s=now_s)

    def _prepare(self, given_name: str) -> Job:
        name = self._final_name(given_name)
        self._numbers[given_name] = self._numbers.get(given_name, 0) + 1
        if self.script_dir is None:
            self.script_dir = tempfile.mkdtemp(prefix="plait-jobs-")
        file = f"{name}.{os.getpid()}-{next(self._files)}"
        local = os.path.join(os.path.abspath(self.script_dir), file)
        path = os.path.join(self._shell.folder(os.path.abspath(self.script_dir)), file)
        status = JobStatus(JobState.PENDING, stdout_path=f"{local}.out", stderr_path=f"{local}.err")
        return Job("", name, path, local, self._case(status))

    def _script(self, job: Job, command: str, tasks_per_node: int) -> str:
        script = Script(self.PREFIX)
        self._options(script, job, tasks_per_node)
        script.raw(self.scheduler_options)
        script.line(
            _PROLOGUE.format(ec=shlex.quote(f"{job.path}.ec"), name=shlex.quote(job.name), worker_init=self.worker_init)
        )
        script.line(command)
        return script.text()

    def _write(self, job: Job, text: str) -> None:
        try:
            self._shell.make_folder(os.path.dirname(job.path))
            self._shell.write(f"{job.path}.sh", text, executable=True)
        except (OSError, CommandFailed) as error:
            raise ScriptPathError(f"{job.path}.sh", text_of(error)) from error

    def _look_up(self, job: Job, error: CommandFailed | ValueError) -> str:
        """The id of a job whose submission failed, if the batch system has it all the same. It is never submitted again.

        Raises:
            SubmitException: it has not.
        """
        answered = isinstance(error, CommandFailed) and error.code is not None
        try:
            found = self._find([job.name]).get(job.name)
        except (CommandFailed, ValueError):
            found, answered = None, False
        if found is not None:
            _logger.warning(
                "%s: job %s was submitted, although the command failed: %s", self.label, found, text_of(error)
            )
            return found
        if not answered:  # it may still come
            _logger.warning(
                "%s: it is not known whether job %s was submitted: %s", self.label, job.name, text_of(error)
            )
            job.case.status = replace(
                job.case.status,
                state=JobState.UNKNOWN,
                message=f"it is not known yet whether it was submitted: {text_of(error)}",
            )
            return f"{_BY_NAME}{job.name}"
        assert isinstance(error, CommandFailed)  # noqa: S101 - else nobody answered
        raise SubmitException(job.name, text_of(error), error.out, error.err, error.code) from error

    # ------------------------------------------------------------------ looking
    def _look(self, live: Sequence[Job]) -> None:
        self._resolve(live)
        known = {job.id: job for job in live if not job.is_named_only}
        if not known:
            return
        answer = self._ask(list(known.values()))
        there, gone = judge.split(answer, list(known))
        for id_ in there:
            self._seen(known[id_], answer[id_])
        if not gone:
            return
        try:
            history = self._history([known[id_] for id_ in gone])
        except (CommandFailed, ValueError) as error:
            _logger.info("%s: accounting says nothing: %s", self.label, text_of(error))
            history = {}
        for id_ in gone:
            if id_ in history:
                self._seen(known[id_], history[id_])
            else:
                judge.absent(known[id_].case, self._epilogue(known[id_]), time.monotonic())

    def _seen(self, job: Job, report: Report) -> None:
        epilogue = self._epilogue(job) if report.elsewhere or JobStatus(report.state).terminal else None
        judge.seen(job.case, report, epilogue, time.monotonic())

    def _resolve(self, live: Sequence[Job]) -> None:
        """Finds the ids of jobs of which it is not known whether they were submitted."""
        unknown = {job.name: job for job in live if job.is_named_only}
        if not unknown:
            return
        try:
            found = self._find(list(unknown))
        except (CommandFailed, ValueError) as error:
            for job in unknown.values():
                judge.silent(job.case, text_of(error), time.monotonic())
            return
        now_s = time.monotonic()
        for name, job in unknown.items():
            if name in found:
                job.id = found[name]
                self.resources[job.id] = job
                continue
            judge.absent(job.case, None, now_s)
            if job.case.status.terminal and not job.case.cancelled:
                job.case.status = replace(
                    job.case.status,
                    state=JobState.FAILED,
                    message="the batch system never had it: its submission failed",
                )

    def _epilogue(self, job: Job) -> int | None:
        text = self._shell.read(f"{job.path}.ec") if job.path else None
        try:
            return int(text or "")
        except ValueError:
            return None

    def _fetch_output(self, job: Job) -> None:
        """Brings the end of what a job wrote on another machine."""
        if job.path in {"", job.local}:
            return
        for ending in (".out", ".err"):
            text = self._shell.read(f"{job.path}{ending}")
            if text is not None:
                _HERE.make_folder(os.path.dirname(job.local))
                _HERE.write(f"{job.local}{ending}", text)

    def _status_of(self, id_: str) -> JobStatus:
        job = self.resources.get(id_)
        if job is None:
            return JobStatus(JobState.MISSING, f"this provider has submitted no job {id_}")
        return job.case.status

    def __repr__(self) -> str:
        return represent(self)


_HERE: Final = LocalShell()
