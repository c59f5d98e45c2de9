from __future__ import annotations

import inspect
import subprocess
import sys
import threading

import pytest

from plait.compat import parsl
from plait.compat.parsl.app.python import PythonApp, _Limit, timeout
from plait.compat.parsl.config import Config
from plait.errors import AppTimeout


def test_a_function_that_takes_too_long_is_ended():
    def spin():
        while True:
            pass

    with pytest.raises(AppTimeout):
        timeout(spin, 0.05)()


def test_one_that_is_in_time_is_not():
    assert timeout(lambda a, b=0: a + b, 60)(1, b=2) == 3
    with pytest.raises(ZeroDivisionError):
        timeout(lambda: 1 / 0, 60)()


def test_the_timers_end_with_their_calls():
    before = threading.active_count()
    for _ in range(20):
        timeout(int, 60)()
    assert threading.active_count() <= before + 20  # each is cancelled; conftest sees that all end


def test_one_that_was_in_time_just_so_is_not_struck_later():
    limit = _Limit(threading.get_ident())
    try:
        limit.strike()  # by its timer, just before this thread says that it is done
        limit.lift()
    except AppTimeout:
        pass  # it was met before `lift`
    assert sum(_one() for _ in range(1000)) == 1000


def _one():
    return 1


def test_the_program_can_be_traced_afterwards():
    """By a debugger, say: CPython 3.11 stands still when it was told to take such an exception back."""
    script = (
        "import faulthandler, sys; from plait.compat.parsl.app.python import timeout\n"
        "assert timeout(int, 60)('3') == 3\n"
        "faulthandler.dump_traceback_later(60, exit=True); sys.settrace(lambda *_: None); print(timeout(int, 60)('4'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr


def test_the_class_makes_apps_and_join_apps():
    app = PythonApp(int)
    join = PythonApp(lambda: app("3"), join=True)
    assert (app.join, join.join) == (False, True)
    assert PythonApp(int, None, False, "all", None, True).join
    assert list(inspect.signature(PythonApp).parameters)[:6] == [
        "func", "data_flow_kernel", "cache", "executors", "ignore_for_cache", "join",
    ]  # fmt: skip
    assert isinstance(join, PythonApp)
    with parsl.load(Config(initialize_logging=False)):
        assert app("2").result() == 2
        assert join().result() == 3


def test_other_options_keep_the_class():
    join = PythonApp(int, join=True, cache=True)
    assert join.options(label="x").join
    assert join.options(label="x").cache
