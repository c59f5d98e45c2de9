"""The zygote: starts workers, sees them end, and ends what they leave behind.

```
driver ──(socket: requests, reports)── zygote ──fork──▶ worker ──▶ what tasks start
```

A process of one thread, started by exec, which has imported what workers need and nothing of the user's: so forking it is safe and quick.
It is the reaper of everything below it: a process whose parent is gone becomes its child, wherever it hides (`setsid`, double fork).
When the driver goes away, in whatever way, the socket says so, and the zygote ends all its descendants, again and again until none is left.
It leads a session of its own, so a Ctrl-C in the terminal does not reach it.

Requests (msgpack arrays): ``["spawn", worker]`` with the socket and the page of the worker, ``["warm"]``, ``["end", worker, grace_s]``, ``["exit", grace_s]``.
Reports: ``["started", worker, pid]``, ``["refused", worker, why]``, ``["ended", worker, wait status, peak memory in bytes]``.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from plait._util import procs
from plait._util.sweep import kill_below
from plait.executors.pool import wire
from plait.executors.pool.page import Page
from plait.executors.pool.worker import worker_main

#: Modules of functions sent by value, of commands and of errors.
_OFTEN_NEEDED = ("cloudpickle", "plait.executors.pool.call", "traceback")
_POLL_S = 0.005  # while something is being ended
_SWEEP_S = 0.1  # for which other requests wait, at most
_AT_ONCE = 1000  # ended processes, before other things have their turn


class Child:
    """A worker, as the zygote knows it.

    Attributes:
        number: the pool's name for it.
        pid: of its process, which leads a process group.
        deadline_s: when SIGKILL follows SIGTERM, if it is being ended.
        tree: processes that belonged to it when ending began.
    """

    def __init__(self, number: int, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.deadline_s: float | None = None
        self.tree: set[int] = set()


class Zygote:
    """The loop."""

    def __init__(self, control: socket.socket, config: dict[str, Any]) -> None:
        self.control = control
        self.config = config
        self.children: dict[int, Child] = {}  # by pid
        self.dying: dict[int, float] = {}  # strays of workers that ended: pid -> when SIGKILL follows
        self.leaving = False
        self.wake_r, self.wake_w = os.pipe()
        os.set_blocking(self.wake_r, False)
        os.set_blocking(self.wake_w, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake_w, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serves until the driver is gone or says exit; then nothing is left."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake_r, select.POLLIN)
        while not self.leaving:
            busy = self.dying or any(child.deadline_s is not None for child in self.children.values())
            for fd, _ in poll.poll(_POLL_S * 1000 if busy else None):
                if fd == self.wake_r:
                    self._drain()
                else:
                    self._request()
            self._reap()
            self._end_due()
        self._leave()

    def _drain(self) -> None:
        try:
            while os.read(self.wake_r, 4096):
                pass
        except BlockingIOError:
            pass

    def _request(self) -> None:
        try:
            data, fds = wire.receive_files(self.control, 65536)
        except ConnectionResetError:
            data, fds = b"", []
        if not data:
            self.leaving = True
            return
        request = wire.decode_any(data)
        if request[0] == "spawn":
            self._spawn(request[1], fds)
        elif request[0] == "end":
            self._begin_end(request[1], request[2])
        elif request[0] == "warm":
            self._warm()
        elif request[0] == "exit":
            self._ask_to_leave(request[1])
            self.leaving = True

    def _ask_to_leave(self, grace_s: float) -> None:
        """SIGTERM to everything below, and to what it starts meanwhile; a little time to obey."""
        deadline_s = time.monotonic() + grace_s
        look_s = 0.0
        asked: dict[int, bytes] = {}
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        while (now_s := time.monotonic()) < deadline_s and not poll.poll(
            0
        ):  # readable: the driver is gone, so nobody waits any longer
            if now_s >= look_s:
                procs.ask_to_end(procs.descendants(os.getpid()), asked)
                spent_s = time.monotonic() - now_s
                look_s = now_s + max(10 * spent_s, procs.POLL_S[1])  # a look at thousands of processes takes long
            if self._has_reaped_all():
                return
            time.sleep(procs.POLL_S[0])

    def _has_reaped_all(self) -> bool:
        """Takes the exit status of what has ended; whether there is no child left."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        return False

    def _warm(self) -> None:
        """Imports what many tasks need, for the workers to come; the first ones did not wait for it."""
        for name in _OFTEN_NEEDED:
            __import__(name)
        gc.collect()
        gc.freeze()

    def _report(self, *report: Any) -> None:
        try:
            self.control.send(wire.encode(report))
        except OSError:
            self.leaving = True

    def _spawn(self, number: int, fds: list[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:  # no more processes, or no memory: not now
            pid = -1
            self._report("refused", number, f"no process can be started for it: {error}")
        if pid == 0:
            self._become_worker(number, fds)
        for fd in fds:
            os.close(fd)
        if pid < 0:
            return
        try:
            os.setpgid(pid, pid)  # in both processes: whoever comes first
        except OSError:
            pass
        self.children[pid] = Child(number, pid)
        self._report("started", number, pid)

    def _become_worker(self, number: int, fds: list[int]) -> NoReturn:
        try:
            parent = os.getppid()
            os.setpgid(0, 0)
            procs.die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
            procs.become_subreaper()  # so that what a task leaves behind shows as a child of its worker
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.control.close()
            os.close(self.wake_r)
            os.close(self.wake_w)
            _be_the_first_to_go()
            sock_fd, page_fd = (_high(fd) for fd in fds)
            page = Page(page_fd)
            os.close(page_fd)
            _redirect(self.config["output"], number)
            os.environ["PLAIT_WORKER"] = str(number)
            sock = socket.socket(fileno=sock_fd)
            sock.setblocking(True)
        except BaseException:  # noqa: BLE001 - boundary of the process
            import traceback

            traceback.print_exc()
            os._exit(1)
        worker_main(sock, page)

    # ------------------------------------------------------------------ ending
    def _begin_end(self, number: int, grace_s: float) -> None:
        for child in self.children.values():
            if child.number == number and child.deadline_s is None:
                child.tree = set(procs.descendants(child.pid))
                child.deadline_s = time.monotonic() + grace_s
                procs.signal_all([child.pid, *child.tree], signal.SIGTERM if grace_s > 0 else signal.SIGKILL)
                procs.signal_all(
                    [child.pid, *child.tree], signal.SIGCONT
                )  # a stopped process sees SIGTERM only when it goes on

    def _end_due(self) -> None:
        now = time.monotonic()
        self.dying = {pid: deadline_s for pid, deadline_s in self.dying.items() if procs.is_alive(pid)}
        later = {pid for pid, deadline_s in self.dying.items() if now < deadline_s}
        later |= {pid for pid, child in self.children.items() if child.deadline_s is None or now < child.deadline_s}
        if len(later) < len(self.children) + len(self.dying) and kill_below(os.getpid(), later, _SWEEP_S):
            self.dying = {pid: deadline_s for pid, deadline_s in self.dying.items() if now < deadline_s}

    def _reap(self) -> None:
        """Collects processes that ended. The children of a worker became ours at its end; they follow it."""
        ended: list[Child] = []
        while len(ended) < _AT_ONCE:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            child = self.children.pop(pid, None)
            if child is None:  # a stray: what it started since it was last looked at is ours now
                child = Child(-1, pid)
                child.deadline_s = self.dying.pop(pid, None)
            else:
                self._report("ended", child.number, status, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
            ended.append(child)
        if ended:
            self._follow(ended)

    def _follow(self, ended: list[Child]) -> None:
        """Ends what processes left: those seen below them, and those that became ours."""
        now = time.monotonic()
        latest_s = 0.0
        for child in ended:
            deadline_s = now if child.deadline_s is None else child.deadline_s
            latest_s = max(latest_s, deadline_s)
            self.dying.update(dict.fromkeys(child.tree, deadline_s))
        for pid in procs.children_of(os.getpid()):
            if pid not in self.children:
                self.dying.setdefault(pid, latest_s)

    def _leave(self) -> None:
        """Ends all descendants, again and again, until none is left."""
        me = os.getpid()
        for _ in range(2000):
            kill_below(me)
            if self._has_reaped_all():
                return
            time.sleep(0.001)


def _high(fd: int) -> int:
    """The file under a number that user code does not meet by chance."""
    import fcntl

    try:
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200)
    except OSError:
        return fd
    os.close(fd)
    return high


def _be_the_first_to_go() -> None:
    """When memory runs out, the system ends the worker rather than the driver."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("500")
    except OSError:
        pass


def _redirect(folder: str, number: int) -> None:
    """Standard input from nowhere; output into a file of the worker's own in a folder, if there is one."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if folder:
        out = os.open(
            os.path.join(folder, f"worker_{number}.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)
    for number_, name in ((1, "stdout"), (2, "stderr")):
        stream = os.fdopen(number_, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def main(fd: int, stderr: int) -> None:
    """Entry of the process."""
    control = socket.socket(fileno=fd)
    control.set_inheritable(False)
    size = int.from_bytes(control.recv(8), "little")
    body = bytearray()
    while len(body) < size:
        part = control.recv(65536)
        if not part:
            return
        body += part
    config = wire.decode_any(bytes(body))
    config.update(cwd=os.fsdecode(config["cwd"]), output=os.fsdecode(config["output"]))
    sys.path[:] = map(os.fsdecode, config["path"])
    if config["cwd"]:
        try:
            os.chdir(config["cwd"])
        except OSError as error:
            print(f"cannot enter the working directory {config['cwd']!r}: {error}", file=sys.stderr)  # noqa: T201 - there is no log here
    for name in config["preload"]:
        __import__(name)
    procs.become_subreaper()
    signal.pthread_sigmask(
        signal.SIG_SETMASK, ()
    )  # a driver that blocks signals passes that on, and no end of a worker would be seen
    os.dup2(stderr, 2)  # until here, errors went to the driver
    os.close(stderr)
    gc.collect()
    gc.freeze()  # objects made so far stay in pages that workers share
    Zygote(control, config).run()
