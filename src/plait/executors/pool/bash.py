"""The body of a bash app: makes the command line, runs it, and leaves nothing of it behind.

What a command starts may detach itself from it (``setsid``, ``nohup … &``). It is found all the same:

* by the group that the command leads;
* in a worker, which is a child subreaper: whatever lost its parent has become a child of the worker;
* in a thread of a process that is none: by a mark in the environment, which what the command starts inherits.

Most commands leave nothing, so the usual case must be told cheaply: two system calls in a worker, two reads more in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

from plait._util import procs
from plait._util.marks import bearers, carries
from plait.errors import AppBadFormatting, AppException, AppTimeout, BashAppNoReturn, BashExitFailure, MissingOutputs
from plait.executors.pool.streams import open_streams
from plait.limits import GRACE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TextIO

    from plait.executors.pool.call import Call

BASH: Final = "/bin/bash"
#: Seconds that processes left in the background have to end by themselves, as the ``tee`` of ``> >(tee log)`` does at the end of its input.
SETTLE_S: Final = 0.1
#: Environment variable that marks what a command starts, when it runs in a thread.
MARK: Final = "PLAIT_BASH_CALL"

_POLL_S: Final = 0.002
_ROUNDS: Final = 20  # of SIGKILL to what is marked and may go on starting others
_FEW: Final = 50
_numbers = itertools.count()


def run_bash(
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    call: Call,
    *,
    in_thread: bool = False,
    began: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> int:
    """Runs the command line that the function returns, and returns 0.

    When it returns or raises, no process that the command started is left.

    Args:
        func: the user's function.
        args: its positional arguments.
        kwargs: its named arguments.
        call: streams, outputs, walltime.
        in_thread: whether this process runs other commands at the same time, and is not a child subreaper.
        began: is given the process of the command, which leads its group.

    Raises:
        AppBadFormatting: the command line cannot be made or passed on.
        BashAppNoReturn: the function met something without the expected attribute, and returned nothing.
        ValueError: the function returned something else than text.
        BadStdStreamFile: a file for the output cannot be opened.
        BashExitFailure: the exit code was not 0.
        AppTimeout: the walltime was over.
        MissingOutputs: the command succeeded without making its outputs.
    """
    deadline = None if call.walltime_s is None else time.monotonic() + call.walltime_s
    command = _command_line(func, args, kwargs, call.name)
    with open_streams(call.stdout, call.stderr) as (out, err):
        if err is not None:
            err.write(f"--> command of {call.name} <--\n{command}\n--> end of command <--\n")
            err.flush()
        exit_code = _execute(command, call, (out, err), deadline, in_thread, began)
    if exit_code is None:
        raise AppTimeout(
            f"bash_app {call.name} ran longer than its walltime of {call.walltime_s:g} s, so it was ended with all that it started"
        )
    if exit_code != 0:
        raise BashExitFailure(call.name, exit_code)
    missing = [path for path in call.outputs if not os.path.exists(path)]
    if missing:
        raise MissingOutputs(f"bash_app {call.name} ended with exit code 0, but these files are not there", missing)
    return 0


def _command_line(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], name: str) -> str:
    try:
        command = func(*args, **kwargs)
    except AttributeError as error:
        raise BashAppNoReturn(
            f"bash_app {name} returned no command line, because of AttributeError: {error}"
        ) from error
    except IndexError as error:
        raise AppBadFormatting(f"bash_app {name}: its command line cannot be formatted: IndexError: {error}") from error
    if not isinstance(command, str):
        hint = "; did it forget to return it?" if command is None else ""
        raise ValueError(  # noqa: TRY004 - as users know it
            f"bash_app {name}: expected its function to return the command line as str, not {type(command).__name__}{hint}"
        )
    return command


def _execute(
    command: str,
    call: Call,
    streams: tuple[TextIO | None, TextIO | None],
    deadline: float | None,
    in_thread: bool,
    began: Callable[[subprocess.Popen[bytes]], None] | None,
) -> int | None:
    """The exit code; None when the time was over."""
    trace = _Marked() if in_thread else _Adopted()
    env = {**os.environ, **dict(call.env), **trace.env} if in_thread else None
    process = _start(command, call.name, streams, env)
    exit_code = None
    try:
        if began is not None:
            began(process)
        exit_code = _wait(process, deadline)
    finally:
        if exit_code is None:  # too late, or something was raised in this thread
            procs.end_tree(process.pid, reap=True)
            process.poll()
        _end_leftovers(process.pid, trace, 0.0 if exit_code is None else SETTLE_S)
    return exit_code


def _start(
    command: str, name: str, streams: tuple[TextIO | None, TextIO | None], env: dict[str, str] | None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [BASH, "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=streams[0],
            stderr=streams[1],
            env=env,
            close_fds=False,  # Python opens no descriptor that children inherit; those that a user opened so are meant to be passed on
            start_new_session=True,
        )
    except ValueError as error:  # a NUL, or characters that no encoding has
        raise AppBadFormatting(f"bash_app {name}: its command line cannot be passed to {BASH}: {error}") from error
    except OSError as error:
        if error.errno == errno.E2BIG:
            raise AppBadFormatting(
                f"bash_app {name}: its command line of {len(os.fsencode(command)):,} bytes (or its environment) is longer than "
                "the system allows; write it to a file and return a command that runs that"
            ) from error
        raise AppException(f"bash_app {name}: {BASH} cannot be started: {error.strerror or error}") from error


def _wait(process: subprocess.Popen[bytes], deadline: float | None) -> int | None:
    """The exit code, or None at the deadline."""
    if deadline is None:
        return process.wait()
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # an old kernel
            _poll(os.pidfd_open(process.pid), deadline)
            return process.poll()
    try:
        return process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return None


def _poll(fd: int, deadline: float) -> None:
    """Returns when there is something to read, or at the deadline."""
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        while not poller.poll(min(max(deadline - time.monotonic(), 0) * 1000, 1_000_000)):
            if time.monotonic() >= deadline:
                return
    finally:
        os.close(fd)


# ------------------------------------------------------------------ what a command leaves behind
class _Adopted:
    """Leftovers in a child subreaper: the children that it did not have before."""

    env: Final[dict[str, str]] = {}

    def __init__(self) -> None:
        self._before = frozenset(procs.children_of(os.getpid())) if _has_children() else frozenset()

    def find(self, root: int) -> set[int]:  # noqa: ARG002 - the same call for both kinds
        return set(procs.children_of(os.getpid())) - self._before if _has_children() else set()

    def end(self, pids: set[int]) -> None:  # noqa: ARG002 - what is found while ending counts as well
        procs.end_tree(os.getpid(), GRACE_S, include_root=False, reap=True, spare=self._before)


class _Marked:
    """Leftovers in a process that may not become a subreaper: those with our mark in their environment."""

    def __init__(self) -> None:
        value = f"{os.getpid()}-{next(_numbers)}-{time.time_ns()}"
        self.env: Final = {MARK: value}
        self._marks = {f"{MARK}={value}".encode()}

    def find(self, root: int) -> set[int]:
        found: set[int] = set()
        begin = root + 1
        while 0 <= (last := _last_pid()) - begin < _FEW:  # so many looks are cheaper than a list of all processes
            found |= {pid for pid in range(begin, last + 1) if carries(pid, self._marks)}
            begin = last + 1
        if last == begin - 1:
            return found
        return found.union(bearers(self._marks, root if last > root else 0))  # numbers may have begun anew

    def end(self, pids: set[int]) -> None:
        procs.signal_all(pids, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while any(map(procs.is_alive, pids)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        for _ in range(_ROUNDS):
            pids = set()
            for pid in bearers(self._marks):
                procs.end_tree(pid, 0)
                pids.add(pid)
            if not pids:
                return


def _end_leftovers(root: int, trace: _Adopted | _Marked, settle_s: float) -> None:
    """Ends what the command left behind, after giving it a moment to end by itself."""
    deadline = time.monotonic() + settle_s
    while (pids := trace.find(root)) or _group_exists(root):
        if time.monotonic() >= deadline or settle_s <= 0:
            if pids:
                trace.end(pids)
            if _group_exists(root):  # all that is known where there is no /proc
                procs.end_tree(root, reap=True)
            return
        _reap(root, pids)
        time.sleep(_POLL_S)


def _reap(group: int, pids: set[int]) -> None:
    """Takes the exit status of orphans that came to this process: to a child subreaper, and to the first process of a container."""
    for target in (-group, *pids):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(target, os.WNOHANG)[0]:
                pass


def _group_exists(group: int) -> bool:
    """Whether a group has members. Its number is not given to a new process while it has."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _last_pid() -> int:
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[4])
    except (OSError, IndexError, ValueError):
        return -1
