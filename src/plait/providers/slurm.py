"""`SlurmProvider`: blocks as jobs of Slurm.

```
submit       sbatch --parsable            several at once: one job array
status       squeue --me --all            one command; Slurm remembers ended jobs for some minutes (MinJobAge)
             sacct                        what squeue has forgotten, where there is accounting
cancel       scancel
```

A job is known by its id together with its name, which is its own: ids begin again when a controller has lost its state, and the time of submission
changes when a job is requeued. An id has its cluster behind it where Slurm names one: ``123;cluster``.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from plait.errors import ConfigurationError, SubmitException
from plait.model.jobs import JobState
from plait.providers.cluster import ClusterProvider, Job
from plait.providers.judge import Report
from plait.providers.script import Script, checked_text, checked_whole, checked_word, checked_yes
from plait.providers.shell import CommandFailed, LocalShell
from plait.providers.slurm_answers import (
    ACCOUNTING_FORMAT,
    QUEUE_FORMAT,
    SUBMITTED,
    by_number,
    clusters_in,
    names_together,
    none_is_there,
    parse_accounting,
    parse_queue,
    parse_submitted,
    with_cluster,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.launchers.base import Launcher
    from plait.providers.shell import Finished, Shell

#: Jobs of one array. The names of all must fit into its comment.
_MOST_IN_ARRAY: Final = 100
_MOST_COMMENT: Final = 1000
#: ``--all``: jobs in hidden partitions too, which are not listed otherwise, whosever they are.
_SQUEUE: Final = ("squeue", "--all", "--array", "--states=all", f"--format={QUEUE_FORMAT}")
_SACCT: Final = ("sacct", "--allocations", "--noheader", "--parsable2", f"--format={ACCOUNTING_FORMAT}")
#: Variables by which users make commands of Slurm look at, or cancel, a part of their jobs only, or give jobs other names.
_OF_THE_USER: Final = re.compile(r"(SQUEUE|SCANCEL)_.*|SBATCH_(JOB_NAME|ARRAY_INX)")
#: Variables of the job in which this program runs itself: its blocks would take them for their own.
_OF_A_JOB: Final = re.compile(r"SLURM_(?!CONF$|CLUSTERS$|TIME_FORMAT$|MPI_TYPE$|EXIT_).*|SLURMD_.*|PMI_.*|PMIX_.*")


class SlurmProvider(ClusterProvider):
    """Blocks as jobs of Slurm. Nothing happens before the first job: whether there is accounting is found out when it is needed.

    Args:
        partition: partition of the jobs; None for the cluster's default.
        account: whose time is used.
        qos: quality of service.
        constraint: features that nodes must have, such as ``knl`` or ``cpu&nvme``.
        clusters: the cluster, or several with commas between them, of which the one that can begin the job first gets it.
        nodes_per_block: nodes of one block.
        cores_per_node: cores of each node that a block uses; told to managers as ``PARSL_CORES``.
        mem_per_node: memory of each node in GB that a block uses; told to managers as ``PARSL_MEMORY_GB``.
        gpus_per_node: GPUs of each node that a block uses.
        gres: other resources of each node, such as ``gpu:a100:4``.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        walltime: how long a block may run: ``"hours:minutes:seconds"``, ``"90m"``, or seconds.
        scheduler_options: lines with ``#SBATCH`` that come behind plait's, as they are.
        regex_job_id: pattern with a group ``id`` for what `sbatch` writes, where a site has an `sbatch` of its own.
        worker_init: lines of bash that come before the command, such as ``module load python``.
        cmd_timeout: seconds that a command of Slurm may take.
        status_batch_size: most jobs that are asked for by their ids; for more, all of this user's jobs are asked for, with one command too.
        exclusive: whether a block has its nodes for itself.
        launcher: how the command is started on the nodes of a block; `SrunLauncher` for blocks of several nodes.
        shell: where the commands are run; None for this machine.

    Raises:
        ConfigurationError: a value cannot work.
        BadLauncher: the launcher is none.
    """

    SYSTEM: ClassVar[str] = "slurm"
    PREFIX: ClassVar[str] = "#SBATCH"
    ADDRESS: ClassVar[tuple[str, ...]] = ("clusters",)

    def __init__(
        self,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        clusters: str | None = None,
        nodes_per_block: int = 1,
        cores_per_node: int | None = None,
        mem_per_node: float | None = None,
        gpus_per_node: int | None = None,
        gres: str | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        walltime: str | float = "00:10:00",
        scheduler_options: str = "",
        regex_job_id: str = SUBMITTED,
        worker_init: str = "",
        cmd_timeout: float = 10,
        status_batch_size: int = 50,
        exclusive: bool = True,
        launcher: Launcher | None = None,
        shell: Shell | None = None,
    ) -> None:
        super().__init__(
            nodes_per_block=nodes_per_block, init_blocks=init_blocks, min_blocks=min_blocks, max_blocks=max_blocks,
            parallelism=parallelism, walltime=walltime, launcher=launcher, worker_init=worker_init,
            scheduler_options=scheduler_options, cmd_timeout=cmd_timeout, shell=shell,
        )  # fmt: skip
        self.partition = checked_word("SlurmProvider", "partition", partition)
        self.account = checked_word("SlurmProvider", "account", account)
        self.qos = checked_word("SlurmProvider", "qos", qos)
        self.constraint = checked_word("SlurmProvider", "constraint", constraint)
        self.clusters = checked_word("SlurmProvider", "clusters", clusters)
        self.cores_per_node = checked_whole("SlurmProvider", "cores_per_node", cores_per_node)
        self.mem_per_node = _checked_memory(mem_per_node)
        self.gpus_per_node = checked_whole("SlurmProvider", "gpus_per_node", gpus_per_node, least=0)
        self.gres = checked_word("SlurmProvider", "gres", gres)
        self.regex_job_id = _checked_pattern(regex_job_id)
        self.status_batch_size = checked_whole("SlurmProvider", "status_batch_size", status_batch_size) or 1
        self.exclusive = checked_yes("SlurmProvider", "exclusive", exclusive)
        self._has_accounting = True
        self._knows_me = True

    # ------------------------------------------------------------------ submitting
    def _options(self, script: Script, job: Job, tasks_per_node: int) -> None:
        script.option("--job-name", job.name)
        script.option("--output", _file(f"{job.path}.out"))
        script.option("--error", _file(f"{job.path}.err"))
        self._options_of_all(script, tasks_per_node)

    def _options_of_all(self, script: Script, tasks_per_node: int) -> None:
        """The directives that say nothing of the one job."""
        script.option("--nodes", self.nodes_per_block)
        script.option("--time", -(-self.walltime_s // 60))  # whole minutes are what Slurm counts
        script.option("--ntasks-per-node", tasks_per_node)
        if self.exclusive:
            script.option("--exclusive")
        for name, value in (
            ("--partition", self.partition),
            ("--account", self.account),
            ("--qos", self.qos),
            ("--constraint", self.constraint),
            ("--clusters", self.clusters),
            ("--gpus-per-node", self.gpus_per_node),
            ("--gres", self.gres),
        ):
            if value is not None:
                script.option(name, value)
        if self.mem_per_node is not None:
            whole = float(self.mem_per_node).is_integer()
            script.option("--mem", f"{self.mem_per_node:.0f}g" if whole else f"{self.mem_per_node * 1024:.0f}m")
            script.export("PARSL_MEMORY_GB", self.mem_per_node)
        if self.cores_per_node is not None:
            cores = max(1, self.cores_per_node // tasks_per_node)
            script.option("--cpus-per-task", cores)
            script.export("PARSL_CORES", cores)

    def _submit_argv(self, job: Job) -> list[str]:
        parsable = ["--parsable"] if self.regex_job_id == SUBMITTED else []
        name = f"--job-name={job.name}"
        named = self._named("-J", name) or self._named("--job", name)
        inside = (
            "SLURM_JOB_ID" in os.environ
        )  # jobs inherit all variables of the job that they are submitted from, and `srun` believes them
        unset = self._without(_OF_THE_USER, _OF_A_JOB) if inside else self._without(_OF_THE_USER)
        return [*unset, "sbatch", *parsable, *named, f"{job.path}.sh"]

    def _without(self, *patterns: re.Pattern[str]) -> list[str]:
        """What takes variables away, where there are such, that a command would listen to."""
        if not isinstance(self._shell, LocalShell):
            return []
        names = sorted(name for name in os.environ if any(pattern.fullmatch(name) for pattern in patterns))
        return ["env", *(f"--unset={name}" for name in names)] if names else []

    def _parse_id(self, out: str) -> str:
        return parse_submitted(out, self.regex_job_id)

    def submit_many(self, requests: Sequence[tuple[str, int, str]]) -> list[str | Exception]:
        """See `ExecutionProvider.submit_many`: as job arrays."""
        answers: list[str | Exception] = []
        for first in range(0, len(requests), _MOST_IN_ARRAY):
            chunk = requests[first : first + _MOST_IN_ARRAY]
            one_shape = len({tasks_per_node for _, tasks_per_node, _ in chunk}) == 1
            done = self._submit_array(chunk) if len(chunk) > 1 and one_shape and not self._has_comment() else None
            answers += super().submit_many(chunk) if done is None else done
        return answers

    def _has_comment(self) -> bool:
        """Whether the user has a comment for jobs: that of an array has the names of its blocks."""
        return "--comment" in self.scheduler_options or "SBATCH_COMMENT" in os.environ

    def _submit_array(self, requests: Sequence[tuple[str, int, str]]) -> list[str | Exception] | None:
        """One job array for all; None when Slurm takes no array like it, so that nothing was submitted."""
        array, *others = (self._prepare(name) for _, _, name in requests)
        jobs = [replace(job) for job in (array, *others)]
        comment = names_together([job.name for job in jobs])
        if len(comment) > _MOST_COMMENT:
            return None
        tasks_per_node = requests[0][1]
        for number, (job, (command, _, _)) in enumerate(zip(jobs, requests, strict=True)):
            job.path, job.local = f"{array.path}.{number}", f"{array.local}.{number}"
            out, err = f"{job.local}.out", f"{job.local}.err"
            job.case.status = replace(job.case.status, stdout_path=out, stderr_path=err)
            wrapped = self.launcher(command, tasks_per_node, self.nodes_per_block, os.path.dirname(job.path))
            self._write(job, self._script(job, wrapped, tasks_per_node))
        self._write(array, self._array_script(array, comment, len(jobs), tasks_per_node))
        try:
            first = self._submit(array)
        except (CommandFailed, ValueError) as error:
            if isinstance(error, CommandFailed) and error.code and "array" in error.err.lower():
                return None
            return [self._array_failed(job, error) for job in jobs]
        array_number, _, cluster = first.partition(";")
        for number, job in enumerate(jobs):
            self._begun(job, with_cluster(f"{array_number}_{number}", cluster))
        return [job.id for job in jobs]

    def _array_script(self, array: Job, comment: str, count: int, tasks_per_node: int) -> str:
        script = Script(self.PREFIX)
        script.option("--job-name", array.name)
        script.option("--array", f"0-{count - 1}")
        script.option("--comment", f'"{comment}"')
        script.option("--output", _file(array.path, ".%a.out"))
        script.option("--error", _file(array.path, ".%a.err"))
        self._options_of_all(script, tasks_per_node)
        script.raw(self.scheduler_options)
        script.export("PLAIT_SCRIPTS", array.path)
        script.line('exec bash "$PLAIT_SCRIPTS.$SLURM_ARRAY_TASK_ID.sh"')
        return script.text()

    def _array_failed(self, job: Job, error: CommandFailed | ValueError) -> str | Exception:
        try:
            self._begun(job, self._look_up(job, error))
        except SubmitException as refused:
            return refused
        return job.id

    def _begun(self, job: Job, id_: str) -> None:
        job.id = id_
        self.resources[id_] = job

    # ------------------------------------------------------------------ looking
    def _ask(self, jobs: Sequence[Job]) -> Mapping[str, Report]:
        few = len(jobs) <= self.status_batch_size
        only = [f"--jobs={_numbers(jobs)}"] if few else []
        finished = self._squeue(*only, *self._on_clusters(jobs))
        if finished.code and "Invalid job id" in finished.err:
            return {}  # how it says that it knows none of them
        out = finished.check()
        known = by_number(parse_queue(out))
        reports = {
            job.id: line.report(cancelled=job.case.cancelled)
            for job in jobs
            if (line := known.get(job.id) or known.get(_number(job))) and _is_named(line.name_of(job.id), job)
        }
        heard = clusters_in(out)
        for job in jobs:
            cluster = job.id.partition(";")[2]
            if cluster and heard and cluster not in heard:
                reports[job.id] = Report(JobState.UNKNOWN, f"the cluster {cluster} does not answer")
        return reports

    def _history(self, jobs: Sequence[Job]) -> Mapping[str, Report]:
        if not self._has_accounting:
            return {}
        finished = self._run(*_SACCT, f"--jobs={_numbers(jobs)}", *self._on_clusters(jobs))
        if finished.code and "disabled" in finished.err:
            self._has_accounting = False
            return {}
        ends = by_number(parse_accounting(finished.check()))
        return {
            job.id: end[0]
            for job in jobs
            if (end := ends.get(job.id)) and ("_" in job.id or _is_named(end[1], job))  # an array has one name there
        }

    def _find(self, names: Sequence[str]) -> Mapping[str, str]:
        wanted = set(names)
        return {
            name: id_
            for id_, line in parse_queue(self._squeue(*self._on_clusters([])).check()).items()
            # a submission that is refused for what it asks for leaves a job behind all the same, which ended at once
            if (name := line.name_of(id_)) in wanted and (line.state, line.reason) != ("FAILED", "BadConstraints")
        }

    def _squeue(self, *words: str) -> Finished:
        """Asks about jobs of this user, which costs the controller less than asking about jobs; before 20.02 it could not be asked so."""
        mine = ["--me"] if self._knows_me else []
        finished: Finished = self._run(*self._without(_OF_THE_USER), *_SQUEUE, *mine, *words)
        if finished.code and mine and "unrecognized option '--me'" in finished.err:
            self._knows_me = False
            return self._squeue(*words)
        return finished

    def _kill(self, jobs: Sequence[Job]) -> None:
        by_cluster: dict[str, list[Job]] = {}
        for job in jobs:
            by_cluster.setdefault(job.id.partition(";")[2], []).append(job)
        for those in by_cluster.values():
            words = [*self._on_clusters(those), *(_number(job) for job in those)]
            finished = self._run(*self._without(_OF_THE_USER), "scancel", *words)
            if finished.code and not none_is_there(finished.err):
                finished.check()

    def _on_clusters(self, jobs: Sequence[Job]) -> list[str]:
        """Where to look: the clusters of the jobs, as `sbatch` named them, or all that there may be."""
        named = {job.id.partition(";")[2] for job in jobs}
        clusters = self.clusters if not named or "" in named else ",".join(sorted(named))
        return [f"--clusters={clusters}"] if clusters else []


def _is_named(name: str, job: Job) -> bool:
    """Whether it is the job, and not another that has its id now."""
    return not job.name or name == job.name


def _numbers(jobs: Sequence[Job]) -> str:
    return ",".join(map(_number, jobs))


def _number(job: Job) -> str:
    return job.id.partition(";")[0]


def _file(path: str, pattern: str = "") -> str:
    """A path for a directive: without quotes it would end at a blank, and Slurm puts numbers for its ``%``."""
    text = path.replace("%", "%%") + pattern
    return f'"{text}"' if " " in text else text


# ------------------------------------------------------------------ parameters
def _checked_memory(value: float | None) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6):
        raise ConfigurationError(f"SlurmProvider(mem_per_node={value!r}): expected GB, more than 0, or None")
    return value


def _checked_pattern(value: str) -> str:
    pattern = checked_text("SlurmProvider", "regex_job_id", value)
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ConfigurationError(f"SlurmProvider(regex_job_id={value!r}): no regular expression: {error}") from None
    if "id" not in groups:
        raise ConfigurationError(
            f"SlurmProvider(regex_job_id={value!r}): expected a regular expression with a group named id: (?P<id>…)"
        )
    return pattern
