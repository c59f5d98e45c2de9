"""`GridEngineProvider`: blocks as jobs of Grid Engine (Sun, Univa, Altair, Son of, Open Cluster Scheduler)."""

from __future__ import annotations

import logging
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, ClassVar, Final

from plait.errors import ConfigurationError, ScriptPathError, signal_name, text_of
from plait.model.jobs import JobState
from plait.providers.cluster import ClusterProvider, Job
from plait.providers.judge import Report
from plait.providers.script import checked_whole, checked_word, clock
from plait.providers.shell import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plait.launchers.base import Launcher
    from plait.providers.script import Script
    from plait.providers.shell import Shell

_logger: Final = logging.getLogger("plait")

#: Jobs that accounting is asked for in one look: its file may have gigabytes, each question reads all of it, and there is a command for one job only.
_HISTORY: Final = 16
#: Signs with a meaning of their own in Grid Engine's paths, even within quotes.
_BAD_PATH: Final = re.compile(r"[:,$\"'\\]")
_ID: Final = re.compile(r"^(\d+)(?:\.\d+-\d+:\d+)?\s*$", re.MULTILINE)
#: What `qdel` says of jobs that need no more of it.
_DELETED: Final = re.compile(r"has registered the job|has deleted job|does not exist|already in deletion")
#: `failed` in accounting (sge_status(5)): the limit on time; a signal; a run after which the job goes on.
_LIMIT: Final = frozenset({37})
_SIGNAL: Final = frozenset({17, 100})
_AGAIN: Final = frozenset({24, 25})
#: Seconds by which accounting's times may fall short of a walltime that was over.
_SLACK_S: Final = 2


class GridEngineProvider(ClusterProvider):
    """Blocks as jobs of Grid Engine.

    A job in an error state (``Eqw``) never runs unless somebody mends it: it is deleted, and its block has failed for the reason that Grid Engine gives.

    Args:
        nodes_per_block: nodes of one block; more than one needs ``parallel_environment``.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        walltime: how long a block may run: ``"hours:minutes:seconds"``, ``"90m"``, or seconds (``h_rt``).
        scheduler_options: lines that come behind plait's directives, as they are, such as ``#$ -P project``.
        worker_init: lines of bash that come before the command, such as ``module load python``.
        launcher: how the command is started on the nodes of a block; None for the first node only.
        cmd_timeout: seconds that a command of Grid Engine may take.
        queue: the queue; None for the system's choice.
        parallel_environment: name of a parallel environment of the site, for blocks of several slots (``qconf -spl`` lists them, and
            ``allocation_rule`` in ``qconf -sp`` says how their slots lie).
        cores_per_node: slots that are requested for each node of the block, where there is a parallel environment; None for one.
        shell: where the commands are run; None for this machine.

    Raises:
        ConfigurationError: a value cannot work.
        BadLauncher: the launcher is none.
    """

    SYSTEM = "gridengine"
    PREFIX = "#$"
    ADDRESS: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        nodes_per_block: int = 1,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        walltime: str | float = "00:10:00",
        scheduler_options: str = "",
        worker_init: str = "",
        launcher: Launcher | None = None,
        cmd_timeout: float = 60,
        queue: str | None = None,
        *,
        parallel_environment: str | None = None,
        cores_per_node: int | None = None,
        shell: Shell | None = None,
    ) -> None:
        super().__init__(
            nodes_per_block=nodes_per_block,
            init_blocks=init_blocks,
            min_blocks=min_blocks,
            max_blocks=max_blocks,
            parallelism=parallelism,
            walltime=walltime,
            launcher=launcher,
            worker_init=worker_init,
            scheduler_options=scheduler_options,
            cmd_timeout=cmd_timeout,
            shell=shell,
        )
        owner = type(self).__name__
        self.queue = checked_word(owner, "queue", queue)
        self.parallel_environment = checked_word(owner, "parallel_environment", parallel_environment)
        self.cores_per_node = checked_whole(owner, "cores_per_node", cores_per_node)
        if nodes_per_block > 1 and parallel_environment is None:
            raise ConfigurationError(
                f"{owner}(nodes_per_block={nodes_per_block}): Grid Engine gives several nodes to parallel environments only; "
                "name one of your site's as parallel_environment (qconf -spl lists them)"
            )

    # ------------------------------------------------------------------ submitting
    def _options(self, script: Script, job: Job, tasks_per_node: int) -> None:  # noqa: ARG002 - slots are cores
        script.option("-S", "/bin/bash")  # the queue's shell is the C shell at many sites
        script.option("-N", job.name)
        script.option("-cwd")
        for option, ending in (("-o", "out"), ("-e", "err")):
            script.option(option, _quoted(f"{job.path}.{ending}"))
        script.option("-j", "n")
        script.option("-l", f"h_rt={clock(self.walltime_s)}")
        if self.queue is not None:
            script.option("-q", self.queue)
        if self.parallel_environment is not None:
            slots = self.nodes_per_block * (self.cores_per_node or 1)
            script.option("-pe", f"{self.parallel_environment} {slots}")

    def _submit_argv(self, job: Job) -> list[str]:
        return ["qsub", "-terse", *self._named("-N", "-N", job.name), f"{job.path}.sh"]

    def _parse_id(self, out: str) -> str:
        return parse_id(out)

    # ------------------------------------------------------------------ looking
    def _ask(self, jobs: Sequence[Job]) -> Mapping[str, Report]:
        wanted = {job.id: job for job in jobs}
        states = {id_: state for id_, _, state in self._queue() if id_ in wanted}
        reports = {id_: report for id_, state in states.items() if (report := judge_letters(state)) is not None}
        broken = [wanted[id_] for id_, state in states.items() if "E" in state and "d" not in state]
        if broken:
            reports.update(self._give_up(broken))
        return reports

    def _queue(self) -> list[tuple[str, str, str]]:
        """Number, name and state of each of this user's jobs in the queue. Options in the user's ``.sge_qstat`` are overridden."""
        return parse_queue(self._run("qstat", "-u", "$user", "-s", "a", "-xml").check())

    def _give_up(self, jobs: Sequence[Job]) -> dict[str, Report]:
        """Deletes jobs in an error state; that they have failed, and why. Where that does not succeed they are held until the next look."""
        reasons: Mapping[str, str] = {}
        try:
            reasons = parse_errors(self._run("qstat", "-j", ",".join(job.id for job in jobs)).check())
            self._kill(jobs)
        except CommandFailed as error:
            _logger.info("gridengine: jobs in an error state could not be deleted: %s", text_of(error))
            state = JobState.HELD
        else:
            state = JobState.FAILED
        return {job.id: Report(state, reasons.get(job.id, "it is in an error state")) for job in jobs}

    def _history(self, jobs: Sequence[Job]) -> Mapping[str, Report]:
        reports = {}
        for job in jobs[:_HISTORY]:
            report = judge_record(self._records(job.id), job.id, job.name, job.case.walltime_s)
            if report is not None:
                reports[job.id] = report
        return reports

    def _records(self, id_or_name: str) -> list[dict[str, str]]:
        """What accounting has of a job: nothing until it has ended, and nothing of one that never ran."""
        finished = self._run("qacct", "-j", id_or_name)
        if finished.code and "not found" in finished.err + finished.out:
            return []
        return parse_records(finished.check())

    def _find(self, names: Sequence[str]) -> Mapping[str, str]:
        found = {name: id_ for id_, name, _ in self._queue() if name in names}
        for name in [name for name in names if name not in found][:_HISTORY]:
            records = self._records(name)
            if records:
                found[name] = records[-1]["jobnumber"]
        return found

    def _kill(self, jobs: Sequence[Job]) -> None:
        finished = self._run("qdel", *(job.id for job in jobs))
        lines = [line for line in (finished.out + finished.err).splitlines() if line.strip()]
        if finished.code and not all(_DELETED.search(line) for line in lines):
            finished.check()


# ------------------------------------------------------------------ what its commands write
def _quoted(path: str) -> str:
    """A path as a directive has it.

    Raises:
        ScriptPathError: Grid Engine would read something else.
    """
    if _BAD_PATH.search(path):
        raise ScriptPathError(
            path, "Grid Engine has its own meaning for : , $ \" ' and \\ in paths; choose another run_dir"
        )
    return f'"{path}"' if " " in path else path


def parse_id(out: str) -> str:
    """The number of a job, from ``qsub -terse``, around which a site's own checks may have written something.

    Raises:
        ValueError: there is none.
    """
    found = _ID.findall(out)
    if not found:
        raise ValueError(f"qsub wrote no job number, but {out[:200]!r}")
    return str(found[-1])


def parse_queue(xml: str) -> list[tuple[str, str, str]]:
    """Number, name and state of each job, from ``qstat -xml``.

    Raises:
        ValueError: it is something else, or half of it.
    """
    try:
        root = ET.fromstring(xml)  # noqa: S314 - of the user's own batch system, with a bound on its size
    except ET.ParseError as error:
        raise ValueError(f"qstat -xml wrote something else: {error}") from None
    return [
        (entry.findtext("JB_job_number", ""), entry.findtext("JB_name", ""), entry.findtext("state", ""))
        for entry in root.iter("job_list")
    ]


def parse_errors(text: str) -> dict[str, str]:
    """Why jobs are in an error state, from ``qstat -j``."""
    reasons: dict[str, str] = {}
    number = ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "job_number":
            number = value.strip()
        elif name.startswith("error reason"):
            reasons.setdefault(number, re.sub(r"^[\d/]+ [\d:]+ (\[\d+:\d+\]: )?", "", value.strip()))
    return reasons


def parse_records(text: str) -> list[dict[str, str]]:
    """Records of jobs that have ended, oldest first, from ``qacct -j``."""
    records: list[dict[str, str]] = []
    for line in text.splitlines():
        if line.startswith("====="):
            records.append({})
        elif records:
            name, _, value = line.partition(" ")
            records[-1][name] = value.strip()
    return [record for record in records if "jobnumber" in record]


def judge_letters(state: str) -> Report | None:
    """What the letters of a job's state mean (sge_status(5)); None for one that has ended."""
    if "z" in state:
        return None
    message = None
    if "d" in state:
        message = "it is being deleted"
    elif "R" in state:
        message = "it was started again, because its host was lost or it was put back"
    if "E" in state:
        return Report(JobState.HELD, message or "it is in an error state")
    for letter, why in (
        ("s", "it is suspended"),
        ("S", "its queue is suspended"),
        ("T", "its queue is overloaded, so it is suspended"),
    ):
        if letter in state:
            return Report(JobState.HELD, message or why)
    if "r" in state:
        return Report(JobState.RUNNING, message)
    if "h" in state:
        return Report(JobState.HELD, message or "it has a hold (qrls releases it)")
    if set(state) & set("qtwR"):
        return Report(JobState.PENDING, message)
    return Report(JobState.UNKNOWN, f"Grid Engine says it is in state {state!r}")


def judge_record(records: Iterable[Mapping[str, str]], number: str, name: str, walltime_s: float) -> Report | None:
    """How a job ended, from its last record; None when it has none. Numbers of jobs begin anew after some millions, so the name counts too.

    Raises:
        ValueError: the record is none.
    """
    mine = [record for record in records if record["jobnumber"] == number and name in {record.get("jobname"), ""}]
    if not mine:
        return None
    record = mine[-1]
    failed, _, why = record.get("failed", "").partition(":")
    failure, status = int(failed), int(record.get("exit_status", "").split()[0])
    if failure in _AGAIN:
        return None
    ran_s = float(record.get("ru_wallclock", "").rstrip("s") or 0)
    if failure in _LIMIT or (failure in _SIGNAL and ran_s >= walltime_s - _SLACK_S):
        return Report(JobState.TIMEOUT, f"its walltime was over ({clock(int(walltime_s))})", _exit_code(status))
    if failure in _SIGNAL:
        killed = signal_name(status - 128) if status > 128 else "a signal"
        return Report(JobState.CANCELLED, f"it was ended by {killed}: deleted, or beyond a limit", _exit_code(status))
    if failure:
        return Report(JobState.FAILED, f"Grid Engine says: {why.strip() or 'failure'} ({failure})", status or None)
    if status:
        return Report(JobState.FAILED, f"its script ended with exit code {status}", status)
    return Report(JobState.COMPLETED, None, 0)


def _exit_code(status: int) -> int:
    """Negative for a signal."""
    return 128 - status if status > 128 else status
