"""What cloudpickle alone cannot send: caches of functions and of properties, and functions chosen by type."""

from __future__ import annotations

import functools
import pickle
import string
import subprocess
import sys
import weakref

import pytest

from plait.serialize import load_function, loads
from plait.serialize.by_value import dumps_by_value, is_importable, resolve
from plait.serialize.functions import FunctionBlob
from tests.support import SRC

SCRIPT = """
import functools, sys
from plait.serialize import dumps
from plait.serialize.functions import FunctionBlob

@functools.lru_cache(maxsize=7, typed=True)
def double(x):
    "Twice."
    return 2 * x

@functools.cache
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

@functools.singledispatch
def name(x):
    return "any"

@name.register
def _(x: int):
    return "int"

class Circle:
    @functools.cached_property
    def area(self):
        return 3
    @functools.lru_cache
    def scaled(self, by):
        return by * self.area

def f(x):
    return double(x), fibonacci(x), name(x), name("x"), Circle().area, Circle().scaled(2)

name(1)
sys.stdout.buffer.write(%s)
"""


def _main(what):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT % what], env={"PYTHONPATH": str(SRC.parent)}, check=True, capture_output=True
    ).stdout


def test_functions_of_main_use_them():
    assert load_function(_main("FunctionBlob(f).data"))(30) == (60, 832040, "int", "any", 3, 6)


def test_functions_with_a_cache_are_sent_themselves():
    double = load_function(_main("FunctionBlob(double).data"))
    assert double(3) == 6
    assert double.cache_parameters() == {"maxsize": 7, "typed": True}
    assert double.__doc__ == "Twice."
    assert loads(_main("dumps([fibonacci])"))[0](10) == 55


def test_objects_with_cached_values_keep_them():
    circle = loads(_main("(c := Circle(), c.area, dumps(c))[-1]"))
    assert vars(circle) == {"area": 3}
    assert circle.scaled(4) == 12


def test_what_has_a_name_goes_by_name():
    assert len(dumps_by_value(cached)) < 200
    assert loads(dumps_by_value(cached)) is cached
    assert is_importable(string.capwords)
    assert resolve("string", "capwords") is string.capwords
    assert not is_importable(lambda: None)
    assert not is_importable(functools.partial(len))


def test_a_change_behind_a_cache_is_seen(monkeypatch):
    namespace = {"functools": functools, "__name__": "__main__", "LIMIT": 1}
    exec("@functools.cache\ndef g(): return LIMIT\ndef f(): return g()\n", namespace)
    for name in ("f", "g"):
        blob = FunctionBlob(namespace[name])
        assert blob.is_current()
        monkeypatch.setitem(namespace, "LIMIT", namespace["LIMIT"] + 1)
        assert not blob.is_current()


def test_dictionaries_of_weak_keys_are_not_lost_in_silence():
    key = Key()
    with pytest.raises((TypeError, pickle.PicklingError)):
        dumps_by_value(weakref.WeakKeyDictionary({key: 1}))


@functools.cache
def cached():
    return 1


class Key:
    pass
