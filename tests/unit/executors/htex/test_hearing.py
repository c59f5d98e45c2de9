"""What the interchange tells the driver, here a scripted one (fake.py)."""

from __future__ import annotations

import msgspec

from plait.errors import ManagerLost
from plait.executors.base import LOST
from plait.executors.htex import messages as m
from plait.executors.htex.hearing import Hearing, Hooks, read_answer
from plait.executors.htex.offers import Offers
from plait.executors.htex.recovery import Lives
from plait.model.events import (
    ATTEMPT_STARTED,
    ATTEMPTS_STARTED,
    MANAGER_ENDED,
    MANAGER_STARTED,
    NOTE,
    WORKER_ENDED,
    WORKER_STARTED,
)
from plait.serialize import dumps
from tests.support import wait_until
from tests.unit.executors.htex.helpers import Recorder, events, link, make_task, submit

UP = m.ManagerUp("m1", "0", "node1", 42, 4, 4.0, 0, 0, [], "0.1", "3.11", False)


def hear(*messages, tasks=()):
    """What a fresh one makes of messages: (hearing, recorder, outcomes)."""
    recorder = Recorder()
    offers = Offers(lambda _: 0)
    offers.queue.extend(tasks)
    offers.next_batch()
    made = Hearing("htex", recorder.context, offers, Lives(lambda: None, ()), Hooks())
    outcomes = []
    made.take([(message, b"", []) for message in messages], outcomes)
    return made, recorder, outcomes


def test_losses_name_the_manager():
    with link("lose") as (made, recorder, _):
        submit(made, 3)
        recorder.wait(3)
    for _, _, kind, error, *_ in recorder.outcomes:
        assert (kind, type(error), error.announced) == (LOST, ManagerLost, False)
        assert "m1 on host fakehost: silent for 3 s" in str(error)


def test_of_one_that_did_not_come_back_the_interchange_knows_but_the_name(monkeypatch):
    gone = []
    monkeypatch.setattr(Hooks, "manager_gone", lambda _, message: gone.append(message))
    task = make_task(1)
    reason = "it did not come back"
    _, _, (outcome,) = hear(
        UP,
        m.Lost("m1", "", "", reason, False, [(task.id, 1)]),
        m.ManagerGone("m1", "", "", "lost", reason),
        tasks=[task],
    )
    assert str(outcome[3]).endswith("m1 on host node1: it did not come back")
    assert [(message.block, message.hostname) for message in gone] == [("0", "node1")]


def test_a_node_of_a_gang_that_did_not_come_back_is_told_with_its_host():
    lost = m.Lost("m1", "", "0", "it did not come back", announced=False, items=[(1, 1)])
    _, _, (outcome,) = hear(UP, m.Placed("m2", [(1, 1)]), lost, tasks=[make_task(1)])
    assert str(outcome[3]).endswith("m1 on host node1: it did not come back")


def test_events_tell_where_attempts_went():
    with link() as (made, recorder, _):
        submit(made, 2)
        made.submit(make_task(2, 2, attempt=3))
        recorder.wait(3)
    started = [number for event in events(recorder, ATTEMPTS_STARTED) for number in event[4]]
    assert sorted(started) == [0, 1]
    assert [event[2:] for event in events(recorder, ATTEMPT_STARTED)] == [(2, 3, "htex", -1, "m1")]
    assert [event[2:5] for event in events(recorder, MANAGER_STARTED)] == [("htex", "m1", "0")]
    assert [event[2:] for event in events(recorder, WORKER_STARTED)] == [("htex", 0, 0)]


def test_blocks_without_tasks(monkeypatch):
    with link("silent") as (made, _recorder, told):
        told.up.wait(20)
        wait_until(lambda: made.hearing.idle_blocks().get("0", 0.0) > 0)
        submit(made, 1)
        wait_until(lambda: made.offers.places)
        assert made.hearing.idle_blocks() == {}
        assert made.hearing.slots == 2


def test_questions_are_answered_or_given_up():
    with link() as (made, _, told):
        told.up.wait(20)
        assert made.ask("managers", 20) == [{"what": "managers"}]
    with link("mute") as (made, _, _):
        assert made.ask("queue", 0.05) is None


def test_managers_come_and_go():
    up, gone = UP, m.ManagerGone("m1", "0", "node1", "lost", "silent for 120 s")
    made, recorder, _ = hear(
        up, msgspec.structs.replace(up, manager="m2", workers=2), msgspec.structs.replace(up, again=True), gone
    )
    assert set(made.managers) == {"m2"}
    assert made.slots == 2
    assert [event[3] for event in events(recorder, MANAGER_STARTED)] == ["m1", "m2"]
    assert [event[2:] for event in events(recorder, MANAGER_ENDED)] == [("htex", "m1", "lost", "silent for 120 s")]


def test_workers_have_numbers_of_the_runs_own():
    """Two managers have a worker 0; a worker that is gone with its manager is told of."""
    done = dumps(1)
    tasks = [make_task(number) for number in range(4)]
    _, recorder, outcomes = hear(
        m.Delivered(1, "m1", [(0, 1, m.DONE, done, 1.0, 2.0, 0)]),
        m.Delivered(
            2,
            "m2",
            [
                (1, 1, m.DONE, done, 1.0, 2.0, 0),
                (2, 1, m.WORKER_LOST, msgspec.msgpack.encode((0, "h", "x")), 0.0, 0.0, -1),
            ],
        ),
        m.Delivered(3, "m1", [(3, 1, m.DONE, done, 1.0, 2.0, 0)]),
        m.ManagerGone("m2", "0", "node1", "left", ""),
        tasks=tasks,
    )
    assert [outcome[6] for outcome in outcomes] == [0, 1, -1, 0]
    assert len(events(recorder, WORKER_STARTED)) == 2
    assert [event[3:] for event in events(recorder, WORKER_ENDED)] == [(1, "its manager is gone: left")]


def test_what_is_to_be_acknowledged():
    done = dumps(1)
    made, _, _ = hear(
        m.Delivered(1, "m1", [(0, 1, m.DONE, done, 0, 0, 0)] * 3),
        m.BigDelivered(2, "m1", (0, 1, m.DONE, b"", 0, 0, 0), [1]),
    )
    assert (made.taken, made.unsaid) == (2, 4)
    made.forget_life()
    assert (made.taken, made.unsaid) == (0, 0)


def test_segments_that_are_wanted_wait_for_the_link():
    made, _, _ = hear(m.Pull([(1, 1), (2, 1)]), m.Pull([(3, 1)]))
    assert list(made.pulls) == [(1, 1), (2, 1), (3, 1)]
    made.forget_life()
    assert not made.pulls


def test_warnings_reach_people(caplog):
    _, recorder, _ = hear(m.Warn("python 3.10 there, 3.11 here"))
    assert events(recorder, NOTE)[0][2] == "executor 'htex': python 3.10 there, 3.11 here"
    assert "3.10 there" in caplog.text


def test_answers_that_are_none():
    assert read_answer([]) is None
    assert read_answer([b"{"]) is None
    assert read_answer([b"[1]"]) == [1]
