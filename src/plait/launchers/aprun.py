"""The launcher of Cray's ALPS."""

from __future__ import annotations

from plait.launchers.command_file import CommandFileLauncher, joined


class AprunLauncher(CommandFileLauncher):
    """The copies by ``aprun -n … -N …``.

    Args:
        debug: whether the job's errors show the command line of the launcher.
        overrides: options that are added to that line as they are.
    """

    def line(self, tasks_per_node: int, nodes_per_block: int) -> str:
        """``aprun`` with as many copies on each node as are wanted."""
        return joined(f"aprun -n {tasks_per_node * nodes_per_block} -N {tasks_per_node}", self.overrides)
