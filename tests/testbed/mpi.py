"""Real MPI: Open MPI from Debian, by `mpiexec` on this machine and by `srun` on the nodes of the Slurm test bed, and a program in C."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from tests.support import require
from tests.testbed.common import require_commands, run

if TYPE_CHECKING:
    from pathlib import Path

#: Open MPI as root, with more copies than there are cores, and without a network. The folder for its sockets is to be short.
BY_MPIEXEC: Final = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_btl": "self,tcp",
    "OMPI_MCA_btl_tcp_if_include": "lo",
    "OMPI_MCA_oob_tcp_if_include": "lo",
    "OMPI_MCA_plm_rsh_agent": "false",
}
#: The same started by Slurm itself. Nodes share this machine's memory, but not their processes: messages go by the network.
BY_SRUN: Final = {
    "SLURM_MPI_TYPE": "pmix",
    "OMPI_MCA_btl": "self,tcp",
    "OMPI_MCA_btl_tcp_if_include": "lo",
}
_SOURCE: Final = r"""
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
    int rank, size, length, sum;
    char host[MPI_MAX_PROCESSOR_NAME];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Get_processor_name(host, &length);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    printf("%d of %d on %s sum %d\n", rank, size, host, sum);
    MPI_Finalize();
    return 0;
}
"""


def require_mpi() -> None:
    """Skips, or fails with ``CI=true``, where there is no Open MPI with its compiler and headers."""
    require_commands("mpiexec.openmpi", "mpicc.openmpi", "gcc")
    folders = run(["mpicc.openmpi", "--showme:incdirs"]).split()
    require(any(os.path.exists(f"{folder}/mpi.h") for folder in folders), "headers of Open MPI (libopenmpi-dev)")


@pytest.fixture(scope="session")
def mpi_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled program, whose copies add up their ranks and print ``<rank> of <size> on <host> sum <sum>``."""
    require_mpi()
    folder = tmp_path_factory.mktemp("mpi")
    source, program = folder / "ranks.c", folder / "ranks"
    source.write_text(_SOURCE)
    run(["mpicc.openmpi", str(source), "-o", str(program)], timeout_s=60, env=dict(os.environ))
    return program
