"""The launcher of IBM's Job Step Manager."""

from __future__ import annotations

from plait.launchers.command_file import CommandFileLauncher, joined


class JsrunLauncher(CommandFileLauncher):
    """The copies by ``jsrun -n … -r …``, each in a resource set of its own.

    A resource set has one CPU unless ``overrides`` say more: ``-c ALL_CPUS -g ALL_GPUS`` for whole nodes.

    Args:
        debug: whether the job's errors show the command line of the launcher.
        overrides: options that are added to that line as they are.
    """

    def line(self, tasks_per_node: int, nodes_per_block: int) -> str:
        """``jsrun`` with as many resource sets on each node as copies are wanted."""
        return joined(f"jsrun -n {tasks_per_node * nodes_per_block} -r {tasks_per_node}", self.overrides)
