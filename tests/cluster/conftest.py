"""Test beds for the tests of this folder."""

from __future__ import annotations

from tests.testbed.gridengine import sge, sge_bed
from tests.testbed.mpi import mpi_program
from tests.testbed.slurm import slurm, slurm_accounting, slurm_accounting_bed, slurm_bed
from tests.testbed.ssh import ssh_bed

__all__ = ["mpi_program", "sge", "sge_bed", "slurm", "slurm_accounting", "slurm_accounting_bed", "slurm_bed", "ssh_bed"]
