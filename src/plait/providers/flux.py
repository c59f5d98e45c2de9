"""`FluxProvider`: Flux, by flux batch, flux jobs and flux cancel (flux-core 0.49 or later)."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plait.errors import ConfigurationError
from plait.model.jobs import JobState
from plait.providers.answers import answered, json_of, list_of, quoted, same, table_of, whole
from plait.providers.cluster import ClusterProvider, Job
from plait.providers.judge import Report
from plait.providers.script import checked_whole, checked_word, checked_yes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.launchers.base import Launcher
    from plait.providers.script import Script
    from plait.providers.shell import Shell

_ID: Final = re.compile(r"^\s*[ƒf]([1-9A-HJ-NP-Za-km-z]+)\s*$", re.MULTILINE)
_DIGITS: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
#: What flux says of jobs that it does not know, or that have ended.
_GONE: Final = re.compile(r"jobid \S+ unknown|unknown job|job is inactive|no such job", re.IGNORECASE)
_LIVE: Final = {
    "NEW": JobState.PENDING,
    "DEPEND": JobState.PENDING,
    "PRIORITY": JobState.PENDING,
    "SCHED": JobState.PENDING,
    "RUN": JobState.RUNNING,
    "CLEANUP": JobState.RUNNING,
}
_RESULTS: Final = {
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.FAILED,
    "CANCELED": JobState.CANCELLED,
    "TIMEOUT": JobState.TIMEOUT,
}
#: The return code of a job that never ran.
_NEVER: Final = -128


class FluxProvider(ClusterProvider):
    """Blocks as jobs of a Flux instance, each of which is a Flux instance of its own.

    Args:
        queue: queue.
        bank: bank that is charged.
        nodes_per_block: nodes of one block.
        cores_per_node: cores on each; None for whole nodes.
        gpus_per_node: GPUs on each.
        exclusive: whether whole nodes are asked for, also where cores are.
        walltime: how long a block may run.
        flux_options: further options of ``flux batch``, as they are: ``"--requires=hosts:node[1-9] -o cpu-affinity=off"``.
        scheduler_options: lines with ``#flux:``, as they are.
        worker_init: lines of bash that come before the command, such as ``module load python``.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        launcher: how the command is started on the nodes of a block; None for ``flux run`` where there are several.
        cmd_timeout: seconds that a command of Flux may take.
        shell: where the commands are run; None for this machine.

    Raises:
        ConfigurationError: a value cannot work.
        BadLauncher: the launcher is none.
    """

    SYSTEM: ClassVar[str] = "flux"
    PREFIX: ClassVar[str] = "#flux:"
    POLL_S: ClassVar[float] = 30  # its job list is made for being asked

    def __init__(
        self,
        queue: str | None = None,
        bank: str | None = None,
        nodes_per_block: int = 1,
        cores_per_node: int | None = None,
        gpus_per_node: int | None = None,
        exclusive: bool = False,
        walltime: str | float = "00:10:00",
        flux_options: str = "",
        scheduler_options: str = "",
        worker_init: str = "",
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        launcher: Launcher | None = None,
        cmd_timeout: float = 60,
        *,
        shell: Shell | None = None,
    ) -> None:
        super().__init__(
            nodes_per_block=nodes_per_block, init_blocks=init_blocks, min_blocks=min_blocks, max_blocks=max_blocks,
            parallelism=parallelism, walltime=walltime, launcher=launcher, worker_init=worker_init,
            scheduler_options=scheduler_options, cmd_timeout=cmd_timeout, shell=shell,
        )  # fmt: skip
        owner = type(self).__name__
        self.queue = checked_word(owner, "queue", queue)
        self.bank = checked_word(owner, "bank", bank)
        self.cores_per_node = checked_whole(owner, "cores_per_node", cores_per_node)
        self.gpus_per_node = checked_whole(owner, "gpus_per_node", gpus_per_node, 0)
        self.exclusive = checked_yes(owner, "exclusive", exclusive)
        self.flux_options = checked_options(owner, "flux_options", flux_options)

    def _default_launcher(self) -> Launcher:
        if self.nodes_per_block == 1:
            return super()._default_launcher()
        from plait.launchers.flux import FluxRunLauncher

        return FluxRunLauncher()

    def _options(self, script: Script, job: Job, tasks_per_node: int) -> None:
        del tasks_per_node
        script.option("--job-name", job.name)
        script.option("--output", quoted(f"{job.path}.out"))
        script.option("--error", quoted(f"{job.path}.err"))
        script.option("--time-limit", f"{self.walltime_s}s")
        script.option("--nodes", self.nodes_per_block)
        if self.cores_per_node is not None:  # one slot is a node's share
            script.option("--nslots", self.nodes_per_block)
            script.option("--cores-per-slot", self.cores_per_node)
            if self.gpus_per_node:
                script.option("--gpus-per-slot", self.gpus_per_node)
        elif self.gpus_per_node:
            script.option("--nslots", self.nodes_per_block)
            script.option("--gpus-per-slot", self.gpus_per_node)
        if self.exclusive or self.cores_per_node is None:
            script.option("--exclusive")
        if self.queue is not None:
            script.option("--queue", self.queue)
        if self.bank is not None:
            script.option("--bank", self.bank)

    def _submit_argv(self, job: Job) -> list[str]:
        given, name = shlex.split(self.flux_options), f"--job-name={job.name}"
        named = [name] if any(word.startswith("--job") for word in given) else self._named("--job", name)
        return ["flux", "batch", *given, *named, f"{job.path}.sh"]

    def _parse_id(self, out: str) -> str:
        found = _ID.findall(out)
        if not found:
            raise ValueError(f"flux batch: expected the id of a job, such as f2qbKiNH, not {out!r}")
        return f"f{found[-1]}"  # as Flux writes it where there is no ƒ; it reads both

    def _ask(self, jobs: Sequence[Job]) -> Mapping[str, Report]:
        return parse(answered(self._run("flux", "jobs", "-a", "--json", *(job.id for job in jobs)), _GONE), jobs)

    def _find(self, names: Sequence[str]) -> Mapping[str, str]:
        found = {}
        for name in names:  # it takes one name; there is rarely more than one
            for facts in listed(self._run("flux", "jobs", "-a", "--json", f"--name={name}").check()):
                number = whole(facts.get("id"))
                if facts.get("name") == name and number is not None:
                    found[name] = encoded(number)
        return found

    def _kill(self, jobs: Sequence[Job]) -> None:
        answered(self._run("flux", "cancel", *(job.id for job in jobs)), _GONE)


def checked_options(owner: str, parameter: str, value: Any) -> str:
    """Options of a command, as a shell would split them.

    Raises:
        ConfigurationError: they are none.
    """
    try:
        words = shlex.split(value) if isinstance(value, str) else ["?"]
    except ValueError:
        words = ["?"]
    if words and not words[0].startswith("-"):
        raise ConfigurationError(
            f'{owner}({parameter}={value!r}): expected options such as "--requires=gpu -o cpu-affinity=off"'
        )
    return str(value)


def listed(text: str) -> list[dict[str, Any]]:
    """The answer of ``flux jobs --json``: an object with ``jobs``, or the one job that was asked for; no text where there is none.

    Raises:
        ValueError: it is none.
    """
    if not text.strip():
        return []
    answer = table_of(json_of(text, "flux jobs --json"), "flux jobs --json")
    return list_of(answer.get("jobs", [answer]), "flux jobs --json")


def parse(text: str, jobs: Sequence[Job]) -> dict[str, Report]:
    """How jobs are, by the answer of ``flux jobs --json``.

    Raises:
        ValueError: it is none.
    """
    found = {}
    for facts in listed(text):
        number = whole(facts.get("id"))
        if number is None or "state" not in facts:
            raise ValueError(f"flux jobs --json: expected id and state of each job, not {sorted(facts)}")
        found[number] = facts
    wanted = {job.id: decoded(job.id) for job in jobs}
    return {
        job.id: _report(found[number])
        for job in jobs
        if (number := wanted[job.id]) in found and same(job, found[number].get("name"))
    }  # fmt: skip


def _report(facts: Mapping[str, Any]) -> Report:
    state = str(facts["state"])
    if state in _LIVE:
        if _LIVE[state] == JobState.PENDING and facts.get("urgency") == 0:
            return Report(JobState.HELD, "its urgency is 0: somebody holds it")
        return Report(_LIVE[state])
    result = str(facts.get("result") or "")
    if state != "INACTIVE" or result not in _RESULTS:
        return Report(JobState.UNKNOWN, f"flux jobs says that its state is {state!r}, its result {result!r}")
    code, end = whole(facts.get("returncode")), _RESULTS[result]
    exception = facts.get("exception")
    note = str(exception.get("note") or "") if isinstance(exception, dict) else ""
    if end == JobState.TIMEOUT:
        return Report(end, note or "its walltime was over")
    if end == JobState.CANCELLED:
        return Report(end, note or "it was cancelled", None if code == _NEVER else code)
    if end == JobState.FAILED:
        how = f"its script ended with exit code {code}" if code is not None and code > 0 else "it failed"
        return Report(end, note or how, None if code == _NEVER else code)
    return Report(end, None, 0)


def decoded(id_: str) -> int | None:
    """The number of an id in Flux's base 58; None when it is none."""
    found = _ID.fullmatch(id_)
    if found is None:
        return whole(id_)
    number = 0
    for digit in found[1]:
        number = number * len(_DIGITS) + _DIGITS.index(digit)
    return number


def encoded(number: int) -> str:
    """The id of a number in Flux's base 58."""
    text = ""
    while number or not text:
        number, digit = divmod(number, len(_DIGITS))
        text = _DIGITS[digit] + text
    return f"f{text}"
