"""What machines on Azure are in: what is there is used and stays, what was made goes."""

from __future__ import annotations

import pytest

from plait.providers.azure_network import Place
from plait.providers.rest import RequestFailed, Rest
from tests.fakes.azure_arm import FakeAzure

NET = "/providers/Microsoft.Network/virtualNetworks/net"
GUARD = "/providers/Microsoft.Network/networkSecurityGroups/plait-nobody-comes-in"


@pytest.fixture
def arm():
    with FakeAzure().running() as arm:
        yield arm


@pytest.fixture
def place(arm):
    place = Place(Rest(arm.url, lambda: "azure-token", 5.0), "sub-1", "westus", "group", "net")
    place.remove_s, place.pause_s = 0.0, 0.01
    return place


def test_group_network_and_guard_each_under_its_name(place, arm):
    place.make()
    assert list(arm.groups) == ["group"]
    assert sorted(arm.things) == sorted([GUARD, NET, f"{NET}/subnets/plait"])
    assert place.subnet == f"/subscriptions/sub-1/resourceGroups/group{NET}/subnets/plait"
    assert arm.things[GUARD]["properties"]["securityRules"] == [], "nobody comes in"
    assert arm.things[f"{NET}/subnets/plait"]["properties"]["networkSecurityGroup"] == {"id": place.security_group}
    asked = len(arm.asked)
    place.make()
    assert len(arm.asked) == asked


def test_what_was_made_goes(place, arm):
    place.make()
    place.remove()
    assert (arm.groups, arm.things) == ({}, {})
    place.remove()


def test_what_was_there_stays(place, arm):
    arm.groups["group"] = {"location": "westus"}
    arm.things[NET] = {"name": "net", "properties": {"addressSpace": {}}}
    place.make()
    assert "plait-made" not in arm.groups["group"].get("tags", {})
    place.remove()
    assert list(arm.groups) == ["group"]
    assert NET in arm.things
    assert GUARD not in arm.things


def test_a_group_that_was_there_stays_when_it_is_empty(place, arm):
    arm.groups["group"] = {"location": "westus"}
    place.make()
    assert place.remove()
    assert (list(arm.groups), arm.things) == (["group"], {})


def test_a_group_into_which_others_put_something_stays(place, arm):
    place.make()
    arm.things["/providers/Microsoft.Storage/storageAccounts/theirs"] = {"name": "theirs", "properties": {}}
    place.remove()
    assert list(arm.groups) == ["group"]
    assert list(arm.things) == ["/providers/Microsoft.Storage/storageAccounts/theirs"]


def test_what_is_in_use_is_named(place, arm, caplog):
    place.make()
    arm.things["/providers/Microsoft.Compute/virtualMachines/m"] = {"name": "m", "properties": {}}
    place.remove()
    assert "InUseSubnetCannotBeDeleted" in caplog.text
    assert "/resourceGroups/group" in caplog.text


def test_what_broke_in_the_middle_is_completed(place, arm):
    arm.cut(f"PUT /subscriptions/sub-1/resourceGroups/group{NET}")
    with pytest.raises(RequestFailed):
        place.make()
    place.make()
    assert f"{NET}/subnets/plait" in arm.things


def test_things_that_are_not_there(place, arm):
    assert place.read("virtualMachines", "m") is None
    place.delete("virtualMachines", "m")
    with pytest.raises(RequestFailed):
        place.public_key("mine")
