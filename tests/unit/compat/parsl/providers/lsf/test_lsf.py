from __future__ import annotations

import pytest

from plait.compat.parsl.launchers import SimpleLauncher
from plait.compat.parsl.providers import LSFProvider as Short
from plait.compat.parsl.providers.lsf.lsf import LSFProvider
from plait.providers import LSFProvider as Own


def test_it_takes_the_parameters_in_their_order():
    provider = LSFProvider(
        2,
        None,
        42,
        0,
        0,
        4,
        0.5,
        "01:00:00",
        "#BSUB -x",
        "module load y",
        "m1",
        "long",
        30,
        True,
        True,
        SimpleLauncher(),
    )
    assert isinstance(provider, Own)
    assert Short is LSFProvider
    assert (provider.project, provider.queue, provider.scheduler_options, provider.cores_per_node) == (
        "m1",
        "long",
        "#BSUB -x",
        42,
    )
    assert (provider.nodes_per_block, provider.max_blocks, provider.walltime_s, provider.bsub_redirection) == (
        2,
        4,
        3600,
        True,
    )
    assert "queue='long'" in repr(provider)


def test_what_upstream_accepts_is_accepted_with_a_word():
    with pytest.warns(UserWarning, match="max_blocks=3"):
        assert LSFProvider(init_blocks=3).max_blocks == 3
    with pytest.warns(UserWarning, match="cores_per_block=4"):
        assert LSFProvider(cores_per_block=4).cores_per_block is None
    with pytest.warns(FutureWarning, match="channel=…"):
        LSFProvider(channel=None)
    with pytest.raises(TypeError, match="zork"):
        LSFProvider(zork=1)
    assert (
        LSFProvider(nodes_per_block=5, cores_per_block=8, cores_per_node=4, request_by_nodes=False).nodes_per_block == 2
    )
