"""A worker: runs the user's code, one task at a time.

It is forked by the zygote, reads frames of tasks from its socket, and writes what came of each into its page,
from where many outcomes go out as one frame.
It has one thread: whatever a task does (hang, crash, exit, hold the interpreter's lock) cannot be confused with what plait does,
and the pool sees the end of the process at once.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn

from plait.errors import text_of
from plait.executors.pool.hygiene import Hygiene
from plait.executors.pool.page import DATA, HELD, REVOKED_FROM, REVOKED_TO, STARTED, Page
from plait.executors.pool.wire import (
    BIND,
    BUSY,
    DONE,
    FUNCTION,
    HEADER,
    INIT,
    OUTCOMES,
    RAISED,
    READY,
    RETIRE,
    SKIPPED,
    STOP,
    TASKS,
    FrameReader,
    Segments,
    decode_any,
    decode_function,
    decode_tasks,
    dump_value,
    encode,
    frame,
    load_segments,
    load_whole,
    receive_files,
    send_files,
)
from plait.limits import BIG_BYTES, FLUSH_S, PAGE_BYTES
from plait.serialize import dump_error, dump_plain, load_function, loads

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection

_ROOM = PAGE_BYTES - DATA
_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_READ_BYTES = 1 << 16
_BUSY_MS = 5
_clock = time.monotonic


class Worker:
    """The state of a worker between two frames."""

    def __init__(self, sock: socket.socket, page: Page) -> None:
        self.sock = sock
        self.page = page
        self.numbers = page.numbers
        self.data = page.data
        self.used = 0  # bytes of outcomes in the page
        self.count = 0  # and their number
        self.reader = FrameReader()
        self.frames: deque[tuple[int, bytes, list[int]]] = deque()
        self.functions: dict[int, bytes | Callable[..., Any]] = {}
        self.hygiene: Hygiene | None = None
        self.left: float = float("inf")  # tasks until it is replaced
        self.binding: tuple[int, dict[str, str | None], list[int]] | None = None  # for the task of that sequence number
        self.flushed_s = 0.0
        self.forked = False
        os.register_at_fork(after_in_child=self._in_forked_child)

    def _in_forked_child(self) -> None:
        """A task forked: its child must not speak for the worker."""
        self.forked = True
        self.sock.close()

    def run(self) -> None:
        """Serves frames until the pool says stop or goes away."""
        while True:
            kind, body, fds = self._read()
            if kind == TASKS:
                run = self._tasks if self.binding is None else self._bound
                reason = run(decode_tasks(body), fds)
                if reason:
                    self.sock.sendall(frame(RETIRE, encode(reason)))
                    return
            elif kind == FUNCTION:
                number, data = decode_function(body)
                self.functions[number] = data
            elif kind == BIND:
                self.binding = decode_any(body)
            elif kind == INIT:
                self._init(decode_any(body))
            elif kind == STOP:
                return

    def _init(self, config: dict[str, Any]) -> None:
        """Makes the worker ready for its first task; whatever fails here ends it, with its reason on standard error and to the pool."""
        os.environ.update(config.get("env", {}))
        _bind(config.get("cpus", []))
        if config["initializer"]:
            try:
                initializer, args = loads(config["initializer"])
                load_function(initializer)(*args)
            except BaseException as error:
                why = f"its initializer raised {type(error).__name__}: {text_of(error)[:2000]}"
                self.sock.sendall(frame(RETIRE, encode(why)))
                raise
        if config["max_tasks"]:
            self.left = config["max_tasks"]
        self.hygiene = Hygiene()
        self.sock.sendall(frame(READY, encode(os.getpid())))

    def _bound(self, items: list[Any], fds: list[int]) -> str:
        """Runs a task with the environment and on the cores that were announced for it, and puts both back."""
        assert self.hygiene is not None  # noqa: S101 - INIT is the first frame
        sequence, env, cpus = self.binding  # type: ignore[misc]  # the caller looked
        self.binding = None
        if items[0][0] != sequence:  # that one was not sent after all
            return self._tasks(items, fds)
        before: Collection[int] = os.sched_getaffinity(0) if cpus and hasattr(os, "sched_getaffinity") else ()
        for name, value in env.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _bind(cpus)
        try:
            return self._tasks(items, fds)
        finally:
            self.hygiene.restore_environment()
            _bind(before)

    def _tasks(self, items: list[Any], fds: list[int]) -> str:
        """Runs a batch; why the worker must be replaced, or an empty text."""
        numbers = self.numbers
        functions = self.functions
        hygiene = self.hygiene
        assert hygiene is not None  # noqa: S101 - INIT is the first frame
        next_fd = 0
        reason = ""
        is_tidy = False  # nothing has run since the looks that cost more
        start = _clock()
        for seq, function, payload, sizes in items:
            fd = -1
            if sizes is not None and not payload:
                fd = fds[next_fd]
                next_fd += 1
            if not reason:
                numbers[STARTED] = (
                    seq  # first this, then the look: the pool writes and looks in the other order (page.py)
                )
            if reason or numbers[REVOKED_FROM] <= seq < numbers[REVOKED_TO]:
                self._put(seq, SKIPPED, b"", start, start)
                if fd >= 0:
                    os.close(fd)
                continue
            try:
                func = functions[function]
                if type(func) is bytes:
                    func = functions[function] = load_function(func)
                if sizes is None:
                    call = loads(payload)
                else:
                    call = load_whole(payload, sizes) if payload else load_segments(fd, sizes)
                if len(call) == 2:
                    result = func(*call[0], **call[1])  # type: ignore[operator]
                else:
                    from plait.executors.pool.call import run_call  # streams and commands: not every worker needs them

                    result = run_call(func, *call, in_thread=False)  # type: ignore[arg-type]
                status = DONE
                data = dump_plain(result) if type(result) in _ATOMS else dump_value(result)
                result = call = None
            except BaseException as error:  # noqa: BLE001 - boundary: whatever a task raises is its outcome
                status = RAISED
                data = dump_error(error)
                error.__traceback__ = None
                result = call = None
            if self.forked:  # the child of a task came back from the user's function
                os._exit(0)
            end = _clock()
            self._put(seq, status, data, start, end)
            start = end
            if end - self.flushed_s > FLUSH_S:  # who waits for the outcome need not wait for the tidying
                self._flush()
                reason = hygiene.after_task() or hygiene.after_batch(end)
                is_tidy = True
                start = _clock()
            else:
                reason = hygiene.after_task()
                is_tidy = False
            self.left -= 1
            if self.left <= 0:
                reason = reason or "it ran max_tasks_per_worker tasks"
        self._flush()
        return reason if is_tidy else hygiene.after_batch(start) or reason

    def _put(self, seq: int, status: int, data: bytes | Segments, start: float, end: float) -> None:
        """Writes an outcome into the page; big ones go out by themselves."""
        if type(data) is bytes and len(data) < BIG_BYTES:
            record = encode((seq, status, data, None, start, end))
            used = self.used
            following = used + len(record)
            if following > _ROOM:
                self._flush()
                used = 0
                following = len(record)
            if following <= _ROOM:
                self.data[used:following] = record
                self.used = following
                self.count += 1
                self.numbers[HELD] = following << 16 | self.count
                return
            self._send([_array(1) + record], OUTCOMES, [])
            return
        if type(data) is bytes:
            data = Segments(data, (), in_file=True)
        assert isinstance(data, Segments)  # noqa: S101 - the other case of the union
        self._flush()
        self._send([_array(1) + encode((seq, status, b"", data.sizes, start, end))], OUTCOMES, [data.fd])
        data.close()

    def _flush(self) -> None:
        if self.count:
            self._send([_array(self.count), self.data[: self.used]], OUTCOMES, [])
            self.used = self.count = self.numbers[HELD] = 0
        self.flushed_s = _clock()

    def _send(self, parts: list[Any], kind: int, fds: list[int]) -> None:
        body = b"".join(parts)
        view = memoryview(HEADER.pack(len(body), kind, len(fds), 0) + body)
        sent = 0
        while not sent:
            try:
                sent = send_files(self.sock, [view], fds)
            except OSError as error:
                if error.errno not in BUSY:
                    raise
                self._take_in()
        if sent < len(view):
            self.sock.sendall(view[sent:])

    def _take_in(self) -> None:
        """Files cannot be sent at the moment: those that are on their way to us count, too. Takes what is there, or waits a little."""
        import select

        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if poll.poll(_BUSY_MS):
            self._receive()

    def _read(self) -> tuple[int, bytes, list[int]]:
        while not self.frames:
            self._receive()
        return self.frames.popleft()

    def _receive(self) -> None:
        data, fds = receive_files(self.sock, _READ_BYTES)
        if not data:
            raise SystemExit(0)
        self.frames.extend(self.reader.feed(data, fds))


def _array(count: int) -> bytes:
    """The beginning of an array of that length in msgpack."""
    return b"\xdc" + count.to_bytes(2, "big")


def _bind(cpus: Collection[int]) -> None:
    """Lets this process run on these cores only; on none of them: as it was."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def worker_main(sock: socket.socket, page: Page) -> NoReturn:
    """Serves, and ends the process without the finalisers of the interpreter: threads that tasks left must not hold it up."""
    status = 0
    try:
        Worker(sock, page).run()
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else 1
    except (BrokenPipeError, ConnectionResetError):
        status = 0  # the pool is gone
    except BaseException:  # noqa: BLE001 - boundary of the process
        import traceback

        traceback.print_exc()
        status = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
    os._exit(status)
