from __future__ import annotations

import copy

import pytest

from plait._util.given import Given, RemembersGiven, given_to


class Thing(RemembersGiven):
    def __init__(self, a, b=2, *more, c=3, **rest):
        self.a = a * 2


class Child(Thing):
    def __init__(self, d):
        super().__init__(d)


def test_arguments_by_name():
    assert given_to(Thing(1)) == {"a": 1}
    assert given_to(Thing(1, c=5, d=6)) == {"a": 1, "c": 5, "d": 6}
    assert given_to(Thing(1, 2, 3)) == {"a": 1, "b": 2}
    assert given_to(Child(7)) == {"d": 7}


def test_a_copy_was_given_the_same():
    assert given_to(copy.copy(Thing(1, c=4))) == {"a": 1, "c": 4}


def test_what_remembers_nothing():
    assert given_to(object()) is None
    thing = Thing(1)
    thing._given = Given(((), {}))
    assert given_to(thing) is None


class Strict(RemembersGiven):
    def __init__(self, max_threads=1, *, label=""):
        self.max_threads = max_threads


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("max_thread", "Strict() got an unexpected keyword argument 'max_thread'; did you mean max_threads?"),
        ("colour", "Strict() got an unexpected keyword argument 'colour'; it has max_threads, label"),
    ],
)
def test_a_parameter_that_is_not_there_is_answered_with_those_that_are(name, says):
    with pytest.raises(TypeError) as caught:
        Strict(**{name: 1})
    assert str(caught.value) == says
    assert Thing(1, colour=3).a == 2


def test_secrets_are_not_shown():
    assert "secret" not in str(vars(Thing("secret", c="secret")) | {"a": 0})
