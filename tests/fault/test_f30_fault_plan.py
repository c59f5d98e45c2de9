"""F30: messages of a real link are lost, come twice, overtake each other and come late, and tasks are cancelled meanwhile: every future ends once."""

from __future__ import annotations

import collections
from concurrent.futures import wait

import pytest

import plait
from plait.testing import tasks
from tests.fault.lab import seeded
from tests.fault.pilot import pilot_jobs, up
from tests.support import wait_until

echo = plait.python_app(tasks.echo)
fail = plait.python_app(tasks.fail)

COUNT = 400
PLANS = {
    "duplicates": "link.duplicate:0.3",
    "late and out of order": "link.reorder:0.3,link.delay.Heartbeat:0.05",
    "outcomes": "link.drop.Outcomes:0.1,link.duplicate.Outcomes:0.2,link.reorder.Outcomes:0.3",
    "tasks": "link.drop.Tasks:0.1,link.duplicate.Tasks:0.2,link.reorder.Tasks:0.3",
    "acknowledgements": "link.drop.Taken:0.5,link.duplicate.Taken:0.3,link.reorder.Taken:0.3",
    "cancels": "link.duplicate.Cancel:0.5,link.reorder.Cancel:0.5,link.drop.Recall:0.5,link.duplicate.Returned:0.3,link.reorder.Returned:0.5",
    "signs of life": "link.drop.Heartbeat:0.5,link.duplicate.Register:0.5,link.reorder.Register:0.5,link.duplicate.Welcome:0.5",
    "everything": "link.drop:0.02,link.duplicate:0.1,link.reorder:0.1,link.drop.Function:0,link.reorder.Function:0",
}


@pytest.mark.parametrize("plan", PLANS)
def test_every_future_ends_once_with_the_right_value(plan, monkeypatch):
    chance = seeded(plan)
    monkeypatch.setenv("PLAIT_FAULTS", f"{PLANS[plan]},link.seed:{chance.randrange(1000)}")
    ended = collections.Counter()
    with pilot_jobs(max_losses=20, options={"blocks": 2, "heartbeat_threshold": 1.5}) as kernel:
        up(kernel, 2)
        futures = {}
        for number in range(COUNT):
            size = 200_000 if number % 50 == 0 else 10  # some are big: they travel in chunks
            value = (number, b"x" * size)
            future = fail(str(number)) if number % 10 == 3 else echo(value)
            future.add_done_callback(lambda _, number=number: ended.update([number]))
            futures[number] = (future, value)
            if chance.random() < 0.2:
                futures[chance.randrange(number + 1)][0].cancel()
        for number, (future, value) in futures.items():
            wait([future], 60)
            if future.cancelled():
                continue
            error = future.exception(0)
            if number % 10 == 3:
                assert isinstance(error, ValueError)
                assert str(number) in str(error)
            else:
                assert future.result(0) == value
        assert echo("last").result(60) == "last"
    wait_until(lambda: len(ended) == COUNT)
    assert set(ended.values()) == {1}
