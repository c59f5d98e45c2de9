"""Launchers of MPI libraries.

Both tell the library which hosts to use, and how often, when a batch system names them: left to itself a library fills the first node with as many
copies as it has slots. And both keep a failure of one copy from the library, which would end the others for it: a node on which the manager fails must not
take the block with it. The failure is written down beside the file of the command, and is the status of the whole in the end.
"""

from __future__ import annotations

import shlex
from typing import Final

from plait.errors import ConfigurationError
from plait.launchers.command_file import BASH, FILE, CommandFileLauncher, checked_line, copies, in_file, joined, shown
from plait.launchers.hosts import HOSTS_FILE, some_hosts

#: Lines in front of the command: the file runs itself once more, so that what it ends with can be looked at.
_GUARD: Final = """\
if [ "${PLAIT_COPY-}" != "$0" ]; then
    PLAIT_COPY=$0 "$BASH" "$0" || echo "$?" >>"$0.failed"
    exit 0
fi
unset PLAIT_COPY"""

#: Words that are there when hosts are known; written so that a shell with `set -u` takes no words too.
_HOSTS: Final = '${plait_hosts[@]+"${plait_hosts[@]}"}'


class MpiExecLauncher(CommandFileLauncher):
    """The copies by ``mpiexec --bind-to none … -n … --hostfile …``.

    Args:
        debug: whether the job's errors show the command line of the launcher.
        bind_cmd: the library's option for binding processes to cores, which is given the value ``none``: ``--cpu-bind`` on some systems of HPE.
        overrides: options that are added to that line as they are.
    """

    def __init__(self, debug: bool = True, bind_cmd: str = "--bind-to", overrides: str = "") -> None:
        super().__init__(debug=debug, overrides=overrides)
        self.bind_cmd = checked_line(self, "bind_cmd", bind_cmd)

    def line(self, tasks_per_node: int, nodes_per_block: int) -> str:
        """``mpiexec`` with its hosts."""
        return joined(f"mpiexec {self.bind_cmd} none", self.overrides, f"-n {tasks_per_node * nodes_per_block}", _HOSTS)

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        """Lines of bash that end with the status of the copies.

        Raises:
            ConfigurationError: the numbers are none.
        """
        return _on_hosts(self, command, tasks_per_node, nodes_per_block, script_dir, BASH)


class MpiRunLauncher(CommandFileLauncher):
    """The copies by ``mpirun -np …``.

    Args:
        debug: whether the job's errors show the command line of the launcher.
        bash_location: the program that runs the file of the command.
        overrides: options that are added to that line as they are.
    """

    def __init__(self, debug: bool = True, bash_location: str = BASH, overrides: str = "") -> None:
        super().__init__(debug=debug, overrides=overrides)
        self.bash_location = checked_line(self, "bash_location", bash_location)
        if not self.bash_location.strip():
            raise ConfigurationError(f"MpiRunLauncher(bash_location={bash_location!r}): expected a path, as {BASH!r}")

    def line(self, tasks_per_node: int, nodes_per_block: int) -> str:
        """``mpirun``, with its hosts where there are several."""
        return joined(
            f"mpirun -np {tasks_per_node * nodes_per_block}", self.overrides, _HOSTS if nodes_per_block > 1 else ""
        )

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        """Lines of bash that end with the status of the copies.

        Raises:
            ConfigurationError: the numbers are none.
        """
        return _on_hosts(self, command, tasks_per_node, nodes_per_block, script_dir, shlex.quote(self.bash_location))


def _on_hosts(
    launcher: CommandFileLauncher, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str, bash: str
) -> str:
    copies(launcher, tasks_per_node, nodes_per_block)
    line = shown(f"{launcher.line(tasks_per_node, nodes_per_block)} {bash} {FILE} </dev/null", launcher.debug)
    run = f"""\
{some_hosts(nodes_per_block, tasks_per_node)}
plait_hosts=()
if [ -e {HOSTS_FILE} ]; then plait_hosts=(--hostfile {HOSTS_FILE}); fi
plait_status=0
{line} || plait_status=$?
if ((plait_status == 0)) && [ -s {_FAILED} ]; then plait_status=$(sort -n {_FAILED} | tail -n 1); fi
rm -f -- {HOSTS_FILE} {_FAILED}
(exit "$plait_status")"""
    return in_file(command, run, script_dir, head=f"printf '%s\\n' {shlex.quote(_GUARD)}")


_FAILED: Final = '"$plait_script.failed"'
