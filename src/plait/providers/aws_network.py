"""The network that blocks on AWS are in: made once, found again by its tag, and taken away as a whole.

Everything in it has one tag, given in the very request that makes it. So what was made twice because an answer was lost, or by a run that was killed in
the middle, is found and taken away like everything else.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from plait._util.files import write_whole
from plait.errors import ConfigurationError, ExecutionProviderException, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

_logger: Final = logging.getLogger("plait")

_NETWORK: Final = ipaddress.ip_network("10.0.0.0/16")
_SUBNET_BITS: Final = 20
_TAG: Final = "plait-network"
#: Seconds that taking away may take: instances give up their addresses only when they have ended.
_REMOVE_S: Final = 180.0
_RETRY_S: Final = 3.0


class Network:
    """A network with a subnet in each zone, from which everybody may go out and into which nobody may come.

    Args:
        ec2: the client of the service.
        state_file: where its name is kept; None for nowhere.
        name: of one that is there; empty for the one in the file, or a new one.
    """

    def __init__(self, ec2: Any, state_file: str | None, name: str = "") -> None:
        self._ec2 = ec2
        self._state_file = state_file
        self._name = name or _remembered(state_file) or f"plait-{secrets.token_hex(6)}"
        self._subnets: list[str] = []
        self.security_group = ""
        self.remove_s = _REMOVE_S

    @property
    def tags(self) -> dict[str, str]:
        """What everything in it has."""
        return {_TAG: self._name}

    def subnets(self) -> list[str]:
        """The subnets, one in each zone; everything is made when it is not there."""
        if not self._subnets:
            self._remember()  # before anything is made, so that it can be found
            vpc = self._vpc()
            self.security_group = self._group(vpc)
            table = self._way_out(vpc)
            self._subnets = self._made_subnets(vpc, table)
        return self._subnets

    # ------------------------------------------------------------------ making
    def _vpc(self) -> str:
        found = self._ec2.describe_vpcs(Filters=self._mine())["Vpcs"]
        if found:
            return str(found[0]["VpcId"])
        vpc = str(self._ec2.create_vpc(CidrBlock=str(_NETWORK), TagSpecifications=self._tagged("vpc"))["Vpc"]["VpcId"])
        self._ec2.get_waiter("vpc_available").wait(VpcIds=[vpc], WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        self._ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        return vpc

    def _group(self, vpc: str) -> str:
        found = self._ec2.describe_security_groups(Filters=self._mine())["SecurityGroups"]
        if found:
            return str(found[0]["GroupId"])
        # without a rule nobody comes in, and AWS adds one by which everybody may go out: managers dial the driver
        made = self._ec2.create_security_group(
            GroupName=self._name,
            Description="blocks of plait: nobody comes in",
            VpcId=vpc,
            TagSpecifications=self._tagged("security-group"),
        )
        return str(made["GroupId"])

    def _way_out(self, vpc: str) -> str:
        gateways = self._ec2.describe_internet_gateways(Filters=self._mine())["InternetGateways"]
        if gateways:
            gateway, attached = gateways[0]["InternetGatewayId"], gateways[0].get("Attachments")
        else:
            made = self._ec2.create_internet_gateway(TagSpecifications=self._tagged("internet-gateway"))
            gateway, attached = made["InternetGateway"]["InternetGatewayId"], None
        if not attached:
            self._ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        tables = self._ec2.describe_route_tables(Filters=self._mine())["RouteTables"]
        table = (
            tables[0]
            if tables
            else self._ec2.create_route_table(VpcId=vpc, TagSpecifications=self._tagged("route-table"))["RouteTable"]
        )
        if not any(route.get("GatewayId") == gateway for route in table.get("Routes", ())):
            self._ec2.create_route(
                RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway
            )
        return str(table["RouteTableId"])

    def _made_subnets(self, vpc: str, table: str) -> list[str]:
        zones = self._ec2.describe_availability_zones(Filters=[{"Name": "state", "Values": ["available"]}])
        found = {
            item["AvailabilityZone"]: item["SubnetId"]
            for item in self._ec2.describe_subnets(Filters=self._mine())["Subnets"]
        }
        names = sorted(
            zone["ZoneName"]
            for zone in zones["AvailabilityZones"]
            if zone.get("ZoneType", "availability-zone") == "availability-zone"
        )
        for zone, net in zip(names, _NETWORK.subnets(new_prefix=_SUBNET_BITS), strict=False):
            if zone not in found:
                made = self._ec2.create_subnet(
                    VpcId=vpc, CidrBlock=str(net), AvailabilityZone=zone, TagSpecifications=self._tagged("subnet")
                )
                found[zone] = made["Subnet"]["SubnetId"]
        attached = self._ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0].get("Associations", ())
        has_way = {item.get("SubnetId") for item in attached}
        for subnet in found.values():
            if subnet not in has_way:
                self._ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
        if not found:
            raise ExecutionProviderException("AWS names no zone of this region that is available")
        return [found[zone] for zone in sorted(found)]

    # ------------------------------------------------------------------ taking away
    def remove(self, wait_s: float | None = None) -> bool:
        """Ends every instance in it and takes everything away, which takes as long as instances take to end, a minute or two.

        Args:
            wait_s: how long to wait for that; None for as long as it should take. Then it is said what is left, with the tag by which it is found.

        Returns:
            Whether everything is gone.
        """
        self._subnets, self.security_group = [], ""
        pause, end_s = threading.Event(), time.monotonic() + (self.remove_s if wait_s is None else wait_s)
        while True:
            failed = [reason for step in self._steps() if (reason := self._tried(step))]
            if not failed or time.monotonic() >= end_s:
                break
            pause.wait(_RETRY_S)
        if failed and wait_s is not None:
            return False
        if failed:
            _logger.error(
                "AWS: not everything of the network %s could be taken away: %s. It is what has the tag %s=%s: please delete it.",
                self._name, "; ".join(failed), _TAG, self._name,
            )  # fmt: skip
        elif self._state_file is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._state_file)
        return not failed

    def _steps(self) -> list[Callable[[], None]]:
        """In the order in which they must be: nothing can be deleted that is in use."""
        return [
            self._instances_gone,
            self._tables_gone,
            self._subnets_gone,
            self._gateways_gone,
            self._groups_gone,
            self._vpcs_gone,
        ]

    def _tried(self, step: Callable[[], None]) -> str:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the library raises what it likes; it is tried again
            return text_of(error)
        return ""

    def _instances_gone(self) -> None:
        alive = ["pending", "running", "stopping", "stopped", "shutting-down"]
        pages = self._ec2.get_paginator("describe_instances").paginate(
            Filters=[*self._mine(), {"Name": "instance-state-name", "Values": alive}]
        )
        ids = [item["InstanceId"] for page in pages for group in page["Reservations"] for item in group["Instances"]]
        if ids:
            self._ec2.terminate_instances(InstanceIds=ids)
            raise ExecutionProviderException(f"instances have not ended yet: {', '.join(ids)}")

    def _tables_gone(self) -> None:
        for table in self._ec2.describe_route_tables(Filters=self._mine())["RouteTables"]:
            for item in table.get("Associations", ()):
                if not item.get("Main"):
                    self._ec2.disassociate_route_table(AssociationId=item["RouteTableAssociationId"])
            self._ec2.delete_route_table(RouteTableId=table["RouteTableId"])

    def _subnets_gone(self) -> None:
        for item in self._ec2.describe_subnets(Filters=self._mine())["Subnets"]:
            interfaces = self._ec2.describe_network_interfaces(
                Filters=[{"Name": "subnet-id", "Values": [item["SubnetId"]]}]
            )
            for interface in interfaces["NetworkInterfaces"]:
                self._ec2.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])
            self._ec2.delete_subnet(SubnetId=item["SubnetId"])

    def _gateways_gone(self) -> None:
        for item in self._ec2.describe_internet_gateways(Filters=self._mine())["InternetGateways"]:
            for attachment in item.get("Attachments", ()):
                self._ec2.detach_internet_gateway(
                    InternetGatewayId=item["InternetGatewayId"], VpcId=attachment["VpcId"]
                )
            self._ec2.delete_internet_gateway(InternetGatewayId=item["InternetGatewayId"])

    def _groups_gone(self) -> None:
        for item in self._ec2.describe_security_groups(Filters=self._mine())["SecurityGroups"]:
            self._ec2.delete_security_group(GroupId=item["GroupId"])

    def _vpcs_gone(self) -> None:
        for item in self._ec2.describe_vpcs(Filters=self._mine())["Vpcs"]:
            self._ec2.delete_vpc(VpcId=item["VpcId"])

    # ------------------------------------------------------------------ its name
    def _mine(self) -> list[dict[str, Any]]:
        return [{"Name": f"tag:{_TAG}", "Values": [self._name]}]

    def _tagged(self, kind: str) -> list[dict[str, Any]]:
        tags = [{"Key": _TAG, "Value": self._name}, {"Key": "Name", "Value": self._name}]
        return [{"ResourceType": kind, "Tags": tags}]

    def _remember(self) -> None:
        if self._state_file is None:
            return
        text = json.dumps({"network": self._name}) + "\n"
        try:
            write_whole(
                os.fspath(self._state_file), text
            )  # a disk that is full must not cost the name of what is there
        except OSError as error:
            raise ConfigurationError(
                f"AWSProvider(state_file={self._state_file!r}): it cannot be written: {error}"
            ) from None


def _remembered(path: str | None) -> str:
    """The name of the network that an earlier run made."""
    if path is None or not os.path.exists(path):
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            name = json.load(file)["network"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"AWSProvider(state_file={path!r}): it is no file that plait wrote ({type(error).__name__}: {error}); "
            "name another one, or delete it if nothing of it is left in AWS"
        ) from None
    return str(name)
