"""`AWSProvider`: a block is one or several EC2 instances, which end themselves.

```
network (made before the first block, shared by all)      VPC ── subnet in each zone ── route to the Internet
                                                            └── security group: nobody comes in, everybody may go out
block ──▶ run_instances, once per client token            user data: command, walltime; switching off is terminating
```
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plait.errors import ConfigurationError, text_of
from plait.model.jobs import JobState
from plait.providers.aws_network import Network
from plait.providers.machines import Machine, MachineProvider, checked_id, checked_path
from plait.providers.remote import Job, batches, module
from plait.providers.script import checked_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.launchers.base import Launcher

_logger: Final = logging.getLogger("plait")

_STATES: Final = {
    "pending": JobState.PENDING,
    "running": JobState.RUNNING,
    "stopping": JobState.RUNNING,
    "stopped": JobState.COMPLETED,
    "shutting-down": JobState.COMPLETED,
    "terminated": JobState.COMPLETED,
}
#: What AWS says of an instance that ended as it should: its script, or we, switched it off.
_AS_WANTED: Final = ("Client.InstanceInitiatedShutdown", "Client.UserInitiatedShutdown")
_SPOT_TAKEN: Final = ("Server.SpotInstanceTermination", "Server.SpotInstanceShutdown")
#: Values that one filter may have.
_CHUNK: Final = 200
#: Errors of the library before anything was sent: nobody answered, or there are no credentials, or they are too old.
_UNSENT: Final = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "PartialCredentialsError", "CredentialRetrievalError"}
    | {"TokenRetrievalError", "NoAuthTokenError", "MetadataRetrievalError", "SSOError", "LoginError"}
)
#: Another zone may have what this one has not.
_NO_ROOM: Final = frozenset({"InsufficientInstanceCapacity", "Unsupported", "InsufficientFreeAddressesInSubnet"})


class AWSProvider(MachineProvider):
    """Blocks of instances of Amazon's EC2.

    Who you are there comes from the usual configuration of AWS's tools, from ``profile``, or from ``key_file``.

    Args:
        image_id: the machine image; it runs user data at its start, as those of Amazon, Ubuntu and Debian do, and has Python of the same version as here.
        key_name: name of a key pair that may log in; empty or None for nobody. No port is open for it unless you open one.
        init_blocks: blocks that are requested at the start.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        nodes_per_block: instances of one block.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        worker_init: lines of bash that come before everything else, as root.
        instance_type: such as ``"c7i.4xlarge"``.
        region: such as ``"us-east-2"``.
        spot_max_bid: US dollars per hour for spot instances; 0 for ordinary ones.
        key_file: a JSON file with ``AWSAccessKeyId`` and ``AWSSecretKey``.
        profile: a profile of AWS's configuration.
        iam_instance_profile_arn: what the instances may do in AWS.
        state_file: remembers the network in a file, which makes the next run use it again; without it each run makes its own and takes it away.
        walltime: how long a block may run; its instances end themselves then.
        linger: whether instances and network stay when they are no longer needed.
        launcher: how copies of the command are started on one instance.
        cmd_timeout: seconds that one request may take.
        endpoint_url: address of the service, where it is not Amazon's.
    """

    SYSTEM = "aws"
    ADDRESS: ClassVar[tuple[str, ...]] = ("region", "profile", "key_file", "endpoint_url")

    def __init__(
        self,
        image_id: str,
        key_name: str | None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 10,
        nodes_per_block: int = 1,
        parallelism: float = 1,
        worker_init: str = "",
        instance_type: str = "t2.small",
        region: str = "us-east-2",
        spot_max_bid: float = 0,
        key_file: str | None = None,
        profile: str | None = None,
        iam_instance_profile_arn: str = "",
        state_file: str | None = None,
        walltime: str | float = "01:00:00",
        linger: bool = False,
        launcher: Launcher | None = None,
        cmd_timeout: float = 30,
        endpoint_url: str | None = None,
    ) -> None:
        owner = "AWSProvider"
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
        self.image_id = checked_id(owner, "image_id", image_id)
        self.key_name = checked_text(owner, "key_name", key_name) if key_name not in (None, "") else key_name
        self.instance_type = checked_id(owner, "instance_type", instance_type)
        self.region = checked_id(owner, "region", region)
        if isinstance(spot_max_bid, bool) or not isinstance(spot_max_bid, (int, float)) or not 0 <= spot_max_bid < 1000:
            raise ConfigurationError(
                f"{owner}(spot_max_bid={spot_max_bid!r}): expected US dollars per hour, or 0 for no spot instances"
            )
        self.spot_max_bid = spot_max_bid
        self.key_file = checked_path(owner, "key_file", key_file)
        self.profile = profile if profile is None else checked_text(owner, "profile", profile)
        self.iam_instance_profile_arn = (
            checked_id(owner, "iam_instance_profile_arn", iam_instance_profile_arn) if iam_instance_profile_arn else ""
        )
        self.state_file = checked_path(owner, "state_file", state_file)
        self.endpoint_url = endpoint_url if endpoint_url is None else checked_text(owner, "endpoint_url", endpoint_url)
        self._ec2: Any = None
        self._network: Network | None = None
        self._zones = itertools.count()
        self._at_exit = False

    @classmethod
    def from_ticket(cls, ticket: Mapping[str, str]) -> AWSProvider:
        """A provider that can look at the job of a ticket."""
        return cls("unknown", None, **{key: ticket[key] for key in cls.ADDRESS if key in ticket})  # type: ignore[arg-type]

    # ------------------------------------------------------------------ the service
    @property
    def ec2(self) -> Any:
        """The client of the service; made when it is first used."""
        if self._ec2 is None:
            self._ec2 = _client(self.region, self.profile, self.key_file, self.endpoint_url, self.cmd_timeout)
        return self._ec2

    @property
    def network(self) -> Network:
        """What the instances are in; made when the first block is begun."""
        if self._network is None:
            self._network = Network(self.ec2, self.state_file)
        return self._network

    def _begin(self, job: Job, command: str) -> None:
        if job.doubt and self._instances([job]):
            return  # the answer was lost, and not the request
        subnets = self.network.subnets()
        if not self.linger and self.state_file is None and not self._at_exit:
            self._at_exit = True
            atexit.register(self._leave)  # in case that it could not be done before
        text = self._script(job, command)
        subnets = _rotated(subnets, job.notes.setdefault("zone", next(self._zones)))
        for attempt in range(job.notes.get("attempt", 0), len(subnets)):
            job.notes["attempt"] = (
                attempt  # asked again, it is the same request with the same token, which AWS takes once
            )
            try:
                self.ec2.run_instances(
                    **self._request(job, text, subnets[attempt]), ClientToken=f"{job.id[-60:]}-{attempt}"
                )
            except Exception as error:
                if _code(error) not in _NO_ROOM or attempt == len(subnets) - 1:
                    raise
            else:
                return

    def _request(self, job: Job, text: str, subnet: str) -> dict[str, Any]:
        tags = [
            {"Key": key, "Value": value} for key, value in {"Name": job.id, **job.labels, **self.network.tags}.items()
        ]
        request: dict[str, Any] = {
            "ImageId": self.image_id,
            "InstanceType": self.instance_type,
            "MinCount": self.nodes_per_block,
            "MaxCount": self.nodes_per_block,
            "UserData": text,
            "InstanceInitiatedShutdownBehavior": "stop" if self.linger else "terminate",
            # keys of the block are in the user data: what asks on behalf of others must not be able to read them
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
            "NetworkInterfaces": [
                {
                    "DeviceIndex": 0,
                    "SubnetId": subnet,
                    "Groups": [self.network.security_group],
                    "AssociatePublicIpAddress": True,
                    "DeleteOnTermination": True,
                }
            ],
            "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
        }
        if self.key_name:
            request["KeyName"] = self.key_name
        if self.iam_instance_profile_arn:
            request["IamInstanceProfile"] = {"Arn": self.iam_instance_profile_arn}
        if self.spot_max_bid:
            request["InstanceMarketOptions"] = {
                "MarketType": "spot",
                "SpotOptions": {
                    "MaxPrice": f"{self.spot_max_bid:.6g}",
                    "SpotInstanceType": "one-time",
                    "InstanceInterruptionBehavior": "terminate",
                },
            }
        return request

    def _machines(self, jobs: Sequence[Job]) -> dict[str, list[Machine]]:
        found: dict[str, list[Machine]] = {}
        for job, instance in self._instances(jobs):
            found.setdefault(job, []).append(_machine(instance))
        return found

    def _instances(self, jobs: Sequence[Job]) -> list[tuple[str, dict[str, Any]]]:
        """Instances of jobs, each with the id of its job."""
        found = []
        for chunk in batches(jobs, _CHUNK):
            pages = self.ec2.get_paginator("describe_instances").paginate(
                Filters=[{"Name": "tag:plait-job", "Values": [job.id for job in chunk]}]
            )
            for page in pages:
                for instance in (item for reservation in page["Reservations"] for item in reservation["Instances"]):
                    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", ())}
                    found.append((tags.get("plait-job", ""), instance))
        return found

    def _console(self, job: Job, machine: Machine) -> str:
        del job
        return str(self.ec2.get_console_output(InstanceId=machine.id).get("Output") or "")

    def _end(self, jobs: Sequence[Job]) -> None:
        ids = [
            instance["InstanceId"] for _, instance in self._instances(jobs) if instance["State"]["Name"] != "terminated"
        ]
        for chunk in batches(ids, _CHUNK):
            self.ec2.terminate_instances(InstanceIds=list(chunk))

    def _refused(self, error: Exception) -> bool:
        answer = getattr(error, "response", None)
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(answer, dict) else 0
        if _code(error) in {"RequestLimitExceeded", "Throttling", "IdempotentParameterMismatch"}:
            return False
        return (
            isinstance(error, ConfigurationError)
            or _code(error) in _NO_ROOM
            or 400 <= status < 500
            or type(error).__name__ in {"NoCredentialsError", "ParamValidationError"}
        )

    def _unsent(self, error: Exception) -> bool:
        return any(kind.__name__ in _UNSENT for kind in type(error).__mro__)

    # ------------------------------------------------------------------ the end
    def close(self) -> None:
        """Ends all instances and takes the network away, unless it is to stay. What must wait for instances to end is done when the program ends."""
        super().close()
        if self.linger:
            return
        self.cancel([job.id for job in self.resources.values() if not job.case.status.terminal])
        if self.state_file is None and self._network is not None and self.network.remove(0.0):
            self._forget()

    def teardown(self, network: str = "") -> None:
        """Takes the network away, and what is in it; waits until that is done.

        Args:
            network: the value of its tag ``plait-network``, for one that a killed driver left; empty for the provider's own.
        """
        if network:
            Network(self.ec2, None, network).remove()
            return
        if self._network is not None or self.state_file is not None:
            self.network.remove()
        self._forget()

    def _forget(self) -> None:
        self._network, self._at_exit = None, False
        atexit.unregister(self._leave)

    def _leave(self) -> None:
        """The program ends."""
        _logger.warning(
            "AWS: instances are being ended, and then their network is taken away; this may take a minute or two"
        )
        try:
            self.close()
            if self._network is not None:
                self.teardown()
        except Exception as error:  # noqa: BLE001 - nobody is left who could do something about it
            _logger.error("AWS: the network with the tag plait-network may be left: %s", text_of(error))  # noqa: TRY400 - for people


def _machine(instance: Mapping[str, Any]) -> Machine:
    name = instance["State"]["Name"]
    state, reason = _STATES.get(name, JobState.UNKNOWN), instance.get("StateReason", {})
    code, message = str(reason.get("Code", "")), str(reason.get("Message", ""))
    if state == JobState.COMPLETED and code in _SPOT_TAKEN:
        return Machine(instance["InstanceId"], JobState.TIMEOUT, f"AWS took the spot instance: {message or code}")
    if state == JobState.COMPLETED and code and code not in _AS_WANTED:
        return Machine(instance["InstanceId"], JobState.FAILED, f"AWS ended the instance: {message or code}")
    return Machine(instance["InstanceId"], state, f"the instance is {name}")


def _client(region: str, profile: str | None, key_file: str | None, endpoint_url: str | None, timeout_s: float) -> Any:
    """The client of EC2.

    Raises:
        ConfigurationError: there is no such profile, or the file with the keys cannot be read.
    """
    session, config = module("boto3.session", "aws"), module("botocore.config", "aws")
    errors = module("botocore.exceptions", "aws")
    try:
        made = session.Session(region_name=region, profile_name=profile, **_keys(key_file))
        settings = config.Config(
            connect_timeout=timeout_s, read_timeout=timeout_s, retries={"mode": "standard", "total_max_attempts": 2}
        )
        return made.client("ec2", endpoint_url=endpoint_url, config=settings)
    except errors.ProfileNotFound as error:
        raise ConfigurationError(f"AWSProvider(profile={profile!r}): {error}") from None


def _keys(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    import json

    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            content = json.load(file)
        return {"aws_access_key_id": content["AWSAccessKeyId"], "aws_secret_access_key": content["AWSSecretKey"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"AWSProvider(key_file={path!r}): expected a JSON file with AWSAccessKeyId and AWSSecretKey: {type(error).__name__}: {error}"
        ) from None


def _code(error: Exception) -> str:
    """AWS's own name of an error."""
    answer = getattr(error, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""


def _rotated(items: list[str], by: int) -> list[str]:
    by %= len(items)
    return items[by:] + items[:by]
