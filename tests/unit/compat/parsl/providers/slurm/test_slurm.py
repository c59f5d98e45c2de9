from __future__ import annotations

import pytest

from plait.compat.parsl.launchers import SimpleLauncher
from plait.compat.parsl.launchers.base import Launcher
from plait.compat.parsl.providers.slurm.slurm import SlurmProvider
from plait.providers import SlurmProvider as Own


def test_it_takes_the_parameters_in_their_order():
    provider = SlurmProvider(
        "debug", "m1", "high", "knl", "big", 2, 8, 16, 4, "gpu:4", 0, 0, 5, 0.5, "00:20:00", "#SBATCH -x", r"#(?P<id>\d+)", "module load y",
        30, 9, False, SimpleLauncher(),
    )  # fmt: skip
    assert isinstance(provider, Own)
    assert (provider.partition, provider.account, provider.qos, provider.constraint, provider.clusters) == (
        "debug", "m1", "high", "knl", "big",
    )  # fmt: skip
    assert (provider.nodes_per_block, provider.cores_per_node, provider.mem_per_node) == (2, 8, 16)
    assert (provider.gpus_per_node, provider.gres) == (4, "gpu:4")
    assert (provider.init_blocks, provider.min_blocks, provider.max_blocks, provider.parallelism) == (0, 0, 5, 0.5)
    assert (provider.walltime_s, provider.scheduler_options, provider.worker_init) == (
        1200,
        "#SBATCH -x",
        "module load y",
    )
    assert (provider.regex_job_id, provider.cmd_timeout, provider.status_batch_size) == (r"#(?P<id>\d+)", 30, 9)
    assert provider.exclusive is False
    assert "partition='debug'" in repr(provider)


class Old(Launcher):
    def __call__(self, command, tasks_per_node, nodes_per_block):
        return command


def test_what_upstream_accepts_is_accepted_with_a_word():
    assert SlurmProvider(launcher=Old()).launcher("date", 1, 1, "folder") == "date"
    with pytest.warns(UserWarning, match="max_blocks=3"):
        assert SlurmProvider(init_blocks=3).max_blocks == 3
    with pytest.warns(FutureWarning, match="channel=…"):
        SlurmProvider(channel=None)
    with pytest.raises(TypeError, match="zork"):
        SlurmProvider(zork=1)
