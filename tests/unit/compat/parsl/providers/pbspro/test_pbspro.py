from __future__ import annotations

import pytest

from plait.compat.parsl.launchers import SimpleLauncher
from plait.compat.parsl.providers import PBSProProvider as Short
from plait.compat.parsl.providers.pbspro.pbspro import PBSProProvider
from plait.providers import PBSProProvider as Own


def test_it_takes_the_parameters_in_their_order():
    provider = PBSProProvider(
        "m1", "long", "#PBS -x", "ngpus=4", "module load y", 2, 32, 0, 0, 4, 0.5, SimpleLauncher(), "01:00:00", 30
    )
    assert isinstance(provider, Own)
    assert Short is PBSProProvider
    assert (provider.account, provider.queue, provider.select_options, provider.cpus_per_node) == (
        "m1",
        "long",
        "ngpus=4",
        32,
    )
    assert (provider.nodes_per_block, provider.max_blocks, provider.walltime_s, provider.cmd_timeout) == (
        2,
        4,
        3600,
        30,
    )
    assert "queue='long'" in repr(provider)


def test_what_upstream_accepts_is_accepted_with_a_word():
    with pytest.warns(UserWarning, match="max_blocks=3"):
        assert PBSProProvider(init_blocks=3).max_blocks == 3
    with pytest.warns(FutureWarning, match="channel=…"):
        PBSProProvider(channel=None)
    with pytest.raises(TypeError, match="zork"):
        PBSProProvider(zork=1)
