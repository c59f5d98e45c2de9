"""What users give as initializer, and what workers are told."""

from __future__ import annotations

import pytest

from plait.errors import ConfigurationError
from plait.executors.pool.initializer import as_told, checked
from plait.serialize import load_function, loads


def add(a, b):
    return a + b


def test_arguments_come_as_a_tuple():
    assert checked("Pool", add, [1, 2]) == (1, 2)
    assert checked("Pool", None, ()) == ()


@pytest.mark.parametrize(
    ("initializer", "initargs", "said"),
    [
        (3, (), r"Pool\(initializer=3\): expected a function"),
        (add, 3, r"Pool\(initargs=3\): expected a tuple"),
        (add, "ab", r"Pool\(initargs='ab'\): expected a tuple"),
    ],
)
def test_anything_else_is_named(initializer, initargs, said):
    with pytest.raises(ConfigurationError, match=said):
        checked("Pool", initializer, initargs)


def test_workers_are_told_both_or_nothing():
    function, arguments = loads(as_told(add, (1, 2)))
    assert load_function(function)(*arguments) == 3
    assert as_told(None, ()) == b""
