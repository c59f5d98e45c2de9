"""``parsl.providers.cluster_provider``: the base of providers that users wrote for batch systems. plait's own stand on `plait.providers.cluster`."""

from __future__ import annotations

import os
from abc import abstractmethod
from string import Template
from typing import TYPE_CHECKING, Any

import plait.providers.cluster
from plait.compat.parsl.launchers.base import with_folder
from plait.compat.parsl.providers.local.local import most_blocks
from plait.compat.parsl.utils import execute_wait
from plait.errors import BadLauncher, SchedulerMissingArgs, ScriptPathError
from plait.launchers.base import Launcher
from plait.providers.base import ExecutionProvider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.model.jobs import JobStatus

__all__ = ["ClusterProvider"]


class ClusterProvider(ExecutionProvider):
    """A provider that calls commands.

    A plug-in says how a job is begun (`submit`), how all jobs are (`_status`, which writes ``self.resources[job_id]["status"]``) and how they are
    ended (`cancel`).
    """

    def __init__(
        self,
        label: str,
        nodes_per_block: int,
        init_blocks: int,
        min_blocks: int,
        max_blocks: int,
        parallelism: float,
        walltime: Any,
        launcher: Launcher,
        cmd_timeout: float = 10,
    ) -> None:
        if not isinstance(launcher, Launcher):
            raise BadLauncher(launcher)
        self._label = label
        self.nodes_per_block = nodes_per_block
        self.init_blocks = init_blocks
        self.min_blocks = min_blocks
        self.max_blocks = most_blocks(type(self).__name__, init_blocks, min_blocks, max_blocks)
        self.parallelism = parallelism
        self.walltime = walltime
        self.launcher = with_folder(launcher)
        self.cmd_timeout = cmd_timeout
        self.script_dir: str | None = None
        self.resources: dict[Any, dict[str, Any]] = {}

    @property
    def label(self) -> str:
        return self._label

    def execute_wait(self, cmd: str, timeout: float | None = None) -> tuple[int, str, str]:
        """Runs a shell command; its exit code, output and errors.

        Raises:
            subprocess.TimeoutExpired: it took longer than that, or than ``cmd_timeout``.
        """
        return execute_wait(cmd, self.cmd_timeout if timeout is None else timeout)

    def _write_submit_script(
        self, template: str, script_filename: str, job_name: str, configs: Mapping[str, Any]
    ) -> None:
        """Writes a script, in which ``${jobname}`` and the names in ``configs`` are filled in. Only its owner may read it.

        Raises:
            SchedulerMissingArgs: the template wants a name that is not there.
            ScriptPathError: the file cannot be written.
        """
        try:
            text = Template(template).substitute(jobname=job_name, **configs)
        except KeyError as missing:
            raise SchedulerMissingArgs(missing.args, self.label) from missing
        try:
            fd = os.open(script_filename, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise ScriptPathError(script_filename, str(error)) from error

    @abstractmethod
    def _status(self) -> None:
        """Asks the batch system how the jobs in `resources` are, and notes the answers there."""

    def status(self, job_ids: Sequence[Any]) -> list[JobStatus]:
        """How jobs are, in the same order."""
        if job_ids:
            self._status()
        return [self.resources[job_id]["status"] for job_id in job_ids]


ClusterProvider.register(plait.providers.cluster.ClusterProvider)  # type: ignore[type-abstract]
