"""Outcomes of a manager's pool: bytes and files as they are, numbered, and kept until the driver has them."""

from __future__ import annotations

import os

import msgspec
import pytest

from plait.errors import BadMessage, ExecutorError
from plait.executors.htex import messages as m
from plait.executors.htex.outbox import (
    INLINE_BYTES,
    WALLTIME_SLACK_S,
    Attempt,
    Big,
    Code,
    Granted,
    Outbox,
    Stored,
    gang_item,
    has_nodes,
)
from plait.executors.pool import wire
from plait.executors.pool.core import WorkerState, is_plain, resources_of, walltime_of
from plait.model.task import CANCELLED, EXEC_DONE

CODE = Code(1, b"f")


class Pool:
    """An outbox, and a worker that holds some attempts."""

    def __init__(self, count: int, grant: m.Grant | None = None) -> None:
        self.box = Outbox("host", lambda _: None)
        self.worker = WorkerState(4)
        self.tasks = []
        for number in range(count):
            task = Attempt(100 + number, 2, CODE, b"x", Granted(grant) if grant is not None else None)
            self.tasks.append(task)
            self.box.held[task.id] = task
            self.worker.held[number + 1] = (task, 2)

    def take(self, *items, files=()):
        outcomes = []
        told = self.box.take(self.worker, list(items), list(files), outcomes)
        return outcomes, told


def done(sequence: int, payload: bytes = b"r"):
    return (sequence, wire.DONE, payload, None, 1.0, 3.0)


def a_file(size: int) -> int:
    fd = os.memfd_create("test")
    os.pwrite(fd, b"y" * size, 0)
    return fd


def test_outcomes_pass_unopened():
    pool = Pool(3)
    outcomes, told = pool.take(
        done(1, b"\xffno pickle"), (2, wire.RAISED, b"e", None, 3.0, 4.0), (3, wire.SKIPPED, b"", None, 0.0, 0.0)
    )
    assert outcomes == [(100, 2, m.DONE, b"\xffno pickle", 1.0, 3.0, 4), (101, 2, m.RAISED, b"e", 3.0, 4.0, 4)]
    assert told == (2, 3.0, [3])
    assert list(pool.box.held) == [102]
    assert [task.state == EXEC_DONE for task in pool.tasks] == [True, True, False]
    assert list(pool.worker.held) == [3]


def test_times_are_those_of_the_interchange():
    pool = Pool(1)
    pool.box.offset_s = 1000.0
    assert pool.take(done(1))[0][0][4:6] == (1001.0, 1003.0)


def test_what_was_cancelled_is_dropped_and_its_file_closed():
    pool = Pool(2)
    task = pool.box.drop(100, 2)
    assert task is pool.tasks[0]
    assert task.state == CANCELLED
    assert pool.box.drop(100, 2) is pool.box.drop(101, 3) is None
    fd = a_file(10)
    outcomes, told = pool.take((1, wire.DONE, b"", [10], 0.0, 1.0), done(9), files=[fd])
    assert (outcomes, told) == ([], (2, 3.0, []))
    assert not os.path.exists(f"/proc/self/fd/{fd}")
    assert pool.box.lost(task, 2, 4, "killed") is None


def test_a_file_that_is_not_large_goes_along():
    pool = Pool(3)
    files = [a_file(INLINE_BYTES), a_file(INLINE_BYTES + 64), a_file(192)]
    outcomes, _ = pool.take(
        (1, wire.DONE, b"", [INLINE_BYTES], 0.0, 1.0),
        (2, wire.DONE, b"", [INLINE_BYTES + 1], 0.0, 1.0),
        (3, wire.RAISED, b"", [100, 64], 0.0, 1.0),
        files=files,
    )
    assert outcomes[0][3] == b"y" * INLINE_BYTES
    assert [type(outcome) for outcome in outcomes] == [tuple, Big, Big]
    assert outcomes[2].total == 192
    assert outcomes[2].read(128, 64) == b"y" * 64
    messages = pool.box.add(outcomes)
    assert [type(message) for message, _ in messages] == [m.Outcomes, m.BigOutcome, m.BigOutcome]
    assert messages[2][0] == m.BigOutcome(3, (102, 2, m.RAISED, b"", 0.0, 1.0, 4), [100, 64])
    assert messages[2][1] is outcomes[2]
    assert pool.box.bytes > 2 * INLINE_BYTES
    assert pool.box.taken(1) == []
    assert pool.box.taken(3) == outcomes[1:]
    assert pool.box.bytes == 0
    for big in outcomes[1:]:
        big.close()


def test_losses_limits_and_refusals():
    pool = Pool(4, m.Grant(walltime_s=1.5))
    lost, late, refused, unreadable = pool.tasks
    box = pool.box
    items = [
        box.lost(lost, 2, 4, "SIGKILL"),
        box.timed_out(late, 2, 4),
        box.refused(refused, 2, ExecutorError("htex", "no worker could start")),
        box.refused(unreadable, 2, BadMessage("no function")),
    ]
    assert [item[2] for item in items] == [m.WORKER_LOST, m.TIMED_OUT, m.REFUSED_BY_POOL, m.WORKER_LOST]
    what = [msgspec.msgpack.decode(item[3]) for item in items]
    assert what[0] == [4, "host", "SIGKILL"]
    assert "task 101 ran longer than its walltime of 1.5 s" in what[1]
    assert what[2] == "no worker could start"
    assert what[3] == [-1, "host", "no function"]
    assert box.held == {}


def test_messages_are_cut_and_numbered_and_kept_until_they_are_taken():
    box = Outbox("host", lambda _: None)
    item = (1, 1, m.DONE, bytes(300_000), 0.0, 0.0, 1)
    messages = [message for message, _ in box.add([None, *[item] * 10])]
    assert [len(message.items) for message in messages] == [4, 4, 2]
    assert [message.seq for message in messages] == [1, 2, 3]
    assert [message for message, _ in box.all()] == messages
    assert box.finished() == [(1, 1)] * 10
    assert box.bytes > 3_000_000
    box.taken(2)
    assert [message for message, _ in box.all()] == messages[2:]
    box.renumber()
    assert [message.seq for message, _ in box.all()] == [1]
    assert box.add([item])[0][0].seq == 2
    assert box.add([None]) == box.add([]) == []
    box.taken(2)
    assert (box.bytes, box.all()) == (0, [])


def test_a_new_life_knows_nothing_of_the_old_one():
    pool = Pool(2)
    pool.box.add(pool.take(done(1))[0])
    pool.box.forget()
    assert (pool.box.bytes, pool.box.all(), pool.box.held) == (0, [], {})
    assert pool.tasks[1].state == CANCELLED
    assert pool.box.add([(1, 1, m.DONE, b"", 0.0, 0.0, 1)])[0][0].seq == 1


def test_attempts_are_what_a_pool_runs():
    plain = Attempt(1, 1, CODE, b"x")
    special = Attempt(2, 1, CODE, b"x", Granted(m.Grant()))
    limited = Attempt(3, 1, CODE, b"x", Granted(m.Grant(walltime_s=2.0)))
    assert [is_plain(task) for task in (plain, special, limited)] == [True, False, False]
    assert [walltime_of(task) for task in (plain, special, limited)] == [None, None, 2.0 + WALLTIME_SLACK_S]
    assert resources_of(special).cores == 1
    assert str(special) == "task 2"


def test_segments_are_written_as_they_come_and_read_by_the_worker():
    segments = wire.dump_value([b"z" * 200_000])
    fd = segments.file()
    data = os.pread(fd, 1 << 20, 0)
    os.close(fd)
    stored = Stored(segments.sizes)
    assert stored.total == len(data)
    for at in range(0, len(data), 70_000):
        stored.write(at, data[at : at + 70_000])
    for _ in range(2):  # another worker may have to take it
        assert wire.load_segments(stored.file(), stored.sizes) == [b"z" * 200_000]
    assert wire.load_whole(stored.whole(), stored.sizes) == [b"z" * 200_000]
    segments.close()
    stored.close()
    with pytest.raises(OSError, match="descriptor"):
        stored.file()


def test_what_a_task_over_whole_nodes_has():
    task = Attempt(3, 2, CODE, b"")
    assert not has_nodes(task)
    task.details = Granted(m.Grant(cores=(0, 1)))
    assert not has_nodes(task)
    task.details = Granted(m.Grant(hosts=("n1", "n3"), members=("m2",)))
    assert has_nodes(task)
    assert gang_item(task, ()) == (3, 2, ["m2"], [])
    assert gang_item(task, ("n1", "n2", "n3")) == (3, 2, ["m2"], [0, 2])
