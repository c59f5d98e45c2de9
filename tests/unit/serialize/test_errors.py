"""An exception arrives with its class, fields, causes and traceback, or at least with its text."""

from __future__ import annotations

import dis
import subprocess
import sys
import threading
import traceback

import pytest

from plait.errors import BashExitFailure, RemoteError, TaskExited
from plait.serialize import dump_error, load_error
from plait.serialize.errors import MAX_CHAIN, MAX_FRAMES, MAX_TEXT
from tests.support import SRC


class TwoArguments(Exception):
    """Cannot be rebuilt from its args: pickle calls it with one."""

    def __init__(self, name, code):
        super().__init__(f"{name} failed with {code}")


class Holds(Exception):
    def __init__(self, what):
        super().__init__("holds something")
        self.what = what


class Unspeakable(Exception):
    def __str__(self):
        raise SystemExit(3)


def raised(function, *args) -> BaseException:
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def send(error) -> BaseException:
    return load_error(dump_error(error))


def innermost(x):
    return 1 / x


def outer(x):
    return innermost(x)


def test_class_text_and_fields_arrive():
    error = send(BashExitFailure("align", 2))
    assert isinstance(error, BashExitFailure)
    assert error.exitcode == 2
    error = send(Holds([1, 2]))
    assert error.what == [1, 2]


def test_the_traceback_arrives():
    error = send(raised(outer, 0))
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names == ["raised", "outer", "innermost"]
    text = "".join(traceback.format_exception(error))
    assert "return 1 / x" in text
    assert text.rstrip().endswith("ZeroDivisionError: division by zero")
    with pytest.raises(ZeroDivisionError):  # it can be raised again, and grows at the near end only
        raise error
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-2:] == ["outer", "innermost"]


def holders(error) -> list[str]:
    """Functions of this process that the traceback of an error keeps alive."""
    found = []
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            frame = traceback.tb_frame.f_back
            while frame is not None:
                found.append(frame.f_code.co_name)
                frame = frame.f_back
            traceback = traceback.tb_next
        error = error.__cause__
    return found


def test_each_frame_of_the_traceback_stands_at_an_instruction():
    """IPython looks for it, and backwards for one where there is none: without end below the first."""
    link = send(raised(outer, 0)).__traceback__
    frames = []
    while link is not None:
        frames.append(link)
        link = link.tb_next
    assert len(frames) >= 2
    assert all(f.tb_lasti in {i.offset for i in dis.get_instructions(f.tb_frame.f_code)} for f in frames)


def test_an_error_that_is_kept_does_not_keep_the_message_that_it_came_in():
    assert holders(raised(outer, 0)) != []
    assert holders(send(raised(outer, 0))) == []
    # nor does one that cannot be read
    assert holders(load_error(b"no pickle")) == []
    unreadable = send(TwoArguments("align", 2))
    assert isinstance(unreadable, RemoteError)
    assert unreadable.__cause__.__traceback__ is not None
    assert holders(unreadable) == []


def test_frames_of_the_machinery_above_the_task_are_left_out():
    space = {"__name__": "plait.executors.pool.worker", "outer": outer}
    exec("def run(): outer(0)", space)

    def start():
        space["run"]()

    names = [frame.name for frame in traceback.extract_tb(send(raised(space["run"])).__traceback__)]
    assert names[-2:] == ["outer", "innermost"]
    error = raised(space["run"])
    error = send(error.with_traceback(error.__traceback__.tb_next))  # as a worker sees it: its own frame is the first
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["outer", "innermost"]


def test_a_declared_cause_arrives():
    def chain():
        try:
            innermost(0)
        except ZeroDivisionError as error:
            raise KeyError("k") from error

    error = send(raised(chain))
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert "innermost" in [frame.name for frame in traceback.extract_tb(error.__cause__.__traceback__)]


def test_a_context_arrives_as_a_context():
    def chain():
        try:
            innermost(0)
        except ZeroDivisionError:
            raise KeyError("k")  # noqa: B904 - that is the case

    error = send(raised(chain))
    assert error.__cause__ is None
    assert isinstance(error.__context__, ZeroDivisionError)


def test_what_was_suppressed_does_not_arrive():
    def chain():
        try:
            innermost(0)
        except ZeroDivisionError:
            raise KeyError("k") from None

    error = send(raised(chain))
    assert error.__cause__ is None
    assert error.__context__ is None


def test_long_chains_of_causes_are_cut_and_circles_end():
    first = error = ValueError(0)
    for n in range(1, 2 * MAX_CHAIN):
        error.__cause__ = ValueError(n)
        error = error.__cause__
    found, length = send(first), 0
    while found is not None:
        assert found.args == (length,)
        found, length = found.__cause__, length + 1
    assert length == MAX_CHAIN
    one, two = ValueError(1), ValueError(2)
    one.__cause__, two.__cause__ = two, one
    found = send(one)
    assert found.__cause__.args == (2,)
    assert found.__cause__.__cause__ is None


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_would_end_the_reader_arrives_as_an_ordinary_error(kind):
    error = send(raised(lambda: (_ for _ in ()).throw(kind("3"))))
    if kind is GeneratorExit:
        assert isinstance(error, (TaskExited, RuntimeError))
    else:
        assert isinstance(error, TaskExited)
        assert (error.kind, error.text) == (kind.__name__, "3")
        assert error.__traceback__ is not None


@pytest.mark.parametrize("error", [Holds(threading.Lock()), Holds(x for x in ())])
def test_what_cannot_be_sent_arrives_as_text(error):
    found = send(raised(lambda: (_ for _ in ()).throw(error)))
    assert isinstance(found, RemoteError)
    assert found.type_name == f"{__name__}.Holds"
    assert "holds something" in str(found)
    assert "Traceback" in found.text


def test_what_cannot_be_rebuilt_arrives_as_text():
    found = send(raised(lambda: (_ for _ in ()).throw(TwoArguments("align", 3))))
    assert isinstance(found, RemoteError)
    assert found.type_name == f"{__name__}.TwoArguments"
    assert "align failed with 3" in found.text
    assert "TypeError" in str(found.__cause__)


def test_a_cause_that_cannot_be_rebuilt_does_not_spoil_the_error():
    error = KeyError("k")
    error.__cause__ = TwoArguments("align", 3)
    found = send(error)
    assert isinstance(found, KeyError)
    assert found.__cause__ is None
    error.__cause__ = Holds(threading.Lock())
    assert isinstance(send(error), KeyError)


def test_an_error_whose_text_raises():
    found = send(Unspeakable())
    assert isinstance(found, Unspeakable)
    error = Unspeakable()
    error.lock = threading.Lock()
    found = send(error)
    assert isinstance(found, RemoteError)
    assert "Unspeakable: <exception str() failed>" in str(found)


def test_endless_recursion_arrives_with_a_bounded_traceback():
    def again(n):
        return again(n + 1)

    error = raised(again, 0)
    data = dump_error(error)
    assert len(data) < 2 * MAX_TEXT
    found = load_error(data)
    assert isinstance(found, RecursionError)
    assert len(traceback.extract_tb(found.__traceback__)) == sum(MAX_FRAMES)


def test_long_texts_are_cut():
    found = send(Holds(threading.Lock()))
    assert len(found.text) < MAX_TEXT
    error = ValueError("x" * 10 * MAX_TEXT)
    error.lock = threading.Lock()
    found = send(error)
    assert len(found.text) < MAX_TEXT + 10
    assert "[…]" in found.text


def test_a_class_of_main_arrives_where_main_is_another():
    script = """
import sys
from plait.serialize import dump_error
class Mine(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)
        self.b = b
try:
    raise Mine(1, 2)
except Mine as error:
    sys.stdout.buffer.write(dump_error(error))
"""
    data = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(SRC.parent)}, check=True, capture_output=True
    ).stdout
    error = load_error(data)
    assert type(error).__name__ == "Mine"
    assert error.b == 2


def test_bytes_that_are_no_error():
    assert isinstance(load_error(b"torn"), Exception)
    assert "Failed to deserialize" in str(load_error(b""))


def test_what_rebuilds_into_something_else_arrives_as_text():
    class Odd(Exception):
        def __reduce__(self):
            return str, ("no error",)

    found = send(Odd("odd"))
    assert isinstance(found, RemoteError)
    assert "odd" in found.text
