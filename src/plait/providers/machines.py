"""What providers of clouds share: a block is a few virtual machines, each of which runs one script when it starts, and ends itself.

A machine's script installs plait where it is not there, runs the block's command, writes its exit status to the machine's console and switches the
machine off. So a block ends without the driver, and however the driver ended: by its command, which leaves when nobody answers it, or by its walltime.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shlex
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plait._util.version import plait_version
from plait.errors import ConfigurationError
from plait.model.jobs import JobState, JobStatus
from plait.providers.judge import Report
from plait.providers.remote import Job, RemoteProvider
from plait.providers.script import Script, walltime_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.launchers.base import Launcher

#: Bytes of the end of a machine's log that are put onto its console.
_SHOWN_BYTES: Final = 16384
#: Seconds that a machine may be late with switching itself off before it is ended from here.
_LATE_S: Final = 300.0
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]*")


@dataclass(frozen=True)
class Machine:
    """A machine of a block.

    Attributes:
        id: its name at the service.
        state: PENDING, RUNNING, or an end; COMPLETED for a machine that was switched off.
        message: the service's reason.
    """

    id: str
    state: JobState
    message: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether it runs no more."""
        return JobStatus(self.state).terminal


class MachineProvider(RemoteProvider):
    """Blocks of virtual machines.

    Args:
        nodes_per_block: machines of one block.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        worker_init: lines of bash that come before everything else.
        launcher: how copies of the command are started on one machine.
        walltime: how long a block may run, such as ``"01:00:00"``; None for as long as its command.
        linger: whether machines stay on when their command has ended.
        cmd_timeout: seconds that one request may take.
    """

    #: Whether a machine that is off costs, until it is deleted.
    OFF_COSTS: ClassVar[bool] = False
    #: Bytes of the longest script that the service takes.
    SCRIPT_BYTES: ClassVar[int] = 16384

    def __init__(
        self, nodes_per_block: int, init_blocks: int, min_blocks: int, max_blocks: int, parallelism: float, worker_init: str,
        launcher: Launcher | None, walltime: str | float | None, linger: bool, cmd_timeout: float,
    ) -> None:  # fmt: skip
        owner = type(self).__name__
        seconds = math.inf if walltime is None else walltime_s(owner, walltime)
        if not isinstance(linger, bool):
            raise ConfigurationError(f"{owner}(linger={linger!r}): expected True or False")
        super().__init__(
            nodes_per_block,
            init_blocks,
            min_blocks,
            max_blocks,
            parallelism,
            worker_init,
            launcher,
            seconds,
            cmd_timeout,
        )
        self.walltime = walltime
        self.linger = linger

    # ------------------------------------------------------------------ what a cloud's class fills in
    @abstractmethod
    def _machines(self, jobs: Sequence[Job]) -> dict[str, list[Machine]]:
        """The machines of each job that the service has."""

    @abstractmethod
    def _console(self, job: Job, machine: Machine) -> str:
        """What the machine wrote to its console; empty when that is not there."""

    # ------------------------------------------------------------------ how a block is
    def _look(self, jobs: Sequence[Job]) -> dict[str, Report]:
        found = self._machines(jobs)
        return {job.id: self._report(job, found[job.id]) for job in jobs if found.get(job.id)}

    def _report(self, job: Job, machines: list[Machine]) -> Report:
        alive = [machine for machine in machines if not machine.is_over]
        if not alive:
            return self._ended(job, machines)
        began_s = job.case.began_s
        if began_s is not None and self._clock() - began_s > self._walltime_s + _LATE_S and not self.linger:
            self._end([job])
            return Report(JobState.TIMEOUT, "its walltime was over, and it was ended because it did not end itself")
        running = next((machine for machine in alive if machine.state == JobState.RUNNING), None)
        return Report(JobState.RUNNING) if running else Report(alive[0].state, alive[0].message)

    def _ended(self, job: Job, machines: list[Machine]) -> Report:
        """All machines are off. How that came about the service says, or else the last line on their consoles."""
        if job.case.cancelled:
            return Report(JobState.CANCELLED, "it was cancelled")
        if (
            job.adopted and self.OFF_COSTS
        ):  # its driver would have deleted it, so that is dead; whoever looks can cancel it
            return Report(JobState.HELD, "its machines are off, but they are there, and cost until they are deleted")
        for machine in machines:
            if machine.state != JobState.COMPLETED:
                return Report(machine.state, machine.message)
        texts = {}
        for machine in machines:
            with contextlib.suppress(Exception):  # a console that cannot be had says nothing
                texts[machine.id] = self._console(job, machine)
        job.notes["output"] = "\n".join(said for text in texts.values() if (said := spoken(job.id, text)))
        codes = [code for text in texts.values() if (code := exit_code(job.id, text)) is not None]
        failed = [code for code in codes if code]
        if failed:
            return Report(JobState.FAILED, f"its command ended with exit code {failed[0]}", failed[0])
        began_s = job.case.began_s
        if not codes and began_s is not None and self._clock() - began_s >= self._walltime_s:
            return Report(JobState.TIMEOUT, "its walltime was over")
        return Report(
            JobState.COMPLETED,
            None if codes else "its machines are off, and nothing says how its command ended",
            0 if codes else None,
        )

    def _output(self, job: Job) -> str | None:
        return job.notes.get("output")

    def _script(self, job: Job, command: str) -> str:
        """What each machine of the block runs when it starts.

        Raises:
            ConfigurationError: it is longer than the service takes.
        """
        text = startup_script(
            job.id,
            job.name,
            command,
            self.worker_init,
            None if self._walltime_s == math.inf else self._walltime_s,
            linger=self.linger,
        )
        size = len(text.encode())
        if size > self.SCRIPT_BYTES:
            raise ConfigurationError(
                f"{type(self).__name__}: the script of a machine has {size} bytes, and {self.SCRIPT_BYTES} are allowed; put a part of worker_init into the image"
            )
        return text


def startup_script(
    id_: str, name: str, command: str, worker_init: str, walltime_s: float | None, *, linger: bool,
    console: str = "/dev/console", log: str = "/var/log/plait.log", version: str | None = None,
) -> str:  # fmt: skip
    """The script of a machine.

    Args:
        id_: of the job; it marks what belongs to it on the console.
        name: of the job, for people.
        command: what to run.
        worker_init: lines that come before.
        walltime_s: when the machine switches itself off at the latest; None for never.
        linger: whether it stays on when the command has ended.
        console: where the end of the log and the exit status are written.
        log: where everything is written.
        version: of plait; what is not there is installed. None for the version of this one, empty for none.
    """
    version = plait_version() if version is None else version
    off = "" if linger else "shutdown -P now"
    script = Script("#")
    script.line("umask 077")
    script.line(f"exec >{shlex.quote(log)} 2>&1 </dev/null")
    script.line("plait_over=no")
    script.line("plait_leave() {")
    # switched off in the middle, the shell has the status of something else
    script.line('    status=$?; if [ "$plait_over" != yes ] && [ $status = 0 ]; then status=143; fi')
    script.line(
        f"    {{ echo {shlex.quote(_begin(id_))}; tail -c {_SHOWN_BYTES} {shlex.quote(log)}; echo; echo {shlex.quote(_end(id_))} $status; }} >{shlex.quote(console)}"
    )
    script.line(f"    {off or ':'}")
    script.line("}")
    script.line("trap plait_leave EXIT")
    script.line('export HOME="${HOME:-/root}"')
    script.export("JOBNAME", re.sub(r"[^\x21-\x7e]", "_", name) or "_")
    if walltime_s is not None and not linger:
        script.line(f"shutdown -P +{math.ceil(walltime_s / 60)}  # the walltime, whatever becomes of the driver")
    script.line('cd "$(mktemp -d)" || exit 1')
    script.line(worker_init)
    if version:
        script.line(_install(version))
    # a shell of its own: whatever it does to its traps, and wherever it exits, the lines above are the last ones
    script.line(f"(\n{command}\n)")
    script.line("plait_status=$?; plait_over=yes; exit $plait_status")
    return script.text()


def _install(version: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z.+!-]+", version):
        raise ConfigurationError(f"plait's own version {version!r} is none")
    return f"""\
if ! python3 -c 'import importlib.metadata as m, sys; sys.exit(m.version("plait") != "{version}")'; then
    if python3 -m venv "$HOME/plait-venv"; then export PATH="$HOME/plait-venv/bin:$PATH"; fi
    python3 -m pip install --quiet 'plait=={version}' || exit 127
fi"""


def _begin(id_: str) -> str:
    return f"plait-begin {id_}"


def _end(id_: str) -> str:
    return f"plait-end {id_}"


def exit_code(id_: str, console: str) -> int | None:
    """The exit status that a machine wrote to its console; None when there is none."""
    found = re.findall(rf"^{re.escape(_end(id_))} (\d{{1,3}})\r?$", console, re.MULTILINE)
    return int(found[-1]) if found else None


def spoken(id_: str, console: str) -> str:
    """What the command wrote, out of everything on the console."""
    _, began, rest = (
        console.rpartition(f"{_begin(id_)}\n")
        if f"{_begin(id_)}\n" in console
        else console.rpartition(f"{_begin(id_)}\r\n")
    )
    return rest.rpartition(_end(id_))[0].rstrip() + "\n" if began else console


def checked_path(owner: str, parameter: str, value: Any) -> Any:
    """The path of a file; None passes.

    Raises:
        ConfigurationError: it is none.
    """
    if value is not None and (
        not isinstance(value, (str, os.PathLike)) or not (path := os.fspath(value)) or "\0" in str(path)
    ):
        raise ConfigurationError(f"{owner}({parameter}={value!r}): expected the path of a file, or None")
    return value


def checked_id(owner: str, parameter: str, value: Any) -> str:
    """A name as clouds give them to their things: letters, digits and ``. _ - / : @ +``.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise ConfigurationError(
            f"{owner}({parameter}={value!r}): expected a name of letters, digits and . _ - / : @ +"
        )
    return value
