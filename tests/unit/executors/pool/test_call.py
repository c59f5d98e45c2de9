from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from plait.errors import BashExitFailure
from plait.executors.pool.call import Call, run_call
from plait.serialize import dumps, loads


def read(path) -> str:
    return Path(path).read_text(encoding="utf-8")


def test_it_travels():
    call = Call("bash", "name", ("out", "w"), None, ("a", "b"), 1.5, (("K", "V"),))
    assert loads(dumps(call)) == call
    assert isinstance(loads(dumps(call)), Call)


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_python_call(in_thread):
    def func(a, b):
        print(a)
        print(b, file=sys.stderr)
        return a, b

    assert run_call(func, (1,), {"b": 2}, Call("python", "f", ("out", "w"), ("err", "w")), in_thread=in_thread) == (
        1,
        2,
    )
    assert (read("out"), read("err")) == ("1\n", "2\n")


@pytest.mark.parametrize("in_thread", [False, True])
def test_its_error_passes_and_the_output_is_kept(in_thread):
    before = sys.stdout

    def func():
        print("so far")
        raise KeyError("k")

    with pytest.raises(KeyError, match="k"):
        run_call(func, (), {}, Call("python", "f", ("out", "w")), in_thread=in_thread)
    assert read("out") == "so far\n"
    assert sys.stdout is before


def test_only_this_thread_is_captured_in_a_thread(capsys):
    def func():
        other = threading.Thread(target=print, args=("of another",))
        other.start()
        other.join()
        print("mine")

    run_call(func, (), {}, Call("python", "f", ("out", "w")), in_thread=True)
    assert (read("out"), capsys.readouterr().out) == ("mine\n", "of another\n")


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_bash_call(in_thread):
    def func(word, stdout=None):
        return f"echo {word}"

    call = Call("bash", "f", ("out", "w"))
    assert run_call(func, ("hi",), {"stdout": "out"}, call, in_thread=in_thread) == 0
    assert read("out") == "hi\n"
    with pytest.raises(BashExitFailure):
        run_call(lambda: "exit 3", (), {}, call, in_thread=in_thread)


def test_the_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("PLAIT_TEST_OLD", "old")
    before = dict(os.environ)
    call = Call("python", "f", env=(("PLAIT_TEST_OLD", "1"), ("PLAIT_TEST_NEW", "2")))

    def func(fail):
        seen = os.environ["PLAIT_TEST_OLD"], os.environ["PLAIT_TEST_NEW"]
        if fail:
            raise ValueError(seen)
        del os.environ["PLAIT_TEST_NEW"]
        return seen

    assert run_call(func, (False,), {}, call, in_thread=False) == ("1", "2")
    assert os.environ == before
    with pytest.raises(ValueError, match="'1', '2'"):
        run_call(func, (True,), {}, call, in_thread=False)
    assert os.environ == before


@pytest.mark.parametrize("in_thread", [False, True])
def test_the_environment_of_a_command(monkeypatch, in_thread):
    monkeypatch.setenv("PLAIT_TEST_OLD", "old")
    monkeypatch.setenv("PLAIT_TEST_KEPT", "kept")
    before = dict(os.environ)
    seen = []

    def func():
        seen.append(os.environ["PLAIT_TEST_OLD"])
        return "echo $PLAIT_TEST_OLD $PLAIT_TEST_NEW $PLAIT_TEST_KEPT"

    call = Call("bash", "f", ("out", "w"), env=(("PLAIT_TEST_OLD", "1"), ("PLAIT_TEST_NEW", "2")))
    run_call(func, (), {}, call, in_thread=in_thread)
    assert read("out") == "1 2 kept\n"
    assert os.environ == before
    assert seen == ["old" if in_thread else "1"], "threads share the environment"
