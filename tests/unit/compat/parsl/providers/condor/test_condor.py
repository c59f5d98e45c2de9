from __future__ import annotations

import pytest

from plait.compat.parsl.launchers import SimpleLauncher
from plait.compat.parsl.providers import CondorProvider as Short
from plait.compat.parsl.providers.condor.condor import CondorProvider
from plait.providers import CondorProvider as Own


def test_it_takes_the_parameters_in_their_order():
    provider = CondorProvider(
        1, 4, 2.5, 0, 0, 4, 0.5, {"A": "b"}, "m1", "+X = 1", ["f"], "01:00:00", "module load y", SimpleLauncher(), "Memory > 1", 30, 7
    )  # fmt: skip
    assert isinstance(provider, Own)
    assert Short is CondorProvider
    assert (provider.cores_per_slot, provider.mem_per_slot, provider.environment, provider.project) == (
        4,
        2.5,
        {"A": "b"},
        "m1",
    )
    assert (provider.transfer_input_files, provider.requirements, provider.cmd_timeout, provider.cmd_chunk_size) == (
        ("f",),
        "Memory > 1",
        30,
        7,
    )
    assert (provider.max_blocks, provider.walltime, provider.walltime_s) == (4, "01:00:00", 3600)
    assert "project='m1'" in repr(provider)


def test_the_default_walltime_has_no_effect_as_upstream():
    assert CondorProvider().walltime is None


def test_what_upstream_accepts_is_accepted_with_a_word():
    with pytest.warns(UserWarning, match="max_blocks=3"):
        assert CondorProvider(init_blocks=3).max_blocks == 3
    with pytest.warns(UserWarning, match="nodes_per_block=2"):
        assert CondorProvider(nodes_per_block=2).nodes_per_block == 1
    with pytest.warns(FutureWarning, match="channel=…"):
        CondorProvider(channel=None)
    with pytest.raises(TypeError, match="zork"):
        CondorProvider(zork=1)
