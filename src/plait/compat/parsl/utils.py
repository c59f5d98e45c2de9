"""``parsl.utils``."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import re
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

from plait._util.procs import end_tree
from plait.compat.parsl.version import VERSION
from plait.executors.pool.streams import get_std_fname_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO

    from typing_extensions import Self

__all__ = [
    "AtomicIDCounter",
    "AutoCancelTimer",
    "RepresentationMixin",
    "Timer",
    "execute_wait",
    "get_all_checkpoints",
    "get_last_checkpoint",
    "get_std_fname_mode",
    "get_version",
    "sanitize_dns_label_rfc1123",
    "sanitize_dns_subdomain_rfc1123",
    "setproctitle",
    "time_limited_open",
    "wait_for_file",
    "wtime_to_minutes",
]

_logger = logging.getLogger("parsl")


def get_version() -> str:
    return VERSION


# ------------------------------------------------------------------ checkpoints
def get_all_checkpoints(rundir: str = "runinfo") -> Sequence[str]:
    """Folders of checkpoints below a folder of runs, in the order of the runs' numbers."""
    return [path for _, path in _checkpoints(rundir)]


def get_last_checkpoint(rundir: str = "runinfo") -> Sequence[str]:
    """The folder of the newest run's checkpoint, if that run has one, in a list; an empty list for none."""
    numbers = [int(name) for name in _names(rundir) if name.isdecimal()]
    found = _checkpoints(rundir)
    return [found[-1][1]] if found and found[-1][0] == max(numbers) else []


def _checkpoints(rundir: str) -> list[tuple[int, str]]:
    paths = [
        (int(name), os.path.abspath(os.path.join(rundir, name, "checkpoint")))
        for name in _names(rundir)
        if name.isdecimal()
    ]
    return sorted((number, path) for number, path in paths if os.path.isdir(path))


def _names(rundir: str) -> list[str]:
    try:
        return os.listdir(rundir)
    except FileNotFoundError:
        return []


# ------------------------------------------------------------------ commands, files, times
def execute_wait(cmd: str, walltime: float | None = None) -> tuple[int, str, str]:
    """Runs a shell command; returns its exit code, output and errors.

    Raises:
        subprocess.TimeoutExpired: it ran longer than ``walltime`` seconds; it is ended then, with all that it started.
    """
    process = subprocess.Popen(
        ["/bin/sh", "-c", cmd], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=walltime)
    except BaseException:
        end_tree(process.pid, 0.0)
        process.communicate()
        raise
    return process.returncode, out, err


@contextlib.contextmanager
def wait_for_file(path: str, seconds: float = 10) -> Iterator[None]:
    """Waits at most so many seconds until the file is there, and goes on in any case."""
    deadline = time.monotonic() + seconds
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(min(0.1, seconds / 10))
    yield


@contextlib.contextmanager
def time_limited_open(path: str, mode: str, seconds: float = 1) -> Iterator[IO[Any]]:
    """Opens a file that may only come to be within so many seconds."""
    with wait_for_file(path, seconds), open(path, mode, encoding=None if "b" in mode else "utf-8") as file:
        yield file


def wtime_to_minutes(time_string: str) -> int:
    """Minutes of ``HH:MM:SS``, without the seconds."""
    hours, minutes, _ = time_string.split(":")
    total = int(hours) * 60 + int(minutes)
    if total < 1:
        _logger.warning("wtime_to_minutes(%r): less than a minute, which is 0 minutes", time_string)
    return total


def setproctitle(title: str) -> None:
    """Names this process, where the package `setproctitle` is installed."""
    try:
        import setproctitle as package  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return
    package.setproctitle(title)


def sanitize_dns_label_rfc1123(raw_string: str) -> str:
    """A label for DNS: at most 63 lower-case letters, digits and inner hyphens.

    Raises:
        ValueError: nothing is left.
    """
    label = re.sub(r"[^a-z0-9-]", "-", raw_string.lower())
    label = re.sub(r"-{2,}", "-", label)[:63].strip("-")
    if not label:
        raise ValueError(f"sanitize_dns_label_rfc1123({raw_string!r}): nothing is left; give it a letter or a digit")
    return label


def sanitize_dns_subdomain_rfc1123(raw_string: str) -> str:
    """Labels for DNS with dots between them, at most 253 characters.

    Raises:
        ValueError: nothing is left.
    """
    segments = [re.sub(r"[^a-z0-9-]", "-", segment).strip("-") for segment in raw_string.lower().split(".")]
    name = ".".join(sanitize_dns_label_rfc1123(segment) for segment in segments if segment)[:253].rstrip(".-")
    if not name:
        raise ValueError(
            f"sanitize_dns_subdomain_rfc1123({raw_string!r}): nothing is left; give it a letter or a digit"
        )
    return name


# ------------------------------------------------------------------ classes
class AtomicIDCounter:
    """Numbers from 0 on, each given once, whichever thread asks."""

    def __init__(self) -> None:
        self.count = 0
        self.lock = threading.Lock()

    def get_id(self) -> int:
        with self.lock:
            number = self.count
            self.count += 1
            return number


class RepresentationMixin:
    """A `repr` that shows the arguments of the constructor, where they are kept under the same names."""

    def __repr__(self) -> str:
        parts = []
        for name, parameter in list(inspect.signature(type(self).__init__).parameters.items())[1:]:
            if parameter.kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
                continue
            text = repr(getattr(self, name, "<unrecorded>"))
            parts.append(text if parameter.default is inspect.Parameter.empty else f"{name}={text}")
        line = f"{type(self).__name__}({', '.join(parts)})"
        if len(line) <= 80 and "\n" not in line:
            return line
        inner = ",\n".join(parts).replace("\n", "\n    ")
        return f"{type(self).__name__}(\n    {inner}\n)"


class Timer:
    """Calls a function in a thread of its own: at once, and then at every interval. An error in it is logged, and the next call comes."""

    def __init__(self, callback: Callable[..., Any], *args: Any, interval: float = 5, name: str | None = None) -> None:
        self.interval = interval
        self.cb_args = args
        self.callback = callback
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name or f"Timer-Thread-{id(self)}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.is_set():
            self.make_callback()
            self._end.wait(self.interval)

    def make_callback(self) -> None:
        try:
            self.callback(*self.cb_args)
        except Exception:
            _logger.exception("the callback of a Timer raised; it will be called again")

    def close(self, timeout: float | None = None) -> None:
        self._end.set()
        self._thread.join(timeout)


class AutoCancelTimer(threading.Timer):
    """A `threading.Timer` for a ``with`` block: started at its beginning, cancelled at its end."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()
