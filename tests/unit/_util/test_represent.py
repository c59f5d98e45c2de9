"""Objects that are made of parameters show those that say something."""

from __future__ import annotations

from plait._util.represent import parameters, represent


class Thing:
    def __init__(self, first, second=2, *rest, third=None, kept_elsewhere=0, **others):
        self.first, self.second, self.third = first, second, third


def test_defaults_are_left_out():
    assert represent(Thing(1)) == "Thing(first=1)"
    assert represent(Thing(1, 3, third="x")) == "Thing(first=1, second=3, third='x')"


def test_a_value_that_only_looks_like_the_default_is_shown():
    assert parameters(Thing(1, 2.0)) == {"first": 1, "second": 2.0}
