"""The check sees each thing that can be wrong."""

from __future__ import annotations

import pytest

from plait.dataflow.check import check
from plait.dataflow.engine import Effects, Engine
from plait.errors import InternalConsistencyError
from plait.model.task import EXEC_DONE, LAUNCHED, PENDING, AppSpec, Task


@pytest.fixture
def engine():
    engine, effects, app = Engine(), Effects(), AppSpec(lambda: None, "f")
    tasks = [Task(app, (), {}, None, 0.0) for _ in range(4)]
    for task in tasks:
        engine.add(task)
    engine.wait_for(tasks[1], [tasks[0]])
    engine.launch(tasks[0])
    engine.launch(tasks[2])
    engine.succeed(tasks[2], 1, None, effects)
    return engine


def test_a_sound_engine_passes(engine):
    check(engine)


def spoil(name):
    def decorate(function):
        CASES.append(pytest.param(function, id=name))
        return function

    return decorate


CASES: list = []


@spoil("do not add up")
def _(engine):
    engine.submitted += 1


@spoil("are pending, counted")
def _(engine):
    engine.counts[PENDING] += 1
    engine.submitted += 1


@spoil("is still in the table")
def _(engine):
    engine.tasks[3].state = EXEC_DONE
    engine.counts[PENDING] -= 1
    engine.counts[EXEC_DONE] += 1


@spoil("is filed under")
def _(engine):
    engine.tasks[3].id = 9


@spoil("waits for -1 things")
def _(engine):
    engine.tasks[3].waiting = -1


@spoil("was launched, but waits for 1 things")
def _(engine):
    engine.tasks[0].waiting = 1


@spoil("was launched, but has no attempt")
def _(engine):
    engine.tasks[0].attempt = 0


@spoil("but counts nothing")
def _(engine):
    engine.tasks[1].waiting = 0


@spoil("but others still wait for it")
def _(engine):
    engine.keep = True
    engine.tasks[0].state = EXEC_DONE
    engine.counts[LAUNCHED] -= 1
    engine.counts[EXEC_DONE] += 1


@spoil("but keeps its arguments")
def _(engine):
    engine.keep = True
    engine.tasks[3].state = EXEC_DONE
    engine.counts[PENDING] -= 1
    engine.counts[EXEC_DONE] += 1


@pytest.mark.parametrize("damage", CASES)
def test_what_does_not_fit_is_named(engine, damage, request):
    damage(engine)
    sentence = request.node.callspec.id
    with pytest.raises(InternalConsistencyError) as caught:
        check(engine)
    assert sentence in str(caught.value)
