from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, namedtuple
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from plait.dataflow import resolve
from plait.dataflow.resolve import DEEP_DEPENDENCY_RESOLVER, SHALLOW_DEPENDENCY_RESOLVER, find_futures, replace_futures
from plait.futures import PlaitFuture
from plait.limits import SCAN_DEPTH

Pair = namedtuple("Pair", "x y")  # noqa: PYI024 - the kind that has _fields and no types


@dataclass
class Box:
    x: object
    y: object = 0


@dataclass(frozen=True)
class Frozen:
    x: object
    hidden: object = field(default=0, init=False)


class Row(list):
    pass


def done(value):
    future = PlaitFuture()
    future.set_result(value)
    return future


F = done("value")
HOLDERS = [
    (F, "value"),
    ([1, F], [1, "value"]),
    ((F,), ("value",)),
    ({F, 1}, {"value", 1}),
    (frozenset({F}), frozenset({"value"})),
    ({"k": F}, {"k": "value"}),
    ({F: "k"}, {"value": "k"}),
    (Pair(F, 1), Pair("value", 1)),
    (Row([F]), Row(["value"])),
    (Box(F), Box("value")),
    (Frozen(F), Frozen("value")),
    (OrderedDict(a=1, b=F), OrderedDict(a=1, b="value")),
    (defaultdict(list, {"k": F}), defaultdict(list, {"k": "value"})),
    (Counter({"k": F}), Counter({"k": "value"})),
    ([{"a": (Box([F]),)}], [{"a": (Box(["value"]),)}]),
]


@pytest.mark.parametrize(("holder", "expected"), HOLDERS, ids=[type(holder).__name__ for holder, _ in HOLDERS])
def test_futures_are_found_and_replaced(holder, expected):
    assert find_futures(holder) == [F]
    found = replace_futures(holder)
    assert found == expected
    assert type(found) is type(expected)


def test_what_holds_itself_is_rebuilt_once():
    items: list = [F]
    items.append(items)
    new = replace_futures(items)
    assert new[0] == "value"
    assert new[1] is new
    table: dict = {"f": F}
    table["me"] = [table]
    new_table = replace_futures(table)
    assert new_table["f"] == "value"
    assert new_table["me"][0] is new_table
    box = Box(F)
    box.y = box
    new_box = replace_futures(box)
    assert new_box.x == "value"
    assert new_box.y is new_box


def test_what_is_shared_stays_shared():
    row = [F]
    first, second = replace_futures([row, {"row": row}])
    assert first == ["value"]
    assert second["row"] is first


def test_children_that_know_their_parents_are_walked_once():
    parent = Box([], F)
    parent.x.extend(Box(parent, [parent] * 100) for _ in range(100))
    assert find_futures(parent) == [F]
    new = replace_futures(parent)
    assert new.y == "value"
    assert all(child.x is new and child.y[0] is new for child in new.x)


def test_standard_futures_are_found():
    future = Future()
    assert find_futures([future]) == [future]


def test_each_occurrence_is_found():
    other = done(2)
    assert find_futures([F, {"k": F}, other]) == [F, F, other]


@pytest.mark.parametrize(
    "value",
    [
        1,
        "text",
        b"b",
        None,
        [1, 2],
        {"k": [1]},
        (Path("a"), range(3)),
        Box(1),
        Box,
        {1, 2},
        SimpleNamespace(x=F),
        [Box(1), [2]],
    ],
)
def test_what_holds_no_future_stays_the_same_object(value):
    assert find_futures(value) == []
    assert replace_futures(value) is value


def test_parts_without_futures_stay_the_same_objects():
    part = [1, [2]]
    assert replace_futures([part, F])[0] is part


def test_the_callers_containers_are_not_changed():
    inner, frozen = [F], Frozen(F)
    outer = {"k": inner, "f": frozen}
    replace_futures(outer)
    assert outer == {"k": inner, "f": frozen}
    assert inner == [F]
    assert frozen.x is F


def nested(depth):
    value = F
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_bounded():
    assert find_futures(nested(SCAN_DEPTH)) == [F]
    assert find_futures(nested(SCAN_DEPTH + 1)) == []
    deep = nested(SCAN_DEPTH + 1)
    assert replace_futures(deep) is deep
    assert find_futures([[F]], depth=1) == []


def test_a_list_that_holds_itself():
    knot = [F]
    knot.append(knot)
    assert F in find_futures(knot)


def test_a_factory_survives():
    found = replace_futures(defaultdict(list, {"k": F}))
    assert found["new"] == []


def test_fields_that_were_not_given_are_found():
    frozen = Frozen(1)
    object.__setattr__(frozen, "hidden", F)
    assert find_futures(frozen) == [F]
    assert replace_futures(frozen).hidden == "value"


def test_fields_that_are_missing_do_not_disturb():
    box = Box(F)
    del box.y
    assert find_futures(box) == [F]
    assert replace_futures(box).x == "value"
    assert not hasattr(replace_futures(box), "z")


def test_failures_are_raised():
    future = PlaitFuture()
    future.set_exception(KeyError("k"))
    with pytest.raises(KeyError):
        replace_futures([future])


def test_classes_made_in_a_loop_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(resolve, "_kinds", dict.fromkeys(range(10_000), 0))
    assert find_futures(Row([F])) == [F]
    assert Row not in resolve._kinds


def test_the_two_resolvers():
    for value, shallow, deep in ((F, [F], [F]), ([F], [], [F]), (1, [], [])):
        assert list(SHALLOW_DEPENDENCY_RESOLVER.traverse_to_gather(value)) == shallow
        assert list(DEEP_DEPENDENCY_RESOLVER.traverse_to_gather(value)) == deep
    assert SHALLOW_DEPENDENCY_RESOLVER.traverse_to_unwrap(F) == "value"
    nest = [F]
    assert SHALLOW_DEPENDENCY_RESOLVER.traverse_to_unwrap(nest) is nest
    assert DEEP_DEPENDENCY_RESOLVER.traverse_to_unwrap(nest) == ["value"]


class Shared(dict):
    """Has something added, as by a task in another thread, between any two steps in which it is read."""

    def __iter__(self):
        for key in super().__iter__():
            self[len(self)] = [0]
            yield key


@dataclass
class Meddler:
    change: object

    def __getattribute__(self, name):
        if name == "change":
            object.__getattribute__(self, name)()
        return object.__getattribute__(self, name)


class Meddling(Meddler):
    def __init__(self, members):
        super().__init__(lambda: members.add(len(members)))

    __hash__ = object.__hash__


def test_what_tasks_in_other_threads_add_to_may_be_an_argument():
    table, future = {}, done(1)
    table |= {"x": Meddler(lambda: table.update({len(table): 0})), "y": future}
    assert find_futures(table) == [future]
    assert replace_futures(table)["y"] == 1
    assert find_futures(Shared(a=[future])) == [future]
    members = set()
    members |= {Meddling(members), future}
    assert find_futures(members) == [future]
    assert 1 in replace_futures(members)
