from __future__ import annotations

import pytest

from plait.dataflow.retry import Retry, as_retry
from plait.model.resources import Resources


def test_waits_double():
    retry = Retry(max=5, backoff_s=0.5)
    assert [retry.delay_s(n) for n in (1, 2, 3, 4)] == [0.5, 1, 2, 4]
    assert Retry().delay_s(1) == 0
    assert retry.delay_s(10_000) == 0.5 * 2**30, "it never overflows"


def test_jitter_stays_within_its_share():
    retry = Retry(backoff_s=10, jitter=0.2)
    delays = {retry.delay_s(1) for _ in range(200)}
    assert all(8 <= delay <= 12 for delay in delays)
    assert len(delays) > 100


def test_escalation():
    retry = Retry(escalate={"memory": 2.0, "cores": 3})
    once = retry.next_resources(Resources(memory_bytes=100, gpus=0.5))
    assert once == Resources(cores=3.0, memory_bytes=200, gpus=0.5)
    assert retry.next_resources(once).memory_bytes == 400
    assert retry.next_resources(None).cores == 3.0
    assert Retry().next_resources(None) is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"max": -1}, "max=-1"),
        ({"max": 1.5}, r"max=1\.5"),
        ({"max": True}, "max=True"),
        ({"backoff_s": -1}, "backoff_s=-1"),
        ({"backoff_s": "1s"}, "backoff_s='1s'"),
        ({"backoff_s": float("nan")}, "backoff_s=nan"),
        ({"backoff_s": float("inf")}, "backoff_s=inf"),
        ({"backoff_s": 10**400}, "backoff_s=1000"),
        ({"escalate": {"cores": float("inf")}}, "escalate="),
        ({"jitter": True}, "jitter=True"),
        ({"escalate": 2}, "escalate=2"),
        ({"jitter": 1.1}, r"jitter=1\.1"),
        ({"jitter": -0.1}, r"jitter=-0\.1"),
        ({"on": (3,)}, "on="),
        ({"on": "ValueError"}, "on="),
        ({"on": (int,)}, "on="),
        ({"escalate": {"memroy": 2}}, "memroy"),
        ({"escalate": {"memory": 0}}, "escalate="),
        ({"escalate": {"memory": "2"}}, "escalate="),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, text):
    with pytest.raises(ValueError, match=rf"Retry\(.*{text}.*expected"):
        Retry(**arguments)


def test_one_class_needs_no_tuple():
    assert Retry(on=OSError).on == (OSError,)


def test_numbers_become_policies():
    assert as_retry(None) is None
    assert as_retry(0) == Retry(max=0)
    assert as_retry(3) == Retry(max=3)
    policy = Retry(max=2)
    assert as_retry(policy) is policy
    for wrong in (True, "3", 1.5, -1):
        with pytest.raises(ValueError, match="expected"):
            as_retry(wrong)
