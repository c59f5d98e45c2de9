from __future__ import annotations

import sys

import pytest

from plait.cli import tracebacks
from plait.cli.tracebacks import print_error, text_of, where_in
from plait.errors import ConfigurationError
from plait.futures import AppFuture
from plait.model.task import AppSpec, Task
from plait.model.units import parse_bytes


def raised(do):
    with pytest.raises(BaseException) as caught:
        do()
    return caught.value


def failed_future(error):
    future = AppFuture(Task(AppSpec(print, "print"), (), {}, None, 0.0))
    future.set_exception(error)
    return future


def test_plaits_frames_are_left_out():
    text = text_of(raised(lambda: parse_bytes("x")))
    assert "units.py" not in text
    assert "test_tracebacks.py" in text
    assert "ValueError: memory='x'" in text


def test_those_of_a_future_too_and_in_causes():
    def fail():
        try:
            failed_future(KeyError("inner")).result()
        except KeyError as error:
            raise RuntimeError("outer") from error

    text = text_of(raised(fail))
    assert "futures.py" not in text
    assert "KeyError: 'inner'" in text
    assert "RuntimeError: outer" in text


def test_a_bug_of_plait_keeps_them():
    bug = raised(lambda: tracebacks.where_in(None, object()))
    assert isinstance(bug, AttributeError)
    assert "tracebacks.py" in text_of(bug)


def test_an_error_of_its_own_shows_where_the_user_was():
    def user():
        raise ConfigurationError("no")

    assert "in user" in text_of(raised(user))


def test_a_hook_that_a_library_set_for_exception_groups_is_none_of_the_script(monkeypatch, capsys):
    def hook(kind, error, trace):
        raise AssertionError

    hook.__module__ = "exceptiongroup._formatting"
    monkeypatch.setattr(sys, "excepthook", hook)
    print_error(ValueError("x"))
    assert capsys.readouterr().err == "ValueError: x\n"


def test_a_hook_of_the_script_is_used(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: seen.append(error))
    error = raised(lambda: 1 / 0)
    print_error(error)
    assert seen == [error]
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    print_error(error)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_where():
    error = raised(lambda: 1 / 0)
    assert where_in(__file__, error.__traceback__).startswith("test_tracebacks.py, line ")
    assert where_in("elsewhere.py", error.__traceback__) == ""
