"""Keys of calls, and the table of one run."""

from __future__ import annotations

import functools
import threading
import timeit
import types

import pytest

from plait.dataflow.memo import BasicMemoizer, Memoizer, code_key, memo_key
from plait.futures import PlaitFuture
from plait.model.files import File

CODE = bytes(32)


def app(x, y=1):
    return x + y


def record(func=app, args=(1,), kwargs=None, *, memoize=True, ignore=(), **more) -> dict:
    return {
        "id": 0, "func": func, "func_name": func.__name__, "args": args, "kwargs": kwargs or {}, "memoize": memoize, "hashsum": None,
        "ignore_for_cache": ignore, "app_fu": None, **more,
    }  # fmt: skip


# ------------------------------------------------------------------ keys
def test_calls_that_differ_have_different_keys():
    calls = [
        ((), {}), ((1,), {}), ((1, 2), {}), (([1, 2],), {}), (((1, 2),), {}), ((), {"x": 1}), ((), {"y": 1}), ((), {"x": 2}), ((1,), {"x": 1}), (("a", "bc"), {}), (("ab", "c"), {}),
        (({"x": 1},), {}), ((), {"a": "bc"}), ((), {"ab": "c"}), (("x", 1), {}), ((True,), {}), ((1.0,), {}), ((None,), {}), ((), {"outputs": [File("a")]}),
        ((), {"outputs": [File("b")]}), ((), {"outputs": ["a"]}), ((), {"outputs": [File("a"), File("b")]}),
    ]  # fmt: skip
    keys = {memo_key(CODE, *call) for call in calls} | {memo_key(bytes(31) + b"1", (), {})}
    assert len(keys) == len(calls) + 1
    assert {len(key) for key in keys} == {32}


def test_order_of_keywords_does_not_count():
    assert memo_key(CODE, (), {"a": 1, "b": 2}) == memo_key(CODE, (), {"b": 2, "a": 1})


def test_ignored_keywords_do_not_count_and_need_not_be_there():
    assert memo_key(CODE, (1,), {"a": 1, "b": object()}, ["b", "absent"]) == memo_key(CODE, (1,), {"a": 1}, ["b"])
    assert memo_key(CODE, (1,), {"a": 1, "b": 2}, ["b"]) != memo_key(CODE, (1,), {"a": 2, "b": 2}, ["b"])
    assert memo_key(CODE, (), {"outputs": [File("a")]}, ["outputs"]) == memo_key(CODE, (), {}, ["outputs"])


def test_outputs_count_by_name_whichever_way_they_come(tmp_path):
    path = tmp_path / "made"
    before = memo_key(CODE, (), {"outputs": [File(path)]})
    path.write_text("made")
    assert memo_key(CODE, (), {"outputs": [File(path)]}) == before
    assert memo_key(CODE, (), {}, (), [File(path)]) == before
    assert memo_key(CODE, (), {"outputs": (File(path),)}) == before
    assert memo_key(CODE, (), {"outputs": []}) == memo_key(CODE, (), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "place"),
    [
        ((object(),), {}, "argument 0"),
        ((1, [{"k": object()}]), {}, "argument 1[0]['k']"),
        ((), {"model": (1, object())}, "argument model[1]"),
        ((), {"outputs": [object()]}, "argument outputs[0]"),
    ],
)
def test_an_unknown_type_is_named_with_its_argument(args, kwargs, place):
    with pytest.raises(ValueError, match=r"unknown type for memoization: builtins\.object") as caught:
        memo_key(CODE, args, kwargs)
    assert f"in {place}. " in str(caught.value)


def test_a_function_as_argument_that_has_no_key_is_named_in_full():
    lock = threading.Lock()
    with pytest.raises(ValueError, match=r"in argument 0: .*<lambda>, closure variable lock\."):
        memo_key(CODE, (lambda: lock,), {})


def test_a_key_of_a_small_call_takes_microseconds():
    def call():
        memo_key(code_key(app), (1, "abc", 2.5), {"x": 1, "name": "n"})

    us = min(timeit.repeat(call, number=100, repeat=20)) / 100 * 1e6
    assert us < 250, "25 µs on a quiet machine: this is ten times that"


# ------------------------------------------------------------------ the table
@pytest.fixture
def memoizer():
    made = BasicMemoizer()
    made.start(run_dir="", config_run_dir="")
    return made


def test_it_is_a_memoizer():
    assert issubclass(BasicMemoizer, Memoizer)
    with pytest.raises(TypeError):
        Memoizer()


def test_a_result_is_found_by_an_equal_call(memoizer):
    first = record()
    assert memoizer.check_memo(first) is None
    assert isinstance(first["hashsum"], str)
    assert bytes.fromhex(first["hashsum"])
    memoizer.update_memo_result(first, None)
    second = record()
    found = memoizer.check_memo(second)
    assert isinstance(found, PlaitFuture)
    assert found.done()
    assert found.result() is None
    assert second["hashsum"] == first["hashsum"]
    assert memoizer.check_memo(record(args=(2,))) is None


def test_an_error_is_found_too(memoizer):
    first, error = record(), KeyError("k")
    memoizer.check_memo(first)
    memoizer.update_memo_exception(first, error)
    assert memoizer.check_memo(record()).exception() is error


def test_no_memo_without_being_asked(memoizer):
    task = record(memoize=False)
    assert memoizer.check_memo(task) is None
    assert task["hashsum"] is None
    memoizer.update_memo_result(task, 1)
    memoizer.update_memo_exception(task, KeyError())
    assert memoizer.check_memo(record()) is None


def test_unknown_types_do_not_matter_to_tasks_that_are_not_memoized(memoizer):
    assert memoizer.check_memo(record(args=(object(),), memoize=False)) is None
    with pytest.raises(ValueError, match="unknown type for memoization"):
        memoizer.check_memo(record(args=(object(),)))


def test_switched_off():
    memoizer = BasicMemoizer(memoize=False)
    task = record()
    assert memoizer.check_memo(task) is None
    assert task["hashsum"] is None
    memoizer.update_memo_result(task, 1)
    assert memoizer.check_memo(record()) is None


def test_a_run_begins_and_ends_with_nothing(memoizer):
    for forget in (memoizer.close, lambda: memoizer.start(run_dir="", config_run_dir="")):
        task = record()
        memoizer.check_memo(task)
        memoizer.update_memo_result(task, 1)
        assert memoizer.check_memo(record()) is not None
        forget()
        assert memoizer.check_memo(record()) is None


def test_ignored_and_absent_keywords(memoizer):
    task = record(kwargs={"log": object()}, ignore=("log", "absent", "outputs"))
    memoizer.check_memo(task)
    memoizer.update_memo_result(task, 1)
    assert memoizer.check_memo(record(ignore=("log", "absent", "outputs"))) is not None


def source(text: str, name: str) -> types.ModuleType:
    made = types.ModuleType(name)
    exec(text, vars(made))
    return made


def hits(memoizer, first, second, **more) -> bool:
    task = record(first, **more)
    memoizer.check_memo(task)
    memoizer.update_memo_result(task, 1)
    return memoizer.check_memo(record(second, **more)) is not None


class NamedPartial(functools.partial):
    """As a bash app might be wrapped: a partial that has the name of what it wraps."""

    __name__ = "align"


def test_apps_of_one_name_in_two_modules_do_not_share(memoizer):
    text = "def align(x): return f'cat {x}'"
    one, two = source(text, "one").align, source(text, "two").align
    assert not hits(memoizer, one, two)
    assert hits(memoizer, one, source(text, "one").align)
    assert not hits(memoizer, NamedPartial(one), NamedPartial(two))


def test_an_edited_body_does_not_hit(memoizer):
    assert not hits(memoizer, source("def f(x): return 1", "m").f, source("def f(x): return 2", "m").f)


def test_closures_of_one_name_do_not_share(memoizer):
    def make(n):
        def add(x):
            return x + n

        return add

    assert not hits(memoizer, make(1), make(2))
    assert hits(memoizer, make(3), make(3))


def test_kinds_of_apps_do_not_share(memoizer):
    task = record(kind="python")
    memoizer.check_memo(task)
    memoizer.update_memo_result(task, 1)
    assert memoizer.check_memo(record(kind="bash")) is None
    assert memoizer.check_memo(record(kind="python")) is not None


def test_many_threads(memoizer):
    wrong = []

    def work(n):
        for i in range(100):
            task = record(args=(i % 10,))
            found = memoizer.check_memo(task)
            if found is not None and found.result() != i % 10:
                wrong.append((n, i))
            memoizer.update_memo_result(task, i % 10)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(memoizer._table) == 10
