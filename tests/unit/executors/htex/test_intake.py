"""Tasks on their way to the pool: whole ones at once, others when their arguments have come."""

from __future__ import annotations

from collections import deque

import pytest

from plait.executors.htex import intake as intake_module
from plait.executors.htex import messages as m
from plait.executors.htex.intake import Intake
from plait.executors.htex.outbox import Outbox, Stored
from plait.executors.pool import wire
from plait.executors.pool.core import PoolCore


class Pool:
    """What an intake needs of a pool."""

    def __init__(self):
        self.core = PoolCore(capacity=None)
        self.submitted = []
        self.failed = []

    def submit(self, task):
        self.submitted.append(task)

    def command(self, what, subject, detail):
        assert what == "fail"
        self.failed.append((subject[0].id, subject[1], str(detail)))


@pytest.fixture
def intake():
    outbox = Outbox("host", lambda _: None)
    made = Intake(outbox.held, outbox.drop)
    made.outbox, made.pool, made.sent = outbox, Pool(), []
    made.attach(made.pool, made.sent.append)
    made.function(m.Function(1), b"f")
    yield made
    for task in [*outbox.held.values(), *made.pool.submitted]:
        if isinstance(task.payload, Stored):
            task.payload.close()


def sent_task(number, *, function=1, sizes=None, grant=None, attempt=1):
    return (number, attempt, function, b"p", sizes, grant)


def test_plain_tasks_wait_in_the_pools_queue(intake):
    intake.function(m.Function(1), b"again")
    intake.tasks(m.Tasks([sent_task(1), sent_task(2)]), b"")
    assert [(task.id, task.attempt, task.payload, task.app.blob.data) for task in intake.pool.core.queue] == [
        (1, 1, b"p", b"f"),
        (2, 1, b"p", b"f"),
    ]
    assert set(intake.outbox.held) == {1, 2}


def test_what_was_granted_something_waits_for_a_worker_of_its_own(intake):
    grant = m.Grant(cores=(1,), gpus=("0",))
    intake.tasks(m.Tasks([sent_task(1, grant=grant)]), b"")
    assert intake.pool.core.queue == deque()
    assert intake.pool.core.special[0][3].details.grant == grant


def test_arguments_in_chunks(intake):
    segments = wire.dump_value(b"x" * 300_000)
    fd = segments.file()
    with open(fd, "rb") as file:
        data = file.read()
    intake.tasks(m.Tasks([sent_task(1, sizes=segments.sizes)]), b"")
    intake.chunk(m.Chunk(1, 1, 0), data[:200_000])
    assert intake.pool.submitted == []
    intake.chunk(m.Chunk(1, 1, 200_000), data[200_000:])
    (task,) = intake.pool.submitted
    assert wire.load_segments(task.payload.file(), task.payload.sizes) == b"x" * 300_000
    assert intake.sent[-1] == m.ChunkTaken(1, 1, len(data))
    segments.close()


def test_what_cannot_be_run_is_told(intake, monkeypatch):
    def full(_):
        raise OSError(24, "Too many open files")

    intake.tasks(m.Tasks([sent_task(1, function=9)]), b"")
    assert intake.pool.failed == [(1, 1, "function 9 did not reach the manager")]
    intake.tasks(m.Tasks([sent_task(2, sizes=[100])]), b"")
    intake.chunk(m.Chunk(2, 1, 64), bytes(100_000))
    assert "cannot be put away" in intake.pool.failed[1][2]
    monkeypatch.setattr(intake_module, "Stored", full)
    intake.tasks(m.Tasks([sent_task(3, sizes=[100])]), b"")
    assert "Too many open files" in intake.pool.failed[2][2]
    assert [message for message in intake.sent if message.upto == -1] == [
        m.ChunkTaken(2, 1, -1),
        m.ChunkTaken(3, 1, -1),
    ]


def test_chunks_that_nobody_waits_for_are_refused(intake):
    intake.chunk(m.Chunk(5, 1, 0), b"x")
    intake.tasks(m.Tasks([sent_task(1, sizes=[100])]), b"")
    task = intake.outbox.drop(1, 1)
    intake.drop(task)
    intake.chunk(m.Chunk(1, 1, 0), bytes(128))
    assert intake.sent == [m.ChunkTaken(5, 1, -1), m.ChunkTaken(1, 1, -1), m.ChunkTaken(1, 1, -1)]
    assert intake.pool.submitted == []
    intake.drop(task)


def test_a_later_attempt_takes_the_place_of_an_earlier_one(intake):
    intake.tasks(m.Tasks([sent_task(1)]), b"")
    intake.tasks(m.Tasks([sent_task(1, attempt=2)]), b"")
    assert intake.outbox.held[1].attempt == 2
    old, new = intake.pool.core.queue
    assert old.state != new.state


def test_what_is_not_whole_can_be_given_up(intake):
    intake.tasks(m.Tasks([sent_task(1, sizes=[100]), sent_task(2), sent_task(3, sizes=[100])]), b"")
    assert [task.id for task in intake.clear()] == [1, 3]
    assert intake.clear() == []
