"""``parsl.executors.high_throughput.mpi_resource_management``: which nodes a job has."""

from __future__ import annotations

import enum
import os
from typing import Final

from plait.errors import ConfigurationError
from plait.executors.htex.hosts import block_hosts

__all__ = ["Scheduler", "get_nodes_in_batchjob"]


class Scheduler(enum.Enum):
    """Batch systems."""

    Unknown = 0
    Slurm = 1
    PBS = 2


_VARIABLES: Final = {
    Scheduler.Slurm: ("SLURM_JOB_NODELIST", "SLURM_NODELIST"),
    Scheduler.PBS: ("PBS_NODEFILE",),
    Scheduler.Unknown: (),
}


def get_nodes_in_batchjob(scheduler: Scheduler) -> list[str]:
    """The nodes of the job that this runs in, each once.

    Raises:
        RuntimeError: the batch system does not tell them.
    """
    env = {name: os.environ[name] for name in _VARIABLES[scheduler] if name in os.environ}
    try:
        return block_hosts(env)
    except ConfigurationError as error:
        raise RuntimeError(f"the nodes of a job of {scheduler.name} are not known: {error}") from error
