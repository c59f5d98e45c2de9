from __future__ import annotations

import contextlib
import ctypes
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from plait.errors import BadStdStreamFile
from plait.executors.pool import streams
from plait.executors.pool.streams import capture_process, capture_thread, get_std_fname_mode, open_stream, open_streams
from plait.model.files import File


def read(path) -> str:
    return Path(path).read_text(encoding="utf-8")


# ------------------------------------------------------------------ what the user means
@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("out.txt", ("out.txt", "a+")),
        (Path("a/out.txt"), ("a/out.txt", "a+")),
        (("out.txt", "w"), ("out.txt", "w")),
        ((Path("out.txt"), "a"), ("out.txt", "a")),
        (File("file:///tmp/out.txt"), ("/tmp/out.txt", "w")),
    ],
)
def test_specs(spec, meant):
    assert get_std_fname_mode("stdout", spec) == meant


@pytest.mark.parametrize("spec", [("out.txt",), ("out.txt", "w", 1), (1, "w"), ("out.txt", None), ()])
def test_tuples_that_are_no_pair_of_path_and_mode(spec):
    with pytest.raises(BadStdStreamFile, match=r"stderr=.*expected a pair \(path, mode\)"):
        get_std_fname_mode("stderr", spec)


@pytest.mark.parametrize("spec", [1, None, ["out.txt", "w"], b"out.txt"])
def test_specs_of_another_type(spec):
    with pytest.raises(TypeError, match=rf"stdout=.*expected a path.*not {type(spec).__name__}"):
        get_std_fname_mode("stdout", spec)


# ------------------------------------------------------------------ files
def test_folders_are_made_and_modes_kept(tmp_path):
    path = str(tmp_path / "a" / "b" / "out.txt")
    for mode, text in (("a+", "1"), ("a", "2"), ("ab", "3")):
        with open_stream(path, mode) as file:
            file.write(text)
    assert read(path) == "123"
    with open_stream(path, "w"):
        assert read(path) == ""


def test_lines_are_seen_at_once_and_any_name_can_be_written(tmp_path):
    with open_stream(str(tmp_path / "out"), "w") as file:
        file.write(os.fsdecode(b"\xff\n"))
        assert (tmp_path / "out").read_bytes() == b"\xff\n"


@pytest.mark.parametrize(
    ("path", "mode", "reason"),
    [
        (".", "w", "Is a directory"),
        ("file/below/out", "w", "Not a directory"),
        ("out", "r", "not a mode for writing"),
        ("out", "", "not a mode for writing"),
        ("out", "wa", "exactly one of"),
        ("file", "x", "File exists"),
        ("nul\0", "w", "null byte"),
        ("", "w", "No such file"),
    ],
)
def test_what_cannot_be_opened_is_said(tmp_path, path, mode, reason):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(BadStdStreamFile, match=r"stderr=.*cannot be opened with mode") as info:
        open_stream(path, mode, "stderr")
    assert reason in str(info.value)
    assert repr(path) in str(info.value)
    assert read(tmp_path / "file") == "kept"


def test_one_file_for_both_is_opened_once():
    with open_streams(("both", "w"), ("./both", "w")) as (out, err):
        out.write("1\n")
        err.write("2\n")
    assert read("both") == "1\n2\n"
    assert out.closed


def test_only_what_is_named_is_opened():
    with open_streams(None, None) as files:
        assert files == (None, None)
    with open_streams(None, ("err", "w")) as (out, err):
        assert out is None
        assert err.name == "err"
    with pytest.raises(BadStdStreamFile, match="stderr"), open_streams(("out", "w"), ("/", "w")):
        pass


# ------------------------------------------------------------------ a whole process, which is not this one: pytest has its own descriptors
def run(code: str) -> subprocess.CompletedProcess:
    prelude = "import ctypes, io, os, subprocess, sys\nfrom plait.executors.pool.streams import capture_process\n"
    env = {
        name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"
    }  # buffers are what it is about
    return subprocess.run([sys.executable, "-c", prelude + code], capture_output=True, text=True, check=False, env=env)


def test_everything_a_process_writes():
    done = run("""
print("before")
with capture_process(("out", "w"), ("err", "w")):
    print("print")
    os.write(1, b"descriptor\\n")
    ctypes.CDLL(None).printf(b"C\\n")
    subprocess.run(["/bin/sh", "-c", "echo child; echo child >&2"])
    print("error", file=sys.stderr)
print("after")
""")
    assert sorted(read("out").split()) == ["C", "child", "descriptor", "print"]
    assert sorted(read("err").split()) == ["child", "error"]
    assert (done.stdout, done.stderr) == ("before\nafter\n", "")


def test_only_one_of_them():
    done = run("""
with capture_process(None, ("err", "w")):
    print("out"); print("err", file=sys.stderr)
""")
    assert (done.stdout, done.stderr, read("err")) == ("out\n", "", "err\n")


def test_a_failing_task_does_not_keep_them():
    done = run("""
try:
    with capture_process(("out", "w"), None):
        print("inside")
        raise ValueError
except ValueError:
    print("outside")
""")
    assert (done.stdout, read("out")) == ("outside\n", "inside\n")


def test_a_task_that_closes_or_replaces_them():
    done = run("""
old = sys.stdout
with capture_process(("out", "w"), ("err", "w")):
    print("inside", flush=True)
    os.close(1)
    sys.stderr = io.StringIO()
    print("lost", file=sys.stderr)
assert sys.stdout is old and sys.stderr is sys.__stderr__
print("outside")
print("outside", file=sys.stderr)
""")
    assert (done.stdout, done.stderr) == ("outside\n", "outside\n")
    assert (read("out"), read("err")) == ("inside\n", "")


def test_what_was_closed_before_is_closed_after():
    done = run("""
os.close(1); sys.stdout = None
with capture_process(("out", "w"), None):
    print("print"); os.write(1, b"descriptor\\n")
assert sys.stdout is None
try: os.fstat(1)
except OSError: print("closed", file=sys.stderr)
""")
    assert sorted(read("out").split()) == ["descriptor", "print"]
    assert done.stderr == "closed\n"


def test_a_stream_that_is_no_descriptor():
    done = run("""
text = sys.stdout = io.StringIO()
with capture_process(("out", "w"), None):
    print("print"); os.write(1, b"descriptor\\n")
assert sys.stdout is text and text.getvalue() == ""
""")
    assert sorted(read("out").split()) == ["descriptor", "print"]
    assert (done.stderr, done.returncode) == ("", 0)


def test_no_file_is_left_open():
    fds = os.listdir("/dev/fd")
    with contextlib.redirect_stdout(io.StringIO()), capture_process(("out", "w"), None):
        assert ctypes.CDLL(None).fflush(None) == 0
        print("x")
    assert os.listdir("/dev/fd") == fds
    assert read("out") == "x\n"


# ------------------------------------------------------------------ one thread
def in_thread(task) -> None:
    failures = []

    def body():
        try:
            task()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def test_a_thread_writes_to_its_file_and_others_do_not(capsys):
    before = sys.stdout, sys.stderr
    with capture_thread(("out", "w"), ("err", "w")):
        print("mine")
        print("mine too", file=sys.stderr, flush=True)
        in_thread(lambda: print("of another"))
        assert sys.stdout.fileno() not in {1, 2}, "all of the stream is that of the thread"
        assert sys.stdout.encoding == "utf-8"
    assert (sys.stdout, sys.stderr) == before
    assert (read("out"), read("err")) == ("mine\n", "mine too\n")
    assert capsys.readouterr().out == "of another\n"


def test_two_threads_at_the_same_time():
    before, meet = sys.stdout, threading.Barrier(2)

    def task(name):
        with capture_thread((name, "w"), None):
            for _ in range(50):
                meet.wait()
                print(name)
            meet.wait()

    other = threading.Thread(target=task, args=("b",))
    other.start()
    task("a")
    other.join()
    assert (read("a"), read("b")) == ("a\n" * 50, "b\n" * 50)
    assert sys.stdout is before


def test_it_stays_while_one_thread_is_captured():
    before, inside, leave = sys.stdout, threading.Event(), threading.Event()

    def task():
        with capture_thread(("b", "w"), None):
            inside.set()
            leave.wait(10)
            print("b")

    other = threading.Thread(target=task)
    other.start()
    inside.wait(10)
    with capture_thread(("a", "w"), None):
        print("a")
    assert sys.stdout is not before
    leave.set()
    other.join()
    assert sys.stdout is before
    assert (read("a"), read("b")) == ("a\n", "b\n")


def test_captures_nest_in_a_thread():
    with capture_thread(("outer", "w"), None):
        print(1)
        with capture_thread(("inner", "w"), None):
            print(2)
        print(3)
    assert (read("outer"), read("inner")) == ("1\n3\n", "2\n")


def test_somebody_wraps_the_stream_meanwhile(capsys):
    """As a progress display does: it begins while one task is captured, and ends after that one."""

    class Wrapper:
        def __init__(self, stream):
            self.stream = stream

        def write(self, text):
            return self.stream.write(text.upper())

        def flush(self):
            self.stream.flush()

    before = sys.stdout
    with capture_thread(("a", "w"), None):
        first = sys.stdout
        sys.stdout = Wrapper(first)
    with capture_thread(("b", "w"), None):
        print("b")
        in_thread(lambda: print("wrapped"))
    assert sys.stdout.stream is first
    sys.stdout = first
    print("later")
    with capture_thread(("c", "w"), None):
        print("c")
    assert sys.stdout is before
    assert (read("a"), read("b"), read("c")) == ("", "b\n", "c\n")
    assert capsys.readouterr().out == "WRAPPED\nlater\n"


def test_no_stream_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with capture_thread(("out", "w"), None):
        print("mine")
        in_thread(lambda: print("of another"))
        in_thread(sys.stdout.flush)
    assert sys.stdout is None
    assert read("out") == "mine\n"


def test_nothing_is_remembered():
    with pytest.raises(ValueError), capture_thread(("out", "w"), ("out", "w")):
        raise ValueError
    assert streams._captured == {"stdout": {}, "stderr": {}}
