"""What ``plait check`` looks at: commands, queues, accounts, files, addresses and times, each with what was found."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plait.cli.dry_run import Submission, cluster_of, scheduler_says, submission
from plait.errors import PlaitError, text_of
from plait.executors.htex.addresses import is_loopback
from plait.executors.htex.where import stays_here
from plait.executors.mpi import MPIExecutor
from plait.providers.shell import CommandFailed, LocalShell
from plait.providers.ssh import SSHProvider
from plait.sites.machine import SCHEDULERS
from plait.sites.queues import find_accounts, find_queues

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plait.config import Config
    from plait.sites.machine import Scheduler
    from plait.sites.queues import Queue

#: File systems that other machines do not see.
_OWN: Final = ("tmpfs", "ramfs", "overlay")
_TEMPORARY: Final = re.compile(r"/(tmp|var/tmp|dev/shm)(/|$)")
#: Seconds that a host may take to be reached: somebody may have to answer a question first.
_SSH_S: Final = 60.0
#: Programs of launchers, which run on the nodes: to miss them here means little, but is worth a word.
_PROGRAMS: Final = {
    "SrunLauncher": "srun", "SrunMPILauncher": "srun", "AprunLauncher": "aprun", "JsrunLauncher": "jsrun",
    "MpiExecLauncher": "mpiexec", "MpiRunLauncher": "mpirun", "GnuParallelLauncher": "parallel",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: ``ok``, ``warning`` or ``problem``.
        about: what, as ``cpu.provider.partition``.
        text: what was found.
    """

    level: str
    about: str
    text: str


@dataclass
class Findings:
    """All of them, in order."""

    those: list[Finding] = field(default_factory=list)

    def ok(self, about: str, text: str) -> None:
        """It is as it should be."""
        self.those.append(Finding("ok", about, text))

    def warning(self, about: str, text: str) -> None:
        """It may go wrong."""
        self.those.append(Finding("warning", about, text))

    def problem(self, about: str, text: str) -> None:
        """It cannot work."""
        self.those.append(Finding("problem", about, text))

    @property
    def bad(self) -> bool:
        """Whether anything cannot work."""
        return any(each.level == "problem" for each in self.those)


def look_at_folder(config: Config, findings: Findings) -> None:
    """Whether runs can put their files where they are to."""
    folder = os.path.abspath(config.run_dir)
    there = folder
    while not os.path.isdir(there) and there != os.path.dirname(there):
        there = os.path.dirname(there)
    if not os.access(there, os.W_OK | os.X_OK):
        findings.problem("run_dir", f"{folder} cannot be made or written: {there} does not let you")
        return
    elsewhere = [
        e
        for e in config.executors
        if (p := getattr(e, "provider", None)) is not None and p.shares_files and not stays_here(p)
    ]
    kind = _file_system(there)
    if elsewhere and (kind in _OWN or _TEMPORARY.match(folder)):
        findings.warning(
            "run_dir",
            f"{folder} is on this machine only ({kind if kind in _OWN else 'a folder for temporary files'}); nodes must see it: choose a shared folder",
        )
    else:
        findings.ok("run_dir", f"{folder} can be written")


def _file_system(path: str) -> str:
    """The kind of the file system that a path is on; empty when that is not known."""
    try:
        with open("/proc/self/mounts", encoding="utf-8") as file:
            mounts = [line.split()[1:3] for line in file]
    except OSError:
        return ""
    real = os.path.realpath(path)
    fitting = [(where, kind) for where, kind in mounts if f"{real}/".startswith(where.rstrip("/") + "/")]
    return max(fitting, key=lambda each: len(each[0]), default=("", ""))[1]


def look_at(executor: Any, config: Config, findings: Findings) -> Submission | None:
    """Whether an executor can obtain blocks; what it would submit for one."""
    provider = getattr(executor, "provider", None)
    if provider is None:
        findings.ok(executor.label, f"{type(executor).__name__}: tasks run on this machine, nothing is submitted")
        return None
    about = f"{executor.label}.provider"
    try:
        return _provider(executor, provider, config, about, findings)
    finally:
        if isinstance(provider, SSHProvider):
            provider.close()  # connections that were opened to look


def _provider(executor: Any, provider: Any, config: Config, about: str, findings: Findings) -> Submission | None:
    used = cluster_of(provider) or provider  # the batch system itself, where it is behind ssh
    scheduler = _scheduler_of(used)
    reached = used is provider and not isinstance(provider, SSHProvider)
    reached = reached or _reach(provider, about, findings)
    if not reached:
        scheduler = None
    ask = _ask_with(used)
    if scheduler is not None and not _commands(scheduler, used, ask, about, findings):
        scheduler = None
    if scheduler is not None:
        clusters = getattr(used, "clusters", None)
        options = ["--all", *([f"--clusters={clusters}"] if clusters else [])]  # hidden ones too
        _queue(scheduler, used, find_queues(scheduler.system, ask, *options), about, findings)
        _account(scheduler, used, ask, about, findings)
    _bash(used, about, findings)
    if not isinstance(executor, MPIExecutor):  # which starts its own programs on the nodes
        _launcher(used, about, findings)
    _addresses(executor, provider, findings)
    _times(executor, used, findings)
    _python(provider, about, findings)
    try:
        found = submission(executor, config.run_dir)
    except (PlaitError, OSError, ValueError, KeyError) as error:
        findings.problem(about, f"the job cannot be put together: {text_of(error)}")
        return None
    if scheduler is not None:
        said = scheduler_says(used, found)
        if said is not None:
            (findings.ok if said[0] else findings.problem)(about, f"{scheduler.title} says: {said[1]}")
    return found


def _reach(provider: SSHProvider, about: str, findings: Findings) -> bool:
    """Whether the hosts answer, and have what they need."""
    good = True
    for shell in _shells(provider):
        host = shell.connection.host
        try:
            shell.run(["sh", "-c", "true"], timeout_s=_SSH_S).check()
            text = f"{host} answers"
            if provider.hosts is not None:
                said = _plait_there(shell, provider)
                text += f", with plait {said} for {provider.python or 'python3'}"
        except CommandFailed as error:
            findings.problem(about, f"{host}: {text_of(error)}")
            good = False
            continue
        findings.ok(about, text)
    return good


def _shells(provider: SSHProvider) -> list[Any]:
    inner: Any = provider._inner  # noqa: SLF001 - what runs its commands
    return list(inner.shells.values()) if hasattr(inner, "shells") else [inner.shell]


def _plait_there(shell: Any, provider: SSHProvider) -> str:
    """The version of plait on a host.

    Raises:
        CommandFailed: it is not there.
    """
    python = sys.executable if provider.shares_files and provider.python is None else provider.python or "python3"
    ask = f"exec {shlex.quote(python)} -c 'import importlib.metadata as m; print(m.version(\"plait\"))'"
    done = shell.run(["bash", "-c", f"{provider.worker_init}\n{ask}"], timeout_s=_SSH_S)
    return str(done.check().split()[-1])


def _python(provider: Any, about: str, findings: Findings) -> None:
    """Whether the nodes see this Python, which their workers are to be."""
    if stays_here(provider) or not provider.shares_files or getattr(provider, "python", None):
        return
    kind = _file_system(sys.prefix)
    if kind in _OWN or _TEMPORARY.match(sys.prefix):
        findings.warning(
            about, f"this Python is in {sys.prefix}, which other machines seldom see; use one in a shared folder"
        )


def _scheduler_of(provider: Any) -> Scheduler | None:
    names = [cls.__name__ for cls in type(provider).__mro__]
    return next((each for each in SCHEDULERS if each.provider in names and each.system != "kubernetes"), None)


def _ask_with(provider: Any) -> Any:
    """Runs commands where the provider runs them: here, or on a login host."""
    shell = getattr(provider, "shell", None) or LocalShell()

    def ask(*argv: str) -> str | None:
        try:
            done = shell.run(argv, timeout_s=max(15.0, float(getattr(provider, "cmd_timeout", 15.0))))
        except CommandFailed:
            return None
        return str(done.out) if done.code == 0 else None

    return ask


def _commands(scheduler: Scheduler, provider: Any, ask: Any, about: str, findings: Findings) -> bool:
    away = getattr(provider, "shell", None) is not None
    missing = [
        command
        for command in scheduler.commands
        if (ask("sh", "-c", f"command -v {command}") is None if away else shutil.which(command) is None)
    ]
    where = f" on {provider.shell!r}" if away else " on PATH"
    if missing:
        findings.problem(
            about,
            f"{', '.join(missing)} of {scheduler.title} not found{where}; is this the login node, and are its modules loaded?",
        )
        return False
    findings.ok(about, f"{', '.join(scheduler.commands)} found{where}")
    return True


def _queue(scheduler: Scheduler, provider: Any, queues: list[Queue] | None, about: str, findings: Findings) -> None:
    if not scheduler.queue:
        return
    if queues is None:
        findings.warning(about, f"{scheduler.title} does not say which queues it has: is it up?")
        return
    wanted = getattr(provider, scheduler.queue, None)
    key = f"{about}.{scheduler.queue}"
    if wanted is None:
        chosen = [queue for queue in queues if queue.default]
        if not chosen:
            if scheduler.system == "slurm" and queues:
                findings.warning(
                    key,
                    f"there is no default partition, so it must be named: {', '.join(queue.name for queue in queues)}",
                )
            return
    else:
        names = re.split(r"[,+]", str(wanted))
        meant = {name: [q for q in queues if fnmatch.fnmatchcase(q.name, name.partition("@")[0])] for name in names}
        unknown = [name for name, those in meant.items() if not those]
        if unknown:
            has = ", ".join(queue.name for queue in queues)
            findings.problem(key, f"{unknown[0]!r} is not there; {scheduler.title} has {has}")
            return
        chosen = [queue for those in meant.values() for queue in those]
    _limits(provider, chosen, about, key, findings)


def _account(scheduler: Scheduler, provider: Any, ask: Any, about: str, findings: Findings) -> None:
    wanted = getattr(provider, scheduler.account, None) if scheduler.account else None
    if wanted is None:
        return
    who = (ask("id", "-un") or "").strip()
    accounts = find_accounts(scheduler.system, who, ask)
    key = f"{about}.{scheduler.account}"
    if accounts and wanted.lower() not in map(str.lower, accounts):  # Slurm mostly writes them small
        findings.problem(key, f"{wanted!r} is none of yours, which are {', '.join(accounts)}")
    elif accounts:
        findings.ok(key, f"{wanted} is yours")


def _limits(provider: Any, chosen: list[Queue], about: str, key: str, findings: Findings) -> None:
    before = len(findings.those)
    if not any(queue.open for queue in chosen):
        findings.problem(key, f"{chosen[0].name} is closed: jobs in it do not begin")
    wall_s = getattr(provider, "walltime_s", None)
    longest = max(chosen, key=lambda queue: queue.walltime_s)
    if wall_s is not None and wall_s > longest.walltime_s:
        findings.problem(
            f"{about}.walltime",
            f"{provider.walltime!r} is more than {longest.name} allows, which is {longest.walltime}",
        )
    for what, most in (
        ("has", max(queue.nodes for queue in chosen)),
        ("gives to one job", max(queue.max_nodes for queue in chosen)),
    ):
        if most and provider.nodes_per_block > most:
            findings.problem(
                f"{about}.nodes_per_block",
                f"{provider.nodes_per_block} is more than {longest.name} {what}, which is {most}",
            )
    cores = max(queue.cores for queue in chosen)
    wanted = getattr(provider, "cores_per_node", None)
    if cores and wanted and wanted > cores:
        findings.warning(
            f"{about}.cores_per_node",
            f"{wanted} is more than the smallest nodes of {longest.name} have, which is {cores}",
        )
    if len(findings.those) == before:
        findings.ok(key, str(longest))


def _bash(provider: Any, about: str, findings: Findings) -> None:
    """Lines that a user wrote, as far as they can be looked at without running them."""
    lines = getattr(provider, "worker_init", "")
    if not lines:
        return
    bash = shutil.which("bash")
    if bash is not None:
        done = subprocess.run([bash, "-n"], input=lines, capture_output=True, text=True, timeout=10, check=False)
        if done.returncode:
            findings.problem(
                f"{about}.worker_init", f"bash does not understand it: {done.stderr.strip().splitlines()[0]}"
            )
            return
    if getattr(provider, "shell", None) is not None or not provider.shares_files:
        return  # the files are somewhere else
    for name in sourced(lines):
        path = os.path.expanduser(name)
        if not os.path.exists(path) and not glob.glob(path):
            findings.problem(f"{about}.worker_init", f"there is no file {path}")


def sourced(lines: str) -> Iterator[str]:
    """Files that lines of bash read whatever happens. What bash works out first, or may do without, is left out."""
    if "<<" in lines:
        return  # text that only looks like commands
    moves = re.search(r"^\s*(?:cd|pushd)\b", lines, re.MULTILINE)
    for line in textwrap.dedent(lines.replace("\\\n", "")).splitlines():
        match = re.match(r"(?:source|\.)[ \t]+(.+)", line)  # what stands further in belongs to an `if`
        if match is None:
            continue
        words = shlex.shlex(match[1], posix=True, punctuation_chars=True)
        words.whitespace_split, words.commenters = True, ""
        try:
            name, *rest = words
        except ValueError:
            continue
        is_plain = "/" in name and not set("$`<>();&|") & set(name)  # one without a folder is looked for on PATH
        if is_plain and "||" not in rest and (name.startswith(("/", "~")) or not moves):
            yield name


def _launcher(provider: Any, about: str, findings: Findings) -> None:
    launcher = getattr(provider, "launcher", None)
    name = type(launcher).__name__
    if provider.nodes_per_block > 1 and name in {"SimpleLauncher", "SingleNodeLauncher"} and not stays_here(provider):
        findings.problem(
            f"{about}.launcher",
            f"{name} starts workers on the first of the block's {provider.nodes_per_block} nodes only; use one that starts them on all, such as SrunLauncher",
        )
    if provider.nodes_per_block > 1 and name == "WrappedLauncher" and not stays_here(provider):
        findings.warning(
            f"{about}.launcher",
            f"{name} starts workers on the first of the block's {provider.nodes_per_block} nodes only, unless its prefix starts them on all",
        )
    program = _PROGRAMS.get(name)
    if program is not None and shutil.which(program) is None and getattr(provider, "shell", None) is None:
        findings.warning(f"{about}.launcher", f"{program} of {name} is not on PATH here; the nodes need it")


def _addresses(executor: Any, provider: Any, findings: Findings) -> None:
    addresses: list[str] = list(getattr(executor, "_addresses", ()))
    about = f"{executor.label}.address"
    if not addresses or stays_here(provider) or getattr(provider, "tunnels", False):
        return
    if all(map(is_loopback, addresses)):
        findings.problem(
            about,
            f"{', '.join(addresses)} means this machine only: the nodes cannot come back; give the address of a network that they reach",
        )
    else:
        findings.ok(about, f"nodes will dial {', '.join(addresses)}")


def _times(executor: Any, provider: Any, findings: Findings) -> None:
    drain, wall_s = getattr(executor, "drain_period", None), getattr(provider, "walltime_s", None)
    if drain is not None and wall_s is not None and drain >= wall_s:
        findings.warning(
            f"{executor.label}.drain_period",
            f"{drain:g} s is not less than the walltime of a block, {wall_s} s: it will never come",
        )
