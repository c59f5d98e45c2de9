"""`KubernetesProvider`: a block is one Job of a Kubernetes cluster, with one pod for each node.

```
Job plait-…-block-3        labels: run, executor, block       backoffLimit 0: a pod that failed is not started again, the block keeper decides
  ├── pod, pod, …          one for each node                  say why they wait: no room, no image
  └── Secret               the command with the block's keys; owned by the Job, so it goes with it
```
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from plait.errors import ConfigurationError
from plait.model.jobs import JobState
from plait.providers import pods
from plait.providers.judge import Report
from plait.providers.remote import Job, RemoteProvider, batches, module
from plait.providers.script import Script, checked_text, checked_whole, checked_word, walltime_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.launchers.base import Launcher

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_QUANTITY: Final = re.compile(r"[0-9]+(\.[0-9]+)?(m|[kMGTPE]i?)?")
_POD_NAME: Final = re.compile(r"[^a-z0-9-]+")
#: Where a pod finds its command.
_FOLDER: Final = "/plait-block"
#: Jobs that one question may name: their names are in its address.
_CHUNK: Final = 50
#: Seconds after which the cluster itself takes away a Job that ended, when nobody else did.
_TTL_S: Final = 3600
#: Lines of a pod's output that are kept.
_TAIL_LINES: Final = 1000
_INIT_BLOCKS: Final = 4
#: Seconds in which a Job has its pods.
_PODS_S: Final = 10.0
_EXISTS: Final = 409
#: Requests for one thing while others change the quota that it counts for.
_TRIES: Final = 5
_ABSENT: Final = 404

#: Deleting a pod sends SIGTERM to its first process only, and bash as the first process does not pass it on by itself.
_GROUP: Final = """\
plait_job= plait_again=
trap 'plait_again=yes; [ -z "$plait_job" ] || kill -TERM -- "-$plait_job"' TERM
set -m
{{
{command}
}} &
set +m
plait_job=$!
[ -z "$plait_again" ] || kill -TERM -- "-$plait_job"
plait_again=yes
while [ "$plait_again" ]; do plait_again=; wait "$plait_job"; plait_status=$?; done
exit $plait_status"""


class KubernetesProvider(RemoteProvider):
    """Blocks as Jobs of a Kubernetes cluster.

    The cluster and who you are there come from the usual configuration of ``kubectl``, or, in a pod, from its service account.

    Args:
        image: the container image. It has bash, and plait of this version for the same Python.
        namespace: where Jobs are made.
        nodes_per_block: pods of one block.
        init_blocks: blocks that are requested at the start; None for four, or ``max_blocks`` if that is less.
        min_blocks: blocks that are kept, whether there is work or not.
        max_blocks: blocks that there may be at once.
        max_cpu: CPUs that a pod may use at most.
        max_mem: memory that a pod may use at most, such as ``"4Gi"``.
        init_cpu: CPUs that are set aside for a pod.
        init_mem: memory that is set aside for a pod.
        extra_requests: more that is set aside, such as ``{"nvidia.com/gpu": "1"}``.
        extra_limits: more limits; GPUs must be in both.
        parallelism: how many workers are wanted for each task, from 0 to 1.
        worker_init: lines of bash that come before the command.
        pod_name: what names of blocks begin with.
        user_id: number of the user that a pod runs as.
        group_id: number of its group.
        run_as_non_root: whether a pod that would run as root is refused.
        secret: name of the secret with which the image is pulled.
        persistent_volumes: pairs of (persistent volume claim, where it is mounted).
        service_account_name: account of the pods. Without one they get no token of the cluster.
        annotations: annotations of the pods.
        launcher: how copies of the command are started in one pod.
        walltime: how long a block may run, such as ``"01:00:00"``; None for as long as its command.
        cmd_timeout: seconds that one request may take.
    """

    SYSTEM = "kubernetes"
    NAME_CHARS = 57  # a pod's name has six characters more, and at most 63 are the name of its host
    ADDRESS = ("namespace", "image")

    def __init__(
        self,
        image: str,
        namespace: str = "default",
        nodes_per_block: int = 1,
        init_blocks: int | None = None,
        min_blocks: int = 0,
        max_blocks: int = 10,
        max_cpu: float = 2,
        max_mem: str = "500Mi",
        init_cpu: float = 1,
        init_mem: str = "250Mi",
        extra_requests: Mapping[str, str] | None = None,
        extra_limits: Mapping[str, str] | None = None,
        parallelism: float = 1,
        worker_init: str = "",
        pod_name: str | None = None,
        user_id: int | str | None = None,
        group_id: int | str | None = None,
        run_as_non_root: bool = False,
        secret: str | None = None,
        persistent_volumes: Sequence[tuple[str, str]] = (),
        service_account_name: str | None = None,
        annotations: Mapping[str, str] | None = None,
        launcher: Launcher | None = None,
        walltime: str | float | None = None,
        cmd_timeout: float = 30,
    ) -> None:
        owner = "KubernetesProvider"
        seconds = math.inf if walltime is None else walltime_s(owner, walltime)
        if init_blocks is None:
            init_blocks = min(_INIT_BLOCKS, max_blocks) if isinstance(max_blocks, int) and max_blocks > 0 else 0
        super().__init__(
            nodes_per_block,
            init_blocks,
            min_blocks,
            max_blocks,
            parallelism,
            worker_init,
            launcher,
            seconds,
            cmd_timeout,
        )
        if (
            not isinstance(image, str)
            or not image
            or any(letter.isspace() or not letter.isprintable() for letter in image)
        ):
            raise ConfigurationError(
                f'{owner}(image={image!r}): expected the name of a container image, such as "ghcr.io/me/image:1"'
            )
        self.image = image
        self.namespace = _name(owner, "namespace", namespace)
        self.max_cpu = _cpus(owner, "max_cpu", max_cpu)
        self.init_cpu = _cpus(owner, "init_cpu", init_cpu)
        self.max_mem = _quantity(owner, "max_mem", max_mem)
        self.init_mem = _quantity(owner, "init_mem", init_mem)
        self.extra_requests = _quantities(owner, "extra_requests", extra_requests)
        self.extra_limits = _quantities(owner, "extra_limits", extra_limits)
        self.pod_name = None if pod_name is None else checked_word(owner, "pod_name", pod_name)
        self.user_id = _number(owner, "user_id", user_id)
        self.group_id = _number(owner, "group_id", group_id)
        if not isinstance(run_as_non_root, bool):
            raise ConfigurationError(f"{owner}(run_as_non_root={run_as_non_root!r}): expected True or False")
        self.run_as_non_root = run_as_non_root
        self.secret = None if secret is None else _name(owner, "secret", secret)
        self.persistent_volumes = _volumes(owner, persistent_volumes)
        self.service_account_name = (
            None if service_account_name is None else _name(owner, "service_account_name", service_account_name)
        )
        self.annotations = _texts(owner, "annotations", annotations)
        self.walltime = walltime
        self._cluster: Cluster | None = None

    @classmethod
    def from_ticket(cls, ticket: Mapping[str, str]) -> KubernetesProvider:
        """A provider that can look at the job of a ticket."""
        return cls(ticket["image"], ticket["namespace"])

    # ------------------------------------------------------------------ the service
    @property
    def cluster(self) -> Cluster:
        """The cluster's API; connected when it is first used."""
        if self._cluster is None:
            self._cluster = Cluster(self.namespace, self.cmd_timeout)
        return self._cluster

    def _begin(self, job: Job, command: str) -> None:
        uid = self.cluster.create_job(job.id, self._job(job))
        job.made = True
        self.cluster.create_secret(job.id, self._secret(job, uid, command))

    def _look(self, jobs: Sequence[Job]) -> dict[str, Report]:
        reports = {}
        for chunk in batches(jobs, _CHUNK):
            selector = f"plait-job in ({','.join(job.id for job in chunk)})"
            found, theirs = self.cluster.jobs(selector), pods.by_job(self.cluster.pods(selector))
            for job in chunk:
                if job.id in found:
                    report = pods.report(found[job.id], theirs.get(job.id, []), cancelled=job.case.cancelled)
                    reports[job.id] = report if theirs.get(job.id) else self._without_pods(job, report)
        return reports

    def _without_pods(self, job: Job, report: Report) -> Report:
        """A Job that cannot make its pods, because of a quota or a policy, says why in events only."""
        if report != Report(JobState.PENDING) or self._clock() - job.case.submitted_s < _PODS_S:
            return report
        return Report(JobState.PENDING, self.cluster.complaint(job.id) or "it has no pods yet")

    def _end(self, jobs: Sequence[Job]) -> None:
        self._each(jobs, lambda job: self.cluster.delete_job(job.id))

    def _remove(self, jobs: Sequence[Job]) -> None:
        self._end(jobs)

    def _output(self, job: Job) -> str | None:
        names = [pod["metadata"]["name"] for pod in self.cluster.pods(f"plait-job={job.id}")]
        texts = [self.cluster.log(name) for name in names]
        if len(texts) < 2:
            return "".join(texts) or None
        return "".join(f"--- {name}\n{text}\n" for name, text in zip(names, texts, strict=True))

    def _refused(self, error: Exception) -> bool:
        status = getattr(error, "status", None)
        return isinstance(error, ConfigurationError) or (
            isinstance(status, int) and 400 <= status < 500 and status not in {408, 429}
        )

    def _unsent(self, error: Exception) -> bool:
        return type(error).__name__ in {
            "NewConnectionError",
            "NameResolutionError",
        }  # of urllib3, which the client stands on

    # ------------------------------------------------------------------ what is made
    def _next_id(self, name: str) -> str:
        given = _POD_NAME.sub("-", (self.pod_name or "").lower()).strip("-")
        return super()._next_id(f"{given}.{name}" if given else name)

    def _job(self, job: Job) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "parallelism": self.nodes_per_block,
            "completions": self.nodes_per_block,
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _TTL_S,
            "template": {"metadata": {"labels": job.labels, "annotations": self.annotations}, "spec": self._pod(job)},
        }
        if self._walltime_s != math.inf:
            spec["activeDeadlineSeconds"] = math.ceil(self._walltime_s)
        labels = job.labels | {"app.kubernetes.io/managed-by": "plait"}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job.id, "labels": labels}, "spec": spec}

    def _pod(self, job: Job) -> dict[str, Any]:
        # 0444 within the pod, where nobody else is: an image's own user, whoever that is, must be able to read it
        volumes: list[dict[str, Any]] = [
            {"name": "plait-block", "secret": {"secretName": job.id, "defaultMode": 0o444}}
        ]
        mounts = [{"name": "plait-block", "mountPath": _FOLDER, "readOnly": True}]
        for number, (claim, path) in enumerate(self.persistent_volumes):
            volumes.append({"name": f"volume-{number}", "persistentVolumeClaim": {"claimName": claim}})
            mounts.append({"name": f"volume-{number}", "mountPath": path})
        security: dict[str, Any] = (
            {"runAsNonRoot": True, "allowPrivilegeEscalation": False} if self.run_as_non_root else {}
        )
        security |= {
            key: value
            for key, value in (("runAsUser", self.user_id), ("runAsGroup", self.group_id))
            if value is not None
        }
        container = {
            "name": "plait",
            "image": self.image,
            "command": ["/bin/bash", f"{_FOLDER}/run.sh"],
            "resources": {
                "requests": {"cpu": str(self.init_cpu), "memory": self.init_mem, **self.extra_requests},
                "limits": {"cpu": str(self.max_cpu), "memory": self.max_mem, **self.extra_limits},
            },
            "volumeMounts": mounts,
            "securityContext": security,
        }
        pod: dict[str, Any] = {
            "restartPolicy": "Never",
            "containers": [container],
            "volumes": volumes,
            # tasks have no business with the cluster unless somebody says so
            "automountServiceAccountToken": self.service_account_name is not None,
            "enableServiceLinks": False,
        }
        if self.service_account_name is not None:
            pod["serviceAccountName"] = self.service_account_name
        if self.secret is not None:
            pod["imagePullSecrets"] = [{"name": self.secret}]
        return pod

    def _secret(self, job: Job, uid: str, command: str) -> dict[str, Any]:
        script = Script("#")
        script.export("JOBNAME", job.id)
        script.line(_GROUP.format(command=f"{self.worker_init}\n{command}" if self.worker_init else command))
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job.id, "uid": uid}
        metadata = {"name": job.id, "labels": job.labels, "ownerReferences": [owner]}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "immutable": True,
            "stringData": {"run.sh": script.text()},
        }


class Cluster:
    """The few calls of the cluster's API that are needed, by the official client.

    Args:
        namespace: where everything is.
        timeout_s: that one request may take.
        host: address of the API server, without anything else; None for what the usual configuration says.
    """

    def __init__(self, namespace: str, timeout_s: float, host: str | None = None) -> None:
        client = module("kubernetes.client", "kubernetes")
        self._failed = client.exceptions.ApiException
        self._namespace = namespace
        self._timeout_s = timeout_s
        configuration = client.Configuration()
        if host is None:
            _configure(configuration)
        else:
            configuration.host = host
        configuration.retries = False  # whether to ask again is decided above, where it is known what that means
        self._api = client.ApiClient(configuration)
        self._core = client.CoreV1Api(self._api)
        self._batch = client.BatchV1Api(self._api)

    def create_job(self, name: str, body: Mapping[str, Any]) -> str:
        """Makes a Job; its number. One of this name that is there already is that very Job, because names are made for one block each."""
        made = self._make(self._batch.create_namespaced_job, body)
        if made is None:
            made = self._batch.read_namespaced_job(name, self._namespace, _request_timeout=self._timeout_s)
        return str(made.metadata.uid)

    def create_secret(self, name: str, body: Mapping[str, Any]) -> None:
        """Makes a Secret, unless it is there."""
        del name
        self._make(self._core.create_namespaced_secret, body)

    def _make(self, create: Any, body: Mapping[str, Any]) -> Any:
        """Makes a thing; None when it is there. Where two count for one quota at once, one is refused with the same status, and may ask again."""
        for left in reversed(range(_TRIES)):
            try:
                return create(self._namespace, body, _request_timeout=self._timeout_s)
            except self._failed as error:
                if error.status != _EXISTS:
                    raise
                if _reason(error) != "Conflict":
                    return None
                if not left:
                    raise
        return None

    def jobs(self, selector: str) -> dict[str, Any]:
        """Jobs with these labels, by name, as the API has them."""
        return {item["metadata"]["name"]: item for item in self._list(self._batch.list_namespaced_job, selector)}

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """Pods with these labels, as the API has them."""
        return self._list(self._core.list_namespaced_pod, selector)

    def log(self, pod: str) -> str:
        """The end of what a pod wrote; empty when it cannot be had."""
        try:
            text = self._core.read_namespaced_pod_log(
                pod, self._namespace, tail_lines=_TAIL_LINES, _request_timeout=self._timeout_s
            )
        except self._failed:
            return ""
        return str(text or "")

    def complaint(self, name: str) -> str:
        """The last warning about a thing; empty where there is none, or it may not be read."""
        selector = f"involvedObject.name={name},type=Warning"
        try:
            found = self._core.list_namespaced_event(
                self._namespace, field_selector=selector, _request_timeout=self._timeout_s
            ).items
        except self._failed:
            return ""
        return f"{found[-1].reason}: {found[-1].message}" if found else ""

    def delete_job(self, name: str) -> None:
        """Deletes a Job, and with it its pods and its Secret; one that is not there is deleted."""
        try:
            self._batch.delete_namespaced_job(
                name, self._namespace, propagation_policy="Background", _request_timeout=self._timeout_s
            )
        except self._failed as error:
            if error.status != _ABSENT:
                raise

    def close(self) -> None:
        """Gives up connections."""
        self._api.close()

    def _list(self, call: Any, selector: str) -> list[dict[str, Any]]:
        answer = self._api.sanitize_for_serialization(
            call(self._namespace, label_selector=selector, _request_timeout=self._timeout_s)
        )
        items = answer["items"]
        return [item for item in items if isinstance(item, dict)]


def _configure(configuration: Any) -> None:
    """As ``kubectl`` is configured, or as a pod is."""
    config = module("kubernetes.config", "kubernetes")
    try:
        config.load_kube_config(client_configuration=configuration)
    except config.ConfigException as first:
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException as second:
            raise ConfigurationError(
                f"KubernetesProvider: there is no cluster to talk to: {first}; {second}; set KUBECONFIG, or log in as for kubectl"
            ) from None


def _reason(error: Any) -> str:
    """Kubernetes' own name of an error."""
    try:
        return str(json.loads(error.body)["reason"])
    except (TypeError, ValueError, KeyError):
        return ""


# ------------------------------------------------------------------ parameters
def _name(owner: str, parameter: str, value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ConfigurationError(
            f"{owner}({parameter}={value!r}): expected a name of lower-case letters, digits, hyphens and dots"
        )
    return value


def _cpus(owner: str, parameter: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ConfigurationError(f"{owner}({parameter}={value!r}): expected a number of CPUs, more than 0")
    return value


def _quantity(owner: str, parameter: str, value: Any) -> str:
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise ConfigurationError(f'{owner}({parameter}={value!r}): expected an amount such as "500Mi" or "4Gi"')
    return value


def _quantities(owner: str, parameter: str, value: Any) -> dict[str, str]:
    return {
        key: _quantity(owner, f"{parameter}[{key!r}]", amount)
        for key, amount in _texts(owner, parameter, value).items()
    }


def _texts(owner: str, parameter: str, value: Any) -> dict[str, str]:
    try:
        items = dict(value or {})
    except (TypeError, ValueError):
        raise ConfigurationError(f"{owner}({parameter}={value!r}): expected a dictionary of texts") from None
    for key, text in items.items():
        checked_text(owner, f"a key of {parameter}", key)
        if not isinstance(text, str):
            raise ConfigurationError(f"{owner}({parameter}[{key!r}]={text!r}): expected a text")
    return items


def _number(owner: str, parameter: str, value: Any) -> int | None:
    """Upstream's documentation says text, and Kubernetes numbers; both are understood."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return checked_whole(owner, parameter, value, 0)


def _volumes(owner: str, value: Any) -> list[tuple[str, str]]:
    try:
        pairs = [(claim, path) for claim, path in value]
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{owner}(persistent_volumes={value!r}): expected pairs of a claim and a path"
        ) from None
    for claim, path in pairs:
        _name(owner, "persistent_volumes", claim)
        if not isinstance(path, str) or not path.startswith("/") or not path.isprintable() or ":" in path:
            raise ConfigurationError(
                f"{owner}(persistent_volumes: {path!r}): expected an absolute path in the container"
            )
    return pairs
