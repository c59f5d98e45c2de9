"""What machines on Azure are in: a resource group, a virtual network, and a security group that lets nobody in.

What is there already is used and stays; what was made here has a tag, and is taken away when nothing else needs it.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from plait.errors import text_of
from plait.providers.rest import RequestFailed, Rest

if TYPE_CHECKING:
    from collections.abc import Mapping

_logger: Final = logging.getLogger("plait")

COMPUTE: Final = "2024-07-01"
_NETWORK: Final = "2023-11-01"
_RESOURCES: Final = "2021-04-01"
_TAG: Final = "plait-made"
_SUBNET: Final = "plait"
_GROUP: Final = "plait-nobody-comes-in"
#: Seconds that deleting may take: a network can be deleted when the last machine in it is gone.
_REMOVE_S: Final = 300.0
_READY_S: Final = 120.0
_PAUSE_S: Final = 3.0
_KINDS: Final = {"virtualMachines": ("Microsoft.Compute", COMPUTE), "sshPublicKeys": ("Microsoft.Compute", COMPUTE)}


class Place:
    """A resource group and what blocks need in it.

    Args:
        rest: the service.
        subscription: whose group it is.
        location: where it is made.
        group: its name.
        vnet: name of the virtual network.
    """

    def __init__(self, rest: Rest, subscription: str, location: str, group: str, vnet: str) -> None:
        self.rest = rest
        self._group = f"/subscriptions/{subscription}/resourceGroups/{group}"
        self._location = location
        self._vnet = vnet
        self._is_made = False
        self.made_some = False  # whether something may be there now that was not before
        self.pause_s = _PAUSE_S
        self.remove_s = _REMOVE_S

    # ------------------------------------------------------------------ things in it
    def call(self, method: str, kind: str, name: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        """A request about a thing in the group. Raises as `Rest.call`."""
        path, version = self._path(kind, name)
        return self.rest.call(method, path, {"api-version": version}, body)

    def read(self, kind: str, name: str, query: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        """A thing in the group; None when it is not there. Raises as `Rest.call`."""
        path, version = self._path(kind, name)
        return self._read(path, version, query)

    def delete(self, kind: str, name: str) -> None:
        """Has a thing deleted; one that is not there is. Raises as `Rest.call`."""
        path, version = self._path(kind, name)
        self._delete(path, version)

    def public_key(self, name: str) -> str:
        """A public SSH key in the group. Raises as `Rest.call`."""
        return str(self.call("GET", "sshPublicKeys", name, None)["properties"]["publicKey"])

    # ------------------------------------------------------------------ the network
    @property
    def subnet(self) -> str:
        """Where machines have their interface."""
        return f"{self._path('virtualNetworks', self._vnet)[0]}/subnets/{_SUBNET}"

    @property
    def security_group(self) -> str:
        """What keeps others out."""
        return self._path("networkSecurityGroups", _GROUP)[0]

    def make(self) -> None:
        """Makes what is not there; what is there is not touched. Raises as `Rest.call`."""
        if self._is_made:
            return
        tags = {_TAG: "true"}
        if self._read(self._group, _RESOURCES) is None:
            self.made_some = True
            self.rest.call("PUT", self._group, {"api-version": _RESOURCES}, {"location": self._location, "tags": tags})
        # without a rule of its own a security group lets in what comes from its network, and nothing else
        self._make(
            "networkSecurityGroups",
            _GROUP,
            {"location": self._location, "tags": tags, "properties": {"securityRules": []}},
        )
        space = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}
        self._make("virtualNetworks", self._vnet, {"location": self._location, "tags": tags, "properties": space})
        path = f"{self._vnet}/subnets/{_SUBNET}"
        guard = {"networkSecurityGroup": {"id": self.security_group}, "addressPrefix": "10.0.0.0/20"}
        self._make("virtualNetworks", path, {"properties": guard})
        self._is_made = True

    def _make(self, kind: str, name: str, body: Mapping[str, Any]) -> None:
        if self.read(kind, name) is None:
            self.made_some = True
            self.call("PUT", kind, name, body)
        pause, end_s = threading.Event(), time.monotonic() + _READY_S
        while time.monotonic() < end_s:
            there = self.read(kind, name) or {}
            if (there.get("properties") or {}).get("provisioningState", "Succeeded") == "Succeeded":
                return
            pause.wait(self.pause_s)

    def remove(self, wait_s: float | None = None) -> bool:
        """Takes away what was made here, which takes as long as machines take to be deleted, some minutes.

        Args:
            wait_s: how long to wait for that; None for as long as it should take. Then it is said what is left.

        Returns:
            Whether everything is gone.
        """
        self._is_made = False
        pause, end_s = threading.Event(), time.monotonic() + (self.remove_s if wait_s is None else wait_s)
        while True:
            try:
                left = self._removed()
            except RequestFailed as error:  # such as: it is still in use
                left = text_of(error)
            if not left:
                return True
            if time.monotonic() >= end_s and wait_s is not None:
                return False
            if time.monotonic() >= end_s:
                _logger.error(
                    "Azure: not everything that was made in %s could be taken away: %s. Please delete it.",
                    self._group,
                    left,
                )
                return False
            pause.wait(self.pause_s)

    def _removed(self) -> str:
        """One attempt; what is still there."""
        group = self._read(self._group, _RESOURCES)
        if group is None:
            return ""
        left = []
        subnet = self.read("virtualNetworks", f"{self._vnet}/subnets/{_SUBNET}") or {}
        guard = (subnet.get("properties") or {}).get("networkSecurityGroup") or {}
        if str(guard.get("id", "")).lower() == self.security_group.lower():  # subnets have no tags
            self.delete("virtualNetworks", f"{self._vnet}/subnets/{_SUBNET}")
        for kind, name in (("virtualNetworks", self._vnet), ("networkSecurityGroups", _GROUP)):
            thing = self.read(kind, name)
            if thing is not None and _TAG in (thing.get("tags") or {}):
                self.delete(kind, name)
                if self.read(kind, name) is not None:
                    left.append(name)
        if left or _TAG not in (group.get("tags") or {}):
            return ", ".join(left)
        things = self.rest.call("GET", f"{self._group}/resources", {"api-version": _RESOURCES}).get("value")
        if things:  # others may have put something into it, which must not go with it
            names = ", ".join(str(thing.get("name")) for thing in things)
            return (
                names
                if any(
                    _TAG in (thing.get("tags") or {}) or "plait-job" in (thing.get("tags") or {}) for thing in things
                )
                else ""
            )
        self._delete(self._group, _RESOURCES)
        return "" if self._read(self._group, _RESOURCES) is None else self._group

    # ------------------------------------------------------------------ requests
    def _path(self, kind: str, name: str) -> tuple[str, str]:
        service, version = _KINDS.get(kind, ("Microsoft.Network", _NETWORK))
        return f"{self._group}/providers/{service}/{kind}/{name}", version

    def _read(self, path: str, version: str, query: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        try:
            return self.rest.call("GET", path, {"api-version": version, **(query or {})})
        except RequestFailed as error:
            if error.status == 404:
                return None
            raise

    def _delete(self, path: str, version: str) -> None:
        try:
            self.rest.call("DELETE", path, {"api-version": version})
        except RequestFailed as error:
            if error.status != 404:
                raise
