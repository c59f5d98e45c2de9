"""`FakeProvider`: a batch system that is not there. It queues, runs and ends jobs as it is told, and fails and lies as real ones do.

    provider = FakeProvider(plans=[Plan(run_s=0.1, end=JobState.FAILED, exit_code=1), Plan(queue_s=1.0)])
    provider.refuse("the scheduler is down", times=2)

Nothing runs: who needs managers plays them.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait.errors import SubmitException
from plait.model.jobs import JobState, JobStatus
from plait.providers.base import ExecutionProvider, check_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Calls that `FakeProvider.stall` can keep from returning.
CALLS: Final = ("submit", "status", "cancel")


@dataclass(frozen=True)
class Plan:
    """What becomes of a job.

    Attributes:
        queue_s: seconds that it is queued; None for as long as nobody calls `FakeProvider.run`.
        run_s: seconds that it runs; None until it is cancelled, or somebody calls `FakeProvider.end`.
        end: how it ends then.
        exit_code: of its script.
        message: what the batch system says about the end.
        stdout, stderr: what its script has written.
    """

    queue_s: float | None = 0.0
    run_s: float | None = None
    end: JobState = JobState.COMPLETED
    exit_code: int | None = None
    message: str | None = None
    stdout: str = ""
    stderr: str = ""


@dataclass
class FakeJob:
    """A job, as it really is.

    Attributes:
        id: its id.
        name: the name that it was submitted under.
        command: what it would run.
        plan: what becomes of it.
        submitted_s: when it was submitted.
        running_s: when it began to run.
        status: what the batch system says about it when asked truthfully.
        lie: what it says instead.
    """

    id: str
    name: str
    command: str
    plan: Plan
    submitted_s: float
    status: JobStatus
    running_s: float | None = None
    lie: JobStatus | None = None

    @property
    def state(self) -> JobState:
        """Its state when it was last looked at."""
        return self.status.state


class FakeProvider(ExecutionProvider):
    """A provider for tests. Its faults are switched on by methods; all of them may be called from any thread.

    Args:
        nodes_per_block: as for other providers.
        init_blocks: likewise.
        min_blocks: likewise.
        max_blocks: likewise.
        parallelism: likewise.
        plans: what becomes of the jobs, one after the other; the last one also of all further ones.
        poll_s: its `status_polling_interval`.
        clock: the time in seconds.
        label: its name.

    Attributes:
        jobs: all jobs, by id, in the order of their submission.
        calls: every call, as (name, argument): the job's name for ``submit``, ids for the others.
        most_at_once: the largest number of jobs that had not ended.
    """

    def __init__(
        self, nodes_per_block: int = 1, init_blocks: int = 1, min_blocks: int = 0, max_blocks: int = 1, parallelism: float = 1, *,
        plans: Sequence[Plan] = (Plan(),), poll_s: float = 0.01, clock: Callable[[], float] = time.monotonic, label: str = "fake",
    ) -> None:  # fmt: skip
        check_blocks("FakeProvider", nodes_per_block, init_blocks, min_blocks, max_blocks, parallelism)
        self.nodes_per_block = nodes_per_block
        self.init_blocks = init_blocks
        self.min_blocks = min_blocks
        self.max_blocks = max_blocks
        self.parallelism = parallelism
        self.script_dir: str | None = None
        self.resources: dict[str, Any] = {}
        self.jobs: dict[str, FakeJob] = {}
        self.calls: list[tuple[str, Any]] = []
        self.most_at_once = 0
        self._plans = list(plans)
        self._poll_s = poll_s
        self._clock = clock
        self._label = label
        self._numbers = itertools.count(1000)
        self._lock = threading.RLock()
        self._refusals: list[tuple[str, bool]] = []
        self._silent: list[str] = []
        self._deaf = 0
        self._gates = {call: threading.Event() for call in CALLS}
        for gate in self._gates.values():
            gate.set()

    @property
    def label(self) -> str:
        """Its name."""
        return self._label

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two polls."""
        return self._poll_s

    # ------------------------------------------------------------------ the port
    def submit(self, command: str, tasks_per_node: int, job_name: str = "plait.auto") -> str | None:  # noqa: ARG002 - nothing runs
        """Takes a job."""
        self._gates["submit"].wait()
        with self._lock:
            self.calls.append(("submit", job_name))
            refusal, accepted = self._refusals.pop(0) if self._refusals else ("", True)
            job = self._begin(command, job_name) if accepted else None
        if refusal:
            raise SubmitException(job_name, refusal, retcode=1)
        return job.id if job is not None else None

    def _begin(self, command: str, job_name: str) -> FakeJob:
        plan = self._plans.pop(0) if len(self._plans) > 1 else self._plans[0]
        job_id = str(next(self._numbers))
        out = err = None
        if self.script_dir is not None:
            out, err = (os.path.join(self.script_dir, f"{job_name}.{job_id}.{end}") for end in ("out", "err"))
            for path, text in ((out, plan.stdout), (err, plan.stderr)):
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
        status = JobStatus(JobState.PENDING, stdout_path=out, stderr_path=err)
        job = self.jobs[job_id] = FakeJob(job_id, job_name, command, plan, self._clock(), status)
        self.most_at_once = max(self.most_at_once, len(self.unfinished()))
        return job

    def status(self, job_ids: Sequence[str]) -> list[JobStatus]:
        """What it says about the jobs, true or not."""
        self._gates["status"].wait()
        with self._lock:
            self.calls.append(("status", list(job_ids)))
            if self._silent:
                raise TimeoutError(self._silent.pop(0))
            return [self._answer(job_id) for job_id in job_ids]

    def _answer(self, job_id: str) -> JobStatus:
        job = self.look(job_id)
        if job is None:
            return JobStatus(JobState.MISSING, f"no job {job_id}")
        return job.lie or job.status

    def cancel(self, job_ids: Sequence[str]) -> list[bool]:
        """Ends jobs, unless it is deaf."""
        self._gates["cancel"].wait()
        with self._lock:
            self.calls.append(("cancel", list(job_ids)))
            if self._deaf:
                self._deaf -= 1
                return [False] * len(job_ids)
            for job_id in job_ids:
                job = self.look(job_id)
                if job is not None and not job.status.terminal:
                    self._set(job, JobState.CANCELLED, "cancelled")
            return [job_id in self.jobs for job_id in job_ids]

    # ------------------------------------------------------------------ what really happens to jobs
    def look(self, job_id: str) -> FakeJob | None:
        """A job as it is now."""
        with self._lock:
            job = self.jobs.get(job_id)
            if job is None or job.status.terminal or job.state == JobState.HELD:
                return job
            now_s, plan = self._clock(), job.plan
            if job.running_s is None and plan.queue_s is not None and now_s - job.submitted_s >= plan.queue_s:
                job.running_s = now_s
                self._set(job, JobState.RUNNING)
            if job.running_s is not None and plan.run_s is not None and now_s - job.running_s >= plan.run_s:
                self._set(job, plan.end, plan.message, plan.exit_code)
            return job

    def job(self, name: str) -> FakeJob | None:
        """The last job whose name ends so, such as ``block-0``, as it is now."""
        with self._lock:
            found = [job.id for job in self.jobs.values() if job.name.endswith(name)]
            return self.look(found[-1]) if found else None

    def unfinished(self) -> list[FakeJob]:
        """The jobs that have not ended."""
        with self._lock:
            return [job for job_id in self.jobs if (job := self.look(job_id)) is not None and not job.status.terminal]

    def run(self, name: str) -> None:
        """The job begins to run now."""
        with self._lock:
            job = self._named(name)
            job.running_s = self._clock()
            self._set(job, JobState.RUNNING)

    def hold(self, name: str, message: str = "held by the administrator") -> None:
        """The job is held."""
        with self._lock:
            self._set(self._named(name), JobState.HELD, message)

    def end(
        self, name: str, state: JobState = JobState.COMPLETED, exit_code: int | None = None, message: str | None = None
    ) -> None:
        """The job ends now."""
        with self._lock:
            self._set(self._named(name), state, message, exit_code)

    def _named(self, name: str) -> FakeJob:
        job = self.job(name)
        if job is None:
            raise KeyError(f"no job {name!r} among {[job.name for job in self.jobs.values()]}")
        return job

    def _set(self, job: FakeJob, state: JobState, message: str | None = None, exit_code: int | None = None) -> None:
        job.status = JobStatus(state, message, exit_code, job.status.stdout_path, job.status.stderr_path)

    # ------------------------------------------------------------------ how it fails
    def refuse(self, message: str, times: int = 1, *, accept: bool = False) -> None:
        """The next submissions fail; with ``accept``, although the job was taken."""
        with self._lock:
            self._refusals += [(message, accept)] * times

    def say_nothing(self, times: int = 1) -> None:
        """The next submissions return no id and do not say why."""
        with self._lock:
            self._refusals += [("", False)] * times

    def be_silent(self, times: int = 1, message: str = "the scheduler does not answer") -> None:
        """The next polls fail."""
        with self._lock:
            self._silent += [message] * times

    def be_deaf(self, times: int = 1) -> None:
        """The next calls of `cancel` accept nothing."""
        with self._lock:
            self._deaf += times

    def lie(self, name: str, state: JobState | None, message: str | None = None) -> None:
        """Says this about the job, whatever is true; None for the truth."""
        with self._lock:
            self._named(name).lie = None if state is None else JobStatus(state, message)

    def forget(self, name: str) -> None:
        """No longer knows the job, which goes on."""
        self.lie(name, JobState.MISSING, "no such job")

    def stall(self, call: str) -> None:
        """Calls of this name (`CALLS`) do not return until `go_on`."""
        self._gates[call].clear()

    def go_on(self) -> None:
        """Stalled calls return."""
        for gate in self._gates.values():
            gate.set()

    def called(self, call: str) -> list[Any]:
        """The arguments of all calls of this name."""
        with self._lock:
            return [argument for name, argument in self.calls if name == call]


__all__ = ["CALLS", "FakeJob", "FakeProvider", "Plan"]
