"""A key changes when what a function does changes, and only then."""

from __future__ import annotations

import functools
import logging
import subprocess
import sys
import threading
import types
from dataclasses import dataclass, field

import pytest

from plait.dataflow.memo import UnknownTypeForMemo, code_key, id_for_memo
from plait.dataflow.memo_code import is_first_party, lasting_keys
from tests.support import SRC


def module(source: str, name: str = "workflow") -> types.ModuleType:
    """A module of the user's made from a source."""
    made = types.ModuleType(name)
    exec(compile(source, f"<{name}>", "exec", dont_inherit=True), vars(made))
    return made


def key(source: str, name: str = "workflow", of: str = "f") -> bytes:
    return code_key(getattr(module(source, name), of))


BASE = """
import math, os.path
SCALE = 2
TABLE = {"a": [1, 2]}
class Base:
    def area(self): return 1
class Shape(Base):
    sides = 4
    @staticmethod
    def s(): return 1
    @classmethod
    def c(cls): return 1
    @property
    def p(self): return 1
def deep(x): return x + 1
def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)
def helper(x): return deep(x) * SCALE
handlers = {"x": deep}
def unused(): return 0
UNUSED = 1
def f(x, y=[1], *, z=3): return helper(x) + TABLE["a"][0] + even(x) + math.pi + Shape().area() + handlers["x"](1)
"""


def test_the_same_source_gives_the_same_key():
    assert key(BASE) == key(BASE) == key("\n# a comment\n" + BASE.replace("return deep(x)", "return deep(\n  x)"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2", "SCALE = 3"),
        ("SCALE = 2", "SCALE = 2.0"),
        ('{"a": [1, 2]}', '{"a": [1, 3]}'),
        ("x + 1", "x + 2"),
        ("odd(n - 1)", "odd(n - 3)"),
        ("even(n - 1)", "even(n - 3)"),
        ("y=[1]", "y=[2]"),
        ("z=3", "z=4"),
        ("math.pi", "math.tau"),
        ("sides = 4", "sides = 5"),
        ("def s(): return 1", "def s(): return 2"),
        ("def c(cls): return 1", "def c(cls): return 2"),
        ("def p(self): return 1", "def p(self): return 2"),
        ("def area(self): return 1", "def area(self): return 2"),
        ("import math, os.path", "import os.path, cmath as math"),
        ('{"x": deep}', '{"x": odd}'),
        ("class Shape(Base)", "class Shape"),
    ],
)
def test_what_it_refers_to_counts(old, new):
    assert old in BASE
    assert key(BASE.replace(old, new)) != key(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("UNUSED = 1", "UNUSED = 2"),
        ("def unused(): return 0", "def unused(): return 1"),
        ("import math", "import sys, math"),
    ],
)
def test_what_it_does_not_use_does_not_count(old, new):
    assert old in BASE
    assert key(BASE.replace(old, new)) == key(BASE)


def test_name_and_module_count():
    source = "def f(): return 1\ndef g(): return 1\n"
    assert key(source, "one") != key(source, "two")
    assert key(source) != key(source, of="g")


def test_keys_are_the_same_in_every_process(tmp_path):
    (tmp_path / "workflow.py").write_text(
        BASE
        + "\nNAMES = {'a', 'b', 'c'}\nFUNCS = {even, odd, deep}\ndef g(x): return x in {'p', 'q', 'r'} or x in NAMES or FUNCS or f(x)\n"
    )
    script = "import workflow; from plait.dataflow.memo import code_key; print(code_key(workflow.g).hex())"
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{SRC.parent}:{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def make(n, inner=None):
    def closure(x):
        return x + n if inner is None else inner(x)

    return closure


def test_closures_of_one_function_differ_by_what_they_close_over():
    assert code_key(make(1)) == code_key(make(1))
    assert code_key(make(1)) != code_key(make(2))
    assert code_key(make(0, make(1))) != code_key(make(0, make(2)))
    assert code_key(make(0, make(0, make(1)))) != code_key(make(0, make(0, make(2))))


def test_closures_of_one_name_are_told_apart_by_their_place():
    source = "def make(n):\n return lambda: n\na, b = make({}), make({})\ndef f(): return a(), b()\n"
    assert key(source.format(1, 2)) != key(source.format(2, 1))


def test_partials_and_methods():
    def area(a, b):
        return a * b

    assert code_key(functools.partial(area, 1)) == code_key(functools.partial(area, 1))
    assert code_key(functools.partial(area, 1)) != code_key(functools.partial(area, 2))
    assert code_key(functools.partial(area, b=1)) != code_key(functools.partial(area, a=1))

    @dataclass
    class Model:
        weight: object

        def run(self):
            return self.weight

        def __call__(self):
            return self.weight

    assert code_key(Model(1).run) == code_key(Model(1).run)
    assert code_key(Model(1).run) != code_key(Model(2).run)
    assert code_key(Model(1)) != code_key(Model(2))
    with pytest.raises(UnknownTypeForMemo, match=r"Model\.run, self\.weight"):
        code_key(Model(object()).run)
    with pytest.raises(UnknownTypeForMemo, match=r"partial\.args\[0\]"):
        code_key(functools.partial(area, object()))


def test_the_code_of_an_object_that_can_be_called_counts():
    source = (
        "from dataclasses import dataclass\n@dataclass\nclass C:\n x: int\n def __call__(self): return {}\nf = C(1)\n"
    )
    assert key(source.format(1)) == key(source.format(1))
    assert key(source.format(1)) != key(source.format(2))


def test_builtins_and_libraries_count_by_name():
    assert code_key(len) != code_key(sorted)
    assert code_key(functools.reduce) != code_key(len)
    assert code_key([1].append) != code_key([2].append)
    assert code_key(logging.getLogger) == code_key(logging.getLogger)


def test_a_library_of_another_version_is_another(monkeypatch):
    lib = types.ModuleType("somelib")
    lib.__version__ = "1.0"
    lib.__file__ = f"{functools.__file__}/../site-packages/somelib.py"
    exec("def tool(): return 1", vars(lib))
    monkeypatch.setitem(sys.modules, "somelib", lib)
    before = id_for_memo(lib)
    user = module("def f(): return tool()")
    user.tool = lib.tool
    old = code_key(user.f)
    exec("def tool(): return 2", vars(lib))
    user.tool = lib.tool
    assert code_key(user.f) == old, "the code of libraries is not read"
    lib.__version__ = "1.1"
    assert id_for_memo(lib) != before
    assert code_key(module("def f(): return tool()").f) != old


def test_functions_of_the_users_modules_count_through_the_module(monkeypatch):
    helpers = module("def scale(x): return x * 2\n", "helpers_of_mine")
    monkeypatch.setitem(sys.modules, "helpers_of_mine", helpers)
    user = module("import helpers_of_mine\ndef f(x): return helpers_of_mine.scale(x)\n")
    before = code_key(user.f)
    exec("def scale(x): return x * 3", vars(helpers))
    assert code_key(user.f) != before


def test_decorated_functions():
    source = (
        "import functools\ndef d(f):\n lock = object()\n @functools.wraps(f)\n def w(*a): return f(*a), lock\n return w\n"
        "@d\ndef f(x): return {}\n@functools.lru_cache\ndef g(x): return {}\ndef h(x): return g(x)\n"
    )
    for of in "fgh":
        assert key(source.format(1, 1), of=of) == key(source.format(1, 1), of=of)
        assert key(source.format(1, 1), of=of) != key(source.format(2, 2), of=of)


def test_globals_of_unknown_type_count_by_type():
    source = "import logging, threading\nthing = {}\ndef f(): return thing\n"
    assert key(source.format("logging.getLogger('a')")) == key(source.format("logging.getLogger('b')"))
    assert key(source.format("logging.getLogger('a')")) != key(source.format("threading.Lock()"))


def test_a_closure_over_an_unknown_type_is_an_error():
    lock = threading.Lock()

    def app():
        return lock

    with pytest.raises(
        ValueError, match=r"unknown type for memoization: _thread\.lock in .*app, closure variable lock"
    ):
        code_key(app)
    with pytest.raises(ValueError, match=r"default values\[0\]"):
        code_key(lambda x=lock: x)


class TestWhatIsRemembered:
    def changes(self, user, what) -> bool:
        before = code_key(user.f)
        assert code_key(user.f) == before
        exec(what, vars(user))
        return code_key(user.f) != before

    @pytest.mark.parametrize(
        "change",
        [
            "SCALE = 3",
            "TABLE['a'].append(3)",
            "def deep(x): return 0",
            "helper.__code__ = (lambda x: 0).__code__",
            "helper.__defaults__ = (1,)",
            "f.__kwdefaults__['z'] = 5",
            "f.__defaults__[0].append(1)",
            "Base.area = lambda self: 3",
            "handlers['x'] = odd",
            "len = 1\nhelper = len",
        ],
    )
    def test_a_change_is_noticed(self, change):
        assert self.changes(module(BASE), change)

    def test_a_change_that_does_not_concern_it_keeps_the_key(self):
        assert not self.changes(module(BASE), "UNUSED = 3\ndef unused(): return 9\n")

    def test_a_closure_that_assigns_is_noticed(self):
        def outer():
            n = 1

            def f():
                return n

            def bump():
                nonlocal n
                n += 1

            return f, bump

        f, bump = outer()
        before = code_key(f)
        bump()
        assert code_key(f) != before

    def test_what_can_be_called_but_not_hashed(self):
        @dataclass
        class Call:
            x: int

            def __call__(self):
                return self.x

        call = Call(1)
        before = code_key(call)
        call.x = 2
        assert code_key(call) != before

    def test_many_functions_do_not_pile_up(self):
        from plait.dataflow import memo_code

        for n in range(300):
            code_key(make(n))
        assert len(memo_code._remembered[False]) <= memo_code._REMEMBERED


class TestLastingKeys:
    """A function keeps its key whatever it does."""

    SOURCE = """
import threading
calls, counts, n, lock = [], {"f": 0}, 0, threading.Lock()
class Place:
    visits = 0
SCALE = 2
def f(x):
    global n
    with lock:
        n += 1
        Place.visits += 1
        counts["f"] += 1
        calls.append(x)
    return x * SCALE
def around():
    inner, lock, seen = 0, threading.Lock(), []
    def g(x, gate=threading.Event()):
        nonlocal inner
        with lock:
            inner += 1
            seen.append(x)
        return x
    return g
"""

    def test_what_it_does_to_its_module_does_not_count(self):
        made = module(self.SOURCE)
        with lasting_keys():
            before = code_key(made.f)
            made.f(1)
            assert code_key(made.f) == before
        assert code_key(made.f) != before, "without it, it counts"

    def test_nor_to_the_function_around_it_and_unknown_types_are_no_error(self):
        g = module(self.SOURCE).around()
        with pytest.raises(UnknownTypeForMemo):
            code_key(g)
        with lasting_keys():
            before = code_key(g)
            g(1)
            assert code_key(g) == before

    def test_other_code_or_a_name_that_it_reads_counts(self):
        made = module(self.SOURCE)
        other = module(self.SOURCE.replace("x * SCALE", "x + SCALE"))
        with lasting_keys():
            before = code_key(made.f)
            assert code_key(other.f) != before
            assert code_key(module(self.SOURCE).f) == before
            made.SCALE = 3
            assert code_key(made.f) != before


def test_functions_and_classes_as_arguments():
    one, two = (
        module("def f(): return 1\nclass C:\n def g(self): return 1\n"),
        module("def f(): return 2\nclass C:\n def g(self): return 2\n"),
    )
    assert id_for_memo(one.f) != id_for_memo(two.f)
    assert id_for_memo(one.C) != id_for_memo(two.C)
    assert id_for_memo(one.C().g.__func__) != id_for_memo(two.C().g.__func__)


def test_long_chains_of_functions_need_no_deep_stack():
    source = "def f0(): return 0\n" + "".join(f"def f{n}(): return f{n - 1}()\n" for n in range(1, 400))
    assert key(source, of="f399") != key(source.replace("return 0", "return 1"), of="f399")


def test_whose_code_it_is():
    assert is_first_party(__name__)
    assert is_first_party("made_by_exec")
    for library in ("builtins", "sys", "logging", "pytest", "plait.futures"):
        assert not is_first_party(library)


@dataclass(frozen=True)
class Scale:
    """Objects of it are equal whatever they do."""

    by: int = field(compare=False)

    def __call__(self, x):
        return self.by * x


def test_objects_that_are_equal_but_do_something_else_have_keys_of_their_own():
    assert Scale(2) == Scale(3)
    assert code_key(Scale(2)) == code_key(Scale(2))
    assert code_key(Scale(2)) != code_key(Scale(3))


def test_attributes_of_functions_count():
    def scaled(x):
        return x * scaled.by

    before = code_key(scaled)
    scaled.by = 2
    with_two = code_key(scaled)
    scaled.by = [3]
    with_three = code_key(scaled)
    scaled.by[0] = 4
    assert len({before, with_two, with_three, code_key(scaled)}) == 4
    scaled.by = 2
    assert code_key(scaled) == with_two
    with lasting_keys():
        lasting = code_key(scaled)
        del scaled.by
        assert code_key(scaled) == lasting


def test_what_is_registered_with_a_function_for_single_dispatch_counts():
    @functools.singledispatch
    def area(x):
        return 0

    keys = {code_key(area)}
    area.register(int, lambda x: x)
    keys.add(code_key(area))
    area.register(int, lambda x: 2 * x)
    keys.add(code_key(area))
    assert len(keys) == 3
    assert code_key(area) in keys


def test_a_function_in_a_container_that_is_replaced_by_one_of_its_name_counts():
    space = module("handlers = {'x': lambda x: x}\ndef f(x): return handlers['x'](x)")
    before = code_key(space.f)
    space.handlers["x"] = module("f = lambda x: 2 * x").f
    after = code_key(space.f)
    assert after != before
    space.handlers["x"] = module("f = lambda x: x").f
    assert code_key(space.f) == before
