"""What a task over whole nodes finds in its environment: its nodes, its ranks, and the beginning of the command line that starts them.

```sh
$PLAIT_MPI_PREFIX ./simulate input.nml        # mpiexec -n 8 -ppn 4 -hosts node1,node2 ./simulate input.nml
```

Each launcher has its own way to say the same. All of them are there (``MPIEXEC``, ``MPIRUN``, ``SRUN``, ``APRUN``); ``MPI`` is the one that the executor was told.
Every variable begins with ``PLAIT_``, and once more with ``PARSL_``.

Pure: everything follows from the arguments.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plait.executors.htex.messages import Grant

#: What the manager's own launcher left for its own processes. Another launcher would take it for the user's wish, or a program for its parent.
_STALE: Final = (
    "PMI_", "PMIX_", "PMI2_", "PALS_", "OMPI_COMM_", "OMPI_UNIVERSE", "SLURM_CPU_BIND", "SLURM_MEM_BIND", "SLURM_DISTRIBUTION", "SLURM_NTASKS",
    "SLURM_NPROCS", "SLURM_TASKS_PER_NODE", "SLURM_STEP_TASKS_PER_NODE", "SLURM_CPUS_PER_TASK", "SLURM_GTIDS", "SLURM_PROCID", "SLURM_LOCALID",
)  # fmt: skip


def mpiexec(hosts: Sequence[str], ranks: int, each: int, env: Mapping[str, str]) -> list[str]:
    """Of MPICH and what comes from it, as vendors' libraries do."""
    del env
    return ["mpiexec", "-n", str(ranks), "-ppn", str(each), "-hosts", ",".join(hosts)]


def mpirun(hosts: Sequence[str], ranks: int, each: int, env: Mapping[str, str]) -> list[str]:
    """Of Open MPI, which knows neither of the two."""
    del env
    return [
        "mpirun",
        "-n",
        str(ranks),
        "--map-by",
        f"ppr:{each}:node",
        "--host",
        ",".join(f"{host}:{each}" for host in hosts),
    ]


def srun(hosts: Sequence[str], ranks: int, each: int, env: Mapping[str, str]) -> list[str]:
    """Of Slurm. Where the manager itself is a step of the job, what it started shares its processors and its memory."""
    words = [
        "srun",
        "--ntasks",
        str(ranks),
        "--ntasks-per-node",
        str(each),
        "--nodelist",
        ",".join(hosts),
        "--nodes",
        str(len(hosts)),
    ]
    return [*words, "--overlap", "--mem", "0"] if is_in_step(env) else words


def aprun(hosts: Sequence[str], ranks: int, each: int, env: Mapping[str, str]) -> list[str]:
    """Of Cray's ALPS."""
    del env
    return ["aprun", "-n", str(ranks), "-N", str(each), "-node-list", ",".join(hosts)]


LAUNCHERS: Final[dict[str, Callable[[Sequence[str], int, int, Mapping[str, str]], list[str]]]] = {
    "mpiexec": mpiexec,
    "mpirun": mpirun,
    "srun": srun,
    "aprun": aprun,
}


def is_in_step(env: Mapping[str, str]) -> bool:
    """Whether this is a step of a Slurm job, started by srun, rather than the job's script."""
    return env.get("SLURM_STEP_ID", env.get("SLURM_STEPID", "")).isdecimal()


def prefix(launcher: str, grant: Grant, env: Mapping[str, str]) -> str:
    """The beginning of a command line, for a shell.

    Args:
        launcher: one of `LAUNCHERS`.
        grant: what the task has.
        env: of the manager.
    """
    words = shlex.join(LAUNCHERS[launcher](grant.hosts, grant.ranks, grant.ranks_per_node, env))
    return f"{words} {grant.launcher_options}" if grant.launcher_options else words


def variables(launcher: str, grant: Grant, env: Mapping[str, str]) -> dict[str, str | None]:
    """What is set for a task, and what is removed (None).

    Args:
        launcher: the one that the executor was told, of `LAUNCHERS`.
        grant: what the task has.
        env: of the manager.
    """
    facts = {
        "MPI_PREFIX": prefix(launcher, grant, env),
        **{f"{name.upper()}_PREFIX": prefix(name, grant, env) for name in LAUNCHERS},
        "NUM_NODES": str(len(grant.hosts)),
        "NUM_RANKS": str(grant.ranks),
        "RANKS_PER_NODE": str(grant.ranks_per_node),
        "MPI_NODELIST": ",".join(grant.hosts),
    }
    found: dict[str, str | None] = {name: None for name in env if name.startswith(_STALE)}
    found.update({f"{brand}_{name}": value for name, value in facts.items() for brand in ("PARSL", "PLAIT")})
    if is_in_step(env):
        # For an mpiexec that starts its own helpers by srun. It may be told of memory in one way only.
        found |= {"SLURM_OVERLAP": "1", "SLURM_MEM_PER_NODE": "0", "SLURM_MEM_PER_CPU": None, "SLURM_MEM_PER_GPU": None}
    return found
