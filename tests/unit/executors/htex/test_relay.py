from __future__ import annotations

import os

import msgspec
import pytest

from plait.errors import BadMessage
from plait.executors.htex import relay as relay_module
from plait.executors.htex.messages import DONE, RESULT_TOO_LARGE, BigOutcome, Chunk, ChunkTaken, Outcomes, Pull
from plait.executors.htex.relay import FILES_OF_ONE, OPEN_FILES, RESULTS_FILES, Relay
from plait.executors.htex.transfers import Outgoing, Sender
from plait.executors.pool.page import anonymous_file
from plait.limits import CHUNK_BYTES, RESEND_S, WINDOW_BYTES

A, B = b"A", b"B"


class Bench:
    """A relay, and what it said."""

    def __init__(self, max_result_bytes=0):
        self.sent = []
        self.asked = []
        self.told = []
        self.backlog = {}
        self.relay = Relay(
            lambda conn, message, payload: self.sent.append((conn, message, payload)),
            lambda conn: self.backlog.get(conn, 0),
            self.asked.append,
            lambda conn, message: self.told.append((conn, message)),
            max_result_bytes,
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
        self.relay.data(key, [fd], 0.0)
        return fd


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.relay.close()


def task(number, size=64, attempt=1):
    return (number, attempt, 0, b"", [size], None)


# ---------------------------------------------------------------------- tasks
def test_segments_are_pulled_and_sent_in_chunks_until_all_is_taken(bench):
    data = os.urandom(1_200_000)[: 1_200_000 // 64 * 64]
    bench.relay.placed(A, [task(1, len(data))])
    assert bench.asked == [Pull([(1, 1)])]
    fd = bench.serve((1, 1), data)
    assert bench.relay.pump(0.0)
    bench.relay.chunk_taken(A, ChunkTaken(1, 1, CHUNK_BYTES), 0.0)
    assert bench.relay.pump(0.0)
    assert b"".join(payload for _, _, payload in bench.sent) == data
    bench.relay.chunk_taken(A, ChunkTaken(1, 1, len(data)), 0.0)
    assert not bench.is_open(fd)
    assert len(bench.relay) == 0


def test_tasks_without_segments_are_none_of_its_business(bench):
    bench.relay.placed(A, [(1, 1, 0, b"", None, None)])
    assert bench.asked == []
    assert len(bench.relay) == 0


def test_no_more_than_a_window_leaves(bench):
    bench.relay.placed(A, [task(1, 64 * 1_000_000)])
    bench.serve((1, 1), bytes(64 * 1_000_000))
    bench.relay.pump(0.0)
    assert not bench.relay.pump(0.0)
    assert sum(len(payload) for _, _, payload in bench.sent) <= WINDOW_BYTES


def test_a_connection_without_room_gets_no_chunks(bench):
    bench.relay.placed(A, [task(1)])
    bench.serve((1, 1))
    bench.backlog[A] = 10_000_000
    assert not bench.relay.pump(0.0)
    bench.backlog[A] = 0
    assert bench.relay.pump(0.0)


def test_few_files_are_open_at_once(bench):
    for number in range(200):
        bench.relay.placed(b"%d" % (number % 40), [task(number)])
    assert len(bench.pulled()) == OPEN_FILES
    for key in bench.pulled():
        bench.serve(key)
    bench.relay.pump(0.0)
    for conn, chunk, _ in list(bench.sent):
        bench.relay.chunk_taken(conn, ChunkTaken(chunk.task, 1, 64), 0.0)
    assert len(bench.pulled()) == 2 * OPEN_FILES


def test_one_manager_does_not_take_all_of_them(bench):
    bench.relay.placed(A, [task(number) for number in range(100)])
    bench.relay.placed(B, [task(200)])
    assert bench.pulled() == [*((number, 1) for number in range(FILES_OF_ONE)), (200, 1)]


def test_a_manager_that_does_not_want_the_rest(bench):
    bench.relay.placed(A, [task(1)])
    fd = bench.serve((1, 1))
    bench.relay.pump(0.0)
    bench.relay.chunk_taken(A, ChunkTaken(1, 1, -1), 0.0)
    assert not bench.is_open(fd)


def test_a_cancelled_task_needs_no_file(bench):
    bench.relay.placed(A, [task(1), task(2)])
    bench.relay.cancelled([(1, 1)])
    assert bench.told == []
    assert not bench.is_open(bench.serve((1, 1)))
    assert bench.is_open(bench.serve((2, 1)))


def test_an_attempt_that_ended_gives_its_turn_to_others(bench):
    bench.relay.placed(A, [task(number) for number in range(FILES_OF_ONE + 1)])
    bench.relay.over([(0, 1)])
    assert bench.pulled()[-1] == (FILES_OF_ONE, 1)


def test_a_task_that_was_given_back_is_pulled_again_for_the_next_manager(bench):
    bench.relay.placed(A, [task(1)])
    bench.relay.over([(1, 1)])
    bench.relay.placed(B, [task(1)])
    bench.serve((1, 1))
    assert not bench.is_open(bench.serve((1, 1)))  # the first request was answered too
    bench.relay.pump(0.0)
    assert [conn for conn, _, _ in bench.sent] == [B]


def test_a_file_without_any_bytes(bench):
    bench.relay.placed(A, [task(1, 0)])
    assert not bench.is_open(bench.serve((1, 1), b""))
    assert len(bench.relay) == 0


def test_files_that_nobody_asked_for_are_closed(bench):
    assert not bench.is_open(bench.serve((9, 1)))
    bench.relay.placed(A, [task(1)])
    first, second = bench.file(b"x" * 64), bench.file(b"x" * 64)
    bench.relay.data((1, 1), [first, second], 0.0)
    assert bench.is_open(first)
    assert not bench.is_open(second)
    bench.relay.data((1, 1), [], 0.0)


# ---------------------------------------------------------------------- a manager that comes back
def test_what_a_returning_manager_waits_for_goes_on_where_it_was(bench):
    data = os.urandom(64 * 30_000)
    bench.relay.placed(A, [task(1, len(data)), task(2), task(3)])
    bench.serve((1, 1), data)
    gone = bench.serve((2, 1))
    bench.relay.pump(0.0)
    bench.relay.chunk_taken(A, ChunkTaken(1, 1, CHUNK_BYTES), 0.0)
    bench.relay.pump(0.0)
    taken = bench.to(A, Chunk)[3].offset
    bench.relay.chunk_taken(A, ChunkTaken(1, 1, taken), 0.0)
    bench.sent.clear()
    bench.relay.manager_back(A, B, [(1, 1), (3, 1)])
    assert not bench.is_open(gone)  # it does not have that task any more
    bench.serve((3, 1))
    bench.relay.pump(0.0)
    assert {conn for conn, _, _ in bench.sent} == {B}
    offsets = [chunk.offset for chunk in bench.to(B, Chunk) if chunk.task == 1]
    assert offsets[0] == taken
    bench.relay.chunk_taken(B, ChunkTaken(1, 1, len(data)), 0.0)
    bench.relay.chunk_taken(B, ChunkTaken(3, 1, 64), 0.0)
    assert len(bench.relay) == 0


def test_a_manager_that_comes_back_on_the_same_connection(bench):
    bench.relay.placed(A, [task(1)])
    bench.relay.manager_back(A, A, [(1, 1)])
    bench.serve((1, 1))
    bench.relay.pump(0.0)
    bench.relay.chunk_taken(A, ChunkTaken(1, 1, 64), 0.0)
    assert len(bench.relay) == 0
    bench.relay.placed(A, [task(2)])
    assert bench.pulled() == [(1, 1), (2, 1)]


def test_nothing_is_kept_for_a_manager_that_is_gone(bench):
    bench.relay.placed(A, [task(number) for number in range(10)])
    fd = bench.serve((0, 1))
    bench.relay.announced(A, big(50))
    bench.relay.manager_gone(A)
    assert not bench.is_open(fd)
    assert len(bench.relay) == 0
    assert bench.relay.results_bytes == 0


# ---------------------------------------------------------------------- results
def big(number, sizes=(128,), seq=1):
    return BigOutcome(seq, (number, 1, DONE, b"", 1.0, 2.0, 0), list(sizes))


def read_and_close(fds):
    [fd] = fds
    try:
        return os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)


def chunk(bench, conn, number, offset, data):
    bench.relay.chunk(conn, Chunk(number, 1, offset), data, 0.0)


def test_a_result_is_complete_when_its_last_chunk_has_come(bench):
    message = big(1)
    bench.relay.announced(A, message)
    assert bench.to(A, ChunkTaken) == [ChunkTaken(1, 1, 0)]
    chunk(bench, A, 1, 0, b"a" * 100)
    assert bench.told == []
    chunk(bench, A, 1, 100, b"b" * 28)
    assert bench.told == [(A, message)]
    assert bench.to(A, ChunkTaken)[-1] == ChunkTaken(1, 1, 128)
    assert read_and_close(bench.relay.file((1, 1), 5)) == b"a" * 100 + b"b" * 28
    assert bench.relay.results_bytes == 128
    bench.relay.driver_took(4)
    assert bench.relay.results_bytes == 128
    bench.relay.driver_took(5)
    assert bench.relay.results_bytes == 0


def test_a_result_of_empty_segments_is_complete_at_once(bench):
    message = big(1, (0,))
    bench.relay.announced(A, message)
    assert bench.told == [(A, message)]
    assert read_and_close(bench.relay.file((1, 1), 1)) == b""


def test_a_result_that_the_core_does_not_want_is_dropped(bench):
    bench.relay.announced(A, big(1))
    chunk(bench, A, 1, 0, bytes(128))
    bench.relay.forget_unused()
    assert bench.relay.file((1, 1), 1) == []
    assert bench.relay.results_bytes == 0


def test_chunks_come_twice_and_from_elsewhere(bench):
    bench.relay.announced(A, big(1))
    chunk(bench, A, 1, 0, bytes(64))
    chunk(bench, A, 1, 0, bytes(64))
    chunk(bench, B, 1, 64, bytes(64))
    chunk(bench, A, 7, 0, bytes(64))
    assert bench.told == []
    chunk(bench, A, 1, 64, bytes(64))
    assert len(bench.told) == 1


def test_a_chunk_beyond_the_end_is_an_error(bench):
    bench.relay.announced(A, big(1))
    with pytest.raises(BadMessage):
        chunk(bench, A, 1, 100, bytes(64))


@pytest.mark.parametrize("sizes", [[], [-1], [100, -64], [1 << 60], [1] * 1_000_001])
def test_sizes_that_are_nonsense(bench, sizes):
    with pytest.raises(BadMessage):
        bench.relay.announced(A, big(1, sizes))


def test_a_result_above_the_limit_is_refused():
    bench = Bench(max_result_bytes=100)
    bench.relay.announced(A, big(1, seq=9))
    item = (1, 1, RESULT_TOO_LARGE, msgspec.msgpack.encode((128, 100)), 1.0, 2.0, 0)
    assert bench.told == [(A, Outcomes(9, [item]))]
    assert bench.to(A, ChunkTaken) == [ChunkTaken(1, 1, -1)]
    assert len(bench.relay) == 0


def full(*_):
    raise OSError(28, "No space left on device")


def test_when_memory_runs_out_the_result_is_refused(bench, monkeypatch):
    bench.relay.announced(A, big(1))
    monkeypatch.setattr(os, "pwrite", full)
    chunk(bench, A, 1, 0, bytes(64))
    assert bench.told[0][1].items[0][2] == RESULT_TOO_LARGE
    assert bench.relay.results_bytes == 0


def test_when_files_run_out_the_result_is_refused(bench, monkeypatch):
    monkeypatch.setattr(relay_module, "anonymous_file", full)
    bench.relay.announced(A, big(1))
    assert bench.told[0][1].items[0][2] == RESULT_TOO_LARGE
    assert len(bench.relay) == 0


def test_a_cancelled_result_is_not_waited_for(bench):
    bench.relay.announced(A, big(1, seq=3))
    bench.relay.announced(A, big(2, seq=4))
    bench.relay.cancelled([(1, 1)])
    assert bench.told == [(A, Outcomes(3, []))]
    assert bench.to(A, ChunkTaken)[-1] == ChunkTaken(1, 1, -1)
    assert len(bench.relay) == 1


def test_results_wait_when_the_driver_does_not_take_them(bench, monkeypatch):
    monkeypatch.setattr(relay_module, "RESULTS_BYTES", 300)
    for number in (1, 2, 3, 4):
        bench.relay.announced(A, big(number, seq=number))
    assert bench.to(A, ChunkTaken) == [ChunkTaken(1, 1, 0), ChunkTaken(2, 1, 0)]
    assert bench.relay.results_bytes == 256
    chunk(bench, A, 3, 0, bytes(128))  # unasked
    for number in (1, 2):
        chunk(bench, A, number, 0, bytes(128))
        os.close(*bench.relay.file((number, 1), number))
    assert {message.task for message in bench.to(A, ChunkTaken)} == {1, 2}
    bench.relay.cancelled([(3, 1)])
    bench.relay.driver_took(1)
    assert bench.to(A, ChunkTaken)[-1] == ChunkTaken(4, 1, 0)


def test_one_result_larger_than_the_room_goes_alone(bench, monkeypatch):
    monkeypatch.setattr(relay_module, "RESULTS_BYTES", 100)
    bench.relay.announced(A, big(1))
    bench.relay.announced(A, big(2, seq=2))
    chunk(bench, A, 1, 0, bytes(128))
    os.close(*bench.relay.file((1, 1), 1))
    assert bench.to(A, ChunkTaken) == [ChunkTaken(1, 1, 0), ChunkTaken(1, 1, 128)]
    bench.relay.driver_took(1)
    assert bench.to(A, ChunkTaken)[-1] == ChunkTaken(2, 1, 0)


def test_few_files_of_results_are_open_at_once(bench):
    for number in range(100):
        bench.relay.announced(A, big(number, seq=number + 1))
    assert len(bench.to(A, ChunkTaken)) == RESULTS_FILES
    bench.relay.manager_gone(A)
    assert bench.relay.results_bytes == 0


def test_results_of_one_manager_that_wait_do_not_close_its_window(bench, monkeypatch):
    """Many at once, more than there is room for, with the sender that managers have."""
    monkeypatch.setattr(relay_module, "RESULTS_BYTES", 3_000)
    sender, size, done = Sender(window_bytes=512, chunk_bytes=64), 1024, 0
    for number in range(1, 31):
        bench.relay.announced(A, big(number, (size,), number))
        sender.add(Outgoing(number, 1, size, lambda offset, count: bytes(count)), asks=True)
    for _ in range(10_000):
        for message in bench.to(A, ChunkTaken):
            sender.taken(message)
        bench.sent.clear()
        for message, data in sender.pump():
            bench.relay.chunk(A, message, data, 0.0)
        for _, message in bench.told[done:]:
            done += 1
            os.close(*bench.relay.file((message.item[0], 1), done))
            bench.relay.driver_took(done)
        if done == 30:
            break
    assert done == 30


def test_a_manager_that_did_not_hear_our_answer_is_reminded(bench):
    bench.relay.announced(A, big(1))
    bench.relay.tick(1.0)
    bench.relay.tick(2.0)
    assert bench.to(A, ChunkTaken) == [ChunkTaken(1, 1, 0)]
    bench.relay.tick(2.0 + RESEND_S)
    assert bench.to(A, ChunkTaken) == [ChunkTaken(1, 1, 0)] * 2


def test_a_result_that_is_announced_again_begins_anew(bench):
    bench.relay.announced(A, big(1))
    chunk(bench, A, 1, 0, b"a" * 64)
    bench.relay.manager_back(A, B, [])
    bench.relay.announced(B, big(1))
    chunk(bench, A, 1, 64, b"a" * 64)
    chunk(bench, B, 1, 0, b"b" * 128)
    assert read_and_close(bench.relay.file((1, 1), 1)) == b"b" * 128
    assert bench.relay.results_bytes == 128


def test_an_announcement_that_comes_twice_changes_nothing(bench):
    bench.relay.announced(A, big(1))
    chunk(bench, A, 1, 0, bytes(64))
    bench.relay.announced(A, big(1))
    chunk(bench, A, 1, 64, bytes(64))
    assert len(bench.told) == 1


def test_a_result_that_was_complete_is_not_sent_again(bench):
    bench.relay.announced(A, big(1))
    chunk(bench, A, 1, 0, bytes(128))
    os.close(*bench.relay.file((1, 1), 1))
    bench.relay.manager_back(A, B, [])
    bench.relay.announced(B, big(1))
    assert bench.told[1:] == [(B, big(1))]  # the core knows that it had it
    assert bench.to(B, ChunkTaken) == [ChunkTaken(1, 1, -1)]
    assert len(bench.relay) == 0
    bench.relay.manager_told(B, 1)
    assert bench.relay._had == {B: set()}
    bench.relay.manager_gone(B)
    assert bench.relay._had == {}
