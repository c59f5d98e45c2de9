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


def follow(poller, monkeypatch, count):
    """The seconds between the next polls, each made when it is due."""
    waits = []
    for _ in range(count):
        due_s = poller.due_s()
        waits.append(due_s - poller._last_s)
        monkeypatch.setattr("time.monotonic", lambda due_s=due_s: due_s)
        poller.ask([])
    return [round(wait) for wait in waits]


def test_soon_after_a_change_and_then_more_and_more_seldom(monkeypatch):
    poller = Poller(FakeProvider(poll_s=60.0), "x")
    poller.ask([])
    poller.hasten()
    assert follow(poller, monkeypatch, 8) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_provider_that_answers_at_once_is_asked_sooner():
    poller = Poller(FakeProvider(poll_s=0.5), "x")
    poller.ask([])
    poller.hasten()
    assert 0 < wait_s(poller) <= 0.05


def test_however_much_changes_it_is_not_asked_all_the_time(monkeypatch):
    poller = Poller(FakeProvider(poll_s=60.0), "x")
    poller.ask([])
    waits = []
    for _ in range(30):
        poller.hasten()
        waits += follow(poller, monkeypatch, 1)
    assert waits[:9] == [1] * 9
    assert sum(waits) > 120, "30 polls took more than two intervals"


def test_a_provider_that_wants_to_be_asked_all_the_time_is_not():
    poller = Poller(FakeProvider(poll_s=0.0), "x")
    poller.ask([])
    poller.hasten()
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
