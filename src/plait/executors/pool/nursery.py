"""The nursery: the zygote, seen from the driver. Starts it, asks it for workers, hears how they ended, and ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

from plait._util import machine
from plait.errors import signal_name
from plait.executors.pool import wire
from plait.executors.pool.egg import lay
from plait.executors.pool.page import Page, anonymous_file
from plait.executors.pool.remains import end_marked
from plait.limits import GRACE_S, PAGE_BYTES
from plait.model.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plait.executors.pool.egg import Egg

_SOCKET_BYTES = 1 << 20


class Nursery:
    """A running zygote.

    Args:
        config: what it is told: ``path``, ``cwd``, ``output``, ``preload``.
        env: its environment, and so that of all workers.
        egg: one that was started with that environment before.
    """

    def __init__(self, config: dict[str, Any], env: dict[str, str], egg: Egg | None = None) -> None:
        self._config = config
        self._env = env
        self._mark = ""
        self._oom_kills = machine.oom_kills()
        self._errors = -1
        self._control: socket.socket
        self._process: subprocess.Popen[bytes]
        self.start(egg)

    def start(self, egg: Egg | None = None) -> None:
        """Starts the zygote, also after it was lost."""
        self._close_errors()
        self._process, ours, self._errors, self._mark = lay(self._env) if egg is None else egg
        told = self._config  # names of folders as bytes: not all of them are text
        body = wire.encode(
            {
                **told,
                "path": [os.fsencode(path) for path in told["path"]],
                "cwd": os.fsencode(told["cwd"]),
                "output": os.fsencode(told["output"]),
            }
        )
        try:
            ours.send(len(body).to_bytes(8, "little"))
            for at in range(0, len(body), 32768):
                ours.send(body[at : at + 32768])
        except OSError:
            pass  # it ended at once: the poll says so
        ours.setblocking(False)
        self._control = ours

    def fileno(self) -> int:
        """Where its reports arrive."""
        return self._control.fileno()

    # ------------------------------------------------------------------ requests
    def warm(self) -> None:
        """Has it import what many tasks need."""
        self._ask(["warm"])

    def spawn(self, number: int) -> tuple[socket.socket, Page]:
        """Has it fork a worker; the driver's end of the worker's socket, and the page.

        Raises:
            OSError: this process may not open so many files, or memory is short.
        """
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            with theirs:
                for sock in (ours, theirs):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
                page_fd = anonymous_file(PAGE_BYTES)
                try:
                    page = Page(page_fd)
                    undo.callback(page.close)
                    ours.setblocking(False)
                    self._ask(["spawn", number], [theirs.fileno(), page_fd])
                finally:
                    os.close(page_fd)
            undo.pop_all()
        return ours, page

    def end(self, number: int, grace_s: float) -> None:
        """Has it end a worker with everything below it."""
        self._ask(["end", number, grace_s])

    def exit(self, grace_s: float = GRACE_S) -> None:
        """Has it end everything and itself."""
        self._ask(["exit", grace_s])
        try:
            self._control.setblocking(True)
        except OSError:
            pass

    def _ask(self, request: list[Any], fds: list[int] | None = None) -> None:
        try:
            wire.send_files(self._control, [wire.encode(request)], fds or [])
        except BlockingIOError:  # more requests than the socket holds: wait for the zygote, which never waits for us
            self._control.setblocking(True)
            try:
                wire.send_files(self._control, [wire.encode(request)], fds or [])
            except OSError:
                pass
            finally:
                self._control.setblocking(False)
        except OSError as error:
            if fds and error.errno in wire.BUSY:
                raise
            # else the zygote is gone: the poll says so

    # ------------------------------------------------------------------ reports
    def reports(self) -> Iterator[tuple[str, int, Any]]:
        """What it told since the last time: ("started", worker, its process), ("refused", worker, why), ("ended", worker, how), ("lost", -1, how) for its own end."""
        while True:
            try:
                data = self._control.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                yield "lost", -1, self._lost()
                return
            what, number, *rest = wire.decode_any(data)
            yield what, number, self._how(*rest) if what == "ended" else rest[0]

    def _lost(self) -> str:
        self._control.close()
        status = self._process.wait()
        text = (
            f"the process that starts workers ended ({signal_name(-status) if status < 0 else f'exit status {status}'})"
        )
        tail = self._tail()
        return f"{text}; it said: {tail}" if tail else text

    def _how(self, status: int, peak_bytes: int) -> str:
        """How a worker ended, from its wait status."""
        memory_ran_out = self._memory_ran_out()
        if not os.WIFSIGNALED(status):
            return f"its process exited with status {os.WEXITSTATUS(status)}"
        text = f"its process was ended by {signal_name(os.WTERMSIG(status))}"
        if memory_ran_out:
            text += ", probably because memory ran out"
        return f"{text} (at most {format_bytes(peak_bytes)} of memory in use)"

    def _memory_ran_out(self) -> bool:
        before, self._oom_kills = self._oom_kills, machine.oom_kills()
        return self._oom_kills > before

    def _tail(self) -> str:
        try:
            size = os.fstat(self._errors).st_size
            return os.pread(self._errors, 2000, max(0, size - 2000)).decode(errors="replace").strip()
        except OSError:
            return ""

    # ------------------------------------------------------------------ the end
    def end_remains(self, workers: Iterable[int]) -> None:
        """After the loss of the zygote: ends the groups of these processes, and what carries the pool's mark."""
        for pid in workers:
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                continue
        end_marked(self._mark)

    def wait_end(self, timeout_s: float) -> None:
        """Waits for the zygote's end, which is that of everything below it; hurries it when the time is over."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            try:
                self._control.shutdown(socket.SHUT_RDWR)  # as if the driver were gone: no more grace
            except OSError:
                pass
            try:
                self._process.wait(GRACE_S / 2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.returncode != 0:  # it did not live to clean up
            end_marked(self._mark)

    def close(self) -> None:
        """Closes what is open here."""
        self._control.close()
        self._close_errors()

    def forget(self) -> None:
        """In a forked child of the driver: the socket is the driver's."""
        self._control.close()

    def _close_errors(self) -> None:
        if self._errors >= 0:
            os.close(self._errors)
            self._errors = -1
