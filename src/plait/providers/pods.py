"""How a block is, from what Kubernetes says of its Job and its pods. Pure: dictionaries as the API has them, to `Report`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from plait.model.jobs import JobState
from plait.providers.judge import Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Why a container waits when nothing is wrong with it.
_ON_ITS_WAY: Final = frozenset({"ContainerCreating", "PodInitializing"})

Thing = dict[str, Any]


def by_job(pods: Iterable[Thing]) -> dict[str, list[Thing]]:
    """Pods by the name of their Job."""
    found: dict[str, list[Thing]] = defaultdict(list)
    for pod in pods:
        found[_dig(pod, "metadata", "labels").get("plait-job", "")].append(pod)
    return found


def report(job: Thing, pods: Sequence[Thing], *, cancelled: bool) -> Report:
    """How a block is."""
    conditions = {
        item.get("type"): item for item in _dig(job, "status").get("conditions") or () if item.get("status") == "True"
    }
    if "Complete" in conditions or "SuccessCriteriaMet" in conditions:
        return Report(JobState.COMPLETED, None, 0)
    if "Failed" in conditions or "FailureTarget" in conditions:
        return _failed(conditions.get("Failed") or conditions["FailureTarget"], pods)
    if _dig(job, "metadata").get("deletionTimestamp"):
        return Report(JobState.CANCELLED, "it was cancelled" if cancelled else "somebody else deletes it")
    return _alive(job, pods)


def _alive(job: Thing, pods: Sequence[Thing]) -> Report:
    phases = [_dig(pod, "status").get("phase", "Pending") for pod in pods]
    if "Running" in phases:
        return Report(JobState.RUNNING)
    if "Unknown" in phases:
        return Report(JobState.UNKNOWN, "the node of a pod does not answer")
    if "Failed" in phases:  # the Job will say so too
        return _failed({}, pods)
    if pods and all(phase == "Succeeded" for phase in phases):
        return Report(JobState.RUNNING, "its pods have ended, and its Job does not say so yet")
    if _dig(job, "spec").get("suspend"):
        return Report(JobState.PENDING, "its Job is suspended: a queue of the cluster decides when it begins")
    reasons = [reason for pod in pods if (reason := _waits_for(pod))]
    return Report(JobState.PENDING, "; ".join(dict.fromkeys(reasons)) or None)


def _waits_for(pod: Thing) -> str:
    """Why a pod does not run yet; empty when it is on its way."""
    for item in _dig(pod, "status").get("conditions") or ():
        if item.get("type") == "PodScheduled" and item.get("status") == "False":
            return _sentence(item)
    for container in _containers(pod):
        waiting = _dig(container, "state", "waiting")
        if waiting and waiting.get("reason") not in _ON_ITS_WAY:
            return _sentence(waiting)
    return ""


def _failed(condition: Mapping[str, Any], pods: Sequence[Thing]) -> Report:
    """Why a block failed: its time was over, the cluster took its nodes, or its command ended so."""
    if condition.get("reason") == "DeadlineExceeded":
        return Report(JobState.TIMEOUT, "its walltime was over")
    code, said = None, ""
    for pod in pods:
        status = _dig(pod, "status")
        if status.get("phase") != "Failed":
            continue
        for item in status.get("conditions") or ():
            if item.get("type") == "DisruptionTarget" and item.get("status") == "True":
                return Report(JobState.TIMEOUT, f"the cluster took its node: {_sentence(item)}")
        said = said or (_sentence(status) if status.get("reason") else "")
        for container in _containers(pod):
            ended = _dig(container, "state", "terminated")
            if ended.get("exitCode") and code is None:
                code = int(ended["exitCode"])
                how = "" if ended.get("reason") in {None, "Error"} else f" ({ended['reason']})"
                said = said or f"its command ended with exit code {code}{how}"
    return Report(JobState.FAILED, said or _sentence(condition) or "its Job failed", code)


def _containers(pod: Thing) -> list[Thing]:
    status = _dig(pod, "status")
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _sentence(thing: Mapping[str, Any]) -> str:
    return ": ".join(str(text).strip() for key in ("reason", "message") if (text := thing.get(key)))


def _dig(thing: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """What is below, or nothing."""
    found: Any = thing
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
