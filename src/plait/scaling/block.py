"""One block: what is known of it, when its patience ends, how it ends, and how to say so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from plait.model.jobs import JobState, JobStatus
from plait.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Seconds for which a job may go on after its managers have left by themselves.
LINGER_S: Final = 5.0
#: The same when they were told to: a batch system that ends a job, or puts it back into its queue, takes its time.
ENDING_S: Final = 60.0
#: Seconds after the first manager of a block in which those of its other nodes are expected.
SETTLE_S: Final = 30.0

_REQUESTED: Final = JobStatus(JobState.PENDING, "is being requested")


@dataclass
class Block:
    """What is known of a block.

    Attributes:
        id: its name.
        requested_s: when it was requested.
        status: what the provider said last.
        job_id: of its job; empty until that was begun.
        since_s: when its state changed last.
        running_s: when its job was first seen running.
        up_s: when its first manager connected; of the job's present life.
        managers: the connected ones, with their workers.
        workers: the most that it has had.
        deserted_s: since when none of its managers is connected, though some were.
        leaving: why it takes no more tasks; empty when it does.
        drain_by_s: when it is cancelled, drained or not.
        verdict: how it ends when its job ends, because of us.
        cancel_s: when its job is to be cancelled, or cancelled again.
        cancel_accepted: whether the provider has accepted that.
        unsure: whether the provider said last that it cannot tell.
        linger_s: seconds for which its job may go on once its managers have left.
        was_up: whether a manager was connected before its job went back into the queue.
        told: the message of the last event about its job; None before the first of its state.
    """

    id: str
    requested_s: float
    status: JobStatus = _REQUESTED
    job_id: str = ""
    since_s: float = 0.0
    running_s: float | None = None
    up_s: float | None = None
    managers: dict[str, int] = field(default_factory=dict)
    workers: int = 0
    deserted_s: float | None = None
    leaving: str = ""
    drain_by_s: float | None = None
    verdict: JobStatus | None = None
    cancel_s: float | None = None
    cancel_accepted: bool = False
    unsure: bool = False
    linger_s: float = LINGER_S
    was_up: bool = False
    told: str | None = None

    @property
    def came_up(self) -> bool:
        """Whether a manager was ever connected."""
        return self.was_up or self.up_s is not None

    @property
    def takes_tasks(self) -> bool:
        """Whether it counts for the work that is to be done."""
        return not self.leaving and self.deserted_s is None

    @property
    def note(self) -> str:
        """Why it may take long to come; empty when nothing is known."""
        if self.managers:
            return ""
        if self.unsure:
            return "is in a state that the provider cannot tell"
        return "is held by the batch system" if self.status.state == JobState.HELD else ""

    def never_came_up(self) -> None:
        """What connected could do nothing."""
        self.up_s, self.was_up = None, False

    def wait_again(self) -> None:
        """Its job does not run any more, is not over, and nothing of it is connected: it was requeued, held or suspended, and will come up again."""
        self.was_up = self.came_up
        self.running_s = self.up_s = self.deserted_s = None
        if self.verdict is None and self.drain_by_s is None:
            self.leaving = ""

    @property
    def connected(self) -> int:
        """Workers of its connected managers."""
        return sum(self.managers.values())

    def size(self, nodes: int, now_s: float) -> int:
        """Workers that it has or, while its nodes come up one after the other, will have; 0 when it has no manager."""
        if not self.managers:
            return 0
        if self.up_s is not None and now_s - self.up_s < SETTLE_S and len(self.managers) < nodes:
            return max(self.workers, self.connected * nodes // len(self.managers))
        return self.connected

    def deadline(self, start_timeout_s: float) -> tuple[float, JobStatus] | None:
        """When patience with it ends, and how it is then said to have ended; None when nothing is waited for."""
        if self.verdict is not None:
            return None
        if self.drain_by_s is not None:
            return self.drain_by_s, JobStatus(JobState.SCALED_IN, f"{self.leaving}; it was not drained in time")
        if self.up_s is None:
            if self.running_s is None:
                return None
            text = f"its job has run for {format_duration(start_timeout_s)} and no manager has connected"
            return self.running_s + start_timeout_s, JobStatus(JobState.FAILED, text)
        if self.deserted_s is None:
            return None
        if self.leaving:
            text = f"{self.leaving}, and its job did not end by itself"
            return self.deserted_s + self.linger_s, JobStatus(JobState.COMPLETED, text)
        text = f"its managers were lost and none came back within {format_duration(start_timeout_s)}, while its job went on"
        return self.deserted_s + start_timeout_s, JobStatus(JobState.FAILED, text)

    def final(self, status: JobStatus) -> JobStatus:
        """How it ended, when that is the last that the provider says about its job."""
        came_up = self.came_up
        if self.verdict is not None:
            return replace(status, state=self.verdict.state, message=self.verdict.message, came_up=came_up)
        if not came_up and status.state in {JobState.COMPLETED, JobState.MISSING, JobState.TIMEOUT}:
            how = "was ended by its walltime" if status.state == JobState.TIMEOUT else "ended"
            code = f" with exit code {status.exit_code}" if status.exit_code is not None else ""
            told = f" ({status.message})" if status.message else ""
            text = f"its job {how}{code} before a manager connected{told}"
            return replace(status, state=JobState.MISSING, message=text)
        return replace(status, came_up=came_up)

    def describe(self, now_s: float, start_timeout_s: float) -> str:
        """Where it stands: ``block 0 is queued as job 4711 since 3 s``."""
        name = f"block {self.id}"
        if self.leaving:
            return f"{name} is being given back"
        if self.managers:
            return f"{name} is up with {self.connected} worker{'s' if self.connected != 1 else ''}"
        if self.deserted_s is not None:
            return f"{name} has had no manager for {format_duration(now_s - self.deserted_s)}, because they were lost"
        if not self.job_id:
            return f"{name} is being requested since {format_duration(now_s - self.requested_s)}"
        told = f" ({self.status.message})" if self.status.message else ""
        if self.running_s is not None:
            since = format_duration(now_s - self.running_s)
            limit = format_duration(start_timeout_s)
            return f"{name} runs as job {self.job_id} since {since}{told}, and its manager has not connected yet (it may take {limit})"
        state = "is held by the batch system" if self.status.state == JobState.HELD else "is queued"
        return f"{name} {state} as job {self.job_id} since {format_duration(now_s - self.since_s)}{told}"


def jobs_of(blocks: Iterable[Block]) -> tuple[list[str], list[str]]:
    """Names and jobs of the blocks that have jobs."""
    pairs = [(block.id, block.job_id) for block in blocks if block.job_id]
    return [name for name, _ in pairs], [job for _, job in pairs]


# ------------------------------------------------------------------ what is to be done about blocks
@dataclass(frozen=True)
class Request:
    """Begin a job for this block."""

    block: str


@dataclass(frozen=True)
class Cancel:
    """End the jobs of these blocks."""

    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Drain:
    """The block's managers, those that connect later too, are to finish what they run and take nothing new.

    Attributes:
        over: its job has ended, so they are most likely dead.
    """

    block: str
    reason: str
    over: bool = False


@dataclass(frozen=True)
class Gone:
    """The block is over, and nothing of it is connected."""

    block: str


Action = Request | Cancel | Drain | Gone
