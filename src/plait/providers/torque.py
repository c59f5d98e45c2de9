"""`TorqueProvider`: Torque, by qsub, qstat, qdel and qselect."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from plait.providers.answers import answered, same
from plait.providers.pbs import ENDED, GONE, PBS, report_of
from plait.providers.script import checked_whole, checked_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.launchers.base import Launcher
    from plait.providers.cluster import Job
    from plait.providers.judge import Report
    from plait.providers.shell import Shell

#: Exit statuses of Torque for limits (JOB_EXEC_OVERLIMIT_…): memory, time of processors, walltime. Those of PBS Professional are others.
_LIMITS: Final = {
    -10: "it used more memory than it asked for",
    -12: "it used more time of processors than it asked for",
}
_WALLTIME: Final = -11


class TorqueProvider(PBS):
    """Blocks as jobs of Torque.

    Args:
        account: account that is charged.
        queue: queue.
        scheduler_options: lines with ``#PBS``, as they are.
        worker_init: lines of bash that come before the command, such as ``module load python``.
        nodes_per_block: nodes of one block.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        launcher: how the command is started on the nodes of a block; None for ``aprun``.
        walltime: how long a block may run.
        cmd_timeout: seconds that a command of Torque may take.
        cores_per_node: processors that are asked for on each node (``ppn``); None for one for each copy of the command, as Parsl does,
            which is enough where whole nodes are given.
        shell: where the commands are run; None for this machine.

    Raises:
        ConfigurationError: a value cannot work.
        BadLauncher: the launcher is none.
    """

    SYSTEM: ClassVar[str] = "torque"

    def __init__(
        self,
        account: str | None = None,
        queue: str | None = None,
        scheduler_options: str = "",
        worker_init: str = "",
        nodes_per_block: int = 1,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        launcher: Launcher | None = None,
        walltime: str | float = "00:20:00",
        cmd_timeout: float = 120,
        *,
        cores_per_node: int | None = None,
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
        self.cores_per_node = checked_whole(owner, "cores_per_node", cores_per_node)

    def _default_launcher(self) -> Launcher:
        from plait.launchers.aprun import AprunLauncher

        return AprunLauncher()

    def _nodes(self, tasks_per_node: int) -> str:
        return f"nodes={self.nodes_per_block}:ppn={self.cores_per_node or tasks_per_node}"

    def _ask(self, jobs: Sequence[Job]) -> Mapping[str, Report]:
        return parse(answered(self._run("qstat", "-f", *(job.id for job in jobs)), GONE, jobs), jobs)


def parse(text: str, jobs: Sequence[Job]) -> dict[str, Report]:
    """The answer of ``qstat -f``: for each job a line with its id, lines ``name = value`` behind four blanks, and an empty line.

    Raises:
        ValueError: it is none, or ends within a job.
    """
    found = _tables(text)
    reports = {}
    for job in jobs:
        facts = found.get(job.id)
        if facts is None and "." not in job.id:
            facts = next((value for id_, value in found.items() if id_.split(".")[0] == job.id), None)
        if facts is None or not same(job, facts.get("Job_Name")):
            continue
        reports[job.id] = report_of(
            facts.get("job_state", ""),
            facts.get("exit_status"),
            facts.get("resources_used.walltime"),
            facts.get("Resource_List.walltime"),
            facts.get("comment"),
            _LIMITS,
            _WALLTIME,
        )
    return reports


def _tables(text: str) -> dict[str, dict[str, str]]:
    """Attributes of jobs by their ids."""
    found: dict[str, dict[str, str]] = {}
    facts: dict[str, str] = {}
    for block in text.split("\n\n"):
        lines: list[str] = []
        for line in block.splitlines():
            if line.startswith("\t") and lines:  # a long value goes on behind a tab
                lines[-1] += line[1:]
            elif line.strip():
                lines.append(line)
        if not lines:
            continue
        head, _, id_ = lines[0].partition(": ")
        if head != "Job Id":
            raise ValueError(f"qstat -f: expected 'Job Id: …', not {lines[0]!r}")
        facts = {name.strip(): value for name, equals, value in (line.partition(" = ") for line in lines[1:]) if equals}
        if "job_state" not in facts:
            raise ValueError(f"qstat -f: expected job_state among what it says of {id_!r}, not {sorted(facts)}")
        found[id_.strip()] = facts
    is_cut = bool(text) and not text.endswith("\n")
    lacks_end = facts.get("job_state", "") in ENDED and "exit_status" not in facts and not text.endswith("\n\n")
    if is_cut or lacks_end:
        raise ValueError("qstat -f: the answer ends within a job")
    return found
