"""A worker on the other end of a socket: frames in, frames out. It runs as a process of its own, started by exec."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from plait.errors import DeserializationError, SerializationError, TaskExited
from plait.executors.pool import wire
from plait.executors.pool.page import REVOKED_FROM, REVOKED_TO, STARTED, Page, anonymous_file
from plait.limits import BIG_BYTES, PAGE_BYTES
from plait.serialize import FunctionBlob, dumps, load_error, loads
from plait.testing import tasks
from tests.support import wait_until

CODE = """
import socket, sys
from plait.executors.pool.page import Page
from plait.executors.pool.worker import worker_main
worker_main(socket.socket(fileno=int(sys.argv[1])), Page(int(sys.argv[2])))
"""


BUSY_CODE = """
import errno, sys
from plait.executors.pool import worker
send, asked = worker.send_files, []
def busy(sock, buffers, fds):
    if fds:
        asked.append(fds)
        if len(asked) < 3:
            raise OSError(errno.ETOOMANYREFS, "too many")
    return send(sock, buffers, fds)
worker.send_files = busy
"""


class Pool:
    """The other side of one worker."""

    def __init__(self, before="", **init):
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(20)
        fd = anonymous_file(PAGE_BYTES)
        self.page = Page(fd)
        self.process = subprocess.Popen(
            [sys.executable, "-c", before + CODE, str(theirs.fileno()), str(fd)], pass_fds=[theirs.fileno(), fd]
        )
        theirs.close()
        os.close(fd)
        self.reader = wire.FrameReader()
        self.frames = []
        self.send(wire.INIT, {"initializer": b"", "max_tasks": 0, **init})
        self.functions = {}

    def send(self, kind, body, fds=()):
        wire.send_files(self.sock, [wire.frame(kind, wire.encode(body), len(fds))], fds)

    def receive(self):
        while not self.frames:
            data, fds = wire.receive_files(self.sock, 65536)
            if not data:
                return None
            self.frames += self.reader.feed(data, fds)
        return self.frames.pop(0)

    def run(self, *calls, first=1):
        """Sends calls as one batch; (function, *args) each."""
        items = []
        for sequence, (function, *args) in enumerate(calls, first):
            blob = FunctionBlob(function)
            if blob.digest not in self.functions:
                self.functions[blob.digest] = len(self.functions)
                self.send(wire.FUNCTION, (self.functions[blob.digest], blob.data))
            items.append((sequence, self.functions[blob.digest], dumps((tuple(args), {})), None))
        self.send(wire.TASKS, items)

    def outcomes(self, count):
        found = []
        while len(found) < count:
            kind, body, _ = self.receive()
            assert kind == wire.OUTCOMES
            found += wire.decode_outcomes(body)
        return found

    def close(self):
        self.sock.close()
        self.process.wait(10)
        self.page.close()


@pytest.fixture
def pool():
    pools = []

    def make(**init):
        pools.append(Pool(**init))
        assert pools[-1].receive()[0] == wire.READY
        return pools[-1]

    yield make
    for made in pools:
        made.close()


def test_results_in_order(pool):
    worker = pool()
    worker.run((tasks.echo, 1), (tasks.add, 1, 2), (tasks.echo, None))
    outcomes = worker.outcomes(3)
    assert [(sequence, status, loads(data)) for sequence, status, data, *_ in outcomes] == [
        (1, wire.DONE, 1),
        (2, wire.DONE, 3),
        (3, wire.DONE, None),
    ]
    assert all(sizes is None and start <= stop for _, _, _, sizes, start, stop in outcomes)
    assert worker.page.numbers[STARTED] == 3
    wait_until(lambda: worker.page.outcomes()[0] == 0)


def test_big_arguments_without_a_file(pool):
    worker = pool()
    segments = wire.dump_value((("x" * BIG_BYTES,), {}), in_file=False)
    worker.send(wire.FUNCTION, (0, FunctionBlob(len).data))
    worker.send(wire.TASKS, [(1, 0, segments.whole(), segments.sizes), (2, 0, dumps((("two",), {})), None)])
    assert [loads(data) for _, _, data, *_ in worker.outcomes(2)] == [BIG_BYTES, 3]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ((tasks.fail,), ValueError),
        ((tasks.crash, "sys.exit"), TaskExited),
        ((tasks.echo, tasks.CrashesWhenUnpickled("error")), DeserializationError),
        ((tasks.make, "CrashesWhenPickled", "sys.exit"), SerializationError),
    ],
)
def test_errors(pool, call, expected):
    worker = pool()
    worker.run(call, (tasks.echo, 2))
    (_, status, data, *_), (_, _, other, *_) = worker.outcomes(2)
    assert status == wire.RAISED
    assert isinstance(load_error(data), expected)
    assert loads(other) == 2


def test_what_is_revoked_is_skipped_and_told(pool):
    worker = pool()
    worker.page.numbers[REVOKED_FROM], worker.page.numbers[REVOKED_TO] = 2, 4
    worker.run(*[(tasks.echo, number) for number in range(5)])
    statuses = {sequence: status for sequence, status, *_ in worker.outcomes(5)}
    assert statuses == {1: wire.DONE, 2: wire.SKIPPED, 3: wire.SKIPPED, 4: wire.DONE, 5: wire.DONE}


def test_big_results_come_as_files(pool):
    worker = pool()
    worker.run((bytes, BIG_BYTES), (tasks.echo, 1))
    kind, body, files = worker.receive()
    ((_, status, _, sizes, *_),) = wire.decode_outcomes(body)
    assert (kind, status) == (wire.OUTCOMES, wire.DONE)
    assert wire.load_segments(files[0], sizes) == bytes(BIG_BYTES)
    assert loads(worker.outcomes(1)[0][2]) == 1


def test_big_arguments_come_as_files(pool):
    worker = pool()
    blob = FunctionBlob(len)
    worker.send(wire.FUNCTION, (0, blob.data))
    segments = wire.dump_value(((b"x" * BIG_BYTES,), {}))
    worker.send(wire.TASKS, [(1, 0, b"", segments.sizes)], [segments.fd])
    segments.close()
    assert loads(worker.outcomes(1)[0][2]) == BIG_BYTES


def test_more_outcomes_than_the_page_holds(pool):
    worker = pool()
    worker.run(*[(bytes, 30_000) for _ in range(20)])
    assert [len(loads(data)) for _, _, data, *_ in worker.outcomes(20)] == [30_000] * 20


def test_it_retires_and_says_why(pool):
    worker = pool(max_tasks=2)
    worker.run(*[(tasks.echo, number) for number in range(4)])
    assert [status for _, status, *_ in worker.outcomes(4)] == [wire.DONE, wire.DONE, wire.SKIPPED, wire.SKIPPED]
    kind, body, _ = worker.receive()
    assert kind == wire.RETIRE
    assert "max_tasks_per_worker" in wire.decode_text(body)
    assert worker.receive() is None
    assert worker.process.wait(10) == 0


def test_finished_outcomes_are_in_the_page_when_it_dies(pool):
    worker = pool()
    worker.run((tasks.echo, "first"))  # the first flush is due at once, the next a millisecond later
    worker.outcomes(1)
    worker.run((tasks.echo, "a"), (tasks.echo, "b"), (tasks.crash, "os._exit"), (tasks.echo, "c"), first=2)
    told = []
    while (frame := worker.receive()) is not None:
        told += wire.decode_outcomes(frame[1])
    count, data = worker.page.outcomes()
    if count:
        told += wire.decode_outcomes(b"\xdc" + count.to_bytes(2, "big") + data)
    assert [loads(item[2]) for item in told] == ["a", "b"]
    assert worker.page.numbers[STARTED] == 4
    assert worker.process.wait(10) == 5


def test_stop_and_hanging_up_end_it(pool):
    stopped, left = pool(), pool()
    stopped.send(wire.STOP, None)
    assert stopped.process.wait(10) == 0
    left.sock.shutdown(socket.SHUT_RDWR)
    assert left.process.wait(10) == 0


def test_initializer(pool):
    worker = pool(initializer=dumps((FunctionBlob(tasks.initialize).data, ("x",))))
    worker.run((tasks.read_initialized,))
    assert loads(worker.outcomes(1)[0][2]) == ["x"]


def test_variables_and_cores_of_its_own(pool):
    cpu = max(os.sched_getaffinity(0))
    worker = pool(env={"PLAIT_X": "1"}, cpus=[cpu])
    worker.run((os.getenv, "PLAIT_X"), (os.sched_getaffinity, 0))
    assert [loads(data) for _, _, data, *_ in worker.outcomes(2)] == ["1", {cpu}]


def test_what_is_bound_for_one_task_is_undone_after_it(pool):
    cpus = os.sched_getaffinity(0)
    cpu = max(cpus)
    worker = pool(env={"PLAIT_X": "own"})
    worker.send(wire.BIND, (1, {"PLAIT_X": "bound", "PLAIT_Y": "y"}, [cpu]))
    worker.run((os.getenv, "PLAIT_X"))
    assert loads(worker.outcomes(1)[0][2]) == "bound"
    worker.send(wire.BIND, (2, {}, [cpu]))
    worker.run((os.sched_getaffinity, 0), first=2)
    assert loads(worker.outcomes(1)[0][2]) == {cpu}
    worker.run((os.getenv, "PLAIT_X"), (os.getenv, "PLAIT_Y"), (os.sched_getaffinity, 0), first=3)
    assert [loads(data) for _, _, data, *_ in worker.outcomes(3)] == ["own", None, cpus]


def test_what_is_bound_for_a_task_that_does_not_run_binds_no_other(pool):
    worker = pool()
    worker.send(wire.BIND, (1, {"PLAIT_X": "1"}, []))
    worker.run((os.getenv, "PLAIT_X"), first=2)  # cancelled before it was sent
    worker.send(wire.BIND, (3, {"PLAIT_X": "3"}, []))
    worker.page.numbers[REVOKED_FROM], worker.page.numbers[REVOKED_TO] = 3, 4
    worker.run((os.getenv, "PLAIT_X"), first=3)
    worker.run((os.getenv, "PLAIT_X"), first=4)
    outcomes = worker.outcomes(3)
    assert [status for _, status, *_ in outcomes] == [wire.DONE, wire.SKIPPED, wire.DONE]
    assert loads(outcomes[0][2]) is loads(outcomes[2][2]) is None


def test_a_big_result_that_cannot_be_sent_now_is_sent_later(pool):
    worker = pool(before=BUSY_CODE)
    worker.run((bytes, 2 * BIG_BYTES), (abs, -3))
    kind, body, (fd,) = worker.receive()
    assert kind == wire.OUTCOMES
    ((_, _, _, sizes, *_),) = wire.decode_outcomes(body)
    assert wire.load_segments(fd, sizes) == bytes(2 * BIG_BYTES)
    assert loads(worker.outcomes(1)[0][2]) == 3
