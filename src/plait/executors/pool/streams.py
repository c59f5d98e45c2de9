"""Standard output and standard error of a task, in files.

A worker runs one task at a time, so there the descriptors 1 and 2 are led into the files: that catches C code and child processes.
Threads share the descriptors: there `sys.stdout` and `sys.stderr` are replaced by an object that looks at who writes.

    print() in a captured thread ──▶ _Route ──▶ its file
    print() in any other thread  ──▶ _Route ──▶ what stood there before
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from plait.errors import BadStdStreamFile
from plait.model.files import File

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Spec = tuple[str, str] | None  # path and mode

#: Mode for a path that comes without one.
DEFAULT_MODE: Final = "a+"


def get_std_fname_mode(fdname: str, spec: object) -> tuple[str, str]:
    """The path and the mode that a user's ``stdout=`` or ``stderr=`` means.

    Args:
        fdname: ``stdout`` or ``stderr``, for messages.
        spec: a path (mode ``a+``), a pair of path and mode, or a File (mode ``w``).

    Raises:
        BadStdStreamFile: for a tuple that is not a pair of path and mode.
        TypeError: for anything else.
    """
    if isinstance(spec, File):
        return spec.filepath, "w"
    if isinstance(spec, (str, os.PathLike)):
        return os.fsdecode(spec), DEFAULT_MODE
    if not isinstance(spec, tuple):
        raise TypeError(f"{fdname}={spec!r}: expected a path, a File or a pair (path, mode), not {type(spec).__name__}")
    if len(spec) != 2:
        raise BadStdStreamFile(
            f'{fdname}={spec!r}: expected a pair (path, mode) such as ("out.txt", "w"), not {len(spec)} items'
        )
    path, mode = spec
    if not isinstance(path, (str, os.PathLike)) or not isinstance(mode, str):
        raise BadStdStreamFile(f'{fdname}={spec!r}: expected a pair (path, mode) such as ("out.txt", "w")')
    return os.fsdecode(path), mode


def open_stream(path: str, mode: str, fdname: str = "stdout") -> TextIO:
    """Opens a file for output, and makes the folders above it that are missing.

    Args:
        path: the file.
        mode: as for `open`; it is always opened as text, since only its descriptor and text of plait's own go there.
        fdname: for messages.

    Raises:
        BadStdStreamFile: when it cannot be opened for writing.
    """
    text_mode = mode.replace("b", "").replace("t", "")
    try:
        if not set(text_mode) & set("wax+"):
            raise ValueError("that is not a mode for writing")  # noqa: TRY301 - one message for all that can be wrong
        try:
            return _open(path, text_mode)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            return _open(path, text_mode)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadStdStreamFile(
            f"{fdname}={path!r} cannot be opened with mode {mode!r} ({reason}); give a path that you may write to"
        ) from error


def _open(path: str, mode: str) -> TextIO:
    # By lines, so that people can follow the file; bytes that are no text, as in names of files, pass unchanged.
    file = open(path, mode, buffering=1, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - the caller closes
    return cast("TextIO", file)


@contextlib.contextmanager
def open_streams(stdout: Spec, stderr: Spec) -> Iterator[tuple[TextIO | None, TextIO | None]]:
    """Both files of a task, or None for what is not captured. One file that is named twice is opened once, so that nothing is overwritten."""
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(open_stream(*stdout, "stdout")) if stdout else None
        if out is not None and stdout and stderr and os.path.abspath(stdout[0]) == os.path.abspath(stderr[0]):
            yield out, out
            return
        yield out, stack.enter_context(open_stream(*stderr, "stderr")) if stderr else None


# ------------------------------------------------------------------ a whole process
@contextlib.contextmanager
def capture_process(stdout: Spec, stderr: Spec) -> Iterator[None]:
    """Leads what this process and its children write to descriptors 1 and 2, and to `sys.stdout` and `sys.stderr`, into files."""
    with open_streams(stdout, stderr) as (out, err), contextlib.ExitStack() as stack:
        if out is not None:
            stack.enter_context(_led_away("stdout", 1, out))
        if err is not None:
            stack.enter_context(_led_away("stderr", 2, err))
        yield


@contextlib.contextmanager
def _led_away(name: str, fd: int, file: TextIO) -> Iterator[None]:
    stream: TextIO | None = getattr(sys, name)
    _flush(stream)
    saved = _duplicate(fd)
    os.dup2(file.fileno(), fd)
    if not _leads_to(stream, fd):
        setattr(sys, name, file)
    try:
        yield
    finally:
        _flush(getattr(sys, name), stream)
        setattr(sys, name, stream)
        if saved is None:
            _close(fd)
        else:
            os.dup2(saved, fd)
            os.close(saved)


def _duplicate(fd: int) -> int | None:
    try:
        return os.dup(fd)
    except OSError:
        return None  # it is closed


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):  # the task was faster
        os.close(fd)


def _leads_to(stream: TextIO | None, fd: int) -> bool:
    try:
        return stream is not None and stream.fileno() == fd
    except (OSError, ValueError, AttributeError):
        return False  # not a file at all, or a closed one


def _flush(*streams: TextIO | None) -> None:
    """Writes out what Python and the C library keep in memory, while the descriptors still lead where it belongs."""
    for stream in streams:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # the task may have closed or replaced it
            if stream is not None:
                stream.flush()
    _c_flush()(None)


@functools.cache
def _c_flush() -> Callable[[None], Any]:
    try:
        import ctypes

        return ctypes.CDLL(None).fflush
    except (ImportError, OSError, AttributeError):
        return lambda _: None


# ------------------------------------------------------------------ one thread
_lock = threading.Lock()
#: Files of the threads that are captured, the innermost capture last: stream name -> thread -> files.
_captured: Final[dict[str, dict[int, list[TextIO]]]] = {"stdout": {}, "stderr": {}}


class _Route:
    """Stands on `sys.stdout` or `sys.stderr` while a thread is captured.

    What it stands before never changes: somebody (a progress display, say) may wrap it, and a later capture stands before the wrapper.
    """

    def __init__(self, name: str, before: TextIO | None) -> None:
        self._captured = _captured[name]
        self._before = before

    def _target(self) -> TextIO | None:
        files = self._captured.get(threading.get_ident())
        return files[-1] if files else self._before

    def write(self, text: str) -> int:
        target = self._target()
        return len(text) if target is None else target.write(text)

    def flush(self) -> None:
        target = self._target()
        if target is not None:
            target.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target(), name)


@contextlib.contextmanager
def capture_thread(stdout: Spec, stderr: Spec) -> Iterator[None]:
    """Leads what this thread writes to `sys.stdout` and `sys.stderr` into files; other threads, C code and child processes are not touched."""
    with open_streams(stdout, stderr) as (out, err), contextlib.ExitStack() as stack:
        if out is not None:
            stack.enter_context(_routed("stdout", out))
        if err is not None:
            stack.enter_context(_routed("stderr", err))
        yield


@contextlib.contextmanager
def _routed(name: str, file: TextIO) -> Iterator[None]:
    captured, thread = _captured[name], threading.get_ident()
    with _lock:
        if not isinstance(getattr(sys, name), _Route):
            setattr(sys, name, _Route(name, getattr(sys, name)))
        captured.setdefault(thread, []).append(file)
    try:
        yield
    finally:
        with _lock:
            captured[thread].pop()
            if not captured[thread]:
                del captured[thread]
            route = getattr(sys, name)
            if not captured and isinstance(route, _Route):
                setattr(sys, name, route._before)  # noqa: SLF001 - of this module
