"""The lives of the interchange, here a scripted one (fake.py)."""

from __future__ import annotations

import errno
import os
import signal
import sys

import msgspec
import pytest

from plait.errors import ConfigurationError, ExecutorError, InterchangeLost
from plait.executors.htex import messages as m
from plait.executors.htex import recovery
from plait.executors.htex.driver import DriverLink
from plait.executors.htex.recovery import Lives
from plait.model.events import INTERCHANGE_LOST, NOTE
from tests.support import wait_until
from tests.unit.executors.htex.helpers import FAKE, SETTINGS, Recorder, Told, events, link, lives, log, submit


class Child:
    """A process that is none."""

    said: list = []

    def __init__(self, command):
        self.settings = None
        self.stream = self

    def tell(self, settings):
        self.settings = settings

    def send(self, message):
        Child.said.append(message)

    def how_it_ended(self):
        return "it was ended by SIGKILL"

    def close(self):
        """Nothing is open."""


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(recovery, "Child", Child)
    Child.said = []
    return Lives(lambda: SETTINGS, ())


LISTENING = m.Listening("e", ["127.0.0.1"], 54007)


# ------------------------------------------------------------------ what a life is told
def test_each_life_has_a_name_of_its_own_and_later_ones_the_port_and_who_may_come_back(made):
    made.start([])
    first = made.child.settings
    assert (first.port, first.expected) == (None, [])
    made.listens(LISTENING)
    made.end()
    made.start(["m1"])
    second = made.child.settings
    assert (second.port, second.expected) == (54007, ["m1"])
    assert first.epoch != second.epoch
    assert made.port == 54007


def test_later_lives_know_what_still_holds(made):
    for message in (
        m.Allow("0", "a"),
        m.Allow("1", "b"),
        m.Hold("m1", on=True),
        m.Hold("m2", on=True),
        m.DrainBlock("0", "x"),
        m.DrainBlock("1", "y"),
    ):
        made.tell(message)
    assert Child.said == []
    made.tell(m.Allow("0", ""))
    made.tell(m.Hold("m2", on=False))
    made.start([])
    assert Child.said == [m.Allow("1", "b"), m.Hold("m1", on=True), m.DrainBlock("1", "y")]
    made.tell(m.Hold("m3", on=True))
    assert Child.said[-1] == m.Hold("m3", on=True)


# ------------------------------------------------------------------ when it is given up
def die(made, times, *, listens=True):
    """What is said after each death, and whether the next start has to wait."""
    said = []
    for _ in range(times):
        made.start([])
        if listens:
            made.listens(LISTENING)
        made.end()
        verdict = made.verdict()
        said.append((verdict, made.deadline_s is not None))
    return said


def test_one_that_cannot_be_started_is_given_up_soon(made):
    assert die(made, 3, listens=False) == [("", False), ("", True), ("the interchange ended 3 times in a row", False)]
    assert made.deaths == 3


def test_one_that_listens_gets_more_lives(made):
    assert [said for said, _ in die(made, 6)] == [""] * 5 + ["the interchange ended 6 times in a row"]


def test_one_that_did_something_begins_a_new_row(made):
    die(made, 5)
    made.did_something()
    assert [said for said, _ in die(made, 5)] == [""] * 5
    assert made.deaths == 10


def test_one_that_served_for_a_while_begins_a_new_row(made, monkeypatch):
    die(made, 5)
    monkeypatch.setattr(recovery, "SERVED_S", 0.0)
    assert die(made, 1) == [("", False)]


def test_one_that_says_why_is_given_up_at_its_first_start_only(made):
    made.start([])
    made.cannot = "the port is taken"
    assert made.end() == "the port is taken"
    assert made.verdict() == "the interchange cannot work"
    made.start([])
    made.listens(LISTENING)
    made.end()
    made.start([])
    made.cannot = "the port is taken"
    made.end()
    assert made.verdict() == ""


@pytest.mark.parametrize(
    ("error", "listened", "again"),
    [
        (OSError(errno.EMFILE, "too many files"), True, True),
        (MemoryError(), True, True),
        (OSError(errno.EMFILE, "too many files"), False, False),
        (OSError(errno.ENOENT, "no such file"), True, False),
        (ValueError("no"), True, False),
    ],
)
def test_a_start_for_which_the_system_has_nothing_is_put_off_where_one_has_listened(made, error, listened, again):
    wrapped = ConfigurationError("it cannot be started")
    wrapped.__cause__ = error
    for each in (error, wrapped):
        made.ever_listened, made.deadline_s = listened, None
        assert made.puts_off(each) is again
        assert (made.deadline_s is not None) is again


def test_it_is_not_put_off_for_ever(made):
    made.ever_listened = True
    error = OSError(errno.EAGAIN, "no process")
    assert [made.puts_off(error) for _ in range(recovery.MAX_PUT_OFF + 1)] == [True] * recovery.MAX_PUT_OFF + [False]
    made.start([])
    assert made.puts_off(error)


def test_the_end_of_none_is_no_death(made):
    assert made.end("why") == "why"
    assert made.deaths == 0


def test_time_limits(made, monkeypatch):
    assert not made.is_late()
    monkeypatch.setattr(recovery, "START_S", 0.0)
    made.start([])
    assert made.is_late()
    made.listens(LISTENING)
    assert not made.is_late()


# ------------------------------------------------------------------ deaths of the interchange
def test_one_that_dies_is_started_again_and_offered_the_rest():
    lives("die", 2)
    with link("die:50") as (made, recorder, told):
        made.command("tell", m.Allow("0", "key"))
        submit(made, 300)
        recorder.wait(300)
        assert made.lives.deaths == 2
    assert {task.id: value for task, _, _, value, *_ in recorder.outcomes} == {n: n for n in range(300)}
    assert len(recorder.outcomes) == 300
    starts = [line for line in log() if line.startswith("start")]
    assert starts == ["start", "start m1", "start m1"]
    assert sum(line.startswith("OfferAgain m1") for line in log()) >= 2
    assert log().count("Allow 0 True") == 3
    assert len(events(recorder, INTERCHANGE_LOST)) == 2
    assert "SIGKILL" in events(recorder, NOTE)[0][2]
    assert [said[0] for said in told.said].count("listening") == 1


def test_one_that_cannot_be_started_again_at_the_moment_is_started_later(monkeypatch):
    monkeypatch.setattr(recovery, "RETRY_S", 0.0)
    lives("die", 1)
    failures = [OSError(errno.EMFILE, "too many files"), OSError(errno.EAGAIN, "no process")]
    real = recovery.Child

    def start(command):
        if made.lives.deaths and failures:
            raise failures.pop()
        return real(command)

    with link("die:50") as (made, recorder, told):
        monkeypatch.setattr(recovery, "Child", start)
        submit(made, 200)
        recorder.wait(200)
        assert made.broken is None
    assert failures == []
    assert {task.id: value for task, _, _, value, *_ in recorder.outcomes} == {n: n for n in range(200)}
    assert sum("cannot be started now" in event[2] for event in events(recorder, NOTE)) == 1
    assert not [said for said in told.said if said[0] == "broken"]


def test_what_had_no_place_is_offered_anew():
    with link("silent", "unplaced") as (made, _, told):
        told.up.wait(20)
        submit(made, 3)
        wait_until(lambda: len(made.offers.held) == 3)
        made.command("restart")
        wait_until(lambda: made.lives.deaths == 1 and len(made.offers.held) == 3)
        wait_until(lambda: log().count("start m1") == 1)
        assert not any("OfferAgain" in line for line in log())


def test_one_that_sends_nonsense_is_replaced():
    lives("garbage", 1)
    with link("garbage") as (made, recorder, _):
        submit(made, 10)
        recorder.wait(10)
        assert made.lives.deaths == 1
    assert "cannot be read" in events(recorder, INTERCHANGE_LOST)[0][3]


def test_one_that_dies_again_and_again_is_given_up():
    with link("exit") as (made, recorder, told):
        submit(made, 3)
        recorder.wait(3)
        wait_until(lambda: told.said)
        error = recorder.outcomes[0][3]
        assert type(error) is InterchangeLost
        assert "3 times in a row: it ended with exit status 3; it said: it does not want to" in str(error)
        assert made.broken is error
        assert told.said == [("broken", error)]
        submit(made, 1, 5)
        made.wake()
        recorder.wait(4)
    assert len(log()) == 3


def test_one_that_cannot_work_says_why():
    with link("broken") as (made, recorder, _):
        submit(made, 1)
        recorder.wait(1)
        assert "the port is taken" in str(recorder.outcomes[0][3])
    assert log() == ["start"]


def test_one_that_never_listens_is_given_up(monkeypatch):
    monkeypatch.setattr("plait.executors.htex.recovery.START_S", 0.05)
    monkeypatch.setattr("plait.executors.htex.driver.START_S", 0.05)
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    with link(command=command) as (made, recorder, _):
        submit(made, 1)
        recorder.wait(1)
        assert "did not listen within 0.05 s" in str(recorder.outcomes[0][3])


def test_one_that_cannot_be_started(monkeypatch):
    with link(command=["/not/there"]) as (made, recorder, _):
        submit(made, 1)
        recorder.wait(1)
        assert "/not/there" in str(recorder.outcomes[0][3])
    with link(settings=None) as (made, recorder, _):
        submit(made, 1)
        recorder.wait(1)
        assert type(recorder.outcomes[0][3]) is ExecutorError


def test_a_killed_one_is_noticed_at_once():
    with link("silent") as (made, _recorder, told):
        told.up.wait(20)
        os.kill(made.lives.child.pid, signal.SIGKILL)
        wait_until(lambda: made.lives.deaths == 1, 2.0)
        wait_until(lambda: "start m1" in log())


def test_the_settings_of_later_lives_have_the_port_and_the_managers():
    lives("die", 1)
    with link("die:1", settings=msgspec.structs.replace(SETTINGS, port=None)) as (made, recorder, _):
        submit(made, 2)
        recorder.wait(2)
        assert made.lives.port == 54321


def test_errors_of_configuration_are_told_as_they_are():
    def fails():
        raise ConfigurationError("no such thing")

    recorder = Recorder()
    made = DriverLink(fails, FAKE, "htex", recorder.context, Told())
    submit(made, 1)
    recorder.wait(1)
    made.shutdown(5.0)
    assert "no such thing" in str(recorder.outcomes[0][3])
