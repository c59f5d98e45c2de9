"""The network of blocks on AWS, against moto's server: made once, whatever was lost on the way, and taken away as a whole."""

from __future__ import annotations

import json
import resource

import pytest

from plait.errors import ConfigurationError
from plait.providers.aws_network import Network
from tests.fakes import ec2 as moto


@pytest.fixture(scope="module")
def client():
    return moto.client("us-west-1")


@pytest.fixture
def ec2(client, monkeypatch):
    yield client
    monkeypatch.undo()
    for vpc in client.describe_vpcs(Filters=[{"Name": "tag-key", "Values": ["plait-network"]}])["Vpcs"]:
        ours = network(client)
        ours._name = next(tag["Value"] for tag in vpc["Tags"] if tag["Key"] == "plait-network")
        ours.remove()


def network(ec2, state_file=None):
    made = Network(ec2, state_file)
    made.remove_s = 0.0
    return made


def vpcs(ec2):
    return [vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]


def test_there_is_a_subnet_in_each_zone_with_a_way_out(ec2):
    ours = network(ec2)
    subnets = ours.subnets()
    zones = [zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]]
    found = ec2.describe_subnets(SubnetIds=subnets)["Subnets"]
    assert sorted(item["AvailabilityZone"] for item in found) == sorted(zones)
    assert len({item["CidrBlock"] for item in found}) == len(zones)
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [subnets[0]]}])[
        "RouteTables"
    ]
    assert any(route.get("GatewayId", "").startswith("igw-") for route in table["Routes"])
    assert ours.subnets() == subnets


def test_a_full_disk_does_not_cost_the_name_of_what_is_there(ec2, tmp_path):
    state = tmp_path / "aws.json"
    network(ec2, str(state))._remember()
    text = state.read_text(encoding="utf-8")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(ConfigurationError, match="cannot be written"):
            network(ec2, str(state))._remember()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert state.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("where", "accepted"), [("create_vpc", True), ("attach_internet_gateway", False), ("create_route", True)]
)
def test_what_broke_in_the_middle_is_completed_and_not_made_twice(ec2, monkeypatch, where, accepted):
    ours, real, left = network(ec2), getattr(ec2, where), [1]

    def broken(**request):
        if left[0]:
            left[0] = 0
            if accepted:
                real(**request)
            raise TimeoutError("the answer is lost")
        return real(**request)

    monkeypatch.setattr(ec2, where, broken)
    with pytest.raises(TimeoutError):
        ours.subnets()
    assert len(ours.subnets()) == 2
    assert len(vpcs(ec2)) == 1


def test_what_was_made_twice_is_taken_away_twice(ec2):
    ours = network(ec2)
    ours.subnets()
    ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=ours._tagged("vpc"))
    assert len(vpcs(ec2)) == 2
    ours.remove()
    assert vpcs(ec2) == []


def test_networks_of_others_stay(ec2):
    ours, theirs = network(ec2), network(ec2)
    ours.subnets()
    theirs.subnets()
    ours.remove()
    assert len(vpcs(ec2)) == 1
    assert ec2.describe_subnets(SubnetIds=theirs.subnets())["Subnets"]


def test_what_cannot_be_taken_away_is_named_with_its_tag(ec2, monkeypatch, caplog):
    ours = network(ec2)
    ours.subnets()

    def busy(**_):
        raise TimeoutError("it is in use")

    monkeypatch.setattr(ec2, "delete_vpc", busy)
    ours.remove()
    assert "it is in use" in caplog.text
    assert f"plait-network={ours.tags['plait-network']}" in caplog.text


def test_its_name_is_written_down_before_anything_is_made(ec2, tmp_path, monkeypatch):
    file = tmp_path / "state.json"

    def broken(**_):
        assert json.loads(file.read_text())["network"].startswith("plait-")
        raise TimeoutError

    monkeypatch.setattr(ec2, "create_vpc", broken)
    with pytest.raises(TimeoutError):
        network(ec2, str(file)).subnets()


@pytest.mark.parametrize("text", ["", "[]", "{}", "no"])
def test_a_file_of_somebody_else_is_not_overwritten(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(ConfigurationError, match="it is no file that plait wrote"):
        Network(None, str(tmp_path / "state.json"))
    assert (tmp_path / "state.json").read_text() == text


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written"):
        Network(None, str(tmp_path / "none" / "state.json")).subnets()
