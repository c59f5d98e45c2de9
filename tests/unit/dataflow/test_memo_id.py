"""Equal values give equal bytes, different values different ones, in every process."""

from __future__ import annotations

import enum
import itertools
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.dataflow.memo import UnknownTypeForMemo, id_for_memo  # functions and classes are known with it
from plait.model.files import File
from tests.support import SRC


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Other(enum.IntEnum):
    LOW = 1


class Celsius(float):
    pass


class Metres(float):
    __slots__ = ("scale",)

    def __new__(cls, value, scale):
        made = super().__new__(cls, value)
        made.scale = scale
        return made


class Abstract(ABC):
    @abstractmethod
    def area(self): ...


class Abstract2(ABC):
    @abstractmethod
    def length(self): ...


@dataclass
class Table(dict):
    name: str

    def __init__(self, name, **items):
        super().__init__(items)
        self.name = name


@dataclass
class Point:
    x: object
    y: object = 0


@dataclass
class Place:
    x: object
    y: object = 0


class Opaque:
    pass


Pair = namedtuple("Pair", "x y")  # noqa: PYI024
DISTINCT = [
    None, True, False, 1, 0, -1, 256, 2**64, 10**5000, -(10**5000), 1.0, 0.0, -0.0, float("inf"), float("nan"), 1j, "", "1", "ab", "\udc80", b"", b"ab", b"1",
    bytearray(b"ab"), ..., range(3), range(0, 3, 2), slice(3), [], (), {}, set(), frozenset(), [1], (1,), {1}, frozenset({1}), {1: 1}, {1: 2}, {"1": 1}, [[]], [()],
    [[1], 2], [[1, 2]], [1, [2]], ("a", "bc"), ("ab", "c"), ("abc",), ["a", "b"], [["a"], "b"], [None], Colour.RED, Colour.BLUE, Level.LOW, Other.LOW,
    Celsius(1.0), Point(1), Point(1, 2), Place(1), Pair(1, 2), (1, 2), PurePosixPath("ab"), Path("ab"), "x" * 300, "x" * 301, b"x" * 300, ["x" * 300], ["x", "x" * 299],
    OrderedDict([(1, 2), (3, 4)]), OrderedDict([(3, 4), (1, 2)]), {1: 2, 3: 4}, defaultdict(int, {1: 2, 3: 4}), defaultdict(list, {1: 2, 3: 4}),
    defaultdict(None, {1: 2, 3: 4}), Metres(1, 1), Metres(1, 1000), Table("a", x=1), Table("a", x=2), Table("b", x=1), Abstract, Abstract2, len, print, int, Opaque, itertools,
]  # fmt: skip

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def test_different_values_differ():
    found = {}
    for value in DISTINCT:
        data = id_for_memo(value)
        assert data not in found, f"{value!r} and {found[data]!r} have the same bytes"
        found[data] = value


def same(a, b) -> bool:
    """Whether two values are equal, types included, as far down as they go."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


@settings(max_examples=60, derandomize=True)
@given(values, values)
def test_bytes_are_equal_exactly_when_values_are(a, b):
    assert (id_for_memo(a) == id_for_memo(b)) == same(a, b)


def test_order_in_sets_and_dicts_does_not_count():
    assert id_for_memo({"a": 1, "b": 2}) == id_for_memo({"b": 2, "a": 1})
    assert id_for_memo({"a", "b", "c"}) == id_for_memo({"c", "b", "a"})


def test_bytes_are_the_same_whatever_the_seed_of_hashes():
    script = (
        "import sys; from plait.dataflow.memo import id_for_memo; "
        "print(id_for_memo([{'a', 'b', 'c'}, {'x': frozenset({'p', 'q'})}, int, len]).hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(SRC.parent)},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_attributes_of_derived_values_count():
    warm, cold = Celsius(1.0), Celsius(1.0)
    assert id_for_memo(warm) == id_for_memo(cold)
    warm.place = "here"
    assert id_for_memo(warm) != id_for_memo(cold)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Opaque(), ""),
        ([0, Opaque()], "[1]"),
        ((0, {"k": [Opaque()]}), "[1]['k'][0]"),
        ({"k": Opaque()}, "['k']"),
        ({Opaque(): 1}, " key "),
        ({(Opaque(),)}, "{…}[0]"),
        (Point(1, [Opaque()]), ".y[0]"),
    ],
)
def test_an_unknown_type_is_named_with_its_place(value, path):
    with pytest.raises(ValueError, match="unknown type for memoization: ") as caught:
        id_for_memo(value)
    assert caught.value.path == path
    assert f"{__name__}.Opaque" in str(caught.value)
    assert path in str(caught.value)
    assert "id_for_memo.register(Opaque)" in str(caught.value)


def test_a_value_that_holds_itself_is_an_error_and_no_crash():
    knot = []
    knot.append(knot)
    with pytest.raises(ValueError, match="holds itself"):
        id_for_memo(knot)
    knot = {}
    knot["k"] = knot
    with pytest.raises(ValueError, match="holds itself"):
        id_for_memo(knot)


def test_users_register_types_and_cannot_break_the_framing():
    class Sample:
        def __init__(self, name):
            self.name = name

    class Probe(Sample):
        pass

    @id_for_memo.register(Sample)
    def _sample(obj, output_ref=False):
        return obj.name.encode() + (b"!" if output_ref else b"")

    assert id_for_memo(Sample("a")) == b"a"
    assert id_for_memo([Sample("a"), Sample("bc")]) != id_for_memo([Sample("ab"), Sample("c")])
    assert id_for_memo([Sample("a")]) != id_for_memo([Probe("a")])
    assert id_for_memo([Sample("a")]) != id_for_memo([Sample("a")], output_ref=True)
    assert id_for_memo([Sample("N")]) != id_for_memo([None])
    assert id_for_memo({Point(1).x: Sample("a")}) == id_for_memo({1: Sample("a")})

    @id_for_memo.register(Sample)
    def _wrong(obj, output_ref=False):
        return obj.name

    with pytest.raises(TypeError, match=r"Sample returned str, not bytes"):
        id_for_memo([Sample("a")])


def test_a_file_counts_by_name_where_it_will_be_made_and_nowhere_else():
    assert id_for_memo([File("a")], output_ref=True) == id_for_memo([File("a")], output_ref=True)
    assert id_for_memo(File("a"), output_ref=True) != id_for_memo(File("b"), output_ref=True)
    with pytest.raises(UnknownTypeForMemo):
        id_for_memo([File("a")])


def test_the_error_can_be_sent():
    import pickle

    error = pickle.loads(pickle.dumps(UnknownTypeForMemo("m.C", "[1]")))
    assert (error.kind, error.path) == ("m.C", "[1]")


def test_dataclass_fields_that_are_missing_do_not_raise():
    @dataclass
    class Late:
        x: int = field(init=False)

    assert id_for_memo(Late()) == id_for_memo(Late())


class Meddler:
    """Stands for another thread, which changes a container while it is read."""

    def __init__(self, change):
        self.change = change


@id_for_memo.register(Meddler)
def _meddle(obj, output_ref=False):
    obj.change()
    return b"meddled"


def test_a_container_may_change_while_it_is_read():
    table, members = {}, set()
    table["x"] = Meddler(lambda: table.update(y=1))
    members.add(Meddler(lambda: members.add(1)))
    assert id_for_memo(table)
    assert id_for_memo(members)
    assert (len(table), len(members)) == (2, 2)
