"""What an executor would submit, without submitting it: the provider writes its script into a shell that keeps it and runs nothing."""

from __future__ import annotations

import copy
import itertools
import os
import shlex
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait.errors import PlaitError
from plait.executors.htex.telling import template_values
from plait.providers.cluster import ClusterProvider
from plait.providers.shell import CommandFailed, LocalShell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.executors import HighThroughputExecutor

#: Stands for the folder of a run that has not begun.
_RUN: Final = "NNN"


@dataclass(frozen=True)
class Submission:
    """What would be submitted for one block.

    Attributes:
        argv: the command that would submit it; empty when there is none, as for blocks on this machine.
        script: the job's script, or the command where there is no script.
        stdin: whether the command reads the script from its standard input.
        others: further files that it needs.
    """

    argv: tuple[str, ...]
    script: str
    stdin: bool = False
    others: tuple[str, ...] = ()


class _Stop(PlaitError):
    """A command would have been run now."""

    def __init__(self, argv: Sequence[str], stdin: str) -> None:
        super().__init__(tuple(argv), stdin)
        self.argv = tuple(argv)
        self.stdin = stdin


class _Keeps(LocalShell):
    """Keeps what is written, and stops at the first command."""

    def __init__(self, *, shares_files: bool) -> None:
        self.shares_files = shares_files
        self.texts: dict[str, str] = {}

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,  # noqa: ARG002 - the port's
        stdin: str = "",
        env: Mapping[str, str] | None = None,  # noqa: ARG002
        max_bytes: int = 0,  # noqa: ARG002
    ) -> Any:
        raise _Stop(argv, stdin)

    def write(self, path: str, text: str, *, executable: bool = False) -> None:  # noqa: ARG002
        self.texts[path] = text

    def read(self, path: str, max_bytes: int = 0) -> str | None:  # noqa: ARG002
        return None

    def folder(self, here: str) -> str:
        return here

    def make_folder(self, path: str) -> None:
        """Makes none."""

    def remove(self, *paths: str) -> None:
        """Removes nothing."""


def command_of(executor: HighThroughputExecutor, run_dir: str) -> str:
    """The command that a block runs on each of its nodes, with the run's folder as ``NNN``.

    Args:
        executor: whose block it is.
        run_dir: where runs are.
    """
    folder = os.path.join(os.path.abspath(run_dir), _RUN, executor.label)
    provider: Any = executor.provider
    python = getattr(provider, "python", None) or ("python3" if not provider.shares_files else None)
    return executor.launch_cmd.format(
        **{
            **template_values(executor),
            "block_id": "0",
            "config": shlex.quote(os.path.join(folder, "blocks", "0.json")) if provider.shares_files else "-",
            "python": shlex.quote(python) if python else shlex.quote(_this_python()),
            "task_port": executor.worker_port or 0,
            "addresses": "",
            "logdir": shlex.quote(folder),
            "debug": "--debug" if executor.worker_debug else "",
        }
    )


def _this_python() -> str:
    import sys

    return sys.executable


def submission(executor: HighThroughputExecutor, run_dir: str) -> Submission:
    """What would be submitted for a block of an executor.

    Raises:
        PlaitError: it cannot be put together, with the reason.
    """
    provider: Any = executor.provider
    command = command_of(executor, run_dir)
    name = f"plait.{_RUN}.{executor.label}.block-0"
    cluster = cluster_of(provider)
    if cluster is not None:
        return _of_cluster(cluster, command, name, os.path.join(os.path.abspath(run_dir), _RUN, executor.label))
    launcher = getattr(provider, "launcher", None)
    wrapped = command
    if launcher is not None:
        with tempfile.TemporaryDirectory(prefix="plait-dry-run-") as folder:
            wrapped = launcher(command, 1, provider.nodes_per_block, folder)
    init = getattr(provider, "worker_init", "")
    return Submission((), "\n".join(filter(None, (init, wrapped))))


def cluster_of(provider: Any) -> ClusterProvider | None:
    """The batch system that a provider uses, itself or behind ssh; None when it uses none."""
    inner = getattr(provider, "_inner", provider)
    return inner if isinstance(inner, ClusterProvider) else None


def _of_cluster(provider: ClusterProvider, command: str, name: str, folder: str) -> Submission:
    shell = _Keeps(shares_files=provider.shares_files)
    probe = copy.copy(provider)
    probe.shell = shell
    probe.resources = {}
    probe.script_dir = folder
    probe._numbers = {}  # noqa: SLF001 - a copy of its own
    probe._tag = "tag"  # noqa: SLF001
    probe._files = itertools.count()  # noqa: SLF001
    try:
        probe.submit(command, 1, name)
    except _Stop as stop:
        scripts = list(shell.texts.values())
        named = [path for path in shell.texts if path in stop.argv]
        script = stop.stdin or (shell.texts[named[-1]] if named else scripts[-1] if scripts else "")
        return Submission(stop.argv, script, bool(stop.stdin), tuple(text for text in scripts if text != script))
    return Submission((), "\n".join(shell.texts.values()))


def scheduler_says(provider: ClusterProvider, found: Submission) -> tuple[bool, str] | None:
    """What the batch system says of the script when it is asked to look at it only; None where it cannot be asked.

    Args:
        provider: whose shell is used.
        found: what would be submitted.
    """
    if provider.SYSTEM != "slurm" or not found.argv:
        return None
    argv = ["sbatch", "--test-only"]
    shell = provider.shell or LocalShell()
    try:
        done = shell.run(argv, timeout_s=provider.cmd_timeout, stdin=found.script)
    except CommandFailed as error:
        return False, str(error)
    said = [line.strip() for line in (done.err or done.out).splitlines() if line.strip()]
    text = said[-1].removeprefix("sbatch: ") if said else ""
    return done.code == 0, text
