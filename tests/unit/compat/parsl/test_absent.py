from __future__ import annotations

import pytest

from plait.compat.parsl._absent import why_absent


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("parsl.executors.WorkQueueExecutor", "executors that stand on other systems"),
        ("parsl.executors.high_throughput.zmq_pipes", "the inside of upstream's pilot jobs"),
        ("parsl.configs.vineex_local", "executors that stand on other systems"),
        ("parsl.MonitoringHub", "monitoring"),
        ("parsl.data_provider.globus", "staging"),
    ],
)
def test_what_comes_later_is_named_with_its_feature(name, feature):
    assert f"plait does not have {name} yet" in why_absent(name)
    assert feature in why_absent(name)


@pytest.mark.parametrize(
    "name",
    ["parsl.zork", "parsl.configs.zork", "parsl.executors.Zork", "parsl.NoSuchName", "parsl.launchers.ZorkLauncher"],
)
def test_what_upstream_does_not_have_either_is_no_promise(name):
    assert why_absent(name) == ""
