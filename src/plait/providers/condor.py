"""`CondorProvider`: HTCondor, by condor_submit, condor_q, condor_history and condor_rm."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plait.errors import ConfigurationError, ScriptPathError, signal_name, text_of
from plait.model.jobs import JobState
from plait.providers.answers import answered, chunks, json_of, list_of, same, whole
from plait.providers.cluster import ClusterProvider, Job
from plait.providers.condor_submit import (
    Description,
    checked_environment,
    checked_files,
    checked_memory,
    checked_value,
)
from plait.providers.judge import Report
from plait.providers.script import checked_whole, checked_yes
from plait.providers.shell import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.launchers.base import Launcher
    from plait.providers.script import Script
    from plait.providers.shell import Shell

#: The answer of ``condor_submit -terse``: the first and the last job; and of condor_submit without it, for those who wrap it.
_TERSE: Final = re.compile(r"^(\d+\.\d+) - \d+\.\d+\s*$", re.MULTILINE)
_CLUSTER: Final = re.compile(r"submitted to cluster (\d+)")
#: What condor_rm says of jobs that it does not know, or that are removed already.
_GONE: Final = re.compile(
    r"not found|couldn't find/remove|already marked for removal|not in the X state", re.IGNORECASE
)
#: Attribute by which jobs are found again: the name of the job.
_NAME: Final = "PlaitJob"
_ATTRIBUTES: Final = (
    "ClusterId", "ProcId", "JobStatus", "ExitCode", "ExitBySignal", "ExitSignal", "HoldReason", "RemoveReason", _NAME,
)  # fmt: skip
#: Seconds that a removed job has to be gone before it is forgotten whatever its machine says.
_PATIENCE_S: Final = 60.0
#: Seconds for which a job that did its work can still be asked about.
_STAYS_S: Final = 3600
_UNLIMITED: Final = "8760:00:00"
_LIVE: Final = {
    0: JobState.PENDING,  # unexpanded
    1: JobState.PENDING,
    2: JobState.RUNNING,
    5: JobState.HELD,
    6: JobState.RUNNING,  # its output is being transferred
    7: JobState.HELD,  # suspended
}
_REMOVED: Final = 3
_COMPLETED: Final = 4


class CondorProvider(ClusterProvider):
    """Blocks as jobs of HTCondor, each of which is one slot.

    Args:
        nodes_per_block: 1: a job of HTCondor has one slot. More slots are more blocks.
        cores_per_slot: cores of a block.
        mem_per_slot: memory of a block in GB.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        environment: variables of the job.
        project: project that the job is for (``ProjectName``).
        scheduler_options: lines of the submit description, as they are.
        transfer_input_files: files that are put beside the job.
        walltime: how long a block may run; None for as long as HTCondor lets it.
        worker_init: lines of bash that come before the command.
        launcher: how the command is started.
        requirements: a ClassAd expression that machines must meet.
        cmd_timeout: seconds that a command of HTCondor may take.
        cmd_chunk_size: jobs that one command is asked for.
        shared_files: whether the machines of the pool see this machine's files. If not, a block gets what it needs with its script, and
            `python` says what starts it.
        python: interpreter on those machines, with plait; None for the one that runs here, or ``python3`` where files are not shared.
        shell: where the commands are run; None for this machine.

    Raises:
        ConfigurationError: a value cannot work.
        BadLauncher: the launcher is none.
    """

    SYSTEM: ClassVar[str] = "condor"
    PREFIX: ClassVar[str] = "#"

    def __init__(
        self,
        nodes_per_block: int = 1,
        cores_per_slot: int | None = None,
        mem_per_slot: float | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        environment: Mapping[str, str] | None = None,
        project: str = "",
        scheduler_options: str = "",
        transfer_input_files: Sequence[str] = (),
        walltime: str | float | None = None,
        worker_init: str = "",
        launcher: Launcher | None = None,
        requirements: str = "",
        cmd_timeout: float = 60,
        cmd_chunk_size: int = 100,
        *,
        shared_files: bool = True,
        python: str | None = None,
        shell: Shell | None = None,
    ) -> None:
        super().__init__(
            nodes_per_block=nodes_per_block, init_blocks=init_blocks, min_blocks=min_blocks, max_blocks=max_blocks,
            parallelism=parallelism, walltime=walltime, launcher=launcher,
            worker_init=worker_init, scheduler_options=scheduler_options, cmd_timeout=cmd_timeout, shell=shell,
        )  # fmt: skip
        owner = type(self).__name__
        if nodes_per_block != 1:
            raise ConfigurationError(
                f"{owner}(nodes_per_block={nodes_per_block!r}): expected 1, because a job of HTCondor has one slot; "
                "set max_blocks to have more of them"
            )
        self.cores_per_slot = checked_whole(owner, "cores_per_slot", cores_per_slot)
        self.mem_per_slot = checked_memory(mem_per_slot)
        self.cores_per_node = self.cores_per_slot
        self.mem_per_node = self.mem_per_slot
        self.environment = checked_environment(environment)
        self.project = checked_value("project", project) if project else ""
        self.transfer_input_files = checked_files(transfer_input_files)
        self.requirements = checked_value("requirements", requirements) if requirements else ""
        self.cmd_chunk_size = checked_whole(owner, "cmd_chunk_size", cmd_chunk_size) or 100
        self.shared_files = checked_yes(owner, "shared_files", shared_files)
        self.python = checked_value("python", python) if python is not None else None
        self._removed_s: dict[str, float] = {}

    @property
    def shares_files(self) -> bool:  # type: ignore[override]
        """Whether the machines of the pool see this machine's files."""
        return self.shared_files and super().shares_files

    def _seconds(self, walltime: str | float | None) -> int:
        return super()._seconds(_UNLIMITED if walltime is None else walltime)

    # ------------------------------------------------------------------ submitting
    def _script(self, job: Job, command: str, tasks_per_node: int) -> str:
        """The job's script, whose first lines are comments: what it asks for is in the submit description."""
        options, self.scheduler_options = self.scheduler_options, ""
        try:
            return super()._script(job, command, tasks_per_node)
        finally:
            self.scheduler_options = options

    def _options(self, script: Script, job: Job, tasks_per_node: int) -> None:
        """Nothing: see `description`."""

    def _submit(self, job: Job) -> str:
        try:
            self._shell.write(f"{job.path}.sub", self.description(job))
        except (OSError, CommandFailed) as error:
            raise ScriptPathError(f"{job.path}.sub", text_of(error)) from error
        return super()._submit(job)

    def description(self, job: Job) -> str:
        """The submit description of a job."""
        said = Description()
        said.literal("universe", "vanilla")
        said.literal("executable", f"{job.path}.sh")
        for name, ending in (("output", "out"), ("error", "err"), ("log", "log")):
            said.literal(name, f"{job.path}.{ending}")
        said.literal("batch_name", job.name)
        said.attribute(_NAME, job.name)
        said.literal("notification", "never")
        said.literal("should_transfer_files", "YES")
        said.literal("when_to_transfer_output", "ON_EXIT")
        said.literal("transfer_output_files", '""')  # or everything that tasks leave behind would come to this folder
        if self.transfer_input_files:
            said.literal("transfer_input_files", ",".join(self.transfer_input_files))
        if self.cores_per_slot is not None:
            said.literal("request_cpus", self.cores_per_slot)
        if self.mem_per_slot is not None:
            said.literal("request_memory", round(self.mem_per_slot * 1024))
        if self.requirements:
            said.expression("requirements", self.requirements)
        if self.project:
            said.attribute("ProjectName", self.project)
        said.environment(self.environment)
        said.expression("leave_in_queue", f"(JobStatus == 4) && ((time() - EnteredCurrentStatus) < {_STAYS_S})")
        if self.walltime is not None:
            said.expression(
                "periodic_remove", f"(JobStatus == 2) && ((time() - EnteredCurrentStatus) > {self.walltime_s})"
            )
        said.raw(self.scheduler_options)
        return said.text()

    def _submit_argv(self, job: Job) -> list[str]:
        return ["condor_submit", "-terse", f"{job.path}.sub"]

    def _parse_id(self, out: str) -> str:
        terse = _TERSE.findall(out)
        if terse:
            return str(terse[-1])
        long = _CLUSTER.findall(out)
        if not long:
            raise ValueError(f"condor_submit: expected the id of a job, such as '12.0 - 12.0', not {out!r}")
        return f"{long[-1]}.0"

    # ------------------------------------------------------------------ looking
    def _ask(self, jobs: Sequence[Job]) -> Mapping[str, Report]:
        return self._read(["condor_q"], jobs, _queued)

    def _history(self, jobs: Sequence[Job]) -> Mapping[str, Report]:
        """Jobs that left the queue. Their file may be long: it is read from its end until all are found."""
        return self._read(["condor_history"], jobs, _past)

    def _read(self, command: list[str], jobs: Sequence[Job], report: Any) -> dict[str, Report]:
        found: dict[str, Report] = {}
        for some in chunks(jobs, self.cmd_chunk_size):
            limit = ["-limit", str(len(some))] if command == ["condor_history"] else []
            argv = [*command, "-json", "-attributes", ",".join(_ATTRIBUTES), *limit, *(job.id for job in some)]
            found |= parse(self._run(*argv).check(), some, report)
        return found

    def _find(self, names: Sequence[str]) -> Mapping[str, str]:
        wanted = " || ".join(f'{_NAME} == "{name}"' for name in names)
        said = self._run("condor_q", "-json", "-attributes", ",".join(_ATTRIBUTES), "-constraint", wanted).check()
        return {str(ad[_NAME]): _id(ad) for ad in ads(said) if ad.get(_NAME) in names}

    def _kill(self, jobs: Sequence[Job]) -> None:
        answered(self._run("condor_rm", *(job.id for job in jobs)), _GONE)
        now_s = time.monotonic()
        stuck = [job.id for job in jobs if now_s - self._removed_s.setdefault(job.id, now_s) >= _PATIENCE_S]
        if stuck:  # their machine does not answer: they are to be forgotten
            answered(self._run("condor_rm", "-forcex", *stuck), _GONE)


def ads(text: str) -> list[dict[str, Any]]:
    """The answer of ``condor_q -json``: a list of objects; no text at all where there are none.

    Raises:
        ValueError: it is none.
    """
    if not text.strip():
        return []
    return list_of(json_of(text, "condor_q -json"), "condor_q -json")


def parse(text: str, jobs: Sequence[Job], report: Any) -> dict[str, Report]:
    """How jobs are, by an answer; ``report`` makes a report of what it says of one.

    Raises:
        ValueError: it is none.
    """
    found = {_id(ad): ad for ad in ads(text)}
    return {job.id: report(found[job.id]) for job in jobs if job.id in found and same(job, found[job.id].get(_NAME))}


def _id(ad: Mapping[str, Any]) -> str:
    cluster, status = whole(ad.get("ClusterId")), whole(ad.get("JobStatus"))
    if cluster is None or status is None:
        raise ValueError(f"condor_q -json: expected ClusterId and JobStatus of each job, not {sorted(ad)}")
    return f"{cluster}.{whole(ad.get('ProcId')) or 0}"


def _queued(ad: Mapping[str, Any]) -> Report:
    """What condor_q says of a job."""
    status = whole(ad["JobStatus"])
    if status in _LIVE:
        return Report(_LIVE[status], str(ad.get("HoldReason") or "") or None if status == 5 else None)
    if status == _REMOVED:
        return Report(JobState.UNKNOWN, "it is marked for removal, and its machine has not said yet that it has ended")
    return _past(ad)


def _past(ad: Mapping[str, Any]) -> Report:
    """What condor_history says of a job, or condor_q of one that stays for a while."""
    status = whole(ad["JobStatus"])
    if status == _REMOVED:
        reason = str(ad.get("RemoveReason") or "it was removed")
        if "PeriodicRemove" in reason:
            return Report(JobState.TIMEOUT, "its walltime was over")
        return Report(JobState.CANCELLED, f"it was removed {reason}" if reason.startswith("via") else reason)
    if status != _COMPLETED:
        return Report(JobState.UNKNOWN, f"HTCondor says that its status is {ad['JobStatus']!r}")
    if ad.get("ExitBySignal") is True:
        number = whole(ad.get("ExitSignal")) or 0
        return Report(JobState.FAILED, f"its script was ended by {signal_name(number)}", -number)
    code = whole(ad.get("ExitCode"))
    if code:
        return Report(JobState.FAILED, f"its script ended with exit code {code}", code)
    return Report(JobState.COMPLETED, None, code)
