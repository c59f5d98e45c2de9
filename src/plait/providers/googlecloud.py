"""`GoogleCloudProvider`: a block is one or several instances of Google's Compute Engine, made by one request, all or none.

Talks to the service's REST interface; `google-auth` gives the tokens.
"""

from __future__ import annotations

import os
import urllib.parse
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plait.errors import ConfigurationError
from plait.model.jobs import JobState
from plait.providers.judge import Report
from plait.providers.machines import Machine, MachineProvider, checked_id, checked_path
from plait.providers.remote import Job, batches, module
from plait.providers.rest import RequestFailed, Rest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plait.launchers.base import Launcher

_BASE: Final = "https://compute.googleapis.com"
_SCOPE: Final = "https://www.googleapis.com/auth/compute"
_STATES: Final = {
    "PENDING": JobState.PENDING,
    "PROVISIONING": JobState.PENDING,
    "STAGING": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "REPAIRING": JobState.RUNNING,
    "STOPPING": JobState.RUNNING,
    "PENDING_STOP": JobState.RUNNING,
    "SUSPENDING": JobState.RUNNING,
    "SUSPENDED": JobState.HELD,
    "STOPPED": JobState.COMPLETED,
    "DEPROVISIONING": JobState.COMPLETED,
    "TERMINATED": JobState.COMPLETED,
}
#: Jobs that one question may name.
_CHUNK: Final = 20
_NAMESPACE: Final = uuid.UUID("5c2e8d8e-6d5b-4f7c-9f0b-2a7c1d0e4b11")


class GoogleCloudProvider(MachineProvider):
    """Blocks of instances of Google's Compute Engine.

    Args:
        project_id: the project.
        key_file: the JSON file of a service account; None for the credentials of Google's own tools.
        region: such as ``"us-central1"``; Google chooses the zone, all instances of a block are in one.
        os_project: project of the image, such as ``"debian-cloud"``.
        os_family: the image's family, such as ``"debian-12"``; it has Python of the same version as here.
        google_version: of the interface.
        instance_type: such as ``"n2-standard-8"``.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        launcher: how copies of the command are started on one instance.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        nodes_per_block: instances of one block.
        worker_init: lines of bash that come before everything else, as root.
        walltime: how long a block may run; Google deletes it then. None for as long as its command.
        linger: whether instances stay when their command has ended.
        network: of the project.
        cmd_timeout: seconds that one request may take.
    """

    SYSTEM = "googlecloud"
    NAME_CHARS = 58  # and a number for each instance
    OFF_COSTS = True
    SCRIPT_BYTES = 250_000  # 256 KiB for a value of metadata
    ADDRESS: ClassVar[tuple[str, ...]] = ("project_id", "key_file", "region", "google_version")

    def __init__(
        self,
        project_id: str,
        key_file: str | None,
        region: str,
        os_project: str,
        os_family: str,
        google_version: str = "v1",
        instance_type: str = "n1-standard-1",
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 10,
        launcher: Launcher | None = None,
        parallelism: float = 1,
        nodes_per_block: int = 1,
        worker_init: str = "",
        walltime: str | float | None = None,
        linger: bool = False,
        network: str = "default",
        cmd_timeout: float = 30,
    ) -> None:
        owner = "GoogleCloudProvider"
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
        self.project_id = checked_id(owner, "project_id", project_id)
        self.key_file = checked_path(owner, "key_file", key_file)
        self.region = checked_id(owner, "region", region)
        self.os_project = checked_id(owner, "os_project", os_project)
        self.os_family = checked_id(owner, "os_family", os_family)
        self.google_version = checked_id(owner, "google_version", google_version)
        self.instance_type = checked_id(owner, "instance_type", instance_type)
        self.network = checked_id(owner, "network", network)
        self._rest: Rest | None = None
        self._base = _BASE

    @classmethod
    def from_ticket(cls, ticket: Mapping[str, str]) -> GoogleCloudProvider:
        """A provider that can look at the job of a ticket."""
        return cls(
            ticket["project_id"],
            ticket.get("key_file"),
            ticket["region"],
            "unknown",
            "unknown",
            ticket["google_version"],
        )

    # ------------------------------------------------------------------ the service
    @property
    def rest(self) -> Rest:
        """The service; made when it is first used."""
        if self._rest is None:
            self._rest = Rest(self._base, _token(self.key_file), self.cmd_timeout)
        return self._rest

    def _path(self, *parts: str) -> str:
        return "/".join(
            [
                "",
                "compute",
                self.google_version,
                "projects",
                self.project_id,
                *(urllib.parse.quote(part, safe="") for part in parts),
            ]
        )

    def _begin(self, job: Job, command: str) -> None:
        body = self._request(job, self._script(job, command))
        # asked again with this number, it is the same request, which Google takes once
        query = {"requestId": str(uuid.uuid5(_NAMESPACE, job.id))}
        try:
            operation = self.rest.call(
                "POST", self._path("regions", self.region, "instances", "bulkInsert"), query, body
            )
        except RequestFailed as error:
            if error.status != 409 or not job.doubt:
                raise
        else:
            job.notes["operation"] = str(operation.get("name", ""))

    def _request(self, job: Job, script: str) -> dict[str, Any]:
        scheduling: dict[str, Any] = {"automaticRestart": False, "onHostMaintenance": "TERMINATE"}
        if self.walltime is not None and not self.linger:
            scheduling |= {
                "maxRunDuration": {"seconds": str(int(self._walltime_s) + 60)},
                "instanceTerminationAction": "DELETE",
            }
        image = f"projects/{self.os_project}/global/images/family/{self.os_family}"
        metadata = {"startup-script": script, "block-project-ssh-keys": "TRUE", "serial-port-enable": "FALSE"}
        return {
            "count": str(self.nodes_per_block),
            "minCount": str(self.nodes_per_block),
            "perInstanceProperties": {f"{job.id}-{number}": {} for number in range(self.nodes_per_block)},
            "instanceProperties": {
                "description": "a block of plait",
                "machineType": self.instance_type,
                "labels": job.labels,
                "metadata": {"items": [{"key": key, "value": value} for key, value in metadata.items()]},
                "disks": [
                    {"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": image, "labels": job.labels}}
                ],
                "networkInterfaces": [
                    {
                        "network": f"projects/{self.project_id}/global/networks/{self.network}",
                        "accessConfigs": [{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}],
                    }
                ],
                "scheduling": scheduling,
                # no service account: what runs there may do nothing in the project
                "serviceAccounts": [],
            },
        }

    def _look(self, jobs: Sequence[Job]) -> dict[str, Report]:
        reports = super()._look(jobs)
        for job in jobs:
            if job.id not in reports and job.notes.get("operation"):
                report = self._begun(job)
                if report is not None:
                    reports[job.id] = report
        return reports

    def _begun(self, job: Job) -> Report | None:
        """There is no instance yet, or no more: what became of the request."""
        try:
            operation = self.rest.call("GET", self._path("regions", self.region, "operations", job.notes["operation"]))
        except RequestFailed as error:
            if error.status == 404:
                return None
            raise
        if operation.get("status") != "DONE":
            return Report(JobState.PENDING, "Google makes its instances")
        errors = (operation.get("error") or {}).get("errors") or ()
        if errors:
            return Report(JobState.FAILED, "; ".join(f"{item.get('code')}: {item.get('message')}" for item in errors))
        return None

    def _machines(self, jobs: Sequence[Job]) -> dict[str, list[Machine]]:
        found: dict[str, list[Machine]] = {}
        for job, instance in self._instances(jobs):
            state = _STATES.get(str(instance.get("status")), JobState.UNKNOWN)
            said = str(instance.get("statusMessage") or f"the instance is {instance.get('status')}")
            found.setdefault(job, []).append(Machine(_place(instance), state, said))
        return found

    def _instances(self, jobs: Sequence[Job]) -> list[tuple[str, dict[str, Any]]]:
        found = []
        for chunk in batches(jobs, _CHUNK):
            query = {"filter": " OR ".join(f"(labels.plait-job = {job.id})" for job in chunk)}
            for page in self.rest.pages(self._path("aggregated", "instances"), query):
                for scope in (page.get("items") or {}).values():
                    found += [
                        (item.get("labels", {}).get("plait-job", ""), item) for item in scope.get("instances") or ()
                    ]
        return found

    def _console(self, job: Job, machine: Machine) -> str:
        del job
        zone, _, name = machine.id.partition("/")
        answer = self.rest.call("GET", self._path("zones", zone, "instances", name, "serialPort"), {"port": "1"})
        return str(answer.get("contents") or "")

    def _end(self, jobs: Sequence[Job]) -> None:
        found = self._instances(jobs)

        def end(job: Job) -> None:
            for owner, instance in found:
                if owner == job.id:
                    self._delete(_place(instance))

        self._each(jobs, end)

    def _delete(self, place: str) -> None:
        zone, _, name = place.partition("/")
        try:
            self.rest.call("DELETE", self._path("zones", zone, "instances", name))
        except RequestFailed as error:
            if error.status != 404:
                raise

    def _remove(self, jobs: Sequence[Job]) -> None:
        """An instance that switched itself off still has its disk, which costs."""
        if not self.linger:
            self._end(jobs)

    def _refused(self, error: Exception) -> bool:
        return isinstance(error, ConfigurationError) or (isinstance(error, RequestFailed) and error.refused)

    def _unsent(self, error: Exception) -> bool:
        return isinstance(error, RequestFailed) and (not error.sent or error.throttled)


def _place(instance: Mapping[str, Any]) -> str:
    return f"{str(instance.get('zone', '')).rpartition('/')[2]}/{instance.get('name', '')}"


def _token(key_file: str | os.PathLike[str] | None) -> Callable[[], str]:
    """What gives tokens, from a service account's file or from the credentials of Google's own tools.

    Raises:
        ConfigurationError: there are none.
    """
    auth, transport = module("google.auth", "google"), module("google.auth.transport.requests", "google")
    accounts, errors = module("google.oauth2.service_account", "google"), module("google.auth.exceptions", "google")
    try:
        if key_file is None:
            credentials, _ = auth.default(scopes=[_SCOPE])
        else:
            credentials = accounts.Credentials.from_service_account_file(os.fspath(key_file), scopes=[_SCOPE])
    except (OSError, ValueError, errors.GoogleAuthError) as error:
        raise ConfigurationError(
            f"GoogleCloudProvider(key_file={key_file!r}): it gives no credentials: {error}"
        ) from None

    def token() -> str:
        if not credentials.valid:
            credentials.refresh(transport.Request())
        return str(credentials.token)

    return token
