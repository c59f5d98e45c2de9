"""The link to the interchange, here a scripted one (fake.py)."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading

import msgspec
import numpy as np

from plait.errors import (
    ConfigurationError,
    ExecutorError,
    InterchangeLost,
    InvalidResourceSpecification,
    ManagerLost,
    SerializationError,
)
from plait.executors.base import ERROR, LOST, OK
from plait.executors.htex import driver as module
from plait.model.events import (
    ATTEMPT_STARTED,
    ATTEMPTS_STARTED,
    INTERCHANGE_LOST,
    MANAGER_STARTED,
    NOTE,
    WORKER_STARTED,
)
from plait.model.task import CANCELLED, AppSpec
from plait.testing import tasks as bodies
from tests.support import wait_until
from tests.unit.executors.htex.helpers import FAKE, SETTINGS, link, lives, log, make_task


def submit(made, count, first=0):
    made_tasks = [make_task(number, number) for number in range(first, first + count)]
    for task in made_tasks:
        made.submit(task)
    return made_tasks


def events(recorder, kind):
    return [event for event in recorder.events if event[0] == kind]


# ------------------------------------------------------------------ tasks
def test_results_arrive(tmp_path):
    with link() as (made, recorder, told):
        submit(made, 500)
        outcomes = recorder.wait(500)
    assert {task.id: (kind, value) for task, _, kind, value, *_ in outcomes} == {n: (OK, n) for n in range(500)}
    assert told.said[:2] == [("listening", ["127.0.0.1"], 54321), ("up", "m1")]


def test_a_lone_task_is_sent_by_its_own_thread_when_the_other_sleeps():
    with link() as (made, recorder, told):
        told.up.wait(20)
        for number in range(20):
            wait_until(lambda: made.sleeping)
            made.submit(make_task(number, number))
            recorder.wait(number + 1)


def test_errors_and_those_who_ask_for_something():
    fail = AppSpec(bodies.fail, "fail")
    with link() as (made, recorder, _):
        made.submit(make_task(0, "no good", spec=fail))
        made.submit(make_task(1, 1, cores=2.0, priority=1.0))
        recorder.wait(2)
    outcomes = recorder.by_number()
    assert outcomes[0][2] == ERROR
    assert str(outcomes[0][3]) == "no good"
    assert outcomes[1][2:4] == (OK, 1)


def test_big_values_travel_as_files():
    array = np.arange(200_000)
    with link() as (made, recorder, _):
        for number in range(40):
            made.submit(make_task(number, array + number))
        recorder.wait(40)
    assert all(value.sum() == (array + task.id).sum() for task, _, _, value, *_ in recorder.outcomes)
    recorder.outcomes.clear()


def test_arguments_whose_file_cannot_be_made(monkeypatch):
    task = make_task(0, b"x" * 200_000)
    monkeypatch.setattr(type(task.payload), "file", lambda _: (_ for _ in ()).throw(OSError(24, "too many open files")))
    with link() as (made, recorder, _):
        made.submit(task)
        recorder.wait(1)
        wait_until(lambda: "Cancel [(0, 1)]" in log())
    assert type(recorder.outcomes[0][3]) is SerializationError
    task.payload.close()


def test_cancelling_before_and_after_the_offer():
    with link("silent") as (made, recorder, _):
        tasks = submit(made, 3)
        wait_until(lambda: len(made.offers.places) == 3)
        tasks[1].state = CANCELLED
        made.command("cancel", tasks[1], 1)
        made.command("cancel", tasks[1], 1)
        wait_until(lambda: "Cancel [(1, 1)]" in log())
        late = make_task(9)
        late.state, late.payload = CANCELLED, None
        made.submit(late)
        made.command("cancel", late, 1)
        submit(made, 1, 10)
        wait_until(lambda: 10 in made.offers.held)
        assert set(made.offers.held) == {0, 2, 10}
    assert recorder.outcomes == []


def test_losses_name_the_manager():
    with link("lose") as (made, recorder, _):
        submit(made, 3)
        recorder.wait(3)
    for _, _, kind, error, *_ in recorder.outcomes:
        assert (kind, type(error), error.announced) == (LOST, ManagerLost, False)
        assert "m1 on host fakehost: silent for 3 s" in str(error)


def test_what_no_node_can_ever_give():
    with link("impossible") as (made, recorder, _):
        submit(made, 2)
        recorder.wait(2)
    assert all(type(outcome[3]) is InvalidResourceSpecification for outcome in recorder.outcomes)


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


def test_many_threads_submit():
    with link() as (made, recorder, _):
        threads = [threading.Thread(target=submit, args=(made, 200, 1000 * n)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        recorder.wait(1200)
    assert len(recorder.by_number()) == 1200


# ------------------------------------------------------------------ questions and commands
def test_questions_are_answered_or_given_up():
    with link() as (made, _, told):
        told.up.wait(20)
        assert made.ask("managers", 20) == [{"what": "managers"}]
    with link("mute") as (made, _, _):
        assert made.ask("queue", 0.05) is None


def test_commands_reach_the_interchange():
    with link() as (made, _, _):
        made.allow("0", "key")
        made.allow("0", "")
        made.command("hold", "m1", True)
        made.command("drain", "0", "enough")
        wait_until(lambda: log()[1:] == ["Allow 0 True", "Allow 0 False", "Hold m1 True", "DrainBlock"])


def test_blocks_without_tasks(monkeypatch):
    with link("silent") as (made, _recorder, told):
        told.up.wait(20)
        wait_until(lambda: made.idle_blocks().get("0", 0.0) > 0)
        submit(made, 1)
        wait_until(lambda: made.offers.places)
        assert made.idle_blocks() == {}
        assert made.slots == 2


# ------------------------------------------------------------------ deaths of the interchange
def test_one_that_dies_is_started_again_and_offered_the_rest():
    lives("die", 2)
    with link("die:50") as (made, recorder, told):
        made.allow("0", "key")
        submit(made, 300)
        recorder.wait(300)
        assert made.deaths == 2
    assert {task.id: value for task, _, _, value, *_ in recorder.outcomes} == {n: n for n in range(300)}
    assert len(recorder.outcomes) == 300
    starts = [line for line in log() if line.startswith("start")]
    assert starts == ["start", "start m1", "start m1"]
    assert sum(line.startswith("OfferAgain m1") for line in log()) >= 2
    assert log().count("Allow 0 True") == 3
    assert len(events(recorder, INTERCHANGE_LOST)) == 2
    assert "SIGKILL" in events(recorder, NOTE)[0][2]
    assert [said[0] for said in told.said].count("listening") == 1


def test_what_had_no_place_is_offered_anew():
    with link("silent", "unplaced") as (made, _, told):
        told.up.wait(20)
        submit(made, 3)
        wait_until(lambda: len(made.offers.held) == 3)
        made.command("restart")
        wait_until(lambda: made.deaths == 1 and len(made.offers.held) == 3)
        wait_until(lambda: log().count("start m1") == 1)
        assert not any("OfferAgain" in line for line in log())


def test_one_that_sends_nonsense_is_replaced():
    lives("garbage", 1)
    with link("garbage") as (made, recorder, _):
        submit(made, 10)
        recorder.wait(10)
        assert made.deaths == 1
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
    monkeypatch.setattr(module, "START_S", 0.05)
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
        os.kill(made._child.pid, signal.SIGKILL)
        wait_until(lambda: made.deaths == 1, 2.0)
        wait_until(lambda: "start m1" in log())


def test_a_failure_of_the_thread_ends_every_task(caplog):
    with link("silent") as (made, recorder, _):
        submit(made, 3)
        wait_until(lambda: len(made.offers.places) == 3)
        made._takers = {}
        made.command("ask", "managers", (threading.Event(), []))
        recorder.wait(3)
        assert "I/O thread failed: KeyError" in str(recorder.outcomes[0][3])
        submit(made, 1, 7)
        made.wake()
        recorder.wait(4)


def test_it_can_be_given_up_from_outside():
    error = ExecutorError("htex", "blocks fail")
    with link("silent") as (made, recorder, _):
        submit(made, 2)
        made.command("break", error)
        recorder.wait(2)
        assert {outcome[3] for outcome in recorder.outcomes} == {error}


# ------------------------------------------------------------------ the end
def test_shutdown_is_quick_and_may_be_repeated():
    with link("silent") as (made, _recorder, told):
        told.up.wait(20)
        submit(made, 5)
        made.shutdown(10.0)
        made.shutdown(10.0)
    with link():
        pass


def test_shutdown_does_not_wait_for_one_that_hangs():
    with link("silent") as (made, _, told):
        told.up.wait(20)
        os.kill(made._child.pid, signal.SIGSTOP)
        made.shutdown(1.2)
        assert made._ended_thread.is_set()


def test_shutdown_from_a_callback():
    with link() as (made, recorder, _told):
        deliver = recorder.context.deliver

        def stop(outcomes):
            made.shutdown(5.0)
            deliver(outcomes)

        made._context = dataclasses.replace(recorder.context, deliver=stop)
        submit(made, 1)
        recorder.wait(1)
        made._ended_thread.wait(10)


def test_a_forked_child_does_not_speak(tmp_path):
    with link("silent") as (made, _, told):
        told.up.wait(20)
        pid = os.fork()
        if pid == 0:
            os._exit(0 if isinstance(made.broken, ExecutorError) and made._closed else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        submit(made, 1)
        wait_until(lambda: made.offers.places)


def test_the_settings_of_later_lives_have_the_port_and_the_managers():
    assert FAKE[0] == sys.executable
    lives("die", 1)
    with link("die:1", settings=msgspec.structs.replace(SETTINGS, port=None)) as (made, recorder, _):
        submit(made, 2)
        recorder.wait(2)
        assert made._settings.port == 54321


def test_errors_of_configuration_are_told_as_they_are():
    def fails():
        raise ConfigurationError("no such thing")

    from tests.unit.executors.htex.helpers import Recorder, Told

    recorder = Recorder()
    made = module.DriverLink(fails, FAKE, "htex", recorder.context, Told())
    submit(made, 1)
    recorder.wait(1)
    made.shutdown(5.0)
    assert "no such thing" in str(recorder.outcomes[0][3])
