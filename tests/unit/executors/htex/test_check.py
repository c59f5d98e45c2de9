"""What `check` would find: each invariant is broken by hand once."""

from __future__ import annotations

import pytest

from plait.errors import InternalConsistencyError
from plait.executors.htex import messages as m
from tests.unit.executors.htex.core_lab import Lab, item


def a_core():
    lab = Lab()
    lab.comes("a", workers=4, gpus=["x"], memory_bytes=1000)
    lab.comes("b", workers=4)
    lab.offer(None, m.Ask(cores=2, gpus=0.5), m.Ask(cores=64))
    lab.place()
    lab.core.check()
    return lab.core, lab.core.managers["a"]


def breaks(name):
    def wrap(function):
        BROKEN.append(pytest.param(function, id=name))
        return function

    return wrap


BROKEN: list = []


@breaks("a task with two managers")
def _(core, one):
    task = next(iter(core.placed))
    other = next(each for each in core.managers.values() if task not in each.held)
    other.held[task] = item(task)


@breaks("a task that nobody placed")
def _(core, one):
    one.held[99] = item(99)


@breaks("a task that is placed and waits")
def _(core, one):
    core.queue.tasks.append(item(1))


@breaks("a task in two queues")
def _(core, one):
    core.queue.tasks.append(item(3, m.Ask(cores=64)))


@breaks("cores that are not given back")
def _(core, one):
    one.used_cores += 1


@breaks("memory that is not given back")
def _(core, one):
    one.used_memory_bytes += 1


@breaks("a GPU that is given twice")
def _(core, one):
    one.free_gpus[0] = 1.0


@breaks("too many cores")
def _(core, one):
    one.cores = 1.0


@breaks("a grant without a task")
def _(core, one):
    one.granted[98] = next(iter(one.granted.values()))


@breaks("a connection of nobody")
def _(core, one):
    core.conns["x"] = core.managers["b"]
    del core.conns["a"]


@breaks("one that is gone")
def _(core, one):
    one.gone = True


@breaks("a place that is not found")
def _(core, one):
    del core.places["0"]


@breaks("workers that are not counted")
def _(core, one):
    core.workers -= 1


@breaks("room that nobody knows of")
def _(core, one):
    one.room = False
    core._filler.line.clear()
    core._filler.ranking.managers.clear()


@breaks("one that stands in the line twice")
def _(core, one):
    core._filler.line.extend([one, one])


@breaks("a reservation for nobody")
def _(core, one):
    one.reserved = True


@pytest.mark.parametrize("break_it", BROKEN)
def test_what_does_not_fit_is_found(break_it):
    core, one = a_core()
    break_it(core, one)
    with pytest.raises(InternalConsistencyError):
        core.check()
