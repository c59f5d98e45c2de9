"""Launchers of Slurm."""

from __future__ import annotations

from typing import Final

from plait.launchers.command_file import BASH, FILE, CommandFileLauncher, copies, in_file, joined, shown

#: From Slurm 22.05 on, steps do not take this from the job any more, and a copy would have one CPU of those that it was promised.
CPUS_OF_THE_JOB: Final = '${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"}'

#: A line for the file of the command: `srun` makes its options variables of the copies, so that what tasks start with `srun` would be labelled too.
_NO_LABELS: Final = "echo unset SLURM_LABELIO"


class SrunLauncher(CommandFileLauncher):
    """The copies as one job step: ``srun --nodes … --ntasks … --label``.

    What the copies write is labelled with their number. `srun` gives a step the CPUs of the whole node unless its options say otherwise. A copy that fails or
    ends before the others does not end them, whatever the site's configuration says of that: a node may leave its block.

    Args:
        debug: whether the job's errors show the command line of the launcher.
        overrides: options that are added to that line as they are.
    """

    head = _NO_LABELS

    def line(self, tasks_per_node: int, nodes_per_block: int) -> str:
        """``srun`` with as many tasks on each node as are wanted."""
        return joined(
            f"srun --nodes={nodes_per_block} --ntasks={tasks_per_node * nodes_per_block}",
            f"--ntasks-per-node={tasks_per_node} {CPUS_OF_THE_JOB} --kill-on-bad-exit=0 --wait=0 --label",
            self.overrides,
        )


class SrunMPILauncher(CommandFileLauncher):
    """Each copy as a job step of its own, so that tasks can start MPI programs with `srun` beside each other.

    The steps share what the job has (``--overlap``): a step that kept its CPUs for itself would leave none for the programs of its tasks.

    Args:
        debug: whether the job's errors show the command lines of the launcher.
        overrides: options that are added to those lines as they are.
    """

    def line(self, tasks_per_node: int, nodes_per_block: int) -> str:  # noqa: ARG002 - the same for every shape
        """``srun`` for one copy; the shell counts the copies in ``plait_copy``."""
        return joined(
            f'srun --nodes=1 --ntasks=1 --relative="$((plait_copy / {tasks_per_node}))"',
            f"{CPUS_OF_THE_JOB} --overlap --label",
            self.overrides,
        )

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        """Lines of bash that start the steps beside each other; their status is the highest of all.

        Raises:
            ConfigurationError: the numbers are none.
        """
        number = copies(self, tasks_per_node, nodes_per_block)
        step = shown(f"{self.line(tasks_per_node, nodes_per_block)} {BASH} {FILE} </dev/null", self.debug)
        return in_file(command, all_at_once(step, number), script_dir, head=_NO_LABELS)


def all_at_once(line: str, number: int) -> str:
    """Lines of bash that run one line so many times beside each other; the status of the last one is the highest of all."""
    return f"""\
plait_pids=()
for ((plait_copy = 0; plait_copy < {number}; plait_copy++)); do
    {line} &
    plait_pids+=($!)
done
plait_worst=0
for plait_pid in "${{plait_pids[@]}}"; do
    wait "$plait_pid" || {{ plait_status=$?; if ((plait_status > plait_worst)); then plait_worst=$plait_status; fi; }}
done
(exit "$plait_worst")"""
