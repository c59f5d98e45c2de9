"""Through the executor: a warning must point to who makes one."""

from __future__ import annotations

import pytest

from plait.compat.parsl.executors import HighThroughputExecutor
from plait.compat.parsl.executors.high_throughput.parameters import read_removed
from plait.errors import ConfigurationError


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("loopback_address", "::1", "no address"),
        ("interchange_port_range", (1, 2), "no port"),
        ("poll_period", 100, "nothing polls"),
        ("remote_monitoring_radio", object(), "monitoring"),
    ],
)
def test_parameters_that_mean_nothing_any_more(name, value, text):
    with pytest.warns(UserWarning, match=text) as seen:
        executor = HighThroughputExecutor(**{name: value})
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert getattr(executor, name) == value


def test_parameters_that_upstream_has_removed():
    with pytest.warns(FutureWarning, match="write max_workers_per_node=3") as seen:
        assert HighThroughputExecutor(max_workers=3).max_workers_per_node == 3
    assert seen[0].filename == __file__
    for name in ("start_method", "hub_port", "managed"):
        with pytest.warns(FutureWarning, match=rf"{name}='x'\) has no effect"):
            HighThroughputExecutor(**{name: "x"})
    with pytest.raises(TypeError, match="unexpected keyword argument 'zork'"):
        HighThroughputExecutor(zork=1)
    with pytest.raises(ConfigurationError, match=r"write MPIExecutor"):
        HighThroughputExecutor(enable_mpi_mode=True)


def test_nothing_goes_unencrypted_beyond_this_machine():
    assert HighThroughputExecutor(encrypted=False).encrypted is False
    with pytest.warns(UserWarning, match="encrypted nevertheless"):
        assert HighThroughputExecutor(encrypted=False, address="192.0.2.7").encrypted is True


def test_the_new_name_wins():
    with pytest.warns(FutureWarning):
        assert read_removed({"max_workers": 3}, 2) == 2
    assert read_removed({"mpi_launcher": "srun", "enable_mpi_mode": False}, None) is None
