"""What Slurm's commands write, read. Pure; the tests have what Slurm 22.05 really wrote."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, TypeVar

from plait.model.jobs import TERMINAL_STATES, JobState
from plait.providers.judge import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")

#: What upstream's ``regex_job_id`` is; as long as it is that, ``sbatch --parsable`` is asked, whose answer needs no pattern.
SUBMITTED: Final = r"Submitted batch job (?P<id>\S*)"
#: The form of the answers that the two parsers below read.
QUEUE_FORMAT: Final = "%i|%T|%r|%j|%k"
ACCOUNTING_FORMAT: Final = "jobid,cluster,state,exitcode,jobname"
_QUEUE_HEAD: Final = "JOBID|STATE|REASON|NAME|COMMENT"
_OF_CLUSTER: Final = "CLUSTER: "
_NUMBER: Final = re.compile(r"[0-9]+(_[0-9]+)?")
_PARSABLE: Final = re.compile(r"(?P<id>[0-9]+)(;(?P<cluster>\S+))?")
_NAMES: Final = re.compile(r"plait:(?P<before>[\w.-]*)\{(?P<middle>[\w.,-]*)\}(?P<after>[\w.-]*)")

_STATES: Final = {
    "PENDING": JobState.PENDING,
    "CONFIGURING": JobState.PENDING,
    "EXPEDITING": JobState.PENDING,
    "POWER_UP_NODE": JobState.PENDING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "COMPLETING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "REVOKED": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "STAGE_OUT": JobState.RUNNING,
    "SUSPENDED": JobState.HELD,
    "STOPPED": JobState.HELD,
    "REQUEUE_HOLD": JobState.HELD,
    "RESV_DEL_HOLD": JobState.HELD,
    "SPECIAL_EXIT": JobState.HELD,
    "COMPLETED": JobState.COMPLETED,
    "CANCELLED": JobState.CANCELLED,
    "DEADLINE": JobState.TIMEOUT,
    "PREEMPTED": JobState.TIMEOUT,
    "TIMEOUT": JobState.TIMEOUT,
    "BOOT_FAIL": JobState.FAILED,
    "FAILED": JobState.FAILED,
    "LAUNCH_FAILED": JobState.FAILED,
    "NODE_FAIL": JobState.FAILED,
    "OUT_OF_MEMORY": JobState.FAILED,
    "RECONFIG_FAIL": JobState.FAILED,
}
_SAID: Final = {
    "BOOT_FAIL": "its nodes could not be booted",
    "COMPLETING": "it is ending",
    "CONFIGURING": "its nodes are being made ready",
    "DEADLINE": "it could not end before its deadline",
    "FAILED": "its script failed",
    "LAUNCH_FAILED": "it could not be started",
    "EXPEDITING": "it is in the queue again, before all others",
    "NODE_FAIL": "one of its nodes failed",
    "OUT_OF_MEMORY": "it used more memory than it had",
    "POWER_UP_NODE": "its nodes are being switched on",
    "PREEMPTED": "its nodes were given to another job",
    "REQUEUED": "it is in the queue again",
    "REQUEUE_FED": "it is in the queue again",
    "REQUEUE_HOLD": "it is in the queue again, and held",
    "RESV_DEL_HOLD": "it is held: its reservation was deleted",
    "REVOKED": "another cluster of the federation runs it",
    "SPECIAL_EXIT": "it is in the queue again, and held, because of its exit code",
    "STOPPED": "it is stopped",
    "SUSPENDED": "it is suspended",
    "TIMEOUT": "its walltime was over",
}
#: Why a job waits that will go on waiting until somebody does something. Others are prefixes of `_NEVER`.
_HELD: Final = {
    "AccountNotAllowed": "its account may not use the partition",
    "BadConstraints": "no node can ever have what it asks for",
    "DependencyNeverSatisfied": "it depends on a job that did not end as it should",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its quality of service is not valid",
    "JobHeldAdmin": "an administrator holds it",
    "JobHeldUser": "its user holds it",
    "JobHoldMaxRequeue": "it is held: it was requeued too often",
    "PartitionNodeLimit": "it asks for more nodes than the partition has or gives to one job",
    "PartitionTimeLimit": "its walltime is longer than the partition allows",
    "QOSNotAllowed": "its quality of service may not be used with the partition or the account",
    "ReservationDeleted": "its reservation was deleted",
    "job requeued in held state": "it was requeued, and is held",
    "launch failed requeued held": "it could not be started, and is held",
}
_NEVER: Final = re.compile(r"(Assoc|QOS)(Max|Min)\w*PerJob\w*|(Assoc|QOS)Max\w*PerNode\w*|QOSMin\w+|QOSMaxWall\w+")
#: Why it failed, where that says more than that it did.
_FAILED: Final = {
    "JobLaunchFailure": "its script was killed, or could not be started",
    "NonZeroExitCode": "its script failed",
    "OutOfMemory": "it used more memory than it had",
}
_WAITS: Final = {
    "BeginTime": "its time has not come",
    "Cleaning": "it is being tidied up before it starts again",
    "Dependency": "a job that it depends on has not ended",
    "Licenses": "there is no licence free that it needs",
    "NodeDown": "a node that it needs is down",
    "PartitionDown": "the partition does not run jobs now",
    "PartitionInactive": "the partition takes no jobs now",
    "Priority": "others come first",
    "ReqNodeNotAvail": "a node that it needs is not there",
    "Reservation": "its reservation has not begun",
    "Resources": "the nodes that it needs are in use",
}


class Line:
    """A line of `squeue`.

    Attributes:
        state: as Slurm names it.
        reason: why it is in that state, likewise.
        name: of the job.
        comment: of the job.
    """

    def __init__(self, state: str, reason: str, name: str, comment: str) -> None:
        self.state = state
        self.reason = reason
        self.name = name
        self.comment = comment

    def name_of(self, id_: str) -> str:
        """The name under which the job was submitted: that of the block, for one of an array."""
        names = _apart(self.comment)
        number = id_.partition(";")[0].partition("_")[2]
        return names[int(number)] if number.isdigit() and int(number) < len(names) else self.name

    def report(self, *, cancelled: bool) -> Report:
        """What it says, in words.

        Args:
            cancelled: whether the job was cancelled from here.
        """
        state = _STATES.get(self.state, JobState.UNKNOWN)
        reason = "" if self.reason in {"None", "(null)"} else self.reason
        if state == JobState.UNKNOWN:
            return Report(state, f"Slurm says {self.state}, which is not known here")
        if self.state == "CANCELLED":
            return Report(state, "it was cancelled" if cancelled else "somebody cancelled it")
        said = _SAID.get(self.state, "")
        if self.state == "FAILED":
            said = _FAILED.get(reason, said)
        elif self.state == "PENDING":
            if reason in _HELD:
                state, said = JobState.HELD, _HELD[reason]
            elif _NEVER.fullmatch(reason):
                state, said = JobState.HELD, "it asks for more than its account or quality of service allows"
            else:
                said = _WAITS.get(reason.partition(",")[0], "it waits")
        return Report(state, f"{said} ({reason})" if said and reason else said or None)


# ------------------------------------------------------------------ what the commands write
def parse_submitted(out: str, pattern: str = SUBMITTED) -> str:
    """The id in what `sbatch` wrote: ``123``, or ``123;cluster``.

    Raises:
        ValueError: there is none.
    """
    if pattern == SUBMITTED:
        for line in reversed(out.splitlines()):  # a site's sbatch may say more, before it or after it
            if match := _PARSABLE.fullmatch(line.strip()):
                return line.strip()
    match = re.search(pattern, out)
    if match is None or not match["id"]:
        raise ValueError(f"sbatch wrote no job id, but {out.strip()[:200]!r}")
    cluster = re.search(r" on cluster (\S+)", out)
    return with_cluster(match["id"], cluster[1] if cluster and ";" not in match["id"] else "")


def parse_queue(out: str) -> dict[str, Line]:
    """The lines of `squeue` by the ids of jobs, with the cluster where several were, or could have been, asked for.

    Raises:
        ValueError: the answer is not whole.
    """
    lines: dict[str, Line] = {}
    cluster = ""
    headed = False
    for line in _whole(out, "squeue"):
        if line.startswith(_OF_CLUSTER):
            cluster = line.removeprefix(_OF_CLUSTER).strip()
        elif line == _QUEUE_HEAD:
            headed = True
        else:
            id_, *rest = line.split("|", 4)
            if len(rest) == 4 and _NUMBER.fullmatch(id_):  # else it is of a job with a strange name, and not ours
                lines[with_cluster(id_, cluster)] = Line(*rest)
    if not headed:
        raise ValueError(f"squeue wrote something else than jobs: {out[:200]!r}")
    return lines


def clusters_in(out: str) -> set[str]:
    """The clusters that answered, where several were, or could have been, asked. `squeue` leaves out those that it cannot reach, and says nothing of it."""
    lines = out.splitlines()
    return {line.removeprefix(_OF_CLUSTER).strip() for line in lines if line.startswith(_OF_CLUSTER)}


def parse_accounting(out: str) -> dict[str, tuple[Report, str]]:
    """How jobs ended, and their names, by their ids with the cluster, from what `sacct` wrote. Jobs that have not ended are left out.

    Raises:
        ValueError: the answer is not whole.
    """
    ends: dict[str, tuple[Report, str]] = {}
    for line in _whole(out, "sacct"):
        id_, *rest = line.split("|", 4)
        if len(rest) < 4:
            raise ValueError(f"sacct wrote a line that is none of its own: {line[:200]!r}")
        cluster, words, code, name = rest
        state, _, who = words.partition(" by ")
        report = Report(
            _STATES.get(state, JobState.UNKNOWN),
            f"the user with number {who} cancelled it" if who else _SAID.get(state),
            _exit_code(code, state),
        )
        if report.state in TERMINAL_STATES:
            ends[with_cluster(id_, cluster)] = report, name
    return ends


def by_number(jobs: dict[str, _T]) -> dict[str, _T]:
    """The same, and by their numbers alone: for jobs of which nobody said on which cluster they are."""
    return {**{id_.partition(";")[0]: value for id_, value in jobs.items()}, **jobs}


def with_cluster(number: str, cluster: str) -> str:
    """The id of a job: its number, and the cluster that has it, where that is to be said."""
    return f"{number};{cluster}" if cluster else number


def _whole(out: str, command: str) -> list[str]:
    if out and not out.endswith("\n"):
        raise ValueError(f"{command} wrote half a line: {out[-200:]!r}")
    return out.splitlines()


def _exit_code(text: str, state: str) -> int | None:
    """``3:0`` is exit code 3, ``0:9`` the signal 9. A job that was ended by others has no exit code of its own."""
    code, _, number = text.partition(":")
    if state not in {"COMPLETED", "FAILED"} or not (code.isdigit() and number.isdigit()):
        return None
    return -int(number) if int(number) else int(code)


def none_is_there(err: str) -> bool:
    """Whether `scancel` complains of jobs only that are not there any more."""
    lines = [line for line in err.splitlines() if line.strip()]
    return bool(lines) and all("Invalid job id" in line or "already completing or completed" in line for line in lines)


def names_together(names: Sequence[str]) -> str:
    """The names of an array's jobs, in short: ``plait:block-{3,4,5}.x``."""
    before = os.path.commonprefix(names)  # noqa: RUF071 - letters are what is meant
    rests = [name[len(before) :] for name in names]
    after = os.path.commonprefix([rest[::-1] for rest in rests])[::-1]  # noqa: RUF071
    return f"plait:{before}{{{','.join(rest[: len(rest) - len(after)] for rest in rests)}}}{after}"


def _apart(comment: str) -> list[str]:
    """The names that `names_together` put together; none when it did not."""
    match = _NAMES.fullmatch(comment)
    return [] if match is None else [f"{match['before']}{part}{match['after']}" for part in match["middle"].split(",")]
