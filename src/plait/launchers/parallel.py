"""The launcher of GNU parallel, for nodes that are reached over SSH."""

from __future__ import annotations

from typing import Final

from plait.launchers.base import Launcher
from plait.launchers.command_file import BASH, FILE, copies, in_file, shown
from plait.launchers.hosts import HOSTS_FILE, some_hosts
from plait.launchers.simple import SingleNodeLauncher

#: Lines that give a copy the folder and the variables of the job, which SSH leaves behind. What belongs to the host or the connection stays the host's.
#: They are part of the private file: a variable may be a secret.
_ENVIRONMENT: Final = """\
(unset HOSTNAME HOST OLDPWD SHLVL SSH_CLIENT SSH_CONNECTION SSH_TTY XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS; export -p)
printf '[ -d "${TMPDIR-/}" ] || unset TMPDIR\\ncd %q || exit\\n' "$PWD\""""


class GnuParallelLauncher(Launcher):
    """The copies by ``parallel --nonall --sshloginfile …``, on the hosts that the batch system names, or here when it names none.

    The hosts must let the job in over SSH without a question. Each starts with the job's variables and folder.

    Args:
        debug: whether the job's errors show the command line of the launcher.
    """

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        """Lines of bash that end with the highest status of the copies.

        Raises:
            ConfigurationError: the numbers are none.
        """
        copies(self, tasks_per_node, nodes_per_block)
        on_a_host = SingleNodeLauncher(debug=False, fail_on_any=True)(command, tasks_per_node, 1)
        line = (
            f"parallel --will-cite --plain --nonall --jobs {nodes_per_block} --ungroup --quote --joblog {_LOG} "
            f"--sshloginfile {HOSTS_FILE} {BASH} {FILE} </dev/null"
        )
        run = f"""\
{some_hosts(nodes_per_block, 1)}
[ -e {HOSTS_FILE} ] || echo : >{HOSTS_FILE}
plait_status=0
{shown(line, self.debug)} || plait_status=$?
if ((plait_status != 0 && plait_status <= 101)); then
    awk 'NR > 1 && $7 > worst {{ worst = $7 }} END {{ exit worst }}' {_LOG} || plait_status=$?
fi
rm -f -- {HOSTS_FILE} {_LOG}
(exit "$plait_status")"""
        return in_file(on_a_host, run, script_dir, head=_ENVIRONMENT)


_LOG: Final = '"$plait_script.log"'
