"""The launcher of Flux."""

from __future__ import annotations

from plait.launchers.command_file import CommandFileLauncher, joined


class FluxRunLauncher(CommandFileLauncher):
    """The copies by ``flux run``, in the Flux instance that a block of Flux is.

    Args:
        debug: whether the job's errors show the command line of the launcher.
        overrides: options that are added to that line as they are.
    """

    def line(self, tasks_per_node: int, nodes_per_block: int) -> str:
        """``flux run`` with as many copies on each node as are wanted, each with its share of the node."""
        return joined(
            f"flux run --nodes={nodes_per_block} --tasks-per-node={tasks_per_node} --exclusive --label-io",
            self.overrides,
        )
