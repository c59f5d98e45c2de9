from __future__ import annotations

import functools
import json
import json.decoder
import sys
import types

import pytest

import plait
from plait.configfile import kinds
from plait.configfile.kinds import UnknownName, find_class, find_reference, name_of_class, reference_to
from plait.launchers import Launcher
from plait.providers import ExecutionProvider, LocalProvider


class Own:
    def method(self):
        pass


def function():
    pass


def test_short_names_are_those_of_plaits_classes():
    assert find_class("LocalProvider") is LocalProvider
    assert name_of_class(LocalProvider) == "LocalProvider"
    assert find_class("HighThroughputExecutor") is plait.HighThroughputExecutor
    assert {"LocalProvider"} <= set(kinds.short_names(ExecutionProvider))
    assert {"SimpleLauncher", "SingleNodeLauncher"} <= set(kinds.short_names(Launcher))
    assert "Launcher" not in kinds.short_names(Launcher)


def test_other_classes_are_named_by_their_modules():
    assert name_of_class(Own) == f"{__name__}:Own"
    assert find_class("json.decoder:JSONDecoder") is json.decoder.JSONDecoder
    assert find_reference("json.decoder:JSONDecoder.decode") is json.decoder.JSONDecoder.decode


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("LocalProvidr", r"no class 'LocalProvidr' in plait; did you mean LocalProvider\?"),
        ("Q", r"no class 'Q' in plait; name a class of your own as module:Class"),
        ("json:dumps", r"'json:dumps' is a function, not a class"),
        ("json:", "expected module:name"),
        ("json:a b", "expected module:name"),
        ("nomodule.x:f", "there is no module 'nomodule'; install it, or put its folder on PYTHONPATH"),
        ("json.x:f", r"there is no module 'json.x'"),
        ("json:dumpz", r"'json' has no 'dumpz'; did you mean dump\?"),
    ],
)
def test_names_that_mean_nothing(name, message):
    with pytest.raises(UnknownName, match=message):
        find_class(name)


def test_a_module_that_fails_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken_one.py").write_text("1 / 0")
    (tmp_path / "broken_two.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownName, match="module 'broken_one' cannot be imported: ZeroDivisionError"):
        find_reference("broken_one:f")
    with pytest.raises(UnknownName, match="module 'broken_two' cannot be imported: No module named 'not_there_at_all'"):
        find_reference("broken_two:f")


def test_references():
    assert reference_to(function) == f"{__name__}:function"
    assert reference_to(json.dumps) == "json:dumps"
    assert reference_to(plait.SHALLOW_DEPENDENCY_RESOLVER) == "plait:SHALLOW_DEPENDENCY_RESOLVER"


def test_what_has_no_name(monkeypatch):
    main = types.FunctionType(function.__code__, {}, "function")
    main.__module__, main.__qualname__ = "__main__", "handler"
    for value, message in (
        (lambda: 1, "not at the top of its module"),
        (main, "handler stands in the main program; put it into a module"),
        (Own().method, "methods of objects have no name"),
        (functools.partial(function), "partial has no name that a file could hold"),
        (Own(), "an object of Own has no name"),
        ([], "an object of list has no name"),
    ):
        with pytest.raises(UnknownName, match=message):
            reference_to(value)
    monkeypatch.setattr(sys.modules[__name__], "function", lambda: 1)
    with pytest.raises(UnknownName, match="is something else by now"):
        reference_to(_FUNCTION)


_FUNCTION = function
