from __future__ import annotations

import os

import msgspec
import pytest

from plait.errors import BadMessage
from plait.executors.htex import results as results_module
from plait.executors.htex.messages import DONE, RESULT_TOO_LARGE, BigOutcome, Chunk, ChunkTaken, Outcomes
from plait.executors.htex.results import RESULTS_FILES, Results
from plait.executors.htex.transfers import Outgoing, Sender
from plait.limits import RESEND_S

A, B = b"A", b"B"


class Bench:
    """The results, and what they said."""

    def __init__(self, max_result_bytes=0):
        self.sent = []
        self.told = []
        self.results = Results(
            lambda conn, message, payload: self.sent.append((conn, message)),
            lambda conn, message: self.told.append((conn, message)),
            max_result_bytes,
        )

    def to(self, conn, kind):
        return [message for to, message in self.sent if to == conn and isinstance(message, kind)]


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.results.close()


def big(number, sizes=(128,), seq=1):
    return BigOutcome(seq, (number, 1, DONE, b"", 1.0, 2.0, 0), list(sizes))


def read_and_close(fds):
    [fd] = fds
    try:
        return os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)


def chunk(bench, conn, number, offset, data):
    bench.results.chunk(conn, Chunk(number, 1, offset), data, 0.0)


def test_a_result_is_complete_when_its_last_chunk_has_come(bench):
    message = big(1)
    bench.results.announced(A, message)
    assert bench.to(A, ChunkTaken) == [ChunkTaken(1, 1, 0)]
    chunk(bench, A, 1, 0, b"a" * 100)
    assert bench.told == []
    chunk(bench, A, 1, 100, b"b" * 28)
    assert bench.told == [(A, message)]
    assert bench.to(A, ChunkTaken)[-1] == ChunkTaken(1, 1, 128)
    assert read_and_close(bench.results.file((1, 1), 5)) == b"a" * 100 + b"b" * 28
    assert bench.results.bytes == 128
    bench.results.driver_took(4)
    assert bench.results.bytes == 128
    bench.results.driver_took(5)
    assert bench.results.bytes == 0


def test_a_result_of_empty_segments_is_complete_at_once(bench):
    message = big(1, (0,))
    bench.results.announced(A, message)
    assert bench.told == [(A, message)]
    assert read_and_close(bench.results.file((1, 1), 1)) == b""


def test_a_result_that_the_core_does_not_want_is_dropped(bench):
    bench.results.announced(A, big(1))
    chunk(bench, A, 1, 0, bytes(128))
    bench.results.forget_unused()
    assert bench.results.file((1, 1), 1) == []
    assert bench.results.bytes == 0


def test_chunks_come_twice_and_from_elsewhere(bench):
    bench.results.announced(A, big(1))
    chunk(bench, A, 1, 0, bytes(64))
    chunk(bench, A, 1, 0, bytes(64))
    chunk(bench, B, 1, 64, bytes(64))
    chunk(bench, A, 7, 0, bytes(64))
    assert bench.told == []
    chunk(bench, A, 1, 64, bytes(64))
    assert len(bench.told) == 1


def test_a_chunk_beyond_the_end_is_an_error(bench):
    bench.results.announced(A, big(1))
    with pytest.raises(BadMessage):
        chunk(bench, A, 1, 100, bytes(64))


@pytest.mark.parametrize("sizes", [[], [-1], [100, -64], [1 << 60], [1] * 1_000_001])
def test_sizes_that_are_nonsense(bench, sizes):
    with pytest.raises(BadMessage):
        bench.results.announced(A, big(1, sizes))


def test_a_result_above_the_limit_is_refused():
    bench = Bench(max_result_bytes=100)
    bench.results.announced(A, big(1, seq=9))
    item = (1, 1, RESULT_TOO_LARGE, msgspec.msgpack.encode((128, 100)), 1.0, 2.0, 0)
    assert bench.told == [(A, Outcomes(9, [item]))]
    assert bench.to(A, ChunkTaken) == [ChunkTaken(1, 1, -1)]
    assert len(bench.results) == 0


def full(*_):
    raise OSError(28, "No space left on device")


def test_when_memory_runs_out_the_result_is_refused(bench, monkeypatch):
    bench.results.announced(A, big(1))
    monkeypatch.setattr(os, "pwrite", full)
    chunk(bench, A, 1, 0, bytes(64))
    assert bench.told[0][1].items[0][2] == RESULT_TOO_LARGE
    assert bench.results.bytes == 0


def test_when_files_run_out_the_result_is_refused(bench, monkeypatch):
    monkeypatch.setattr(results_module, "anonymous_file", full)
    bench.results.announced(A, big(1))
    assert bench.told[0][1].items[0][2] == RESULT_TOO_LARGE
    assert len(bench.results) == 0


def test_a_cancelled_result_is_not_waited_for(bench):
    bench.results.announced(A, big(1, seq=3))
    bench.results.announced(A, big(2, seq=4))
    bench.results.cancelled([(1, 1)])
    assert bench.told == [(A, Outcomes(3, []))]
    assert bench.to(A, ChunkTaken)[-1] == ChunkTaken(1, 1, -1)
    assert len(bench.results) == 1


def test_results_wait_when_the_driver_does_not_take_them(bench, monkeypatch):
    monkeypatch.setattr(results_module, "RESULTS_BYTES", 300)
    for number in (1, 2, 3, 4):
        bench.results.announced(A, big(number, seq=number))
    assert bench.to(A, ChunkTaken) == [ChunkTaken(1, 1, 0), ChunkTaken(2, 1, 0)]
    assert bench.results.bytes == 256
    chunk(bench, A, 3, 0, bytes(128))  # unasked
    for number in (1, 2):
        chunk(bench, A, number, 0, bytes(128))
        os.close(*bench.results.file((number, 1), number))
    assert {message.task for message in bench.to(A, ChunkTaken)} == {1, 2}
    bench.results.cancelled([(3, 1)])
    bench.results.driver_took(1)
    assert bench.to(A, ChunkTaken)[-1] == ChunkTaken(4, 1, 0)


def test_one_result_larger_than_the_room_goes_alone(bench, monkeypatch):
    monkeypatch.setattr(results_module, "RESULTS_BYTES", 100)
    bench.results.announced(A, big(1))
    bench.results.announced(A, big(2, seq=2))
    chunk(bench, A, 1, 0, bytes(128))
    os.close(*bench.results.file((1, 1), 1))
    assert bench.to(A, ChunkTaken) == [ChunkTaken(1, 1, 0), ChunkTaken(1, 1, 128)]
    bench.results.driver_took(1)
    assert bench.to(A, ChunkTaken)[-1] == ChunkTaken(2, 1, 0)


def test_few_files_of_results_are_open_at_once(bench):
    for number in range(100):
        bench.results.announced(A, big(number, seq=number + 1))
    assert len(bench.to(A, ChunkTaken)) == RESULTS_FILES
    bench.results.manager_gone(A)
    assert bench.results.bytes == 0


def test_results_of_one_manager_that_wait_do_not_close_its_window(bench, monkeypatch):
    """Many at once, more than there is room for, with the sender that managers have."""
    monkeypatch.setattr(results_module, "RESULTS_BYTES", 3_000)
    sender, size, done = Sender(window_bytes=512, chunk_bytes=64), 1024, 0
    for number in range(1, 31):
        bench.results.announced(A, big(number, (size,), number))
        sender.add(Outgoing(number, 1, size, lambda offset, count: bytes(count)), asks=True)
    for _ in range(10_000):
        for message in bench.to(A, ChunkTaken):
            sender.taken(message)
        bench.sent.clear()
        for message, data in sender.pump():
            bench.results.chunk(A, message, data, 0.0)
        for _, message in bench.told[done:]:
            done += 1
            os.close(*bench.results.file((message.item[0], 1), done))
            bench.results.driver_took(done)
        if done == 30:
            break
    assert done == 30


def test_a_manager_that_did_not_hear_our_answer_is_reminded(bench):
    bench.results.announced(A, big(1))
    bench.results.tick(1.0)
    bench.results.tick(2.0)
    assert bench.to(A, ChunkTaken) == [ChunkTaken(1, 1, 0)]
    bench.results.tick(2.0 + RESEND_S)
    assert bench.to(A, ChunkTaken) == [ChunkTaken(1, 1, 0)] * 2


def test_a_result_that_is_announced_again_begins_anew(bench):
    bench.results.announced(A, big(1))
    chunk(bench, A, 1, 0, b"a" * 64)
    bench.results.manager_back(A, B)
    bench.results.announced(B, big(1))
    chunk(bench, A, 1, 64, b"a" * 64)
    chunk(bench, B, 1, 0, b"b" * 128)
    assert read_and_close(bench.results.file((1, 1), 1)) == b"b" * 128
    assert bench.results.bytes == 128


def test_an_announcement_that_comes_twice_changes_nothing(bench):
    bench.results.announced(A, big(1))
    chunk(bench, A, 1, 0, bytes(64))
    bench.results.announced(A, big(1))
    chunk(bench, A, 1, 64, bytes(64))
    assert len(bench.told) == 1


def test_a_result_that_was_complete_is_not_sent_again(bench):
    bench.results.announced(A, big(1))
    chunk(bench, A, 1, 0, bytes(128))
    os.close(*bench.results.file((1, 1), 1))
    bench.results.manager_back(A, B)
    bench.results.announced(B, big(1))
    assert bench.told[1:] == [(B, big(1))]  # the core knows that it had it
    assert bench.to(B, ChunkTaken) == [ChunkTaken(1, 1, -1)]
    assert len(bench.results) == 0
    bench.results.manager_told(B, 1)
    assert bench.results._had == {B: set()}
    bench.results.manager_gone(B)
    assert bench.results._had == {}


@pytest.mark.parametrize("is_back", [False, True])
def test_a_result_whose_manager_was_told_that_it_need_not_keep_it_is_not_waited_for(bench, is_back):
    """That may have been lost with a connection: the manager announces it again, hears it then, and sends nothing."""
    bench.results.announced(A, big(1))
    chunk(bench, A, 1, 0, bytes(128))
    os.close(*bench.results.file((1, 1), 1))
    bench.results.driver_took(1)
    if is_back:
        bench.results.manager_back(A, B)
    bench.results.manager_told(B if is_back else A, 1)
    bench.results.manager_back(A, B)
    bench.results.announced(B, big(1))
    assert bench.told[1:] == [(B, big(1))]
    assert bench.to(B, ChunkTaken) == [ChunkTaken(1, 1, -1)]
    assert (len(bench.results), bench.results.bytes) == (0, 0)
    bench.results.announced(B, big(2, seq=2))
    assert bench.to(B, ChunkTaken)[-1] == ChunkTaken(2, 1, 0)
    bench.results.manager_gone(B)
    assert bench.results._told == {}
