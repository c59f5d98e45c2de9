"""`LocalProvider`: blocks on this machine.

```
provider ──exec──▶ bash <script>.sh        leader of a session of its own: Ctrl-C does not reach it
                       └── the command      output in .out and .err, exit status in .ec
```

A job is ended with all of its session. When the driver itself is killed nobody ends the session; what the command starts must notice that.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait._util.procs import end_tree, end_trees, is_alive, snapshot
from plait.errors import BadLauncher, ConfigurationError, ScriptPathError, SubmitException, signal_name
from plait.launchers.base import Launcher
from plait.launchers.simple import SingleNodeLauncher
from plait.limits import GRACE_S
from plait.model.jobs import JobState, JobStatus
from plait.providers.base import ExecutionProvider, check_blocks
from plait.providers.script import checked_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCRIPT: Final = """\
#!/bin/bash
plait_ec={ec}
trap 'echo $? > "$plait_ec"' EXIT
export JOBNAME={name}
{worker_init}
{command}
"""


@dataclass
class _Job:
    """A job that was begun here."""

    process: subprocess.Popen[bytes]
    path: str  # of its files, without the ending
    status: JobStatus

    @property
    def has_ended(self) -> bool:
        return self.status.terminal


class LocalProvider(ExecutionProvider):
    """Begins blocks as processes of this machine.

    Args:
        nodes_per_block: copies of the command in a block; more than one only to try what several nodes would do.
        launcher: how the copies are started.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        worker_init: lines of bash that come before the command, such as ``module load python``.
        cmd_timeout: seconds that ending jobs may take.
        parallelism: how many workers are wanted for each task, from 0 to 1.

    Raises:
        ConfigurationError: a value cannot work.
        BadLauncher: the launcher is none.
    """

    #: Seconds between two looks. A look costs some microseconds for each job.
    _POLL_S: Final = 0.5

    def __init__(
        self,
        nodes_per_block: int = 1,
        launcher: Launcher | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        worker_init: str = "",
        cmd_timeout: float = 30,
        parallelism: float = 1,
    ) -> None:
        if launcher is not None and not isinstance(launcher, Launcher):
            raise BadLauncher(launcher)
        check_blocks("LocalProvider", nodes_per_block, init_blocks, min_blocks, max_blocks, parallelism)
        checked_seconds("LocalProvider", "cmd_timeout", cmd_timeout)
        if not isinstance(worker_init, str) or "\0" in worker_init:
            raise ConfigurationError(f"LocalProvider(worker_init={worker_init!r}): expected lines of bash as text")
        self.nodes_per_block = nodes_per_block
        self.launcher = launcher or SingleNodeLauncher()
        self.init_blocks = init_blocks
        self.min_blocks = min_blocks
        self.max_blocks = max_blocks
        self.worker_init = worker_init
        self.cmd_timeout = cmd_timeout
        self.parallelism = parallelism
        self.script_dir: str | None = None
        self.resources: dict[str, Any] = {}
        self._numbers = itertools.count()

    @property
    def label(self) -> str:
        """Name of the provider."""
        return "local"

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two looks at the jobs."""
        return self._POLL_S

    def submit(self, command: str, tasks_per_node: int, job_name: str = "plait.auto") -> str:
        """Starts the command; the id of the job is the number of its process.

        Raises:
            ScriptPathError: its script cannot be written.
            SubmitException: it cannot be started.
        """
        wrapped = self.launcher(command, tasks_per_node, self.nodes_per_block, self.script_dir or "")
        path = self._write_script(job_name, wrapped)
        try:
            with open(f"{path}.out", "wb") as out, open(f"{path}.err", "wb") as err:
                process = subprocess.Popen(
                    ["bash", f"{path}.sh"], stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
                )
        except OSError as error:
            raise SubmitException(job_name, str(error)) from error
        job_id = str(process.pid)
        status = JobStatus(JobState.RUNNING, stdout_path=f"{path}.out", stderr_path=f"{path}.err")
        self.resources[job_id] = _Job(process, path, status)
        return job_id

    def _write_script(self, job_name: str, command: str) -> str:
        if self.script_dir is None:
            self.script_dir = tempfile.mkdtemp(prefix="plait-jobs-")
        safe = re.sub(r"[^\w.+-]", "_", job_name)
        path = os.path.join(os.path.abspath(self.script_dir), f"{safe}.{os.getpid()}-{next(self._numbers)}")
        text = _SCRIPT.format(
            ec=shlex.quote(f"{path}.ec"), name=shlex.quote(job_name), worker_init=self.worker_init, command=command
        )
        try:
            os.makedirs(self.script_dir, exist_ok=True)
            with open(f"{path}.sh", "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
        except OSError as error:
            raise ScriptPathError(f"{path}.sh", str(error)) from error
        return path

    def status(self, job_ids: Sequence[str]) -> list[JobStatus]:
        """How the jobs are. What a job that ended left behind in its session is ended, as batch systems do."""
        return [self._look(job_id) for job_id in job_ids]

    def _look(self, job_id: str) -> JobStatus:
        job: _Job | None = self.resources.get(job_id)
        if job is None:
            return JobStatus(JobState.MISSING, f"the provider has begun no job {job_id}")
        if not job.has_ended and _is_over(job.process.pid):
            self._end(job, cancelled=False)
        return job.status

    def cancel(self, job_ids: Sequence[str]) -> list[bool]:
        """Ends jobs with SIGTERM and, after some time, SIGKILL; they are gone when this returns."""
        jobs = [job for job_id in job_ids if (job := self.resources.get(job_id)) is not None and not job.has_ended]
        alive = [job for job in jobs if not _is_over(job.process.pid)]
        end_trees([job.process.pid for job in alive], min(GRACE_S, self.cmd_timeout))
        for job in jobs:
            self._end(job, cancelled=job in alive)
        return [job_id in self.resources for job_id in job_ids]

    def _end(self, job: _Job, *, cancelled: bool) -> None:
        """Ends what is left of the job's session, and takes its exit status.

        Its leader is not waited for before that: while it is a zombie its number, which is that of the session, is not given to others.
        """
        if _has_others(job.process.pid):
            end_tree(job.process.pid)
        code = self._exit_code(job)
        state, message = JobState.COMPLETED, None
        if cancelled:
            state, message = JobState.CANCELLED, "it was cancelled"
        elif code:
            state = JobState.FAILED
            how = f"ended with exit code {code}" if code > 0 else f"was ended by {signal_name(-code)}"
            message = f"its script {how}"
        job.status = JobStatus(state, message, code, job.status.stdout_path, job.status.stderr_path)

    def _exit_code(self, job: _Job) -> int:
        """As the process says; where something else in this program took that (a handler of SIGCHLD), as the script wrote it."""
        code = job.process.wait()
        path = f"{job.path}.ec"
        try:
            with open(path, encoding="utf-8") as file:
                return code or int(file.read())
        except (OSError, ValueError):  # the script was killed, or its own trap replaced ours
            with contextlib.suppress(OSError), open(path, "w", encoding="utf-8") as file:
                file.write(f"{code if code >= 0 else 128 - code}\n")
        return code

    def __repr__(self) -> str:
        names = (
            "nodes_per_block",
            "launcher",
            "init_blocks",
            "min_blocks",
            "max_blocks",
            "worker_init",
            "cmd_timeout",
            "parallelism",
        )
        return f"LocalProvider({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


def _is_over(pid: int) -> bool:
    """Whether a child has ended, without taking its exit status.

    The system is asked for it as a child where it can be: to look into ``/proc`` takes an open file, and where there are too many nothing is found.
    """
    if not hasattr(os, "waitid"):
        return not is_alive(pid)
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # something else in this program has waited for it
        return True


def _has_others(session: int) -> bool:
    """Whether a session has living members besides its leader."""
    return any(
        process.session == session and process.pid != session and process.is_alive for process in snapshot().values()
    )
