from __future__ import annotations

from collections import defaultdict
from concurrent.futures import Future
from typing import Any, NamedTuple

import pytest

from plait.compat.parsl.dataflow.dependency_resolvers import (
    DEEP_DEPENDENCY_RESOLVER,
    SHALLOW_DEPENDENCY_RESOLVER,
    deep_traverse_to_gather,
    deep_traverse_to_unwrap,
)


class Pair(NamedTuple):
    left: Any
    right: Any


def done(value):
    future = Future()
    future.set_result(value)
    return future


@pytest.mark.parametrize(
    ("make", "replaced"),
    [
        (lambda f: [1, f], [1, 7]),
        (lambda f: (1, [f]), (1, [7])),
        (lambda f: {1, f}, {1, 7}),
        (lambda f: {"a": {f: f}}, {"a": {7: 7}}),
        (lambda f: Pair(f, 2), Pair(7, 2)),
        (lambda f: defaultdict(list, a=f), defaultdict(list, a=7)),
    ],
)
def test_the_deep_one_looks_into_containers_and_keeps_their_class(make, replaced):
    future = done(7)
    value = make(future)
    assert set(DEEP_DEPENDENCY_RESOLVER.traverse_to_gather(value)) == {future}
    unwrapped = DEEP_DEPENDENCY_RESOLVER.traverse_to_unwrap(value)
    assert unwrapped == replaced
    assert type(unwrapped) is type(replaced)


def test_the_shallow_one_does_not():
    future = done(7)
    assert list(SHALLOW_DEPENDENCY_RESOLVER.traverse_to_gather(future)) == [future]
    assert list(SHALLOW_DEPENDENCY_RESOLVER.traverse_to_gather([future])) == []
    assert SHALLOW_DEPENDENCY_RESOLVER.traverse_to_unwrap(future) == 7
    assert SHALLOW_DEPENDENCY_RESOLVER.traverse_to_unwrap([future]) == [future]


def test_what_holds_no_future_stays_the_same_object():
    value = {"a": [1, (2,)]}
    assert DEEP_DEPENDENCY_RESOLVER.traverse_to_unwrap(value) is value


class Box:
    def __init__(self, content):
        self.content = content


def test_types_of_users_can_be_registered():
    deep_traverse_to_gather.register(Box, lambda box: deep_traverse_to_gather(box.content))
    deep_traverse_to_unwrap.register(Box, lambda box: Box(deep_traverse_to_unwrap(box.content)))
    future = done(7)
    (box,) = DEEP_DEPENDENCY_RESOLVER.traverse_to_unwrap([Box(future)])
    assert box.content == 7
    assert list(DEEP_DEPENDENCY_RESOLVER.traverse_to_gather([Box(future)])) == [future]


class Meddler:
    pass


def test_what_tasks_in_other_threads_add_to_may_be_an_argument():
    table, members = {"x": Meddler(), "y": done(1)}, {Meddler(), done(1)}

    def add():
        table[len(table)] = 0
        members.add(len(members))

    @deep_traverse_to_gather.register(Meddler)
    def _(found):
        add()
        return [done(found)]

    @deep_traverse_to_unwrap.register(Meddler)
    def _(found):
        add()
        return found

    assert len(deep_traverse_to_gather(table)) == len(deep_traverse_to_gather(members)) == 2
    assert deep_traverse_to_unwrap(table)["y"] == 1
    assert 1 in deep_traverse_to_unwrap(members)
