"""``plait doctor``: what is wrong on this machine and what dead drivers have left, each with what to do about it.

It finds the runs whose driver is dead, their jobs that batch systems still have (by the tickets that were written before each was submitted, and by name),
and processes of theirs on this machine (by the name of their job, which all of them have in their environment).
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plait._util import procs
from plait._util.marks import environ
from plait.cli import lost_jobs
from plait.cli.main import DONE, FAILED, version_text
from plait.configfile.rules import system_rules
from plait.errors import ConfigurationError, text_of
from plait.executors.blocks import RUN_ID_CHARS
from plait.monitoring.runs import CRASHED, LIVE, find_runs, glance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plait.cli.lost_jobs import LostJob

OK, WARN, BAD = "ok", "warn", "bad"
#: Open files that a driver with some hundred nodes needs.
_FILES: Final = 4096
#: Commands of batch systems: all of a line are needed.
_COMMANDS: Final = {
    "Slurm": ("sbatch", "squeue", "scancel"),
    "Grid Engine, PBS or Torque": ("qsub", "qstat", "qdel"),
    "LSF": ("bsub", "bjobs", "bkill"),
    "HTCondor": ("condor_submit", "condor_q", "condor_rm"),
    "Flux": ("flux",),
    "Kubernetes": ("kubectl",),
    "SSH": ("ssh",),
}
#: Variables by which processes of jobs are known.
_MARKS: Final = (b"JOBNAME=plait.", b"PLAIT_JOB=plait.")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: `OK`, `WARN` or `BAD`.
        what: it.
        said: how it is.
        hint: what to do; empty when nothing.
    """

    state: str
    what: str
    said: str
    hint: str = ""


@dataclass
class Orphan:
    """A process that a dead driver's job left on this machine.

    Attributes:
        pid: its number.
        job: name of its job.
        command: what it runs.
        ended: whether it was ended now; None when nobody asked for it.
    """

    pid: int
    job: str
    command: str
    ended: bool | None = None


@dataclass
class Health:
    """What was found.

    Attributes:
        checks: of the machine.
        jobs: of dead drivers, which are not over.
        processes: of dead drivers, on this machine.
        dead: names of the runs whose driver is dead.
        elsewhere: hosts of runs that have jobs which are not over, and of whose drivers nothing can be known here.
        unreadable: names of runs that have such jobs, and whose journals do not say whose they are.
    """

    checks: list[Finding] = field(default_factory=list)
    jobs: list[LostJob] = field(default_factory=list)
    processes: list[Orphan] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    elsewhere: set[str] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to be done."""
        left = any(not job.is_over for job in self.jobs) or any(not process.ended for process in self.processes)
        return not left and all(check.state != BAD for check in self.checks)


def doctor(run_dir: str, *, fix: bool, as_json: bool) -> int:
    """Prints what was found; returns the exit code: 1 when something is wrong, or left.

    Args:
        run_dir: where runs are.
        fix: whether jobs and processes of dead drivers are to be ended.
        as_json: whether to answer with data.
    """
    health = examine(run_dir)
    if fix:
        lost_jobs.cancel(health.jobs)
        _end(health.processes)
    lost_jobs.close(health.jobs)
    if as_json:
        print(json.dumps(_data(health), indent=2))
    else:
        _print(health, run_dir, fixed=fix)
    return DONE if health.is_good else FAILED


def examine(run_dir: str) -> Health:
    """Looks at everything, and changes nothing."""
    health = Health(list(environment(run_dir)))
    dead_ids: set[str] = set()
    live_ids: set[str] = set()
    left = []
    for folder in find_runs(run_dir):
        line = glance(folder)
        if line.started is not None and line.state in {CRASHED, LIVE}:
            (dead_ids if line.state == CRASHED else live_ids).add(line.started.run_id[:RUN_ID_CHARS])
        records = lost_jobs.unfinished(folder) if line.state != LIVE else []
        if not lost_jobs.is_dead(line):
            if records and line.started is not None:
                health.elsewhere.add(line.started.hostname)
            elif records:
                health.unreadable.append(os.path.basename(os.path.normpath(folder)))
            continue
        if line.state == CRASHED:
            health.dead.append(os.path.basename(os.path.normpath(folder)))
        left += [(folder, record) for record in records if record.ticket is not None]
    health.jobs = [job for job in lost_jobs.find(left) if not job.is_over]
    health.processes = list(orphans(dead_ids - live_ids))
    return health


# ------------------------------------------------------------------ the machine
def environment(run_dir: str) -> Iterator[Finding]:
    """What this machine has of what is needed."""
    yield Finding(OK, "plait", f"{version_text()}, Python {platform.python_version()} ({sys.executable})")
    yield _zmq()
    yield _open_files()
    yield _addresses()
    yield _run_dir(run_dir)
    yield from _rules()
    found = [name for name, commands in _COMMANDS.items() if all(map(shutil.which, commands))]
    half = [
        f"{name} without {', '.join(command for command in commands if not shutil.which(command))}"
        for name, commands in _COMMANDS.items()
        if name not in found and shutil.which(commands[0])
    ]
    said = (
        f"commands of {', '.join(found)}"
        if found
        else "no commands of a batch system; blocks can be had on this machine"
    )
    if half:
        yield Finding(
            WARN, "batch systems", f"{said}; {'; '.join(half)}", "load the module, or set the PATH, that has them all"
        )
    else:
        yield Finding(OK, "batch systems", said)


def _zmq() -> Finding:
    try:
        from plait.executors.htex.link import new_keys

        new_keys()
    except Exception as error:  # noqa: BLE001 - a library of another system, without encryption, or none
        hint = "install pyzmq anew, from its wheel on PyPI"
        return Finding(BAD, "ZeroMQ", f"cannot be loaded, or cannot encrypt: {text_of(error)}", hint)
    return Finding(OK, "ZeroMQ", f"pyzmq {importlib.metadata.version('pyzmq')}, with encryption")


def _open_files() -> Finding:
    try:
        import resource
    except ImportError:
        return Finding(WARN, "open files", "no limit is known here: this is no Unix", "pilot jobs need Unix")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = f"{soft if soft != resource.RLIM_INFINITY else 'any number of them'} may be open"
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        most = "unlimited" if hard == resource.RLIM_INFINITY else min(hard, 65536)
        return Finding(WARN, "open files", f"{said}, enough for about {soft // 4} nodes", f"ulimit -n {most}")
    return Finding(OK, "open files", said)


def _addresses() -> Finding:
    from plait.executors.htex.addresses import host_addresses

    try:
        found = host_addresses()
    except Exception as error:  # noqa: BLE001 - what the system says of its networks is its own affair
        return Finding(WARN, "addresses", f"cannot be found out: {error}", "HighThroughputExecutor(address=…)")
    if not found:
        hint = "blocks on other machines need one: HighThroughputExecutor(address=…)"
        return Finding(WARN, "addresses", "only this machine can reach this machine", hint)
    return Finding(OK, "addresses", f"other machines reach this one at {', '.join(found[:4])}")


def _rules() -> Iterator[Finding]:
    """The rules of the machine's administrators, where there are some."""
    try:
        sources = [rules.source for rules in system_rules()]
    except ConfigurationError as error:
        yield Finding(BAD, "rules", text_of(error), "nothing runs until administrators have mended this")
    else:
        if sources:
            yield Finding(OK, "rules", f"those of this machine: {', '.join(sources)}")


def _run_dir(run_dir: str) -> Finding:
    path = os.path.abspath(run_dir)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    if not os.access(path, os.W_OK | os.X_OK):
        return Finding(BAD, "run_dir", f"{path} cannot be written", "Config(run_dir=…) names another folder")
    free = shutil.disk_usage(path).free
    if free < 100_000_000:
        return Finding(WARN, "run_dir", f"{path} has {free // 1_000_000} MB left", "journals and logs need room")
    return Finding(OK, "run_dir", f"{path}, {free // 1_000_000_000} GB free")


# ------------------------------------------------------------------ processes
def orphans(dead_ids: set[str]) -> Iterator[Orphan]:
    """Processes of this user whose job belongs to one of these runs (beginnings of their ids)."""
    if not dead_ids or sys.platform != "linux":
        return
    for pid in procs.numbers():
        if pid == os.getpid():
            continue
        job = _job_of(pid)
        if job and job.split(".")[1:2] and job.split(".")[1] in dead_ids:
            yield Orphan(pid, job, _command(pid))


def _job_of(pid: int) -> str:
    for entry in environ(pid).split(b"\0"):
        if entry.startswith(_MARKS):
            return entry.partition(b"=")[2].decode("utf-8", "replace")
    return ""


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()[:80]
    except OSError:
        return ""


def _end(processes: list[Orphan]) -> None:
    alive = [process.pid for process in processes if _job_of(process.pid) == process.job]  # numbers are used again
    procs.end_trees(alive)
    for process in processes:
        process.ended = not procs.is_alive(process.pid)


# ------------------------------------------------------------------ words
def _data(health: Health) -> dict[str, Any]:
    return {
        "good": health.is_good,
        "checks": [vars(check) for check in health.checks],
        "dead_runs": health.dead,
        "elsewhere": sorted(health.elsewhere),
        "unreadable": health.unreadable,
        "jobs": [
            {"run": job.run, "executor": job.record.label, "block": job.record.block, "job": job.record.job, "name": job.record.name,
             "provider": job.record.provider, "state": job.status.state.name, "why": job.status.message, "cancelled": job.cancelled}
            for job in health.jobs
        ],
        "processes": [vars(process) for process in health.processes],
    }  # fmt: skip


def _print(health: Health, run_dir: str, *, fixed: bool) -> None:
    for check in health.checks:
        hint = f"; {check.hint}" if check.hint else ""
        print(f"{check.state:4}  {check.what}: {check.said}{hint}")
    if health.dead:
        count = len(health.dead)
        print(
            f"{OK:4}  runs: {count} in {run_dir} ended without cleaning up ({', '.join(health.dead[-5:])}{', …' if count > 5 else ''})"
        )
    if health.elsewhere:
        hosts = ", ".join(sorted(health.elsewhere))
        print(
            f"{WARN:4}  runs: some have jobs, and their drivers are on {hosts}, or in a container there; whether they live can be seen there: `plait doctor`"
        )
    for name in health.unreadable:
        print(
            f"{WARN:4}  runs: run {name} has jobs, and its journal cannot be read: `plait blocks {name}` shows them, with --cancel it ends them"
        )
    for job in health.jobs:
        record = job.record
        name = f"job {record.job or record.name} (block {record.block} of run {os.path.basename(os.path.normpath(job.run))}, {record.provider})"
        told = f": {job.status.message}" if job.status.message else ""
        if job.is_over or job.cancelled:
            print(f"{OK:4}  {name} was cancelled")
        else:
            print(f"{BAD:4}  {name} is {job.status.state.name} and its driver is dead{told}{_hint(fixed=fixed)}")
    for process in health.processes:
        name = f"process {process.pid} of {process.job} ({process.command})"
        if process.ended:
            print(f"{OK:4}  {name} was ended")
        else:
            print(f"{BAD:4}  {name} lives, and its driver is dead{_hint(fixed=fixed)}")
    if health.is_good and not health.jobs and not health.processes:
        print(f"{OK:4}  no job and no process of a dead driver is left")


def _hint(*, fixed: bool) -> str:
    return "; it could not be ended" if fixed else "; `plait doctor --fix` ends it"
