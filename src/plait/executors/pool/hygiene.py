"""What a task must not leave behind in its worker.

After each task the worker is as it was: working directory, environment, umask and signal handlers are put back, processes that outlived the task are ended.
What cannot be put back (threads that still run, closed standard files, memory that only grows) is a reason to replace the worker.

All of it runs once per task, so each look is one system call or less: about 3 µs together.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` wraps: its enums cost ten times the look
import fcntl
import gc
import os
import signal
import sys
import threading
from typing import Any

from plait._util import procs
from plait.executors.pool.wire import open_files_limit
from plait.limits import GRACE_S, LEAK_CHECK_S, MAX_LEAK_BYTES

#: Bytes of the list of children that are compared: some hundred children. A new one stands at the end.
_LIST_BYTES = 4096
_PAGE = os.sysconf("SC_PAGE_SIZE")
_threads = threading._active  # type: ignore[attr-defined]  # noqa: SLF001 - its length is all that is needed; threading.active_count() takes a lock


class Hygiene:
    """What the worker was like before its first task."""

    def __init__(self) -> None:
        self._cwd = os.getcwd()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._environ = os.environ
        self._environment = _watch_environment()
        self._before = dict(os.environ)
        self._threads = len(_threads)
        self._stdout = sys.stdout
        self._stderr = sys.stderr
        self._handlers = {
            number: signal.getsignal(number)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM)
        }
        self._raw_handlers = [
            (number, _signal.getsignal(number)) for number in self._handlers
        ]  # ten times faster to ask for
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._own_children = set(procs.children_of(os.getpid()))
        self._children_fd = _open_children()
        self._children = os.pread(self._children_fd, _LIST_BYTES, 0) if self._children_fd >= 0 else b""
        self._reference_bytes = 0
        self._looked_s = 0.0

    def after_task(self) -> str:
        """Puts back what can be put back; the reason why the worker must be replaced, or an empty text."""
        try:
            if self._children_fd < 0 or os.pread(self._children_fd, _LIST_BYTES, 0) != self._children:
                self._end_children()
        except OSError:
            return "a task closed files of the worker"
        try:
            if os.getcwd() != self._cwd:
                os.chdir(self._cwd)
        except OSError:  # the directory was removed under the worker
            return "its working directory is gone"
        os.umask(self._umask)
        if os.environ is not self._environ:
            os.environ = self._environ  # noqa: B003 - it was replaced; this is the one that the system knows
        if self._environment.changed:
            self.restore_environment()
        for number, handler in self._raw_handlers:
            if _signal.getsignal(number) is not handler:
                known = self._handlers[number]
                signal.signal(number, known if known is not None else signal.SIG_DFL)
        if sys.stdout is not self._stdout or sys.stderr is not self._stderr:
            sys.stdout, sys.stderr = self._stdout, self._stderr
        if self._stdout.closed or self._stderr.closed:
            return "a task closed a standard file"
        if len(_threads) > self._threads:
            names = sorted(t.name for t in threading.enumerate() if t is not threading.main_thread())
            return f"a task left {len(_threads) - self._threads} thread(s) running: {', '.join(names)}"
        return ""

    def after_batch(self, now_s: float) -> str:
        """The looks that cost more, once for each message that is sent."""
        if _signal.getitimer(signal.ITIMER_REAL)[0]:  # it would end the worker in the middle of another task
            signal.setitimer(signal.ITIMER_REAL, 0)
        if _signal.pthread_sigmask(signal.SIG_BLOCK, ()) != self._mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        try:
            self._stdout.flush()
            self._stderr.flush()
            for fd in (0, 1, 2):
                os.get_inheritable(fd)  # says whether it is open for a third of what fstat(2) costs
        except (OSError, ValueError):
            return "a task closed a standard file"
        if now_s - self._looked_s >= LEAK_CHECK_S:
            self._looked_s = now_s
            return self._memory() or self._files()
        return ""

    def _files(self) -> str:
        try:
            count = len(os.listdir("/proc/self/fd"))
        except OSError:  # another system, or too many are open
            return ""
        limit = open_files_limit()
        return f"tasks left {count} files open, of {limit} that it may have" if count > limit // 2 else ""

    def _memory(self) -> str:
        rss = _rss_bytes()
        if not self._reference_bytes:
            self._reference_bytes = rss
        elif rss > self._reference_bytes + MAX_LEAK_BYTES:
            gc.collect()
            rss = _rss_bytes()
            if rss > self._reference_bytes + MAX_LEAK_BYTES:
                return f"its memory grew from {self._reference_bytes >> 20} MiB to {rss >> 20} MiB"
        return ""

    def restore_environment(self) -> None:
        """Puts back what was changed in `os.environ`."""
        before = self._before
        for key in set(os.environ) - set(before):
            del os.environ[key]
        for key, value in before.items():
            if os.environ.get(key) != value:
                os.environ[key] = value
        self._environment.changed = False

    def _end_children(self) -> None:
        """Ends processes that a task started and did not wait for, with theirs; the tracker of multiprocessing ends itself with the worker."""
        keep = self._own_children | _multiprocessing_helpers()
        procs.end_trees([pid for pid in procs.children_of(os.getpid()) if pid not in keep], GRACE_S, reap=True)
        _reap_ended()
        if self._children_fd >= 0:
            self._children = os.pread(self._children_fd, _LIST_BYTES, 0)


class _Environment:
    """Whether the environment was changed since this was last set to False."""

    changed = False


def _watch_environment() -> _Environment:
    """Has `os.environ` say when it is changed: comparing it after each task would cost more than everything else here."""
    watch = _Environment()
    cls = type(os.environ)

    def watched(method: Any) -> Any:
        def call(self: Any, *args: Any) -> None:
            watch.changed = True
            method(self, *args)

        return call

    cls.__setitem__ = watched(cls.__setitem__)  # type: ignore[method-assign]
    cls.__delitem__ = watched(cls.__delitem__)  # type: ignore[method-assign]
    return watch


def _open_children() -> int:
    """The system's list of this process's children, as a file to read again and again: a third of what waitid(2) costs. -1 where there is none."""
    try:
        fd = os.open(f"/proc/self/task/{threading.get_native_id()}/children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200)
    except OSError:  # it may not open so many
        return fd
    os.close(fd)
    return high


def _reap_ended() -> None:
    """Takes the exit statuses of children that tasks started and never asked for."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _multiprocessing_helpers() -> set[int]:
    pids: set[Any] = set()
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    if tracker is not None:
        pids.add(getattr(tracker._resource_tracker, "_pid", None))  # noqa: SLF001 - it has no public name
    server = sys.modules.get("multiprocessing.forkserver")
    if server is not None:
        pids.add(getattr(server._forkserver, "_forkserver_pid", None))  # noqa: SLF001 - likewise
    return pids


def _rss_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
