"""Values arrive as they were sent; what cannot be sent or rebuilt is named."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass

import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import DeserializationError, SerializationError
from plait.limits import BIG_BYTES
from plait.serialize import NONE_BYTES, dumps, loads
from tests.support import SRC

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.frozensets(st.integers())
    ),
    max_leaves=12,
)


@dataclass
class Holder:
    part: object


class Raises:
    """Raises while it is pickled."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


def explode(kind, text):
    raise kind(text)


class Explodes:
    """Raises while it is unpickled."""

    def __init__(self, kind):
        self.kind = kind

    def __reduce__(self):
        return explode, (self.kind, "while unpickling")


@settings(derandomize=True, max_examples=60)
@given(values)
def test_values_arrive(value):
    assert loads(dumps(value)) == value


def test_none_is_what_both_sides_know():
    assert dumps(None) == NONE_BYTES
    assert loads(NONE_BYTES) is None


def test_plain_values_take_the_plain_pickler(monkeypatch):
    monkeypatch.setattr("plait.serialize.values.dumps_by_value", pytest.fail)
    assert loads(dumps([1, {"a": Holder((2, "b"))}])) == [1, {"a": Holder((2, "b"))}]


def test_functions_and_classes_made_here_go_by_value():
    class Local:
        def double(self, x):
            return 2 * x

    assert loads(dumps(lambda x: x + 1))(1) == 2
    assert loads(dumps([Local()]))[0].double(4) == 8


def run_main(script: str) -> bytes:
    """Runs a script as __main__ and gives what it wrote."""
    return subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(SRC.parent)}, check=True, capture_output=True
    ).stdout


@pytest.mark.parametrize(
    "value",
    ["Point(3)", "[Point(3)]", "Colour.RED", "double", "{'k': Point}", "Nested(Point(3))"],
)
def test_what_belongs_to_main_arrives_where_main_is_another(value):
    data = run_main(f"""
import enum, sys
from plait.serialize import dumps
class Point:
    def __init__(self, x): self.x = x
    def __eq__(self, other): return vars(self) == vars(other)
class Nested(Point): pass
class Colour(enum.Enum): RED = 1
def double(x): return Point(2 * x)
sys.stdout.buffer.write(dumps({value}))
""")
    found = loads(data)
    if value == "double":
        assert found(2).x == 4
    elif value == "Colour.RED":
        assert found.value == 1
    elif value == "{'k': Point}":
        assert found["k"](5).x == 5
    else:
        inner = found[0] if isinstance(found, list) else found
        assert getattr(inner.x, "x", inner.x) == 3


def test_modules_that_the_user_wants_by_value_go_by_value():
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        data = dumps(Holder(1))
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert data != dumps(Holder(1))
    assert len(data) > 3 * len(dumps(Holder(1)))


# ------------------------------------------------------------------ buffers
def test_big_buffers_travel_beside_the_pickle():
    array = np.arange(BIG_BYTES, dtype=np.uint8)
    buffers: list = []
    data = dumps({"a": array, "small": np.zeros(4)}, buffers)
    assert len(buffers) == 1
    assert len(data) < 2_000
    found = loads(data, [bytearray(b) for b in buffers])
    assert (found["a"] == array).all()
    assert found["a"].flags.writeable
    assert (found["small"] == 0).all()


def test_small_and_scattered_buffers_stay_inside():
    for array in (np.zeros(BIG_BYTES - 1, np.uint8), np.zeros(4 * BIG_BYTES, np.uint8)[::2]):
        buffers: list = []
        assert (loads(dumps(array, buffers)) == array).all()
        assert buffers == []


def test_without_a_list_everything_stays_inside():
    array = np.ones(2 * BIG_BYTES, np.uint8)
    assert (loads(dumps(array)) == array).all()


def test_buffers_are_not_there_twice_when_cloudpickle_does_the_work_again():
    array = np.ones(BIG_BYTES, np.uint8)
    buffers: list = []
    data = dumps([array, lambda: 5], buffers)
    assert len(buffers) == 1
    found = loads(data, buffers)
    assert (found[0] == array).all()
    assert found[1]() == 5


# ------------------------------------------------------------------ what goes wrong
@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), GeneratorExit(), RecursionError("deep"), MemoryError()]
)
def test_whatever_an_object_raises_while_it_is_pickled_is_an_ordinary_error(error):
    with pytest.raises(SerializationError) as caught:
        dumps([1, Raises(error)])
    causes = [caught.value.__cause__, caught.value.__cause__.__cause__ or caught.value.__cause__.__context__]
    assert error in causes  # cloudpickle says in its own words that something is nested too deeply
    assert isinstance(error, RecursionError) or type(error).__name__ in str(caught.value)


@pytest.mark.parametrize("kind", [ValueError, SystemExit, GeneratorExit, RecursionError])
def test_whatever_an_object_raises_while_it_is_rebuilt_is_an_ordinary_error(kind):
    with pytest.raises(DeserializationError, match=rf"{kind.__name__}: while unpickling") as caught:
        loads(dumps(Explodes(kind)))
    assert isinstance(caught.value.__cause__, kind)


def test_an_interrupt_is_an_interrupt():
    with pytest.raises(KeyboardInterrupt):
        dumps(Raises(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        loads(dumps(Explodes(KeyboardInterrupt)))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (threading.Lock(), "the value (type _thread.lock)"),
        ([1, threading.Lock()], "[1] (type _thread.lock)"),
        ({"k": [Holder(threading.Lock())]}, "['k'][0].part (type _thread.lock)"),
        ((x for x in ()), "the value (type builtins.generator)"),
    ],
)
def test_the_part_that_cannot_be_sent_is_named(value, path):
    with pytest.raises(SerializationError) as caught:
        dumps(value)
    assert caught.value.fname == path


def test_what_is_torn_or_missing_is_an_error():
    data = dumps([1, 2, 3])
    for torn in (b"", data[:-1], b"\xff" + data, b"not a pickle"):
        with pytest.raises(DeserializationError):
            loads(torn)
    with pytest.raises(DeserializationError, match="no_such_module"):
        loads(b"cno_such_module\nthing\n.")


def test_deep_values_are_an_error_and_no_crash():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SerializationError, match="recursion"):
        dumps(deep)
    while deep:  # taken apart by hand: letting go of it would go deep as well
        deep = deep[0]


def test_bytes_are_plain_pickles():
    assert pickle.loads(dumps([1])) == [1]
