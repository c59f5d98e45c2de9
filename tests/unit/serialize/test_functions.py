"""Functions go by name where they can be imported, by value elsewhere, and never in an old version."""

from __future__ import annotations

import functools
import importlib
import logging
import math
import os.path
import pathlib
import subprocess
import sys
import threading

import pytest

import plait
from plait.errors import DeserializationError, SerializationError
from plait.model.task import TaskState
from plait.serialize import FunctionBlob, load_function
from plait.serialize.functions import _code_digest
from tests.support import SRC


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes, and imports, a module of the user's."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str, name: str = "users_module"):
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    before = set(sys.modules)
    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def send(func):
    return load_function(FunctionBlob(func).data)


def test_a_function_of_a_module_goes_by_name(module):
    made = module("def f(x): return x + 1\nclass C:\n  @staticmethod\n  def g(x): return x + 2\n")
    blob = FunctionBlob(made.f)
    assert len(blob.data) < 200
    assert load_function(blob.data) is made.f
    assert send(made.C.g) is made.C.g


def test_library_functions_go_by_name():
    assert send(os.path.join) is os.path.join
    assert send(len) is len
    assert send(functools.reduce) is functools.reduce


def test_an_app_stands_for_its_function(module):
    made = module("class App:\n  def __init__(self, f): self.__plait_function__ = f\ndef f(x): return x\n")
    func = made.f
    made.f = made.App(func)
    blob = FunctionBlob(func)
    assert len(blob.data) < 200
    assert load_function(blob.data) is func


def test_others_go_by_value(module):
    made = module("def f(x): return x\ndef g(x): return -x\n")
    n = 3
    assert send(lambda x: x + n)(1) == 4
    assert send(functools.partial(max, 5))(1) == 5
    assert send([1, 5].count)(5) == 1
    shadowed, made.f = made.f, made.g  # no longer what its name says
    assert send(shadowed)(4) == 4


def test_the_digest_names_the_function(module):
    made = module("def f(x): return x\ndef g(x): return x\n")
    assert FunctionBlob(made.f).digest == FunctionBlob(made.f).digest
    assert FunctionBlob(made.f).digest != FunctionBlob(made.g).digest
    assert len(FunctionBlob(made.f).digest) == 16


def test_functions_of_main_arrive_where_main_is_another():
    script = """
import sys, math
from plait.serialize import FunctionBlob
SCALE = 3
def helper(x): return math.floor(x) * SCALE
def f(x): return helper(x)
sys.stdout.buffer.write(FunctionBlob(f).data)
"""
    data = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(SRC.parent)}, check=True, capture_output=True
    ).stdout
    assert load_function(data)(2.5) == 6


def test_a_module_that_the_worker_knows_in_an_old_version_is_imported_again(module, tmp_path):
    made = module("def f(x): return 'old'\n")
    old = made.f
    (tmp_path / "users_module.py").write_text("def f(x): return 'newer'\n")
    blob = FunctionBlob(importlib.reload(made).f)
    made.f = old  # as a worker has it that imported the module before the edit
    found = load_function(blob.data)
    assert found(1) == "newer"
    assert sys.modules["users_module"].f is found


def test_a_module_in_the_right_version_is_not_imported_again(module):
    made = module("def f(x): return x in {'a', 'b', 'c'}\n")
    marker = made.marker = object()
    assert send(made.f) is made.f
    assert sys.modules["users_module"].marker is marker


def test_a_changed_module_has_another_digest(module, tmp_path):
    made = module("def f(x): return 1\n")
    before = FunctionBlob(made.f).digest
    (tmp_path / "users_module.py").write_text("# longer\n\ndef f(x): return 1\n")
    assert FunctionBlob(importlib.reload(made).f).digest == before, "line numbers do not count"
    (tmp_path / "users_module.py").write_text("def f(x): return 1000\n")
    assert FunctionBlob(importlib.reload(made).f).digest != before


SOURCE = """
def f(x):
    if x in {"a", "b", "c", "d"}:
        return (frozenset, ("e", x), lambda: x in {"p", "q", "r"})
    return isinstance(x, str) and x.strip
"""


def test_the_digest_of_code_is_the_same_in_every_process(tmp_path):
    (tmp_path / "users_module.py").write_text(SOURCE)
    found = set()
    for seed, before in (
        ("1", ""),
        ("2", "a, q, strip = 'a', 'q', 'strip'; held = ['e', 'x', 'strip', 'isinstance']"),
        ("3", "import json, email"),
    ):
        script = f"{before}\nimport users_module; from plait.serialize.functions import _code_digest; print(_code_digest(users_module.f).hex())"
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": f"{SRC.parent}:{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"}
        found.add(subprocess.run([sys.executable, "-c", script], env=env, check=True, capture_output=True).stdout)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"b", "c"', '"b", "e"'),
        ('"e", x', '"f", x'),
        ('"q", "r"', '"q", "s"'),
        ("x.strip", "x.lower"),
        ("(frozenset,", "(set,"),
    ],
)
def test_the_digest_of_code_changes_with_it(old, new):
    spaces: list[dict] = [{}, {}]
    for space, source in zip(spaces, (SOURCE, SOURCE.replace(old, new)), strict=True):
        exec(source, space)
    assert _code_digest(spaces[0]["f"]) != _code_digest(spaces[1]["f"])


def test_what_has_no_code_has_no_digest():
    assert _code_digest(len) == _code_digest(dict) == b""


def test_a_function_that_holds_what_cannot_be_sent_is_named():
    lock = threading.Lock()

    def app():
        return lock

    with pytest.raises(SerializationError, match=r"function app.*lock.*globals or its closure"):
        FunctionBlob(app)


def test_a_module_that_is_missing_on_the_worker_is_named(module):
    blob = FunctionBlob(module("def f(x): return x\n").f)
    del sys.modules["users_module"]
    sys.path.pop(0)
    importlib.invalidate_caches()
    try:
        with pytest.raises(
            DeserializationError,
            match=r"users_module\.f cannot be imported on the worker: ModuleNotFoundError.*install the module",
        ):
            load_function(blob.data)
    finally:
        sys.path.insert(0, "")


@pytest.mark.parametrize("line", ["raise SystemExit(3)", "1 / 0", "def f(x) return", "import no_such_module"])
def test_a_module_that_raises_when_it_is_imported_is_an_ordinary_error(module, tmp_path, line):
    blob = FunctionBlob(module("def f(x): return x\n").f)
    del sys.modules["users_module"]
    (tmp_path / "users_module.py").write_text(line + "\n")
    with pytest.raises(DeserializationError, match=r"users_module\.f cannot be imported"):
        load_function(blob.data)


def test_a_name_that_is_gone_is_an_ordinary_error(module, tmp_path):
    made = module("def f(x): return x\n")
    blob = FunctionBlob(made.f)
    del made.f
    with pytest.raises(DeserializationError, match="AttributeError"):
        load_function(blob.data)


def test_torn_bytes_are_an_ordinary_error():
    for data in (b"V", b"Vxx", b"N", b"Nxx"):
        with pytest.raises(DeserializationError):
            load_function(data)


# ------------------------------------------------------------------ what changes between calls
class Holder:
    def __init__(self):
        self.value = 1

    def get(self):
        return self.value

    def __call__(self):
        return self.value


def _closure(change_inside):
    number, items = 1, [1]

    def assigned():
        return number

    def change_number():
        nonlocal number
        number = 2

    if change_inside:
        return (lambda: items[0]), lambda: items.__setitem__(0, 2)
    return assigned, change_number


def _default():
    items = [1]
    return (lambda given=items: given[0]), lambda: items.__setitem__(0, 2)


def _named_default():
    items = [1]
    return (lambda *, given=items: given[0]), lambda: items.__setitem__(0, 2)


def _object(make):
    holder = Holder()
    return make(holder), lambda: setattr(holder, "value", 2)


def _around(make):
    inner, change = _closure(change_inside=False)
    return make(inner), change


CHANGING = {
    "variable": lambda: _closure(change_inside=False),
    "list": lambda: _closure(change_inside=True),
    "default": _default,
    "named default": _named_default,
    "method": lambda: _object(lambda holder: holder.get),
    "object with a call": lambda: _object(lambda holder: holder),
    "object": lambda: _object(lambda holder: lambda: holder.value),
    "in a tuple": lambda: _object(lambda holder: lambda pair=(1, holder): pair[1].value),
    "argument of a partial": lambda: _object(lambda holder: functools.partial(lambda given: given.value, holder)),
    "named argument of a partial": lambda: _object(lambda holder: functools.partial(lambda it: it.value, it=holder)),
    "inner function": lambda: _around(lambda inner: lambda: inner()),  # noqa: PLW0108 - a function around it
    "inner app": lambda: _around(lambda inner: functools.partial(lambda app: app.func(), plait.python_app(inner))),
    "with a cache": lambda: _around(lambda inner: functools.lru_cache(lambda: inner())),  # noqa: PLW0108 - likewise
}


@pytest.mark.parametrize("kind", CHANGING)
def test_what_a_function_holds_is_sent_again_when_it_changed(kind, monkeypatch):
    monkeypatch.setattr(Holder, "__module__", "__main__")  # as in a script
    func, change = CHANGING[kind]()
    blob = FunctionBlob(func)
    assert not blob.is_fixed
    assert blob.is_current()
    change()
    assert not blob.is_current()
    assert load_function(FunctionBlob(func).data)() == 2


def test_what_stays_is_not_compared():
    fixed = (
        1,
        "two",
        math,
        math.floor,
        Holder,
        pathlib.Path("x"),
        logging.getLogger("x"),
        TaskState.pending,
        (None, 3.0),
    )
    blob = FunctionBlob(lambda given=fixed: given)
    assert blob.is_fixed or blob._func is None
    assert blob.is_current()


def test_a_variable_that_has_no_value_yet():
    def early():
        return late

    blob = FunctionBlob(early)
    assert blob.is_current()
    late = 2
    assert not blob.is_current()
    assert load_function(FunctionBlob(early).data)() == 2
