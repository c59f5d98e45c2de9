"""What PBS Professional and Torque, which come from one ancestor, have in common: qsub, qdel, qselect, and how they say that a job has ended."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plait.errors import signal_name
from plait.model.jobs import JobState
from plait.providers.answers import answered, quoted, seconds_of, whole
from plait.providers.cluster import ClusterProvider, Job
from plait.providers.judge import Report
from plait.providers.script import clock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.providers.script import Script

#: An id: a number, brackets for a job array, and the server's name.
_ID: Final = re.compile(r"^(\d+(?:\[\d*\])?(?:\.[\w.-]+)?)\s*$", re.MULTILINE)
#: What qstat and qdel say of jobs that they do not know, or that have ended.
GONE: Final = re.compile(
    r"unknown job id|job has finished|invalid state for job|request invalid for state of job", re.IGNORECASE
)
#: States of jobs that have not ended, by their letters.
LIVE: Final = {
    "Q": JobState.PENDING,
    "T": JobState.PENDING,  # it is being moved to another queue
    "W": JobState.PENDING,  # it waits for a time, or for its files
    "R": JobState.RUNNING,
    "B": JobState.RUNNING,  # an array of which some have begun
    "E": JobState.RUNNING,  # its script has ended; its files are being put in place
    "H": JobState.HELD,
    "S": JobState.HELD,  # suspended; it goes on when the batch system wants it to
    "U": JobState.HELD,  # suspended because of the owner of its workstation
}
#: Letters of an end: of PBS, of its job arrays, and of Torque.
ENDED: Final = frozenset("FXC")
#: Exit statuses from here on are this and the number of a signal.
_SIGNALS: Final = 256
#: Exit statuses of PBS for limits (JOB_EXEC_KILL_…): processors, memory, time of processors, walltime.
_LIMITS: Final = {
    -24: "it used more processors than it asked for",
    -25: "it used more processors than it asked for",
    -26: "it used more virtual memory than it asked for",
    -27: "it used more memory than it asked for",
    -28: "it used more time of processors than it asked for",
}
_WALLTIME: Final = -29
#: It is at another server now, which is not asked. Nothing but its script says here that it has ended.
_MOVED: Final = "M"


class PBS(ClusterProvider):
    """See `PBSProProvider` and `TorqueProvider`."""

    PREFIX: ClassVar[str] = "#PBS"
    account: str | None
    queue: str | None

    def _nodes(self, tasks_per_node: int) -> str:
        """What is asked for, as the value of ``-l``."""
        raise NotImplementedError

    def _options(self, script: Script, job: Job, tasks_per_node: int) -> None:
        script.option("-S", "/bin/bash")
        script.option("-N", job.name)
        script.option("-m", "n")
        script.option("-l", f"walltime={clock(self.walltime_s)}")
        script.option("-l", self._nodes(tasks_per_node))
        script.option("-o", quoted(f"{job.path}.out"))
        script.option("-e", quoted(f"{job.path}.err"))
        if self.account is not None:
            script.option("-A", self.account)
        if self.queue is not None:
            script.option("-q", self.queue)

    def _submit_argv(self, job: Job) -> list[str]:
        return ["qsub", *self._named("-N", "-N", job.name), f"{job.path}.sh"]

    def _parse_id(self, out: str) -> str:
        found = _ID.findall(out)
        if not found:
            raise ValueError(f"qsub: expected the id of a job, such as 1234.server, not {out!r}")
        return str(found[-1])  # sites print greetings before it

    def _find(self, names: Sequence[str]) -> Mapping[str, str]:
        found = {}
        for name in names:  # it takes one name; there is rarely more than one
            ids = _ID.findall(self._run(*self._select(), "-N", name).check())
            if ids:
                found[name] = ids[-1]
        return found

    def _select(self) -> list[str]:
        """The command that lists jobs by their name."""
        return ["qselect"]

    def _kill(self, jobs: Sequence[Job]) -> None:
        answered(self._run("qdel", *(job.id for job in jobs)), GONE)


def report_of(
    letter: str,
    status: Any,
    used: Any,
    limit: Any,
    comment: str | None,
    limits: Mapping[int, str] = _LIMITS,
    walltime: int = _WALLTIME,
) -> Report:
    """What qstat says of a job.

    Args:
        letter: its state.
        status: its exit status, once it has ended.
        used: walltime that it has used.
        limit: walltime that it may use.
        comment: the batch system's words.
        limits: exit statuses of jobs that used more than they may, with words for them.
        walltime: exit status of those that ran too long.
    """
    if letter in LIVE:
        return Report(LIVE[letter], comment if LIVE[letter] != JobState.RUNNING else None)
    if letter == _MOVED:
        return Report(JobState.UNKNOWN, comment or "PBS has moved it to another server", elsewhere=True)
    if letter not in ENDED:
        return Report(JobState.UNKNOWN, f"qstat says that its state is {letter!r}")
    code = whole(status)
    if code == walltime or 0 < seconds_of(limit) <= seconds_of(used):
        return Report(JobState.TIMEOUT, "its walltime was over")
    if code is None:
        return Report(JobState.CANCELLED, comment or "it was deleted before it ran")
    if code in limits:
        return Report(JobState.FAILED, limits[code])
    if code < 0:
        return Report(JobState.FAILED, f"the batch system could not run it (exit status {code}){_more(comment)}")
    if code >= _SIGNALS:
        number = code - _SIGNALS
        message = f"it was ended by {signal_name(number)}"
        if number == signal.SIGTERM:  # that is how qdel ends jobs
            return Report(JobState.CANCELLED, f"{message}, as if somebody had deleted it", -number)
        return Report(JobState.FAILED, message, -number)
    return Report(
        JobState.COMPLETED if code == 0 else JobState.FAILED,
        None if code == 0 else f"its script ended with exit code {code}",
        code,
    )


def _more(comment: str | None) -> str:
    return f": {comment}" if comment else ""
