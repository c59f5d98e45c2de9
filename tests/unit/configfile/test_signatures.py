from __future__ import annotations

import typing
from dataclasses import dataclass

import pytest

from plait.configfile.signatures import MISSING, expected, parameters
from plait.executors import HighThroughputExecutor
from plait.launchers.base import Launcher
from plait.providers.base import ExecutionProvider


class Base:
    def __init__(self, *, walltime: str = "00:10:00", partition: str | None = None):
        self.walltime = walltime
        self.partition = partition


class Child(Base):
    def __init__(self, queue: str, /, partition: int = 3, **rest: typing.Any):
        super().__init__(**rest)


@dataclass
class Data:
    a: int
    b: str = "x"


def test_keywords_that_are_passed_on_are_those_of_the_class_above():
    found = parameters(Child)
    assert list(found) == ["queue", "partition", "walltime"]
    assert found["queue"].positional
    assert found["queue"].default is MISSING
    assert found["partition"].default == 3
    assert found["walltime"].default == "00:10:00"
    assert list(parameters(Base)) == ["walltime", "partition"]


def test_other_kinds_of_classes():
    assert list(parameters(Data)) == ["a", "b"]
    assert parameters(type("Empty", (), {})) == {}


def test_every_parameter_of_the_pilot_executor_says_what_it_takes():
    found = parameters(HighThroughputExecutor)
    assert "max_workers_per_node" in found
    assert found["provider"].expected.port is ExecutionProvider
    assert found["cores_per_worker"].expected.takes(1)
    assert not found["label"].expected.takes(1)


@pytest.mark.parametrize(
    ("annotation", "good", "bad", "text"),
    [
        ("int", [1], [True, 1.5, "1", None], "a whole number"),
        ("float", [1, 1.5, float("inf")], [False, "1"], "a number"),
        ("int | float", [1, 1.5], [False], "a number"),
        ("str", ["a"], [1], "text"),
        ("str | os.PathLike[str]", ["a"], [1], "text"),
        ("bool", [True], [1], "true or false"),
        ("bool | None", [True, None], [1], "true or false, or nothing (leave the key out)"),
        ("Callable[..., Any] | None", ["a:b", None], ["ab", 1], "module:function"),
        ("bool | Callable[[int], int]", [True, "a:b"], ["a"], "true or false or the name of a function"),
        ("Literal['a', 'b'] | int", ["a", 1], ["c"], '"a" or "b" or a whole number'),
        ("typing.Optional[int]", [1, None], ["1"], "a whole number, or nothing"),
        ("Union[int, 'str']", [1, "a"], [None], "a whole number or text"),
        ("Any", [1, None, "x"], [], "something else"),
        ("Walltime", [1, "x"], [], "something else"),
        ("list[", [1], [], "something else"),
        (int, [1], ["1"], "a whole number"),
        (typing.Optional[int], [1, None], ["1"], "a whole number"),  # noqa: UP045
        (int | str, [1, "a"], [None], "a whole number or text"),
        (MISSING, [1], [], "something else"),
    ],
)
def test_what_annotations_say(annotation, good, bad, text):
    want = expected(annotation)
    assert [value for value in good if not want.takes(value)] == []
    assert [value for value in bad if want.takes(value)] == []
    assert text in str(want)


def test_collections_and_what_is_in_them():
    assert expected("Sequence[str] | int").inner.takes("a")
    assert not expected("Sequence[str] | int").inner.takes(1)
    assert expected("Mapping[str, int | None]").inner.takes(None)
    assert expected("tuple[int, ...]").inner.takes(1)
    assert expected("tuple[int, str]").inner is None
    assert expected("list[str] | list[int]").inner.takes(1)
    assert expected("set[int]").kinds == {"set"}


def test_classes_that_are_known_and_ports():
    assert expected("Launcher | None").port is Launcher
    assert "SingleNodeLauncher" in str(expected("Launcher | None"))
    assert expected("Base", globals()).kinds == {"object"}
    assert expected("int", {"int": Base}).kinds == {"int"}
