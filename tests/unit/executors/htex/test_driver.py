"""The link to the interchange, here a scripted one (fake.py)."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading

import numpy as np

from plait.errors import (
    ExecutorError,
    SerializationError,
)
from plait.executors.base import ERROR, OK
from plait.executors.htex import messages as m
from plait.model.task import CANCELLED, AppSpec
from plait.testing import tasks as bodies
from tests.support import wait_until
from tests.unit.executors.htex.helpers import link, log, make_task, submit


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
def test_commands_reach_the_interchange():
    with link() as (made, _, _):
        for message in (m.Allow("0", "key"), m.Allow("0", ""), m.Hold("m1", on=True), m.DrainBlock("0", "enough")):
            made.command("tell", message)
        wait_until(lambda: log()[1:] == ["Allow 0 True", "Allow 0 False", "Hold m1 True", "DrainBlock"])


# ------------------------------------------------------------------ ends
def test_a_failure_of_the_thread_ends_every_task(caplog):
    with link("silent") as (made, recorder, _):
        submit(made, 3)
        wait_until(lambda: len(made.offers.places) == 3)
        made.hearing._takers = {}
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
        os.kill(made.lives.child.pid, signal.SIGSTOP)
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
