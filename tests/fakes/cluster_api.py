"""A Kubernetes API server that is not there: Jobs, their pods and Secrets, over HTTP, from the documentation of the API.

There is no scheduler and no kubelet: tests move the pods. What the double checks: names and labels, that a pod's Secret is there before it runs, and that
deleting a Job takes its pods along only when that was asked for.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field

from tests.fakes.web import Refusal, Service

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
PATH = re.compile(
    r"/(?:api/v1|apis/batch/v1)/namespaces/(?P<space>[^/]+)/(?P<kind>\w+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>\w+))?"
)


@dataclass
class FakeCluster(Service):
    jobs: dict = field(default_factory=dict)
    pods: dict = field(default_factory=dict)
    secrets: dict = field(default_factory=dict)
    logs: dict = field(default_factory=dict)
    complaints: dict = field(default_factory=dict)  # warnings by the name of the thing
    quota: int = 1000  # pods that there may be
    forbidden: set = field(default_factory=set)
    conflicts: dict = field(default_factory=dict)  # so often others change the quota while a thing of this kind is made
    starts: bool = True  # pods run as soon as somebody looks

    def refusal(self, error):
        return {
            "kind": "Status",
            "status": "Failure",
            "reason": error.reason,
            "message": error.message,
            "code": error.status,
        }

    # ------------------------------------------------------------------ the API
    def handle(self, asked):
        found = PATH.fullmatch(asked.path)
        if found is None or found["space"] != "lab":
            raise Refusal(404, "NotFound", f"namespaces {found and found['space']!r} not found")
        kind, name = found["kind"], found["name"]
        if f"{asked.method} {kind}" in self.forbidden:
            raise Refusal(403, "Forbidden", f'{kind} is forbidden: User "somebody" cannot do that')
        if asked.method == "POST":
            return self.create(kind, asked.body)
        if found["sub"] == "log":
            return 200, self.logs.get(name, "")
        if kind == "events":
            return 200, {"kind": "EventList", "metadata": {}, "items": self.events(asked.query["fieldSelector"])}
        things = getattr(self, kind)
        if asked.method == "GET" and name is None:
            self.move()
            items = [thing for thing in things.values() if matches(thing, asked.query.get("labelSelector", ""))]
            return 200, {"kind": f"{kind.capitalize()[:-1]}List", "metadata": {"resourceVersion": "1"}, "items": items}
        if name not in things:
            raise Refusal(404, "NotFound", f'{kind} "{name}" not found')
        if asked.method == "DELETE":
            self.delete(name, asked.query.get("propagationPolicy"))
            return 200, {"kind": "Status", "status": "Success"}
        return 200, things[name]

    def create(self, kind, body):
        meta = body["metadata"]
        if not NAME.fullmatch(meta["name"]):
            raise Refusal(422, "Invalid", f"metadata.name: Invalid value: {meta['name']!r}")
        for labels in (
            meta.get("labels", {}),
            body.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {}),
        ):
            for value in labels.values():
                if not VALUE.fullmatch(value):
                    raise Refusal(422, "Invalid", f"metadata.labels: Invalid value: {value!r}")
        things = getattr(self, kind)
        if self.conflicts.get(kind, 0):  # https://github.com/kubernetes/kubernetes/issues/67761
            self.conflicts[kind] -= 1
            said = 'Operation cannot be fulfilled on resourcequotas "lab": the object has been modified; please apply your changes to the latest version and try again'
            raise Refusal(409, "Conflict", said)
        if meta["name"] in things:
            raise Refusal(409, "AlreadyExists", f'{kind} "{meta["name"]}" already exists')
        made = {**body, "metadata": {**meta, "uid": str(uuid.uuid4()), "creationTimestamp": "2026-11-01T10:00:00Z"}}
        things[meta["name"]] = made
        if kind == "jobs":
            made["status"] = {}
            for number in range(body["spec"]["parallelism"]):
                if len(self.pods) < self.quota:
                    self.add_pod(made, number)
                else:
                    self.complaints[meta["name"]] = (
                        "pods is forbidden: exceeded quota: lab, requested: cpu=1, used: cpu=8, limited: cpu=8"
                    )
        return 201, made

    def events(self, selector):
        name = dict(part.split("=") for part in selector.split(","))["involvedObject.name"]
        if name not in self.complaints:
            return []
        about = {"kind": "Job", "name": name}
        event = {
            "metadata": {"name": "e"},
            "involvedObject": about,
            "type": "Warning",
            "reason": "FailedCreate",
            "message": self.complaints[name],
        }
        return [event]

    def add_pod(self, job, number):
        template, name = job["spec"]["template"], f"{job['metadata']['name']}-{number}-x7k2p"
        labels = {**template["metadata"]["labels"], "job-name": job["metadata"]["name"]}
        self.pods[name] = {
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels, "uid": str(uuid.uuid4())},
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }

    def delete(self, name, policy):
        job = self.jobs.pop(name)
        if policy in {"Background", "Foreground"}:
            for pod in self.pods_of(name):
                del self.pods[pod["metadata"]["name"]]
            for secret in list(self.secrets.values()):
                if any(
                    owner["uid"] == job["metadata"]["uid"] for owner in secret["metadata"].get("ownerReferences", ())
                ):
                    del self.secrets[secret["metadata"]["name"]]

    # ------------------------------------------------------------------ what tests do
    def pods_of(self, job):
        return [pod for pod in self.pods.values() if pod["metadata"]["labels"]["job-name"] == job]

    def move(self):
        """Pods whose Secret is there begin to run."""
        for pod in self.pods.values():
            wanted = [volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume]
            if self.starts and pod["status"] == {"phase": "Pending"} and all(name in self.secrets for name in wanted):
                self.say(pod, "Running", {"running": {}})

    def say(self, pod, phase, state=None, **more):
        pod["status"] = {"phase": phase, **more}
        if state is not None:
            pod["status"]["containerStatuses"] = [
                {"name": "plait", "state": state, "image": "i", "imageID": "", "ready": False, "restartCount": 0}
            ]

    def end(self, job, code=0, log="", reason=None):
        """Its pods end, and the Job says so."""
        for pod in self.pods_of(job):
            ended = {"exitCode": code, "reason": reason or ("Error" if code else "Completed")}
            self.say(pod, "Failed" if code else "Succeeded", {"terminated": ended})
            self.logs[pod["metadata"]["name"]] = log
        why = (
            {"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"} if code else {}
        )
        self.conclude(job, "Failed" if code else "Complete", **why)

    def conclude(self, job, kind, **why):
        self.jobs[job]["status"] = {"conditions": [{"type": kind, "status": "True", **why}]}


def matches(thing, selector):
    labels = thing["metadata"].get("labels", {})
    many = re.fullmatch(r"([\w/.-]+) in \(([^)]*)\)", selector)
    if many:
        return labels.get(many[1]) in many[2].split(",")
    key, _, value = selector.partition("=")
    return labels.get(key) == value
