"""How a block is, from what Kubernetes says of its Job and pods."""

from __future__ import annotations

import pytest

from plait.model.jobs import JobState
from plait.providers.judge import Report
from plait.providers.pods import by_job, report


def job(*conditions, **metadata):
    return {
        "metadata": metadata,
        "spec": {},
        "status": {"conditions": [{"status": "True", **one} for one in conditions]},
    }


def pod(phase, state=None, **status):
    containers = [{"state": state}] if state else []
    return {
        "metadata": {"labels": {"plait-job": "j"}},
        "status": {"phase": phase, "containerStatuses": containers, **status},
    }


DISRUPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "PreemptionByScheduler",
    "message": "preempting to accommodate a higher priority pod",
}


@pytest.mark.parametrize(
    ("thing", "pods", "expected"),
    [
        (job(), [], Report(JobState.PENDING)),
        ({}, [{}], Report(JobState.PENDING)),
        (job(), [pod("Pending", {"waiting": {"reason": "ContainerCreating"}})], Report(JobState.PENDING)),
        (job(), [pod("Pending"), pod("Running")], Report(JobState.RUNNING)),
        (job(), [pod("Unknown")], Report(JobState.UNKNOWN, "the node of a pod does not answer")),
        (job(), [pod("Succeeded")], Report(JobState.RUNNING, "its pods have ended, and its Job does not say so yet")),
        ({"spec": {"suspend": True}}, [], Report(JobState.PENDING, "its Job is suspended: a queue of the cluster decides when it begins")),
        (job({"type": "Complete"}), [], Report(JobState.COMPLETED, None, 0)),
        (job({"type": "Failed", "reason": "DeadlineExceeded"}), [pod("Failed")], Report(JobState.TIMEOUT, "its walltime was over")),
        (
            job({"type": "Failed"}),
            [pod("Failed", conditions=[DISRUPTED])],
            Report(JobState.TIMEOUT, "the cluster took its node: PreemptionByScheduler: preempting to accommodate a higher priority pod"),
        ),
        (
            job({"type": "Failed"}),
            [pod("Failed", reason="Evicted", message="The node was low on resource: memory.")],
            Report(JobState.FAILED, "Evicted: The node was low on resource: memory."),
        ),
        (
            job(),
            [pod("Failed", {"terminated": {"exitCode": 3, "reason": "Error"}})],
            Report(JobState.FAILED, "its command ended with exit code 3", 3),
        ),
        (job({"type": "Failed", "reason": "BackoffLimitExceeded", "message": "limit"}), [], Report(JobState.FAILED, "BackoffLimitExceeded: limit")),
        (job({"type": "Failed"}), [], Report(JobState.FAILED, "its Job failed")),
        (job({"type": "Complete", "status": "False"}), [], Report(JobState.PENDING)),
        (job(deletionTimestamp="2026"), [pod("Running")], Report(JobState.CANCELLED, "somebody else deletes it")),
    ],
)  # fmt: skip
def test_states(thing, pods, expected):
    assert report(thing, pods, cancelled=False) == expected


def test_a_job_that_is_being_deleted_was_cancelled_if_it_was():
    assert report(job(deletionTimestamp="2026"), [], cancelled=True) == Report(JobState.CANCELLED, "it was cancelled")


def test_reasons_are_said_once_each():
    waits = [
        pod("Pending", {"waiting": {"reason": reason}})
        for reason in ("ErrImagePull", "ErrImagePull", "CreateContainerConfigError")
    ]
    assert report(job(), waits, cancelled=False).message == "ErrImagePull; CreateContainerConfigError"


def test_pods_belong_to_their_job():
    assert by_job([pod("Running"), {"metadata": {}}]) == {"j": [pod("Running")], "": [{"metadata": {}}]}
