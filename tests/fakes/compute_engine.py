"""Google's Compute Engine that is not there: instances in one region, over HTTP, from the documentation of its REST interface. Tests move the instances."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.fakes.web import Refusal, Service

NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_KEY = re.compile(r"[a-z][-_a-z0-9]{0,62}")
LABEL = re.compile(r"[-_a-z0-9]{0,63}")
BASE = "/compute/v1/projects/lab-1/"


@dataclass
class FakeComputeEngine(Service):
    instances: dict = field(default_factory=dict)
    operations: dict = field(default_factory=dict)
    requests: dict = field(default_factory=dict)  # operation by request id
    consoles: dict = field(default_factory=dict)
    broken: str = ""  # why the next instances cannot be made, which is only said later
    starts: bool = True
    page: int = 100

    def handle(self, asked):
        if asked.headers.get("Authorization") != "Bearer google-token":
            raise Refusal(401, "authError", "Invalid Credentials")
        if not asked.path.startswith(BASE):
            raise Refusal(404, "notFound", "The resource 'projects/…' was not found")
        parts = asked.path.removeprefix(BASE).split("/")
        match (asked.method, *parts):
            case ("POST", "regions", "us-central1", "instances", "bulkInsert"):
                return 200, self.insert(asked)
            case ("GET", "regions", "us-central1", "operations", name):
                if name not in self.operations:
                    raise Refusal(404, "notFound")
                return 200, self.operations[name]
            case ("GET", "aggregated", "instances"):
                return 200, self.list(asked)
            case ("GET", "zones", "us-central1-b", "instances", name, "serialPort"):
                self.get(name)
                if name not in self.consoles:
                    raise Refusal(400, "resourceNotReady", f"The resource '{name}' is not ready")
                return 200, {"contents": self.consoles[name]}
            case ("DELETE", "zones", "us-central1-b", "instances", name):
                del self.instances[self.get(name)["name"]]
                return 200, {"name": "operation-delete", "status": "RUNNING"}
        raise Refusal(404, "notFound", str(asked))

    def get(self, name):
        if name not in self.instances:
            raise Refusal(404, "notFound", f"The resource '{name}' was not found")
        return self.instances[name]

    def insert(self, asked):
        request, body = asked.query["requestId"], asked.body
        if request in self.requests:
            return self.operations[self.requests[request]]
        properties, names = body["instanceProperties"], list(body["perInstanceProperties"])
        assert int(body["count"]) == int(body["minCount"]) == len(names)
        for name in names:
            if not NAME.fullmatch(name):
                raise Refusal(400, "invalid", f"Invalid value for field 'name': '{name}'")
            if name in self.instances:
                raise Refusal(409, "alreadyExists", f"The resource '{name}' already exists")
        for key, value in properties["labels"].items():
            if not LABEL_KEY.fullmatch(key) or not LABEL.fullmatch(value):
                raise Refusal(400, "invalid", f"Invalid value for field 'labels': '{key}={value}'")
        if properties["machineType"] == "n0-nothing":
            raise Refusal(400, "invalid", "Invalid value for field 'machineType'")
        operation = {"name": f"operation-{len(self.operations)}", "status": "DONE", "operationType": "bulkInsert"}
        self.operations[operation["name"]], self.requests[request] = operation, operation["name"]
        if self.broken:
            operation["error"] = {"errors": [{"code": "ZONE_RESOURCE_POOL_EXHAUSTED", "message": self.broken}]}
            return {**operation, "status": "RUNNING"}
        for name in names:
            self.instances[name] = {
                **properties,
                "name": name,
                "status": "PROVISIONING",
                "zone": "https://www.googleapis.com/x/zones/us-central1-b",
            }
        return operation

    def list(self, asked):
        wanted = set(re.findall(r"labels\.plait-job = ([a-z0-9-]+)\)", asked.query["filter"]))
        found = [item for item in self.instances.values() if item["labels"].get("plait-job") in wanted]
        start = int(asked.query.get("pageToken", 0))
        for item in found:
            if self.starts and item["status"] == "PROVISIONING":
                item["status"] = "RUNNING"
        page = found[start : start + self.page]
        scopes = {
            "zones/us-central1-a": {"warning": {"code": "NO_RESULTS_ON_PAGE"}},
            "zones/us-central1-b": {"instances": page},
        }
        more = {"nextPageToken": str(start + self.page)} if start + self.page < len(found) else {}
        return {"items": scopes, **more}

    # ------------------------------------------------------------------ what tests do
    def of(self, job):
        return [item for item in self.instances.values() if item["labels"]["plait-job"] == job]

    def off(self, job, code=None, said=""):
        for item in self.of(job):
            item["status"] = "TERMINATED"
            if code is not None:
                self.consoles[item["name"]] = f"boot\nplait-begin {job}\n{said}\nplait-end {job} {code}\n"
