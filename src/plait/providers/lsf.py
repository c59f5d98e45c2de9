"""`LSFProvider`: IBM Spectrum LSF 10.1 or later, by bsub, bjobs and bkill."""

from __future__ import annotations

import math
import re
import shlex
import signal
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plait.errors import ConfigurationError
from plait.model.jobs import JobState
from plait.providers.answers import answered, json_of, list_of, quoted, same, table_of, whole
from plait.providers.cluster import ClusterProvider, Job
from plait.providers.judge import Report
from plait.providers.script import Script, checked_whole, checked_word, checked_yes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.launchers.base import Launcher
    from plait.providers.shell import Shell

_ID: Final = re.compile(r"^Job <(\d+)>", re.MULTILINE)
#: What bjobs and bkill say of jobs that they do not know, or that have ended.
_GONE: Final = re.compile(r"is not found|no matching job found|no unfinished job found|already finished", re.IGNORECASE)
_FIELDS: Final = "jobid stat exit_code exit_reason job_name pend_reason"
_LIVE: Final = {
    "PEND": JobState.PENDING,
    "PROV": JobState.PENDING,  # its host is being started
    "WAIT": JobState.PENDING,
    "RUN": JobState.RUNNING,
    "PSUSP": JobState.HELD,  # suspended while it waited
    "USUSP": JobState.HELD,  # by somebody while it ran
    "SSUSP": JobState.HELD,  # by LSF while it ran: it goes on when the load is lower
    "UNKWN": JobState.UNKNOWN,  # its host cannot be reached
}
#: Reasons of an end by which LSF takes the nodes back, though nothing went wrong.
_EXPIRED: Final = ("TERM_RUNLIMIT", "TERM_PREEMPT", "TERM_WINDOW", "TERM_DEADLINE", "TERM_LOAD", "TERM_RC")
#: Reasons that are somebody's wish.
_KILLED: Final = ("TERM_OWNER", "TERM_ADMIN", "TERM_FORCE_OWNER", "TERM_FORCE_ADMIN", "TERM_BUCKET_KILL")
#: Exit codes from here on are this and the number of a signal.
_SIGNALS: Final = 128


class LSFProvider(ClusterProvider):
    """Blocks as jobs of LSF.

    Args:
        nodes_per_block: nodes of one block, where nodes are what is asked for.
        cores_per_block: cores of one block, where cores are what is asked for.
        cores_per_node: cores of it on each node.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        walltime: how long a block may run; LSF counts in minutes, so it is rounded up.
        scheduler_options: lines with ``#BSUB``, as they are.
        worker_init: lines of bash that come before the command, such as ``module load python``.
        project: project that is charged.
        queue: queue.
        cmd_timeout: seconds that a command of LSF may take.
        bsub_redirection: whether bsub reads the script from its standard input. LSF then takes the options in it;
            otherwise they are given to the command, ``scheduler_options`` among them.
        request_by_nodes: whether ``nodes_per_block`` counts (``-nnodes``), or cores do (``-n``).
        launcher: how the command is started on the nodes of a block.
        shell: where the commands are run; None for this machine.

    Raises:
        ConfigurationError: a value cannot work.
        BadLauncher: the launcher is none.
    """

    SYSTEM: ClassVar[str] = "lsf"
    PREFIX: ClassVar[str] = "#BSUB"

    def __init__(
        self,
        nodes_per_block: int = 1,
        cores_per_block: int | None = None,
        cores_per_node: int | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        walltime: str | float = "00:10:00",
        scheduler_options: str = "",
        worker_init: str = "",
        project: str | None = None,
        queue: str | None = None,
        cmd_timeout: float = 120,
        bsub_redirection: bool = False,
        request_by_nodes: bool = True,
        launcher: Launcher | None = None,
        *,
        shell: Shell | None = None,
    ) -> None:
        owner = type(self).__name__
        self.cores_per_block = checked_whole(owner, "cores_per_block", cores_per_block)
        self.cores_per_node = checked_whole(owner, "cores_per_node", cores_per_node)
        self.request_by_nodes = checked_yes(owner, "request_by_nodes", request_by_nodes)
        if not self.request_by_nodes:
            if cores_per_block is None or cores_per_node is None:
                raise ConfigurationError(
                    f"{owner}(request_by_nodes=False, cores_per_block={cores_per_block!r}, cores_per_node={cores_per_node!r}): "
                    "expected both numbers of cores"
                )
            nodes = math.ceil(cores_per_block / cores_per_node)
            if nodes_per_block not in {1, nodes}:
                raise ConfigurationError(
                    f"{owner}(nodes_per_block={nodes_per_block}, cores_per_block={cores_per_block}, cores_per_node={cores_per_node}, "
                    f"request_by_nodes=False): these cores are {nodes} nodes; leave nodes_per_block out"
                )
            nodes_per_block = nodes
        elif cores_per_block is not None:
            raise ConfigurationError(
                f"{owner}(cores_per_block={cores_per_block}): nodes are asked for, not cores; set request_by_nodes=False, or leave it out"
            )
        super().__init__(
            nodes_per_block=nodes_per_block, init_blocks=init_blocks, min_blocks=min_blocks, max_blocks=max_blocks,
            parallelism=parallelism, walltime=walltime, launcher=launcher, worker_init=worker_init,
            scheduler_options=scheduler_options, cmd_timeout=cmd_timeout, shell=shell,
        )  # fmt: skip
        self.project = checked_word(owner, "project", project)
        self.queue = checked_word(owner, "queue", queue)
        self.bsub_redirection = checked_yes(owner, "bsub_redirection", bsub_redirection)
        self._texts: dict[str, str] = {}  # scripts that are being submitted

    def _options(self, script: Script, job: Job, tasks_per_node: int) -> None:
        del tasks_per_node
        for name, value in self._asked(job):
            script.option(name, quoted(value))

    def _asked(self, job: Job) -> list[tuple[str, str]]:
        """Options of bsub and their values."""
        minutes = math.ceil(self.walltime_s / 60)
        asked = [("-J", job.name), ("-W", f"{minutes // 60}:{minutes % 60:02d}")]
        asked += [("-oo", f"{job.path}.out"), ("-eo", f"{job.path}.err")]
        if self.request_by_nodes:
            asked.append(("-nnodes", str(self.nodes_per_block)))
        else:
            asked += [("-n", str(self.cores_per_block)), ("-R", f"span[ptile={self.cores_per_node}]")]
        if self.project is not None:
            asked.append(("-P", self.project))
        if self.queue is not None:
            asked.append(("-q", self.queue))
        return asked

    def _write(self, job: Job, text: str) -> None:
        super()._write(job, text)
        self._texts[job.name] = text

    def _submit(self, job: Job) -> str:
        text = self._texts.pop(job.name)
        stdin = text if self.bsub_redirection else ""
        return self._parse_id(self._run(*self._submit_argv(job), stdin=stdin).check())

    def _submit_argv(self, job: Job) -> list[str]:
        if self.bsub_redirection:
            return ["bsub", *self._named("-J", "-J", job.name)]
        words = [word for option in self._asked(job) for word in option]
        for line in self.scheduler_options.splitlines():
            if line.startswith(f"{self.PREFIX} "):
                words += _without_name(shlex.split(line[len(self.PREFIX) :], comments=True))
        return ["bsub", *words, f"{job.path}.sh"]

    def _parse_id(self, out: str) -> str:
        found = _ID.findall(out)
        if not found:
            raise ValueError(f"bsub: expected 'Job <number> is submitted …', not {out!r}")
        return str(found[-1])

    def _ask(self, jobs: Sequence[Job]) -> Mapping[str, Report]:
        said = _answered(self._run("bjobs", "-a", "-json", "-o", _FIELDS, *(job.id for job in jobs)), jobs)
        return parse(said, jobs)

    def _find(self, names: Sequence[str]) -> Mapping[str, str]:
        found = {}
        for name in names:  # it takes one name; there is rarely more than one
            for facts in records(_answered(self._run("bjobs", "-a", "-json", "-o", _FIELDS, "-J", name))):
                if facts.get("JOB_NAME") == name:
                    found[name] = str(facts.get("JOBID", ""))
        return found

    def _kill(self, jobs: Sequence[Job]) -> None:
        answered(self._run("bkill", *(job.id for job in jobs)), _GONE)


def _without_name(words: Sequence[str]) -> list[str]:
    """Options without a job's name, which is said once: `bsub` documents the same option twice for ``-R`` only. ``-Jd`` is a description."""
    left = []
    rest = iter(words)
    for word in rest:
        if word == "-J":
            next(rest, None)
        elif not word.startswith("-J") or word.startswith("-Jd"):
            left.append(word)
    return left


def _answered(finished: Any, asked: Sequence[Job] = ()) -> str:
    """The answer of ``bjobs -json``, which ends with an error when one of the jobs is not known, and may say so in the answer only."""
    if finished.code != 0 and not finished.err.strip() and "RECORDS" in finished.out:
        return str(finished.out)
    return answered(finished, _GONE, asked)


def records(text: str) -> list[dict[str, Any]]:
    """The answer of ``bjobs -json``: an object whose ``RECORDS`` are jobs; no text at all where there are none.

    Raises:
        ValueError: it is none.
    """
    if not text.strip():
        return []
    return list_of(table_of(json_of(text, "bjobs -json"), "bjobs -json").get("RECORDS"), "bjobs -json: RECORDS")


def parse(text: str, jobs: Sequence[Job]) -> dict[str, Report]:
    """How jobs are, by the answer of ``bjobs -json``.

    Raises:
        ValueError: it is none.
    """
    found = {str(record.get("JOBID")): record for record in records(text) if "ERROR" not in record}
    for record in found.values():
        if "STAT" not in record:
            raise ValueError(f"bjobs -json: expected STAT in each record, not {sorted(record)}")
    return {
        job.id: _report(found[job.id]) for job in jobs if job.id in found and same(job, found[job.id].get("JOB_NAME"))
    }


def _report(facts: Mapping[str, Any]) -> Report:
    stat, reason = str(facts["STAT"]), str(facts.get("EXIT_REASON") or "")
    if stat in _LIVE:
        waits = _LIVE[stat] in {JobState.PENDING, JobState.HELD}
        message = str(facts.get("PEND_REASON") or "") or (f"LSF says {stat}" if stat != "PEND" else "") if waits else ""
        if _LIVE[stat] == JobState.UNKNOWN:
            message = "its host cannot be reached"
        return Report(_LIVE[stat], message or None)
    if stat not in {"DONE", "EXIT", "ZOMBI"}:
        return Report(JobState.UNKNOWN, f"bjobs says that its state is {stat!r}")
    code = whole(facts.get("EXIT_CODE"))
    said = reason.partition(": ")[2] or reason
    if reason.startswith(_EXPIRED) or (
        not reason and code == _SIGNALS + signal.SIGUSR2
    ):  # that is how LSF ends what ran too long
        return Report(JobState.TIMEOUT, said or "it was ended by SIGUSR2, as LSF does when the walltime is over")
    if stat == "DONE":
        return Report(JobState.COMPLETED, None, 0)
    if reason.startswith(_KILLED):
        return Report(JobState.CANCELLED, said)
    if stat == "ZOMBI":
        return Report(JobState.FAILED, said or "its host cannot be reached, and LSF has given it up")
    if code is None:
        return Report(JobState.CANCELLED, said or "it ended before it ran")
    return Report(JobState.FAILED, said or f"its script ended with exit code {code}", code)
