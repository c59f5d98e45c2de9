"""Launchers that need nothing but bash."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from plait.errors import ConfigurationError
from plait.launchers.base import Launcher
from plait.launchers.command_file import copies

if TYPE_CHECKING:
    from typing import Final

_logger: Final = logging.getLogger("plait")


class SimpleLauncher(Launcher):
    """The command as it is, once, where the job's script runs."""

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:  # noqa: ARG002 - the port's
        """The command unchanged."""
        if nodes_per_block > 1:
            _logger.warning(
                "SimpleLauncher runs the command on the first of the block's %d nodes only, as MPIExecutor wants it; "
                "for managers on all of them use SrunLauncher or MpiExecLauncher",
                nodes_per_block,
            )
        return command


class WrappedLauncher(Launcher):
    """The command behind a prefix, such as that of a container or a profiler.

    Args:
        prepend: what comes before the command.
        debug: accepted for all launchers.

    Raises:
        ConfigurationError: the prefix is no text.
    """

    def __init__(self, prepend: str, debug: bool = True) -> None:
        super().__init__(debug=debug)
        if not isinstance(prepend, str):
            raise ConfigurationError(
                f"WrappedLauncher(prepend={prepend!r}): expected what comes before the command, as text"
            )
        self.prepend = prepend

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:  # noqa: ARG002 - the port's
        """The prefix and the command."""
        if nodes_per_block > 1:
            _logger.warning(
                "WrappedLauncher runs the command on the first of the block's %d nodes only", nodes_per_block
            )
        return f"{self.prepend} {command}"


class SingleNodeLauncher(Launcher):
    """As many copies of the command as are wanted, on the node where the job's script runs.

    Args:
        debug: whether the script says what it starts.
        fail_on_any: whether the job fails when one copy fails; otherwise when all do.

    Raises:
        ConfigurationError: a value cannot work.
    """

    def __init__(self, debug: bool = True, fail_on_any: bool = False) -> None:
        super().__init__(debug=debug)
        if not isinstance(fail_on_any, bool):
            raise ConfigurationError(f"SingleNodeLauncher(fail_on_any={fail_on_any!r}): expected True or False")
        self.fail_on_any = fail_on_any

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:  # noqa: ARG002 - the port's
        """Lines of bash that end with the status of the whole.

        Raises:
            ConfigurationError: the numbers are none.
        """
        number = copies(self, tasks_per_node, nodes_per_block)
        say = f'echo "starting {number} on $HOSTNAME"\n' if self.debug else ""
        if number == 1:
            return f"{say}{command}\n"
        wrong = "failed > 0" if self.fail_on_any else f"failed == {number}"
        return f"""{say}plait_command() {{
{command}
}}
pids=()
for ((copy = 0; copy < {number}; copy++)); do
    plait_command &
    pids+=($!)
done
failed=0
status=0
for pid in "${{pids[@]}}"; do
    wait "$pid" || {{ status=$?; failed=$((failed + 1)); }}
done
if ((failed > 0)); then echo "$failed of {number} failed, the last with exit status $status" >&2; fi
if (({wrong})); then exit "$status"; fi
exit 0
"""
