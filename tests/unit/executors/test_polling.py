from __future__ import annotations

import time

import pytest

from plait.executors.polling import Poller
from plait.model.jobs import JobState
from plait.testing import FakeProvider


def wait_s(poller):
    return poller.due_s() - time.monotonic()


def test_it_asks_at_once_and_then_once_an_interval():
    provider = FakeProvider(poll_s=60.0)
    poller = Poller(provider, "x")
    assert wait_s(poller) < 0
    job = provider.submit("x", 1)
    assert [status.state for status in poller.ask([job])] == [JobState.RUNNING]
    assert 59 < wait_s(poller) <= 60


def test_or_after_a_tenth_of_it_when_there_is_a_reason():
    poller = Poller(FakeProvider(poll_s=60.0), "x")
    poller.ask([])
    poller.early = True
    assert 5 < wait_s(poller) <= 6
    poller.ask([])
    assert wait_s(poller) > 59


def test_a_provider_that_wants_to_be_asked_all_the_time_is_not():
    poller = Poller(FakeProvider(poll_s=0.0), "x")
    poller.ask([])
    poller.early = True
    assert wait_s(poller) > 0


def test_silence_is_no_answer_and_slows_it_down(caplog):
    provider = FakeProvider(poll_s=10.0)
    provider.be_silent(times=6, message="slurm_load_jobs error: Socket timed out")
    poller = Poller(provider, "x")
    waits = []
    for _ in range(6):
        assert poller.ask(["1"]) is None
        waits.append(round(wait_s(poller), -1))
    assert waits == [20, 40, 80, 80, 80, 80]
    assert [record.message for record in caplog.records] == [
        ("executor x: the provider fake has not said for a while how jobs are; what was known of them is assumed: "
        "slurm_load_jobs error: Socket timed out")
    ]  # fmt: skip
    assert poller.ask([]) == []
    assert wait_s(poller) < 10


@pytest.mark.parametrize("answer", [None, [], [None], ["RUNNING"], 3])
def test_nonsense_is_no_answer_either(answer, monkeypatch):
    provider = FakeProvider()
    monkeypatch.setattr(provider, "status", lambda jobs: answer)
    assert Poller(provider, "x").ask(["1"]) is None
