from __future__ import annotations

import pytest

from plait.compat.parsl.launchers import AprunLauncher, SimpleLauncher
from plait.compat.parsl.providers import TorqueProvider as Short
from plait.compat.parsl.providers.torque.torque import TorqueProvider
from plait.providers import TorqueProvider as Own


def test_it_takes_the_parameters_in_their_order():
    provider = TorqueProvider(
        "m1", "long", "#PBS -x", "module load y", 2, 0, 0, 4, 0.5, SimpleLauncher(), "01:00:00", 30
    )
    assert isinstance(provider, Own)
    assert Short is TorqueProvider
    assert (provider.account, provider.queue, provider.scheduler_options, provider.nodes_per_block) == (
        "m1",
        "long",
        "#PBS -x",
        2,
    )
    assert (provider.max_blocks, provider.walltime_s, provider.cmd_timeout) == (4, 3600, 30)
    assert isinstance(TorqueProvider().launcher, AprunLauncher)
    assert "queue='long'" in repr(provider)


def test_what_upstream_accepts_is_accepted_with_a_word():
    with pytest.warns(UserWarning, match="max_blocks=3"):
        assert TorqueProvider(init_blocks=3).max_blocks == 3
    with pytest.warns(FutureWarning, match="channel=…"):
        TorqueProvider(channel=None)
    with pytest.raises(TypeError, match="zork"):
        TorqueProvider(zork=1)
