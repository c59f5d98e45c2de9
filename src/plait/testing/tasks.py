"""Bodies of the tasks that the contract suites run. Workers import this module: it imports nothing of pytest or of the suites."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator


class CrashError(Exception):
    """What a task of the crash matrix raises."""


# ------------------------------------------------------------------ healthy ones
def echo(value: Any = None) -> Any:
    """The value."""
    return value


def add(left: Any, right: Any) -> Any:
    """The sum."""
    return left + right


def second(first: Any, value: Any) -> Any:
    """The second of two values."""
    del first
    return value


def note(path: str, text: str) -> str:
    """Appends a line to a file, in one write, and returns the text: what is there twice was run twice."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)
    return text


def notes(path: str) -> list[str]:
    """The lines that `note` wrote."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def pid() -> int:
    """The process that runs the task."""
    return os.getpid()


def meet(path: str, name: str, others: int, limit_s: float = 10.0) -> int:
    """Says that it is here, and waits until ``others`` more are: they run at the same time. How many came."""
    note(path, name)
    deadline_s = time.monotonic() + limit_s
    while (here := len(set(notes(path)))) <= others and time.monotonic() < deadline_s:
        time.sleep(0.002)
    return here


def hold(path: str, name: str, until: str, limit_s: float = 20.0) -> str:
    """Says that it runs, and goes on until the file ``until`` is there."""
    note(path, name)
    deadline_s = time.monotonic() + limit_s
    while not os.path.exists(until) and time.monotonic() < deadline_s:
        time.sleep(0.002)
    return name


def fail(text: str = "bad") -> NoReturn:
    """Raises an error with a cause."""
    try:
        raise KeyError("the first")  # noqa: TRY301 - what is tested
    except KeyError as error:
        raise ValueError(text) from error


def environment(name: str) -> str | None:
    """A variable of the environment."""
    return os.environ.get(name)


def affinity() -> list[int]:
    """The cores that the process may use."""
    return sorted(os.sched_getaffinity(0))


#: What `initialize` was called with.
initialized: list[Any] = []


def initialize(value: Any) -> None:
    """For ``initializer=``."""
    initialized.append(value)


def read_initialized() -> list[Any]:
    """What the initializer left in this process."""
    return list(initialized)


def change_array(array: Any) -> Any:
    """Adds 1 in place, and returns the array."""
    array += 1
    return array


# ------------------------------------------------------------------ those that do not end by themselves
def loop(path: str, name: str = "loop") -> None:
    """Computes for ever."""
    note(path, f"{name} {os.getpid()}")
    while True:
        pass


def sleep_in_c(path: str, name: str = "sleep_in_c") -> None:
    """Blocks in C code that holds the interpreter's lock."""
    note(path, f"{name} {os.getpid()}")
    ctypes.PyDLL(None).sleep(1000)


def family(path: str, *, deaf: bool = False) -> None:
    """Starts children that hide in every way that is known, notes their numbers, and waits for ever."""
    trap = "trap '' TERM HUP INT; " if deaf else ""
    script = f"{trap}echo child $BASHPID >> {path}; exec sleep 1000"
    children = [
        subprocess.Popen(["/bin/bash", "-c", script]),
        subprocess.Popen(["/bin/bash", "-c", script], start_new_session=True),
        subprocess.Popen(
            ["/bin/bash", "-c", f"setsid /bin/bash -c {shlex.quote(script)} & exit"]
        ),  # its parent ends at once
        subprocess.Popen(["/bin/bash", "-c", f"( ( {script} ) & ) & wait"]),
    ]
    note(path, f"family {os.getpid()}")
    for child in children:
        child.wait()


# ------------------------------------------------------------------ crashes
def crash(how: str) -> NoReturn:
    """Ends in that way."""
    if how == "sys.exit":
        sys.exit(3)
    elif how == "libc exit":
        ctypes.CDLL(None).exit(4)
    elif how == "segfault":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "os._exit":
        os._exit(5)
    raise CrashError(how)


class CrashesWhenPickled:
    """Sending it crashes."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        return crash(self.how)


class CrashesWhenUnpickled:
    """Receiving it crashes."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        return crash, (self.how,)


def make(class_name: str, how: str) -> Any:
    """Returns an object of a class of this module."""
    return globals()[class_name](how)


class Unprintable(Exception):
    """An error that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def raise_unprintable() -> NoReturn:
    """Raises it."""
    raise Unprintable


class Unpicklable(Exception):
    """An error that cannot be sent."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def raise_unpicklable() -> NoReturn:
    """Raises an error that holds a lock."""
    raise Unpicklable("holds a lock")


class Greeter:
    """Has methods to be called in tasks."""

    def __init__(self, greeting: str) -> None:
        self.greeting = greeting

    def greet(self, name: str) -> str:
        """A method."""
        return f"{self.greeting}, {name}"

    @classmethod
    def make(cls, greeting: str, name: str) -> str:
        """A class method."""
        return cls(greeting).greet(name)

    @staticmethod
    def shout(name: str) -> str:
        """A static method."""
        return name.upper()


#: A partial, for the functions that are no functions.
add_ten = functools.partial(add, 10)


@contextlib.contextmanager
def text_of(path: str) -> Iterator[str]:
    """The text of a file."""
    with open(path, encoding="utf-8") as file:
        yield file.read()
