from __future__ import annotations

import pytest

from plait.compat.parsl.executors.high_throughput.mpi_resource_management import Scheduler, get_nodes_in_batchjob


def test_nodes_of_a_job(monkeypatch, tmp_path):
    (tmp_path / "nodes").write_text("n1\nn1\nn2\n")
    monkeypatch.setenv("PBS_NODEFILE", str(tmp_path / "nodes"))
    assert get_nodes_in_batchjob(Scheduler.PBS) == ["n1", "n2"]


@pytest.mark.parametrize("scheduler", list(Scheduler))
def test_outside_of_one(monkeypatch, scheduler):
    for name in ("PBS_NODEFILE", "SLURM_JOB_NODELIST", "SLURM_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PLAIT_NODELIST", "x")
    with pytest.raises(RuntimeError, match="are not known"):
        get_nodes_in_batchjob(scheduler)
