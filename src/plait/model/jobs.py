"""What is known of a job: a block as its provider sees it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

#: Characters of a job's output that a summary shows in full; of longer output it shows the beginning and the end.
SUMMARY_CHARS: Final = 2048


class JobState(IntEnum):
    """States of jobs. The numbers are stored by those who record them."""

    #: The provider cannot tell. The job may be in any state.
    UNKNOWN = 0
    #: It waits in the queue.
    PENDING = 1
    RUNNING = 2
    #: It was ended by somebody.
    CANCELLED = 3
    #: It ended with exit status 0.
    COMPLETED = 4
    FAILED = 5
    #: Its walltime was over, or the batch system took its nodes for others.
    TIMEOUT = 6
    #: It waits for something that somebody must do.
    HELD = 7
    #: It ended, and no manager ever came from it.
    MISSING = 8
    #: It was ended because it was no longer needed.
    SCALED_IN = 9


TERMINAL_STATES: Final = frozenset(
    {
        JobState.CANCELLED,
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.TIMEOUT,
        JobState.MISSING,
        JobState.SCALED_IN,
    }
)
#: How a job that did not do its work ends. A walltime is no failure.
FAILED_STATES: Final = frozenset({JobState.FAILED, JobState.MISSING})


#: How a manager says that none of its workers ever could be started. Its block never came up, then.
NEVER_STARTED: Final = "its workers cannot start"


@dataclass(frozen=True)
class JobStatus:
    """One look at a job.

    Attributes:
        state: its state.
        message: what the provider says about it.
        exit_code: of the job's script, once it has ended; negative for a signal.
        stdout_path, stderr_path: where its output is.
        came_up: whether a manager of the block was ever connected and had workers; not for providers to say.
    """

    state: JobState
    message: str | None = None
    exit_code: int | None = None
    stdout_path: str | None = None
    stderr_path: str | None = None
    came_up: bool = False

    @property
    def terminal(self) -> bool:
        """Whether it has ended."""
        return self.state in TERMINAL_STATES

    @property
    def status_name(self) -> str:
        """Name of the state."""
        return self.state.name

    @property
    def stdout(self) -> str | None:
        """The whole output, or None when it cannot be read."""
        return _read(self.stdout_path)

    @property
    def stderr(self) -> str | None:
        """The whole error output, or None when it cannot be read."""
        return _read(self.stderr_path)

    @property
    def stdout_summary(self) -> str | None:
        """Beginning and end of the output, or None when it cannot be read."""
        return _summary(self.stdout_path)

    @property
    def stderr_summary(self) -> str | None:
        """Beginning and end of the error output, or None when it cannot be read."""
        return _summary(self.stderr_path)

    def __str__(self) -> str:
        text = self.state.name
        if self.exit_code is not None:
            text += f", exit code {self.exit_code}"
        return f"{text}: {self.message}" if self.message else text


def _read(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _summary(path: str | None) -> str | None:
    """Reads no more than it shows: a job may have written gigabytes."""
    if path is None:
        return None
    half = SUMMARY_CHARS // 2
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size <= SUMMARY_CHARS:
                return file.read().decode("utf-8", "replace")
            head = file.read(half)
            file.seek(size - half)
            tail = file.read(half)
    except OSError:
        return None
    return f"{head.decode('utf-8', 'replace')}\n...\n{tail.decode('utf-8', 'replace')}"
