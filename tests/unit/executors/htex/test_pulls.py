from __future__ import annotations

import os

import pytest

from plait.executors.htex.messages import Chunk, ChunkTaken, Pull
from plait.executors.htex.pulls import FILES_OF_ONE, OPEN_FILES, Pulls
from plait.executors.pool.page import anonymous_file
from plait.limits import CHUNK_BYTES, RESEND_S, WINDOW_BYTES

A, B = b"A", b"B"


class Bench:
    """The pulls, and what they said."""

    def __init__(self):
        self.sent = []
        self.asked = []
        self.backlog = {}
        self.pulls = Pulls(
            lambda conn, message, payload: self.sent.append((conn, message, payload)),
            lambda conn: self.backlog.get(conn, 0),
            self.asked.append,
        )
        self.fds = []

    def file(self, data):
        fd = anonymous_file(0)
        os.write(fd, data)
        self.fds.append(fd)
        return fd

    def pulled(self):
        return [key for message in self.asked for key in message.items]

    def to(self, conn, kind):
        return [message for to, message, _ in self.sent if to == conn and isinstance(message, kind)]

    def is_open(self, fd):
        try:
            os.fstat(fd)
        except OSError:
            return False
        return True

    def serve(self, key, data=b"x" * 64):
        fd = self.file(data)
        self.pulls.data(key, [fd], 0.0)
        return fd


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.pulls.close()


def task(number, size=64, attempt=1):
    return (number, attempt, 0, b"", [size], None)


def test_segments_are_pulled_and_sent_in_chunks_until_all_is_taken(bench):
    data = os.urandom(2 * CHUNK_BYTES + 64)
    bench.pulls.placed(A, [task(1, len(data))])
    assert bench.asked == [Pull([(1, 1)])]
    fd = bench.serve((1, 1), data)
    assert bench.pulls.pump(0.0)
    bench.pulls.chunk_taken(A, ChunkTaken(1, 1, CHUNK_BYTES), 0.0)
    assert bench.pulls.pump(0.0)
    assert b"".join(payload for _, _, payload in bench.sent) == data
    bench.pulls.chunk_taken(A, ChunkTaken(1, 1, len(data)), 0.0)
    assert not bench.is_open(fd)
    assert len(bench.pulls) == 0


def test_tasks_without_segments_are_none_of_its_business(bench):
    bench.pulls.placed(A, [(1, 1, 0, b"", None, None)])
    assert bench.asked == []
    assert len(bench.pulls) == 0


def test_no_more_than_a_window_leaves(bench):
    bench.pulls.placed(A, [task(1, 64 * 1_000_000)])
    bench.serve((1, 1), bytes(64 * 1_000_000))
    bench.pulls.pump(0.0)
    assert not bench.pulls.pump(0.0)
    assert sum(len(payload) for _, _, payload in bench.sent) <= WINDOW_BYTES


def test_a_connection_without_room_gets_no_chunks(bench):
    bench.pulls.placed(A, [task(1)])
    bench.serve((1, 1))
    bench.backlog[A] = 10_000_000
    assert not bench.pulls.pump(0.0)
    bench.backlog[A] = 0
    assert bench.pulls.pump(0.0)


def test_few_files_are_open_at_once(bench):
    for number in range(200):
        bench.pulls.placed(b"%d" % (number % 40), [task(number)])
    assert len(bench.pulled()) == OPEN_FILES
    for key in bench.pulled():
        bench.serve(key)
    bench.pulls.pump(0.0)
    for conn, chunk, _ in list(bench.sent):
        bench.pulls.chunk_taken(conn, ChunkTaken(chunk.task, 1, 64), 0.0)
    assert len(bench.pulled()) == 2 * OPEN_FILES


def test_one_manager_does_not_take_all_of_them(bench):
    bench.pulls.placed(A, [task(number) for number in range(100)])
    bench.pulls.placed(B, [task(200)])
    assert bench.pulled() == [*((number, 1) for number in range(FILES_OF_ONE)), (200, 1)]


def test_a_manager_that_does_not_want_the_rest(bench):
    bench.pulls.placed(A, [task(1)])
    fd = bench.serve((1, 1))
    bench.pulls.pump(0.0)
    bench.pulls.chunk_taken(A, ChunkTaken(1, 1, -1), 0.0)
    assert not bench.is_open(fd)


def test_a_cancelled_task_needs_no_file(bench):
    bench.pulls.placed(A, [task(1), task(2)])
    bench.pulls.over([(1, 1)])
    assert not bench.is_open(bench.serve((1, 1)))
    assert bench.is_open(bench.serve((2, 1)))


def test_an_attempt_that_ended_gives_its_turn_to_others(bench):
    bench.pulls.placed(A, [task(number) for number in range(FILES_OF_ONE + 1)])
    bench.pulls.over([(0, 1)])
    assert bench.pulled()[-1] == (FILES_OF_ONE, 1)


def test_a_task_that_was_given_back_is_pulled_again_for_the_next_manager(bench):
    bench.pulls.placed(A, [task(1)])
    bench.pulls.over([(1, 1)])
    bench.pulls.placed(B, [task(1)])
    bench.serve((1, 1))
    assert not bench.is_open(bench.serve((1, 1)))  # the first request was answered too
    bench.pulls.pump(0.0)
    assert [conn for conn, _, _ in bench.sent] == [B]


def test_a_file_without_any_bytes(bench):
    bench.pulls.placed(A, [task(1, 0)])
    assert not bench.is_open(bench.serve((1, 1), b""))
    assert len(bench.pulls) == 0


def test_files_that_nobody_asked_for_are_closed(bench):
    assert not bench.is_open(bench.serve((9, 1)))
    bench.pulls.placed(A, [task(1)])
    first, second = bench.file(b"x" * 64), bench.file(b"x" * 64)
    bench.pulls.data((1, 1), [first, second], 0.0)
    assert bench.is_open(first)
    assert not bench.is_open(second)
    bench.pulls.data((1, 1), [], 0.0)


# ---------------------------------------------------------------------- a manager that comes back
def test_what_a_returning_manager_waits_for_goes_on_where_it_was(bench):
    data = os.urandom(4 * CHUNK_BYTES + 64)
    bench.pulls.placed(A, [task(1, len(data)), task(2), task(3)])
    bench.serve((1, 1), data)
    gone = bench.serve((2, 1))
    bench.pulls.pump(0.0)
    bench.pulls.chunk_taken(A, ChunkTaken(1, 1, CHUNK_BYTES), 0.0)
    bench.pulls.pump(0.0)
    taken = bench.to(A, Chunk)[3].offset
    bench.pulls.chunk_taken(A, ChunkTaken(1, 1, taken), 0.0)
    bench.sent.clear()
    bench.pulls.manager_back(A, B, [(1, 1), (3, 1)], 0.0)
    assert not bench.is_open(gone)  # it does not have that task any more
    bench.serve((3, 1))
    bench.pulls.pump(0.0)
    assert {conn for conn, _, _ in bench.sent} == {B}
    offsets = [chunk.offset for chunk in bench.to(B, Chunk) if chunk.task == 1]
    assert offsets[0] == taken
    bench.pulls.chunk_taken(B, ChunkTaken(1, 1, len(data)), 0.0)
    bench.pulls.chunk_taken(B, ChunkTaken(3, 1, 64), 0.0)
    assert len(bench.pulls) == 0


def test_a_manager_that_comes_back_on_the_same_connection(bench):
    bench.pulls.placed(A, [task(1)])
    bench.pulls.manager_back(A, A, [(1, 1)], 0.0)
    bench.serve((1, 1))
    bench.pulls.pump(0.0)
    bench.pulls.chunk_taken(A, ChunkTaken(1, 1, 64), 0.0)
    assert len(bench.pulls) == 0
    bench.pulls.placed(A, [task(2)])
    assert bench.pulled() == [(1, 1), (2, 1)]


def test_nothing_is_kept_for_a_manager_that_is_gone(bench):
    bench.pulls.placed(A, [task(number) for number in range(10)])
    fd = bench.serve((0, 1))
    bench.pulls.manager_gone(A)
    assert not bench.is_open(fd)
    assert len(bench.pulls) == 0


def test_managers_take_turns(bench):
    for conn in (A, B):
        bench.pulls.placed(conn, [task(number + 100 * (conn == B)) for number in range(50)])
    bench.pulls.over([(0, 1)])
    bench.pulls.over([(100, 1)])
    assert bench.pulled()[-2:] == [(FILES_OF_ONE, 1), (100 + FILES_OF_ONE, 1)]


def test_the_turns_go_round_among_many_managers(bench):
    for number in range(3 * OPEN_FILES):
        bench.pulls.placed(b"%d" % number, [task(number), task(1000 + number)])
    first = bench.pulled()
    bench.pulls.over(first)
    after = bench.pulled()[OPEN_FILES:]
    assert len(after) == OPEN_FILES
    assert {number % 1000 for number, _ in after}.isdisjoint({number % 1000 for number, _ in first})


def test_what_goes_on_over_a_new_connection_is_not_sent_twice(bench):
    bench.pulls.placed(A, [task(1)])
    bench.serve((1, 1))
    bench.pulls.pump(100.0)
    bench.pulls.manager_back(A, B, [(1, 1)], 100.0)
    assert bench.pulls.pump(100.0)
    assert not bench.pulls.pump(101.0)
    assert bench.pulls.pump(101.0 + RESEND_S) is False
    assert bench.pulls.pump(101.0 + RESEND_S)
