"""`AzureProvider`: a block is one or several virtual machines of Azure.

```
resource group ── virtual network ── subnet        made before the first block, unless they are there
               └─ security group: nobody comes in
block ──▶ one request for each machine, which makes its address, interface and disk too; deleting the machine deletes them
```

Talks to the service's REST interface; `azure-identity` gives the tokens.
"""

from __future__ import annotations

import atexit
import base64
import json
import logging
import os
import re
import secrets
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plait._util.given import Given, given_to
from plait.errors import ConfigurationError, text_of
from plait.model.jobs import JobState
from plait.providers.azure_network import Place
from plait.providers.machines import Machine, MachineProvider, checked_id, checked_path
from plait.providers.remote import Job, module
from plait.providers.rest import RequestFailed, Rest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plait.launchers.base import Launcher

_logger: Final = logging.getLogger("plait")

_BASE: Final = "https://management.azure.com"
_SCOPE: Final = "https://management.azure.com/.default"
#: What names an image and a size. The others have a default.
_NEEDED: Final = ("publisher", "offer", "sku", "version", "vm_size", "admin_username")
_NETWORK_API: Final = "2022-11-01"
_POWER: Final = {
    "starting": JobState.PENDING,
    "running": JobState.RUNNING,
    "stopping": JobState.RUNNING,
    "stopped": JobState.COMPLETED,
    "deallocating": JobState.COMPLETED,
    "deallocated": JobState.COMPLETED,
}
_SECRETS: Final = ("AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")


class AzureProvider(MachineProvider):
    """Blocks of virtual machines of Microsoft's Azure.

    Args:
        vm_reference: the machines: ``publisher``, ``offer``, ``sku`` and ``version`` of the image, which starts with cloud-init and has Python of the
            same version as here, ``vm_size``, ``admin_username``, and if you like ``disk_size_gb`` and ``password``. Without a password nobody knows it.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        worker_init: lines of bash that come before everything else, as root.
        location: such as ``"westus"``.
        group_name: the resource group.
        key_name: name of a public SSH key in that group, which may log in. No port is open for it unless you open one.
        key_file: a JSON file with ``AZURE_SUBSCRIPTION_ID``, and ``AZURE_TENANT_ID``, ``AZURE_CLIENT_ID`` and ``AZURE_CLIENT_SECRET`` of a service principal;
            None for the variables of these names, or whatever else Azure's own tools log in with.
        vnet_name: the virtual network in the group.
        linger: whether machines and network stay when they are no longer needed.
        launcher: how copies of the command are started on one machine.
        nodes_per_block: machines of one block.
        walltime: how long a block may run; None for as long as its command.
        cmd_timeout: seconds that one request may take.

    Attributes:
        vm_reference: without the password.
    """

    SYSTEM = "azure"
    NAME_CHARS = 60  # and a number for each machine
    OFF_COSTS = True
    SCRIPT_BYTES = 65535
    ADDRESS: ClassVar[tuple[str, ...]] = ("location", "group_name", "vnet_name", "key_file")

    def __init__(
        self,
        vm_reference: Mapping[str, Any],
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 10,
        parallelism: float = 1,
        worker_init: str = "",
        location: str = "westus",
        group_name: str = "parsl.group",
        key_name: str | None = None,
        key_file: str | None = None,
        vnet_name: str = "parsl.vnet",
        linger: bool = False,
        launcher: Launcher | None = None,
        nodes_per_block: int = 1,
        walltime: str | float | None = None,
        cmd_timeout: float = 60,
    ) -> None:
        owner = "AzureProvider"
        super().__init__(
            nodes_per_block,
            init_blocks,
            min_blocks,
            max_blocks,
            parallelism,
            worker_init,
            launcher,
            walltime,
            linger,
            cmd_timeout,
        )
        self._password = _Hidden(vm_reference.get("password") if isinstance(vm_reference, dict) else None)
        self.vm_reference = _reference(vm_reference)
        given = given_to(self)
        if given is not None:  # what is written into files has no password either
            self._given = Given(((), {**given, "vm_reference": self.vm_reference}))
        self.location = checked_id(owner, "location", location)
        self.group_name = checked_id(owner, "group_name", group_name)
        self.key_name = None if key_name is None else checked_id(owner, "key_name", key_name)
        self.key_file = checked_path(owner, "key_file", key_file)
        self.vnet_name = checked_id(owner, "vnet_name", vnet_name)
        self._base = _BASE
        self._where: Place | None = None
        self._at_exit = False

    @classmethod
    def from_ticket(cls, ticket: Mapping[str, str]) -> AzureProvider:
        """A provider that can look at the job of a ticket."""
        unknown = dict.fromkeys(_NEEDED, "unknown")
        return cls(unknown, **{key: ticket[key] for key in cls.ADDRESS if key in ticket})  # type: ignore[arg-type]

    # ------------------------------------------------------------------ the service
    @property
    def place(self) -> Place:
        """The resource group; connected when it is first used."""
        if self._where is None:
            subscription, token = _login(self.key_file)
            rest = Rest(self._base, token, self.cmd_timeout)
            self._where = Place(rest, subscription, self.location, self.group_name, self.vnet_name)
        return self._where

    def _begin(self, job: Job, command: str) -> None:
        script = self._script(job, command)
        try:
            self.place.make()
        except BaseException:
            if self.place.made_some:
                self._tidy_at_exit()
            raise
        self._tidy_at_exit()
        for number in range(self.nodes_per_block):
            try:
                self.place.call("PUT", "virtualMachines", f"{job.id}-{number}", self._request(job, number, script))
            except RequestFailed as error:
                if error.status != 409 or not job.doubt:  # asked again, it may be there already, or on its way
                    raise
            job.made = True

    def _tidy_at_exit(self) -> None:
        if not self.linger and not self._at_exit:
            self._at_exit = True
            atexit.register(self._leave)  # in case that it could not be done before

    def _request(self, job: Job, number: int, script: str) -> dict[str, Any]:
        name, image = f"{job.id}-{number}", self.vm_reference
        disk = {
            "createOption": "FromImage",
            "deleteOption": "Delete",
            "managedDisk": {"storageAccountType": "Standard_LRS"},
        }
        if "disk_size_gb" in image:
            disk["diskSizeGB"] = image["disk_size_gb"]
        address = {
            "name": f"{name}-address",
            "sku": {"name": "Standard"},
            "properties": {"deleteOption": "Delete", "publicIPAllocationMethod": "Static"},
        }
        interface = {
            "name": f"{name}-interface",
            "properties": {
                "primary": True,
                "deleteOption": "Delete",
                "networkSecurityGroup": {"id": self.place.security_group},
                "ipConfigurations": [
                    {
                        "name": "ip",
                        "properties": {"subnet": {"id": self.place.subnet}, "publicIPAddressConfiguration": address},
                    }
                ],
            },
        }
        return {
            "location": self.location,
            "tags": job.labels,
            "properties": {
                "hardwareProfile": {"vmSize": image["vm_size"]},
                "storageProfile": {
                    "imageReference": {key: image[key] for key in ("publisher", "offer", "sku", "version")},
                    "osDisk": disk,
                },
                "osProfile": self._access(name, script),
                "networkProfile": {"networkApiVersion": _NETWORK_API, "networkInterfaceConfigurations": [interface]},
                "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
            },
        }

    def _access(self, name: str, script: str) -> dict[str, Any]:
        """Who may log in. Azure wants a password or a key; where nobody gave one it is a password that is forgotten here."""
        profile: dict[str, Any] = {
            "computerName": name,
            "adminUsername": self.vm_reference["admin_username"],
            "customData": base64.b64encode(script.encode()).decode(),  # write-only: the service never shows it again
        }
        if self.key_name is not None:
            path = f"/home/{self.vm_reference['admin_username']}/.ssh/authorized_keys"
            keys = [{"path": path, "keyData": self.place.public_key(self.key_name)}]
            profile["linuxConfiguration"] = {"disablePasswordAuthentication": True, "ssh": {"publicKeys": keys}}
        else:
            profile["adminPassword"] = self._password.value or f"{secrets.token_urlsafe(32)}aA1!"
        return profile

    def _machines(self, jobs: Sequence[Job]) -> dict[str, list[Machine]]:
        """Azure tells the state of power for one machine at a time."""
        found: dict[str, list[Machine]] = {}
        for job in jobs:
            for number in range(job.notes.get("nodes", self.nodes_per_block)):
                name = f"{job.id}-{number}"
                item = self.place.read("virtualMachines", name, {"$expand": "instanceView"})
                if item is not None:
                    found.setdefault(job.id, []).append(_machine(name, item))
        return found

    def _console(self, job: Job, machine: Machine) -> str:
        del job
        answer = self.place.call("POST", "virtualMachines", f"{machine.id}/retrieveBootDiagnosticsData", None)
        return self.place.rest.fetch(str(answer["serialConsoleLogBlobUri"]))

    def _end(self, jobs: Sequence[Job]) -> None:
        def end(job: Job) -> None:
            for number in range(job.notes.get("nodes", self.nodes_per_block)):
                self.place.delete("virtualMachines", f"{job.id}-{number}")

        self._each(jobs, end)

    def _remove(self, jobs: Sequence[Job]) -> None:
        """A machine that switched itself off costs as much as one that runs, until it is deleted."""
        if not self.linger:
            self._end(jobs)

    def _refused(self, error: Exception) -> bool:
        return isinstance(error, ConfigurationError) or (
            isinstance(error, RequestFailed) and error.refused and error.code != "RetryableError"
        )

    def _unsent(self, error: Exception) -> bool:
        return isinstance(error, RequestFailed) and (not error.sent or error.throttled)

    def adopt(self, ticket: Mapping[str, str]) -> str:
        """See `ExecutionProvider.ticket`."""
        id_ = super().adopt(ticket)
        self.resources[id_].notes["nodes"] = int(ticket.get("nodes", "1"))
        return id_

    def ticket(self, job_id: str, job_name: str = "") -> dict[str, str]:
        """See `ExecutionProvider.ticket`."""
        return super().ticket(job_id, job_name) | {"nodes": str(self.nodes_per_block)}

    # ------------------------------------------------------------------ the end
    def close(self) -> None:
        """Ends all machines and takes away what was made for them, unless it is to stay. What must wait for machines to be deleted is done when the program ends."""
        super().close()
        if self.linger:
            return
        self.cancel([job.id for job in self.resources.values() if not job.case.status.terminal])
        if self._at_exit and self.place.remove(0.0):
            self._forget()

    def teardown(self) -> None:
        """Takes away the network and the group that were made here, if nothing else is in them; waits until that is done."""
        if self._where is not None:
            self._where.remove()
        self._forget()

    def _forget(self) -> None:
        self._at_exit = False
        atexit.unregister(self._leave)

    def _leave(self) -> None:
        """The program ends."""
        _logger.warning("Azure: machines are being deleted, and then their network; this may take some minutes")
        try:
            self.close()
            if self._at_exit:
                self.teardown()
        except Exception as error:  # noqa: BLE001 - nobody is left who could do something about it
            _logger.error("Azure: what has the tag plait-made may be left: %s", text_of(error))  # noqa: TRY400 - for people


def _machine(name: str, item: Mapping[str, Any]) -> Machine:
    properties = item.get("properties") or {}
    statuses = [
        status for status in (properties.get("instanceView") or {}).get("statuses") or () if isinstance(status, dict)
    ]
    power = next(
        (
            code.partition("/")[2]
            for status in statuses
            if (code := str(status.get("code", ""))).startswith("PowerState/")
        ),
        "",
    )
    made = str(properties.get("provisioningState", ""))
    if made == "Failed":
        reasons = [
            f"{status.get('displayStatus')}: {status.get('message')}"
            for status in statuses
            if status.get("level") == "Error"
        ]
        return Machine(name, JobState.FAILED, "; ".join(reasons) or "Azure could not make the machine")
    if made == "Deleting":
        return Machine(name, JobState.COMPLETED, "the machine is being deleted")
    if power:
        return Machine(name, _POWER.get(power, JobState.UNKNOWN), f"the machine is {power}")
    return Machine(name, JobState.PENDING, f"Azure makes the machine: {made}" if made else None)


class _Hidden:
    """A text that does not show itself."""

    def __init__(self, value: str | None) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "***" if self.value else "None"

    def __reduce__(self) -> tuple[type[_Hidden], tuple[None]]:
        """A copy elsewhere has none: providers stay where they are."""
        return (_Hidden, (None,))


def _reference(value: Any) -> dict[str, Any]:
    owner = "AzureProvider"
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in _NEEDED):
        raise ConfigurationError(
            f"{owner}(vm_reference): expected a dictionary with {', '.join(_NEEDED)}, and texts in it"
        )
    for key in ("publisher", "offer", "sku", "version", "vm_size"):
        checked_id(owner, f"vm_reference[{key!r}]", value[key])
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", value["admin_username"]):
        raise ConfigurationError(
            f"{owner}(vm_reference['admin_username']={value['admin_username']!r}): expected the name of a user of Linux"
        )
    size = value.get("disk_size_gb")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise ConfigurationError(f"{owner}(vm_reference['disk_size_gb']={size!r}): expected a whole number of GB")
    password = value.get("password")
    if password is not None and not isinstance(password, str):
        raise ConfigurationError(f"{owner}(vm_reference['password']): expected a text")
    return {key: value[key] for key in (*_NEEDED, "disk_size_gb") if value.get(key) is not None}


def _login(key_file: str | None) -> tuple[str, Callable[[], str]]:
    """The subscription, and what gives tokens.

    Raises:
        ConfigurationError: one of them is missing.
    """
    identity = module("azure.identity", "azure")
    said: Mapping[str, str] = os.environ
    if key_file is not None:
        try:
            with open(os.path.expanduser(key_file), encoding="utf-8") as file:
                said = json.load(file)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"AzureProvider(key_file={key_file!r}): it cannot be read: {text_of(error)}"
            ) from None
    subscription, tenant, client, secret = (said.get(name) for name in _SECRETS)
    if not subscription:
        raise ConfigurationError(
            f"AzureProvider(key_file={key_file!r}): expected AZURE_SUBSCRIPTION_ID in it, or in the environment without a file"
        )
    if tenant and client and secret:
        credential = identity.ClientSecretCredential(tenant, client, secret)
    else:
        credential = identity.DefaultAzureCredential()
    return subscription, lambda: str(credential.get_token(_SCOPE).token)
