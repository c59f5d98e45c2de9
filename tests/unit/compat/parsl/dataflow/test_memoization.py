from __future__ import annotations

import threading

import pytest

from plait.compat import parsl
from plait.compat.parsl.config import Config
from plait.compat.parsl.dataflow.memoization import BasicMemoizer, Memoizer, make_hash
from plait.errors import ConfigurationError


class Recorder(Memoizer):
    def __init__(self):
        self.seen = []

    def start(self, *, run_dir, config_run_dir):
        self.seen.append("start")

    def check_memo(self, task):
        self.seen.append(("check", task["id"], task["memoize"]))

    def update_memo_result(self, task, r):
        self.seen.append(("result", task["id"], r))

    def update_memo_exception(self, task, e):
        self.seen.append(("exception", task["id"], type(e).__name__))

    def close(self):
        self.seen.append("close")


def test_a_plug_in_is_asked_about_every_task():
    memoizer = Recorder()
    with parsl.load(Config(initialize_logging=False, memoizer=memoizer)):
        assert parsl.python_app(int)("3").result() == 3
        failed = parsl.python_app(int, cache=True)("x")
        assert isinstance(failed.exception(), ValueError)
        parsl.python_app(str)(failed).exception()
    assert memoizer.seen == [
        "start", ("check", 0, False), ("result", 0, 3), ("check", 1, True), ("exception", 1, "ValueError"),
        ("exception", 2, "DependencyError"), "close",
    ]  # fmt: skip


class Prophet(Recorder):
    def check_memo(self, task):
        from concurrent.futures import Future

        known = Future()
        known.set_result("known")
        return known


def test_what_a_plug_in_knows_is_not_run():
    with parsl.load(Config(initialize_logging=False, memoizer=Prophet())):
        future = parsl.python_app(int)("x")
        assert future.result() == "known"
        assert future.task_status() == "memo_done"


def test_memoization_can_be_switched_off():
    ran = []
    with parsl.load(Config(initialize_logging=False, memoizer=BasicMemoizer(memoize=False))):
        app = parsl.python_app(ran.append, cache=True)
        app(1).result()
        app(1).result()
    assert ran == [1, 1]


@pytest.mark.parametrize(
    "asks", [{"checkpoint_mode": "manual"}, {"checkpoint_period": "00:10:00"}, {"checkpoint_files": ["x"]}]
)
def test_checkpoints_are_refused_not_ignored(asks):
    with pytest.raises(ConfigurationError, match=r"BasicMemoizer\(checkpoint_.*does not have checkpoints yet"):
        BasicMemoizer(**asks)


def test_asking_for_none_is_fine():
    memoizer = BasicMemoizer(checkpoint_mode=None, checkpoint_files=[])
    assert isinstance(memoizer, Memoizer)
    assert not memoizer.every_task


def test_the_hash_of_a_call_follows_its_arguments():
    def task(*args, **kwargs):
        return {"func": int, "args": args, "kwargs": kwargs, "ignore_for_cache": ["base"]}

    assert make_hash(task("3")) == make_hash(task("3", base=2))
    assert make_hash(task("3")) != make_hash(task("4"))


def test_the_hash_of_a_call_is_what_its_record_says():
    said = []

    class Watching(BasicMemoizer):
        def check_memo(self, task):
            found = super().check_memo(task)
            said.append((make_hash(task), task["hashsum"]))
            return found

    with parsl.load(Config(initialize_logging=False, memoizer=Watching())):
        parsl.python_app(int, cache=True)("3").result()
    assert [one == two for one, two in said] == [True]


def test_a_function_that_counts_its_calls_is_the_same_function_after_that():
    calls, lock = [], threading.Lock()

    @parsl.python_app(cache=True)
    def work(x):
        with lock:
            calls.append(x)
        return x

    with parsl.load(Config(initialize_logging=False)) as kernel:
        assert isinstance(kernel.memoizer, BasicMemoizer)
        assert [work(1).result(), work(1).result(), work(2).result()] == [1, 1, 2]
        future = work(1)
        future.result()
        assert future.task_status() == "memo_done"
        assert make_hash({"func": work.func, "args": [1], "kwargs": {}, "ignore_for_cache": None})
    assert calls == [1, 2]


def test_memoize_is_true_or_false():
    with pytest.raises(ConfigurationError, match=r"BasicMemoizer\(memoize='x'\): expected True or False"):
        BasicMemoizer(memoize="x")


def test_what_is_derived_from_the_basic_one_is_asked_about_every_task_too():
    asked = []

    class Watching(BasicMemoizer):
        def check_memo(self, task):
            asked.append(task["func_name"])
            return super().check_memo(task)

    with parsl.load(Config(initialize_logging=False, memoizer=Watching())):
        assert [parsl.python_app(int)("3").result() for _ in range(2)] == [3, 3]
        cached = parsl.python_app(len, cache=True)
        assert [cached("abc").result() for _ in range(2)] == [3, 3]
        last = cached("abc")
        last.result()
        assert last.task_status() == "memo_done"
    assert asked == ["int", "int", "len", "len", "len"]
