from __future__ import annotations

import pytest

from plait.compat.parsl.executors.high_throughput.direct import FIRST, DirectTasks, deliver_to_nobody, run_payload
from plait.compat.parsl.serialize import pack_apply_message
from plait.errors import InvalidResourceSpecification
from plait.executors.base import ERROR, LOST, OK
from plait.model.task import LAUNCHED, AppSpec, Task


@pytest.fixture
def started():
    return []


@pytest.fixture
def cancelled():
    return []


@pytest.fixture
def direct(cancelled):
    return DirectTasks(lambda task, attempt: cancelled.append((task.id, attempt)))


def outcome(task, how, value):
    return task, task.attempt, how, value, 0.0, 0.0, -1


def test_a_task_of_its_own(direct, started):
    future = direct.begin(started.append, pow, {"cores": 2, "walltime": 5}, (2, 5), {"mod": 7})
    (task,) = started
    assert (task.app.func, task.args, task.kwargs, task.state, task.attempt) == (pow, (2, 5), {"mod": 7}, LAUNCHED, 1)
    assert (task.app.resources.cores, task.app.walltime_s, task.details.spec["cores"]) == (2, 5, 2)
    assert task.id >= FIRST
    assert direct.future(task) is future
    assert not future.done()


def test_outcomes_find_their_way(direct, started):
    good, bad, lost = (direct.begin(started.append, pow, {}, (2, n), {}) for n in range(3))
    assert started[0].app.resources is None
    other = Task(AppSpec(pow, "pow"), (), {}, None, 0.0)
    to_kernel = []
    direct.deliver(
        to_kernel.extend,
        [
            outcome(started[0], OK, 1),
            outcome(other, OK, "the kernel's"),
            outcome(started[1], ERROR, ValueError("mine")),
            outcome(started[2], LOST, OSError("lost")),
        ],
    )
    assert good.result() == 1
    assert isinstance(bad.exception(), ValueError)
    assert isinstance(lost.exception(), OSError)
    assert [each[3] for each in to_kernel] == ["the kernel's"]
    direct.deliver(deliver_to_nobody, [outcome(started[0], OK, "again")])
    assert good.result() == 1


def test_cancelling(direct, started, cancelled):
    one = direct.begin(started.append, pow, {}, (2, 1), {})
    assert one.cancel()
    assert cancelled == [(started[0].id, 1)]
    direct.deliver(deliver_to_nobody, [outcome(started[0], OK, "late")])
    two = direct.begin(started.append, pow, {}, (2, 1), {})
    direct.give_up()
    assert two.cancelled()
    assert len(cancelled) == 2


def test_what_cannot_begin(direct):
    def refuse(task):
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        direct.begin(refuse, pow, {}, (), {})
    with pytest.raises(InvalidResourceSpecification):
        direct.begin(refuse, pow, {"num_moons": 2}, (), {})
    direct.give_up()


def test_bytes_of_calls_can_be_given_to_other_functions():
    call = pack_apply_message(int, ("3",), {})
    assert run_payload("parsl.executors.execute_task.execute_task", call, (), {}) == 3
    assert run_payload("builtins.len", call, (), {}) == len(call)
