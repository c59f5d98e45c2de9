"""Azure's resource manager that is not there: groups, networks and machines over HTTP, from the documentation of its REST interface. Tests move the machines.

It knows what may not be: a machine without an administrator's password or key, deleting a network that a machine is in, names that it does not take.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

from tests.fakes.web import Refusal, Service

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?")
GROUP = re.compile(r"/subscriptions/sub-1/resourceGroups/(?P<group>[^/]+)(?P<rest>/.*)?")


@dataclass
class FakeAzure(Service):
    things: dict = field(default_factory=dict)  # path below the group → thing
    groups: dict = field(default_factory=dict)
    power: dict = field(default_factory=dict)  # name of a machine → state of power
    consoles: dict = field(default_factory=dict)
    starts: bool = True
    gone_slowly: int = 0  # requests for which a deleted machine is still there

    def refusal(self, error):
        return {"error": {"code": error.reason, "message": error.message}}

    def handle(self, asked):
        if asked.path.startswith("/console/"):
            assert "Authorization" not in asked.headers, "the address itself is the secret"
            return 200, self.consoles[asked.path.removeprefix("/console/")]
        if asked.headers.get("Authorization") != "Bearer azure-token":
            raise Refusal(401, "InvalidAuthenticationToken")
        self.go()
        found = GROUP.fullmatch(asked.path)
        if found is None or "api-version" not in asked.query:
            raise Refusal(400, "MissingApiVersionParameter", asked.path)
        return (
            self.group(asked, found["group"])
            if found["rest"] is None
            else self.thing(asked, found["group"], found["rest"])
        )

    def go(self):
        """Machines that are being deleted are gone after some more requests."""
        going = [
            path for path, thing in self.things.items() if thing["properties"].get("provisioningState") == "Deleting"
        ]
        if going:
            self.gone_slowly -= 1
        if self.gone_slowly <= 0:
            for path in going:
                del self.things[path]

    def group(self, asked, name):
        if asked.method == "PUT":
            self.groups[name] = asked.body
            return 201, asked.body
        if name not in self.groups:
            raise Refusal(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
        if asked.method == "DELETE":
            del self.groups[name]
            self.things.clear()
            return 202, {}
        return 200, self.groups[name]

    def thing(self, asked, group, path):
        if group not in self.groups:
            raise Refusal(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
        if path == "/resources":
            return 200, {"value": [thing for path, thing in self.things.items() if path.count("/") == 4]}
        kind, name = path.split("/")[-2:]
        if name == "retrieveBootDiagnosticsData":
            machine = path.split("/")[-2]
            if machine not in self.consoles:
                raise Refusal(409, "OperationNotAllowed", "boot diagnostics are not there")
            return 200, {"serialConsoleLogBlobUri": f"{self.url}/console/{machine}?sig=secret"}
        if asked.method == "PUT":
            return self.put(kind, name, path, asked.body)
        if path not in self.things:
            raise Refusal(404, "ResourceNotFound", f"The Resource '{name}' was not found.")
        if asked.method == "DELETE":
            return self.delete(kind, name, path)
        return 200, self.seen(kind, name, path, asked.query)

    def put(self, kind, name, path, body):
        if kind == "virtualMachines":
            self.check_machine(name, body)
            if path in self.things and self.things[path]["properties"] != {
                **body["properties"],
                "provisioningState": "Succeeded",
            }:
                raise Refusal(409, "PropertyChangeNotAllowed", "Changing property 'customData' is not allowed.")
            self.power.setdefault(name, "starting")
        made = {**body, "name": name, "properties": {**body["properties"], "provisioningState": "Succeeded"}}
        self.things[path] = made
        return 201, made

    def check_machine(self, name, body):
        access = body["properties"]["osProfile"]
        if not NAME.fullmatch(name) or access["computerName"] != name:
            raise Refusal(400, "InvalidParameter", f"The name '{name}' is not valid")
        if body["properties"]["hardwareProfile"]["vmSize"] == "Standard_Nothing":
            raise Refusal(409, "SkuNotAvailable", "The requested size is not available")
        keys = access.get("linuxConfiguration", {}).get("ssh")
        if not keys and not re.fullmatch(
            r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])(?=.*[^A-Za-z0-9]).{6,72}", access.get("adminPassword", "")
        ):
            raise Refusal(400, "InvalidParameter", "adminPassword is not complex enough")
        if len(base64.b64decode(access["customData"], validate=True)) > 65535:
            raise Refusal(400, "InvalidParameter", "customData is too long")
        (interface,) = body["properties"]["networkProfile"]["networkInterfaceConfigurations"]
        for owner in (
            interface,
            interface["properties"]["ipConfigurations"][0]["properties"]["publicIPAddressConfiguration"],
        ):
            assert owner["properties"]["deleteOption"] == "Delete", "it would be left behind"
        assert body["properties"]["storageProfile"]["osDisk"]["deleteOption"] == "Delete", "it would be left behind"
        group = "/subscriptions/sub-1/resourceGroups/parsl.group"
        for needed in (
            interface["properties"]["networkSecurityGroup"]["id"],
            interface["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"],
        ):
            if needed.removeprefix(group) not in self.things:
                raise Refusal(404, "NotFound", f"Resource {needed} was not found")

    def delete(self, kind, name, path):
        machines = [path for path in self.things if "/virtualMachines/" in path]
        if kind in {"virtualNetworks", "networkSecurityGroups", "subnets"}:
            if machines:
                raise Refusal(400, "InUseSubnetCannotBeDeleted", f"{name} is in use")
            subnets = [path for path in self.things if "/subnets/" in path]
            if kind == "networkSecurityGroups" and subnets:
                raise Refusal(400, "InUseNetworkSecurityGroupCannotBeDeleted", f"{name} is in use")
        if kind == "virtualMachines" and self.gone_slowly:
            self.things[path]["properties"]["provisioningState"] = "Deleting"
            return 202, {}
        for below in [other for other in self.things if other == path or other.startswith(f"{path}/")]:
            del self.things[below]
        return 202, {}

    def seen(self, kind, name, path, query):
        thing = self.things[path]
        if kind != "virtualMachines":
            return thing
        if self.starts and self.power[name] == "starting":
            self.power[name] = "running"
        shown = {key: value for key, value in thing["properties"].items() if key != "osProfile"}
        shown["osProfile"] = {"computerName": name}  # passwords and data are never shown again
        if query.get("$expand") == "instanceView":
            shown["instanceView"] = {
                "statuses": [{"code": "ProvisioningState/succeeded", "level": "Info"}, *self.view(name)]
            }
        return {**thing, "properties": shown}

    def view(self, name):
        power = self.power[name]
        return [power] if isinstance(power, dict) else [{"code": f"PowerState/{power}", "level": "Info"}]

    # ------------------------------------------------------------------ what tests do
    def machines(self):
        return {path.rpartition("/")[2]: thing for path, thing in self.things.items() if "/virtualMachines/" in path}

    def off(self, job, code=None, said=""):
        for name in self.machines():
            if name.startswith(job):
                self.power[name] = "stopped"
                if code is not None:
                    self.consoles[name] = f"boot\nplait-begin {job}\n{said}\nplait-end {job} {code}\n"
