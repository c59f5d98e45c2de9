from __future__ import annotations

import pytest

from plait.compat.parsl.launchers import SimpleLauncher
from plait.compat.parsl.providers.grid_engine.grid_engine import GridEngineProvider
from plait.providers import GridEngineProvider as Own


def test_it_takes_the_parameters_in_their_order():
    provider = GridEngineProvider(
        1, 0, 0, 4, 0.5, "00:20:00", "#$ -P x", "module load y", SimpleLauncher(), 30, "long.q"
    )
    assert isinstance(provider, Own)
    assert (provider.max_blocks, provider.walltime_s, provider.cmd_timeout, provider.queue) == (4, 1200, 30, "long.q")
    assert "queue='long.q'" in repr(provider)


def test_what_upstream_accepts_is_accepted_with_a_word():
    with pytest.warns(UserWarning, match="max_blocks=3"):
        assert GridEngineProvider(init_blocks=3).max_blocks == 3
    with pytest.warns(FutureWarning, match="channel=…"):
        GridEngineProvider(channel=None)
    with pytest.raises(TypeError, match="zork"):
        GridEngineProvider(zork=1)
