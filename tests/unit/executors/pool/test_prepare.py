"""A task becomes bytes where it is submitted, and what cannot be sent is named as the caller wrote it."""

from __future__ import annotations

import errno
import threading

import pytest

from plait.errors import SerializationError
from plait.executors.pool import wire
from plait.executors.pool.prepare import call_of, prepare
from plait.executors.pool.wire import Segments
from plait.limits import BIG_BYTES
from plait.model.task import AppSpec, Task
from plait.serialize import loads


def make(*args, kind="python", func=len, **kwargs) -> Task:
    return Task(AppSpec(func, "app", kind), args, kwargs, None, 0.0)


def test_a_plain_call_is_its_arguments():
    task = make(1, "two", three=3)
    prepare(task)
    assert loads(task.payload) == ((1, "two"), {"three": 3})
    assert task.app.blob is not None


def test_prepared_once():
    task = make(1)
    prepare(task)
    payload, blob = task.payload, task.app.blob
    prepare(task)
    assert task.payload is payload
    assert task.app.blob is blob


def test_large_arguments_travel_beside():
    task = make(b"x" * BIG_BYTES)
    prepare(task)
    assert isinstance(task.payload, Segments)
    task.payload.close()


def test_large_arguments_stay_in_memory_where_no_file_can_be_opened(monkeypatch):
    def anonymous_file(size):
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(wire, "anonymous_file", anonymous_file)
    task = make(b"x" * BIG_BYTES)
    prepare(task)
    assert wire.load_whole(task.payload.whole(), task.payload.sizes) == ((b"x" * BIG_BYTES,), {})
    monkeypatch.setattr(
        wire, "anonymous_file", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "no space for it"))
    )
    with pytest.raises(OSError, match="no space for it"):
        prepare(make(b"x" * BIG_BYTES))


@pytest.mark.parametrize(
    ("args", "kwargs", "where"),
    [
        ((1, threading.Lock()), {}, "argument 1 "),
        (({"key": [1, threading.Lock()]},), {}, "argument 0['key'][1] "),
        ((), {"name": {1: threading.Lock()}}, "argument name[1] "),
    ],
)
def test_the_culprit_is_named(args, kwargs, where):
    with pytest.raises(SerializationError) as raised:
        prepare(make(*args, **kwargs))
    assert f"app(): {where}" in str(raised.value)


def test_a_function_that_cannot_be_sent_is_named():
    lock = threading.Lock()
    with pytest.raises(SerializationError, match="function <lambda>"):
        prepare(make(func=lambda: lock))


def test_a_global_that_was_assigned_anew_is_sent_anew():
    namespace = {"value": 1, "__name__": "__main__"}
    exec("def f(): return value", namespace)
    task = make(func=namespace["f"])
    prepare(task)
    first = task.app.blob
    namespace["value"] = 2
    task.payload = None
    prepare(task)
    assert task.app.blob.digest != first.digest


def test_only_what_is_more_than_a_call_has_a_call():
    assert call_of(make(1)) is None
    assert call_of(make(kind="bash")).kind == "bash"
    task = make(1)
    task.more().label = "x"
    assert call_of(task) is None
    task.more().stdout = "out.txt"
    assert call_of(task).stdout == ("out.txt", "a+")
    task = make(1)
    task.more().spec = {"cores": 2}
    assert call_of(task).env == (("PLAIT_CORES", "2"), ("PARSL_CORES", "2"))
