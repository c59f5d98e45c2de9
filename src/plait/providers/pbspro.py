"""`PBSProProvider`: PBS Professional and OpenPBS, by qsub, qstat, qdel and qselect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plait.providers.answers import answered, json_of, same, table_of
from plait.providers.pbs import GONE, PBS, report_of
from plait.providers.script import checked_whole, checked_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.launchers.base import Launcher
    from plait.providers.cluster import Job
    from plait.providers.judge import Report
    from plait.providers.shell import Finished, Shell

#: What a server says that does not remember jobs that have ended.
_NO_HISTORY: Final = re.compile(r"not configured to maintain job history", re.IGNORECASE)


class PBSProProvider(PBS):
    """Blocks as jobs of PBS Professional or OpenPBS.

    Args:
        account: account that is charged.
        queue: queue.
        scheduler_options: lines with ``#PBS``, as they are.
        select_options: what each chunk asks for beside its processors, such as ``"ngpus=4:mem=100gb"``.
        worker_init: lines of bash that come before the command, such as ``module load python``.
        nodes_per_block: chunks of one block; PBS gives each a node when they ask for whole ones.
        cpus_per_node: processors of each.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        launcher: how the command is started on the nodes of a block.
        walltime: how long a block may run.
        cmd_timeout: seconds that a command of PBS may take.
        shell: where the commands are run; None for this machine.

    Raises:
        ConfigurationError: a value cannot work.
        BadLauncher: the launcher is none.
    """

    SYSTEM: ClassVar[str] = "pbspro"

    def __init__(
        self,
        account: str | None = None,
        queue: str | None = None,
        scheduler_options: str = "",
        select_options: str = "",
        worker_init: str = "",
        nodes_per_block: int = 1,
        cpus_per_node: int = 1,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        launcher: Launcher | None = None,
        walltime: str | float = "00:20:00",
        cmd_timeout: float = 120,
        *,
        shell: Shell | None = None,
    ) -> None:
        super().__init__(
            nodes_per_block=nodes_per_block, init_blocks=init_blocks, min_blocks=min_blocks, max_blocks=max_blocks,
            parallelism=parallelism, walltime=walltime, launcher=launcher, worker_init=worker_init,
            scheduler_options=scheduler_options, cmd_timeout=cmd_timeout, shell=shell,
        )  # fmt: skip
        owner = type(self).__name__
        self.account = checked_word(owner, "account", account)
        self.queue = checked_word(owner, "queue", queue)
        self.select_options = checked_word(owner, "select_options", select_options or None) or ""
        self.cpus_per_node = checked_whole(owner, "cpus_per_node", cpus_per_node) or 1
        self.cores_per_node = self.cpus_per_node
        self._remembers = True  # until the server says that it does not

    def _nodes(self, tasks_per_node: int) -> str:
        del tasks_per_node
        more = f":{self.select_options}" if self.select_options else ""
        return f"select={self.nodes_per_block}:ncpus={self.cpus_per_node}{more}"

    def _select(self) -> list[str]:
        return ["qselect", "-x"] if self._remembers else ["qselect"]

    def _ask(self, jobs: Sequence[Job]) -> Mapping[str, Report]:
        finished = self._look_at(jobs)
        if self._remembers and _NO_HISTORY.search(finished.err):
            self._remembers = False
            finished = self._look_at(jobs)
        return parse(answered(finished, GONE, jobs), jobs)

    def _look_at(self, jobs: Sequence[Job]) -> Finished:
        finished: Finished = self._run(
            "qstat", *(["-x"] if self._remembers else []), "-f", "-F", "json", *(job.id for job in jobs)
        )
        return finished


#: The beginning and the end of an answer that is whole, whatever is in between.
_WHOLE: Final = re.compile(r"\A\s*\{\s*\n.*\n\}\s*\Z", re.DOTALL)
_OPENS: Final = re.compile(r'( *)"([^"]+)":\s*\{')
_SAYS: Final = re.compile(r' *"(Job_Name|job_state|Exit_status|comment|walltime)":\s*"?(.*?)"?,?\s*')


def parse(text: str, jobs: Sequence[Job]) -> dict[str, Report]:
    """The answer of ``qstat -f -F json``: an object whose ``Jobs``, when it knows any, has one object for each.

    Raises:
        ValueError: it is none.
    """
    try:
        answer = table_of(json_of(text, "qstat -F json"), "qstat -F json")
    except ValueError:
        if _WHOLE.search(text) is None:
            raise
        answer = {"Jobs": _by_lines(text)}
    if "pbs_server" not in answer and "Jobs" not in answer:
        raise ValueError(f"qstat -F json: expected pbs_server or Jobs in the answer, not {sorted(answer)}")
    found = table_of(answer.get("Jobs", {}), "qstat -F json: Jobs")
    reports = {}
    for job in jobs:
        facts = found.get(job.id)
        if facts is None and "." not in job.id:  # the server's name is added to numbers
            facts = next((value for id_, value in found.items() if id_.split(".")[0] == job.id), None)
        if facts is None or not same(job, table_of(facts, f"qstat -F json: {job.id}").get("Job_Name")):
            continue
        used, limit = (
            table_of(facts.get(name, {}), name).get("walltime", "") for name in ("resources_used", "Resource_List")
        )
        reports[job.id] = report_of(
            str(facts.get("job_state", "")), facts.get("Exit_status"), used, limit, facts.get("comment")
        )
    return reports


def _by_lines(text: str) -> dict[str, dict[str, Any]]:
    """Jobs of an answer that is no JSON, because its server writes quotes in the variables of jobs as they are: what counts has lines of its own."""
    found: dict[str, dict[str, Any]] = {}
    job: dict[str, Any] = {}
    inside, depth = job, -1  # the object that a line is in, and how far the names of jobs are indented
    for line in text.splitlines():
        opens, says = _OPENS.fullmatch(line), _SAYS.fullmatch(line)
        if opens and opens[2] == "Jobs":
            depth = -2  # the next one is a job
        elif opens and depth in {-2, len(opens[1])}:
            depth, job = len(opens[1]), {}
            inside = found[opens[2]] = job
        elif opens:
            inside = job[opens[2]] = {}
        elif says:
            (inside if says[1] == "walltime" else job)[says[1]] = says[2]
    if not any("job_state" in facts for facts in found.values()):
        raise ValueError("qstat -F json: expected JSON, or lines with the states of jobs")
    return found
