"""The beginnings of command lines, word by word, and the variables that have them."""

from __future__ import annotations

import shlex

import pytest

from plait.executors.htex.messages import Grant
from plait.executors.htex.mpi_prefix import LAUNCHERS, is_in_step, prefix, variables

GRANT = Grant(hosts=("a", "b"), ranks=8, ranks_per_node=4)


@pytest.mark.parametrize(
    ("launcher", "words"),
    [
        ("mpiexec", ["mpiexec", "-n", "8", "-ppn", "4", "-hosts", "a,b"]),
        ("mpirun", ["mpirun", "-n", "8", "--map-by", "ppr:4:node", "--host", "a:4,b:4"]),
        ("srun", ["srun", "--ntasks", "8", "--ntasks-per-node", "4", "--nodelist", "a,b", "--nodes", "2"]),
        ("aprun", ["aprun", "-n", "8", "-N", "4", "-node-list", "a,b"]),
    ],
)
def test_each_launcher_is_told_in_its_own_words(launcher, words):
    assert shlex.split(prefix(launcher, GRANT, {})) == words


def test_the_options_of_the_launcher_are_its_end_as_they_are():
    grant = Grant(hosts=("a",), ranks=1, ranks_per_node=1, launcher_options='--bind-to none -x "A B"')
    for launcher in LAUNCHERS:
        assert prefix(launcher, grant, {}).endswith(' --bind-to none -x "A B"')


def test_in_a_step_of_slurm_srun_shares_its_processors():
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}
    assert is_in_step(step)
    assert not is_in_step({"SLURM_JOB_ID": "7"})
    assert not is_in_step({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "batch"})
    assert shlex.split(prefix("srun", GRANT, step))[-3:] == ["--overlap", "--mem", "0"]
    found = variables("srun", GRANT, step)
    assert (found["SLURM_OVERLAP"], found["SLURM_MEM_PER_NODE"], found["SLURM_MEM_PER_CPU"]) == ("1", "0", None)
    assert "SLURM_OVERLAP" not in variables("srun", GRANT, {})
    assert "--overlap" not in prefix("mpiexec", GRANT, step)


def test_variables_under_both_names():
    found = variables("srun", GRANT, {})
    for brand in ("PARSL_", "PLAIT_"):
        assert found[f"{brand}MPI_PREFIX"] == found[f"{brand}SRUN_PREFIX"] == prefix("srun", GRANT, {})
        assert found[f"{brand}MPIEXEC_PREFIX"] == prefix("mpiexec", GRANT, {})
        assert found[f"{brand}MPIRUN_PREFIX"] == prefix("mpirun", GRANT, {})
        assert found[f"{brand}APRUN_PREFIX"] == prefix("aprun", GRANT, {})
        numbers = [found[f"{brand}{name}"] for name in ("NUM_NODES", "NUM_RANKS", "RANKS_PER_NODE", "MPI_NODELIST")]
        assert numbers == ["2", "8", "4", "a,b"]
    assert len(found) == 18


def test_what_an_outer_launcher_left_is_removed():
    env = {
        "PMI_RANK": "3",
        "PMIX_NAMESPACE": "x",
        "SLURM_CPU_BIND_LIST": "0x1",
        "SLURM_NTASKS": "4",
        "SLURM_JOB_ID": "7",
        "PATH": "/bin",
    }
    found = variables("mpiexec", GRANT, env)
    assert {name for name, value in found.items() if value is None} == {
        "PMI_RANK",
        "PMIX_NAMESPACE",
        "SLURM_CPU_BIND_LIST",
        "SLURM_NTASKS",
    }
