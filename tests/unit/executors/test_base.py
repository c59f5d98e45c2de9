"""The port: what an executor need not write itself."""

from __future__ import annotations

import pytest

from plait.errors import InvalidResourceSpecification
from plait.executors.base import Executor, ExecutorStatus
from plait.model.resources import Resources
from plait.model.task import AppSpec, Task


class Least(Executor):
    """The least that an executor must be."""

    label = "least"

    def __init__(self):
        self.taken = []

    def start(self, context):
        pass

    def submit(self, task):
        if task.args == ("bad",):
            raise ValueError("bad")
        self.taken.append(task)

    def cancel(self, task, attempt):
        return False

    def status(self):
        return ExecutorStatus(workers=2, running=1, queued=3)

    def shutdown(self, timeout_s):
        pass


def make(*args) -> Task:
    return Task(AppSpec(len, "app"), args, {}, None, 0.0)


def test_it_refuses_resources_that_it_does_not_know():
    Least().check(Resources())
    with pytest.raises(InvalidResourceSpecification, match="'least'"):
        Least().check(Resources(cores=2))


def test_many_are_taken_one_by_one_and_refusals_are_told():
    executor = Least()
    good, bad, other = make(1), make("bad"), make(2)
    ((task, error),) = executor.submit_many([good, bad, other])
    assert task is bad
    assert isinstance(error, ValueError)
    assert executor.taken == [good, other]


def test_where_a_task_stands_in_words():
    assert Least().explain(make()) == "was given to executor 'least', where 1 tasks run and 3 wait for 2 workers"
    assert repr(Least()) == "Least(label='least')"


def test_all_of_it_must_be_written():
    with pytest.raises(TypeError):
        Executor()
