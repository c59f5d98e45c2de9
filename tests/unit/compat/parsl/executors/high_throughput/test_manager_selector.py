from __future__ import annotations

import pytest

from plait.compat.parsl.executors.high_throughput.manager_selector import (
    BlockIdManagerSelector,
    ManagerSelector,
    RandomManagerSelector,
    Selection,
    as_policy,
)
from plait.executors.htex.placement import Pack, Spread
from plait.serialize import dumps, loads

RECORDS = {"a": {"block_id": "10"}, "b": {"block_id": "9"}, "c": {"block_id": None}}


class Backwards(ManagerSelector):
    def sort_managers(self, ready_managers, manager_list):
        return sorted(manager_list, reverse=True)


class Stubborn(RandomManagerSelector):
    """Derived from a shipped one, with an order of its own."""

    sort_managers = Backwards.sort_managers


def test_the_shipped_ones_can_be_asked():
    assert BlockIdManagerSelector().sort_managers(RECORDS, {"a", "b", "c"})[:2] == ["b", "a"]
    assert sorted(RandomManagerSelector().sort_managers(RECORDS, {"a", "b"})) == ["a", "b"]


def test_the_shipped_ones_are_plaits_policies():
    assert isinstance(as_policy(RandomManagerSelector()), Spread)
    assert isinstance(as_policy(None), Spread)
    assert isinstance(as_policy(BlockIdManagerSelector()), Pack)
    pack = Pack()
    assert as_policy(pack) is pack


@pytest.mark.parametrize("selector", [Backwards(), Stubborn()])
def test_one_of_ones_own_arrives_in_the_interchange(selector):
    policy = loads(dumps(as_policy(selector)))
    assert isinstance(policy, Selection)
    assert policy.selector.sort_managers(RECORDS, {"a", "b"}) == ["b", "a"]


def test_the_port_must_be_filled_in():
    with pytest.raises(TypeError, match="abstract"):
        ManagerSelector()
