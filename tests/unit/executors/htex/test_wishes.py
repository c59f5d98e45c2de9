"""What unfinished tasks ask for, counted along with everything that happens to them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from plait.executors.htex.offers import Offers
from plait.executors.htex.wishes import MAX_SHAPES, Wishes, coarse, shape_of
from plait.model.task import CANCELLED
from plait.scaling.view import NodeSize, Shape, Want
from tests.unit.executors.htex.helpers import make_task

NODE = NodeSize(4, 8.0)


def test_a_shape_is_what_counts_for_blocks():
    task = make_task(0, cores=2.0, memory_bytes=10, gpus=1.0, walltime_s=60.0, priority=3.0)
    assert shape_of(task) == Shape(2.0, 10, 1.0, 0, 60.0)


def test_tasks_wait_run_and_end():
    wishes = Wishes()
    for number in range(3):
        wishes.add(make_task(number, cores=2.0))
    two = shape_of(make_task(9, cores=2.0))
    assert wishes.wants() == [Want(two, 3, 0)]
    wishes.placed("m", [(0, 1), (1, 1), (77, 1)])
    assert wishes.wants() == [Want(two, 1, 2)]
    assert wishes.on("m", NODE) == (2, 0.5)
    assert wishes.on("other", NODE) == (0, 0.0)
    wishes.displaced(1)
    wishes.drop(0)
    assert wishes.wants() == [Want(two, 2, 0)]
    wishes.drop(1)
    wishes.drop(2)
    wishes.drop(2)
    assert wishes.wants() == []
    assert wishes.of == {}


def test_there_are_no_more_shapes_than_a_policy_can_look_at():
    wishes = Wishes()
    for number in range(5000):
        wishes.add(make_task(number, memory_bytes=1_000_000 + 7 * number, walltime_s=100.0 + number / 7))
    assert len(wishes.wants()) <= 2 * MAX_SHAPES
    assert sum(want.waiting for want in wishes.wants()) == 5000
    for number in range(5000):
        wishes.drop(number)
    assert wishes.wants() == []


@pytest.mark.parametrize("shape", [Shape(), Shape(1.5, 1, 0.5, 2, 61.0), Shape(8.0, 1025, 0.0, 0, 0.001)])
def test_the_coarse_shape_asks_for_no_less(shape):
    wide = coarse(shape)
    assert wide.cores >= shape.cores
    assert wide.memory_bytes >= shape.memory_bytes
    assert (wide.walltime_s or 0.0) >= (shape.walltime_s or 0.0)
    assert (wide.gpus, wide.nodes) == (shape.gpus, shape.nodes)
    assert coarse(wide) == wide


class Driver(RuleBasedStateMachine):
    """All that happens to tasks of an executor, against the tasks themselves."""

    def __init__(self):
        super().__init__()
        self.offers = Offers(lambda _: 0)
        self.alive = {}
        self.count = 0

    @rule(cores=st.sampled_from([1.0, 2.0, 4.0]), walltime_s=st.sampled_from([None, 60.0]), plain=st.booleans())
    def submit(self, cores, walltime_s, plain):
        task = (
            make_task(self.count) if plain else make_task(self.count, cores=cores, walltime_s=walltime_s, priority=1.0)
        )
        self.count += 1
        self.alive[task.id] = task
        self.offers.queue.append(task) if plain else self.offers.add_special(task)

    @rule()
    def offer(self):
        self.offers.next_batch()

    @rule(data=st.data(), manager=st.sampled_from(["", "a", "b"]))
    def place(self, data, manager):
        held = sorted(self.offers.held)
        numbers = data.draw(st.lists(st.sampled_from(held), unique=True)) if held else []
        self.offers.placed(manager, [(number, 1) for number in numbers])

    @rule(data=st.data())
    def end(self, data):
        if self.offers.held:
            number = data.draw(st.sampled_from(sorted(self.offers.held)))
            assert self.offers.take(number, 1) is self.alive.pop(number)

    @rule(data=st.data())
    def cancel(self, data):
        if self.alive:
            task = self.alive.pop(data.draw(st.sampled_from(sorted(self.alive))))
            task.state = CANCELLED
            self.offers.take(task.id, 1)
            self.offers.next_batch()  # one that was not offered is dropped when its turn comes

    @rule(managers=st.sets(st.sampled_from(["a", "b"])))
    def another_interchange(self, managers):
        for manager, items in self.offers.again(managers)[0].items():
            assert manager in managers
            assert items

    @invariant()
    def the_counts_are_those_of_the_tasks(self):
        asking = [
            task for task in self.alive.values() if task.details is not None and task.details.resources is not None
        ]
        wants = {want.shape: want for want in self.offers.wishes.wants()}
        assert {shape: want.waiting + want.running for shape, want in wants.items()} == Counter(map(shape_of, asking))
        for shape, want in wants.items():
            assert want.running == sum(task.id in self.offers.places for task in asking if shape_of(task) == shape)


Driver.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestDriver = Driver.TestCase
