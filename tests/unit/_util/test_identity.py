from __future__ import annotations

import functools
from dataclasses import dataclass, field

import pytest

from plait._util.identity import identity_of


@dataclass(frozen=True)
class Scale:
    by: int = field(compare=False)

    def __call__(self, x):
        return self.by * x

    def method(self):
        pass


@dataclass
class Unhashable:
    def __call__(self):
        pass


def test_functions_are_known_by_themselves():
    scale, items = Scale(1), []
    assert identity_of(len) is len
    assert identity_of(Scale) is Scale
    assert identity_of(items.append) == identity_of(items.append) != identity_of([].append)
    assert identity_of(scale.method) == identity_of(scale.method) != identity_of(Scale(1).method)
    partial = functools.partial(print)
    assert identity_of(partial) is partial


@pytest.mark.parametrize("make", [lambda: Scale(1), Unhashable])
def test_objects_that_are_equal_are_told_apart(make):
    one, two = make(), make()
    assert one == two
    assert {identity_of(one): 1, identity_of(two): 2}[identity_of(one)] == 1
