from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadMessage
from plait.executors.htex.messages import Chunk, ChunkTaken
from plait.executors.htex.transfers import Incoming, Outgoing, Receiver, Sender
from plait.limits import CHUNK_BYTES, WINDOW_BYTES


class Value:
    """Bytes that are sent, and where they arrive."""

    def __init__(self, total, task=1, attempt=1):
        self.data = random.Random(total).randbytes(total)
        self.arrived = bytearray(total)
        self.outgoing = Outgoing(task, attempt, total, lambda offset, size: self.data[offset : offset + size])
        self.key = (task, attempt)

    def write(self, offset, data):
        self.arrived[offset : offset + len(data)] = data

    def open(self, receiver):
        return receiver.open(*self.key, len(self.data), self.write)

    @property
    def is_there(self):
        return bytes(self.arrived) == self.data


def run(sender, receiver, deliver=lambda messages: messages, rounds=1000, step_s=0.0):
    """Lets both talk until the sender has nothing left; returns the most that was ever on its way."""
    most, now_s = 0, 0.0
    for _ in range(rounds):
        chunks = deliver(sender.pump(now_s))
        most = max(most, sender.in_flight)
        answers = [answer for chunk, data in chunks if (answer := receiver.chunk(chunk, data)[1])]
        for answer in deliver(answers):
            sender.taken(answer, now_s)
        now_s += step_s
        if not len(sender):
            return most
    pytest.fail(f"{len(sender)} transfers do not end")


@pytest.mark.parametrize("total", [1, 63, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * WINDOW_BYTES + 17])
def test_a_value_arrives(total):
    sender, receiver, value = Sender(), Receiver(), Value(total)
    transfer = value.open(receiver)
    sender.add(value.outgoing)
    assert run(sender, receiver) <= WINDOW_BYTES
    assert value.is_there
    assert transfer.is_complete
    assert value.outgoing.is_done
    assert not value.outgoing.unwanted
    assert (len(sender), len(receiver), sender.in_flight) == (0, 0, 0)


def test_nothing_at_all_is_there_already():
    sender, receiver, value = Sender(), Receiver(), Value(0)
    sender.add(value.outgoing)
    assert len(sender) == 0
    assert value.outgoing.is_done
    assert value.open(receiver).is_complete
    assert len(receiver) == 0


def test_one_chunk_leaves_before_the_other_end_has_said_that_it_takes_it():
    sender, values = Sender(), [Value(10 * CHUNK_BYTES, task) for task in range(3)]
    for value in values:
        sender.add(value.outgoing)
    chunks = sender.pump()
    assert [(chunk.task, chunk.offset) for chunk, _ in chunks] == [(0, 0), (1, 0), (2, 0)]
    assert sender.pump() == []
    assert sender.taken(ChunkTaken(1, 1, CHUNK_BYTES)) is None
    assert {chunk.task for chunk, _ in sender.pump()} == {1}


def test_no_more_than_a_window_is_on_its_way():
    sender, value = Sender(), Value(5 * WINDOW_BYTES)
    sender.add(value.outgoing)
    sender.pump()
    sender.taken(ChunkTaken(1, 1, CHUNK_BYTES))
    sender.pump()
    assert WINDOW_BYTES - CHUNK_BYTES < sender.in_flight <= WINDOW_BYTES
    assert sender.pump() == []


def test_values_take_turns():
    sender, receiver = Sender(), Receiver()
    values = [Value(4 * WINDOW_BYTES, 1), Value(2 * CHUNK_BYTES, 2)]
    for value in values:
        value.open(receiver)
        sender.add(value.outgoing)
    ended = []
    while len(sender):
        for chunk, data in sender.pump():
            answer = receiver.chunk(chunk, data)[1]
            if answer is not None and (done := sender.taken(answer)) is not None:
                ended.append((done.task, values[0].outgoing.taken))
    assert [task for task, _ in ended] == [2, 1]
    assert ended[0][1] <= WINDOW_BYTES


def test_a_pump_may_be_limited():
    sender = Sender()
    for task in range(20):
        sender.add(Value(10, task).outgoing)
    assert len(sender.pump(limit=7)) == 7
    assert len(sender.pump(limit=100)) == 13


def test_a_value_larger_than_the_window_in_one_chunk():
    sender, receiver, value = Sender(window_bytes=10, chunk_bytes=1000), Receiver(), Value(5000)
    value.open(receiver)
    sender.add(value.outgoing)
    run(sender, receiver)
    assert value.is_there


def test_the_same_value_is_not_sent_twice_at_once():
    sender, value = Sender(), Value(CHUNK_BYTES)
    sender.add(value.outgoing)
    sender.add(Value(CHUNK_BYTES).outgoing)
    assert len(sender.pump()) == 1


def test_many_values_share_a_window_without_closing_it_for_each_other():
    sender, receiver = Sender(), Receiver()
    values = [Value(2 * CHUNK_BYTES + 1, task) for task in range(3 * WINDOW_BYTES // CHUNK_BYTES)]
    for value in values:
        value.open(receiver)
        sender.add(value.outgoing)
    run(sender, receiver, rounds=100)
    assert all(value.is_there for value in values)


def test_a_pause_holds_the_sender_back():
    sender, receiver, value = Sender(), Receiver(), Value(4 * WINDOW_BYTES)
    transfer = value.open(receiver)
    transfer.paused = True
    sender.add(value.outgoing)
    for chunk, data in sender.pump():
        assert receiver.chunk(chunk, data) == (None, None)
    assert sender.pump() == []
    answer = transfer.resume()
    assert answer == ChunkTaken(1, 1, CHUNK_BYTES)
    assert transfer.resume() is None
    sender.taken(answer)
    run(sender, receiver)
    assert value.is_there


def test_what_nobody_waits_for_is_refused():
    sender, receiver, value = Sender(), Receiver(), Value(10 * CHUNK_BYTES)
    sender.add(value.outgoing)
    ((chunk, data),) = sender.pump()
    assert receiver.chunk(chunk, data) == (None, ChunkTaken(1, 1, -1))
    assert sender.taken(ChunkTaken(1, 1, -1)) is value.outgoing
    assert value.outgoing.unwanted
    assert value.outgoing.is_done
    assert (len(sender), sender.in_flight, sender.pump()) == (0, 0, [])


def test_removing():
    sender, receiver = Sender(), Receiver()
    first, second = Value(10 * CHUNK_BYTES, 1), Value(100, 2)
    for value in (first, second):
        value.open(receiver)
        sender.add(value.outgoing)
    sender.pump()
    assert sender.remove((1, 1)) is first.outgoing
    assert sender.remove((1, 1)) is None
    assert sender.in_flight == 100
    assert receiver.get((1, 1)) is not None
    assert receiver.remove((1, 1)) is not None
    assert receiver.remove((1, 1)) is None
    assert receiver.get((1, 1)) is None
    sender.remove((2, 1))
    assert sender.in_flight == 0


def test_removing_one_that_has_a_turn():
    sender = Sender()
    sender.add(Value(100, 1).outgoing)
    sender.add(Value(100, 2).outgoing)
    sender.remove((1, 1))
    assert [chunk.task for chunk, _ in sender.pump()] == [2]


def test_a_new_connection_begins_where_the_old_one_was_acknowledged():
    sender, value = Sender(), Value(10 * CHUNK_BYTES)
    sender.add(value.outgoing)
    sender.pump()
    sender.taken(ChunkTaken(1, 1, CHUNK_BYTES))
    sender.pump()
    assert sender.clear() == [value.outgoing]
    assert (len(sender), sender.in_flight) == (0, 0)
    sender.add(value.outgoing)
    assert sender.pump()[0][0] == Chunk(1, 1, CHUNK_BYTES)


def test_a_receiver_forgets_with_its_connection():
    receiver = Receiver()
    transfer = Value(100).open(receiver)
    assert receiver.clear() == [transfer]
    assert len(receiver) == 0


@pytest.mark.parametrize("upto", [-2, -100, CHUNK_BYTES + 1, 10**30])
def test_nonsense_is_no_acknowledgement(upto):
    sender, value = Sender(), Value(10 * CHUNK_BYTES)
    sender.add(value.outgoing)
    sender.pump()
    assert sender.taken(ChunkTaken(1, 1, upto)) is None
    assert sender.taken(ChunkTaken(7, 1, 0)) is None
    assert (value.outgoing.taken, sender.in_flight) == (0, CHUNK_BYTES)


@pytest.mark.parametrize(("offset", "size"), [(-1, 10), (0, 101), (100, 1), (2**63, 1)])
def test_a_chunk_beyond_the_end(offset, size):
    receiver, value = Receiver(), Value(100)
    value.open(receiver)
    with pytest.raises(BadMessage):
        receiver.chunk(Chunk(1, 1, offset), bytes(size))
    assert not any(value.arrived)


def test_empty_chunks_move_nothing():
    transfer = Incoming(1, 1, 100, pytest.fail)
    assert transfer.chunk(0, b"") is None
    assert transfer.got == 0


def test_a_file_that_is_shorter_than_was_said():
    sender = Sender()
    sender.add(Outgoing(1, 1, 100, lambda *_: b"x"))
    with pytest.raises(BadMessage, match="end before byte 100"):
        sender.pump()


def test_a_file_that_cannot_be_read():
    def read(*_):
        raise OSError("gone")

    sender = Sender()
    sender.add(Outgoing(1, 1, 100, read))
    with pytest.raises(OSError, match="gone"):
        sender.pump()
    sender.remove((1, 1))
    assert (sender.in_flight, sender.pump()) == (0, [])


def test_a_chunk_that_is_missing_is_asked_for_once_and_sent_again():
    sender, receiver, value = Sender(), Receiver(), Value(8 * CHUNK_BYTES)
    value.open(receiver)
    sender.add(value.outgoing)
    first = sender.pump()[0]
    sender.taken(receiver.chunk(*first)[1])
    answers = [answer for chunk, data in sender.pump()[1:] if (answer := receiver.chunk(chunk, data)[1])]
    assert answers == [ChunkTaken(1, 1, CHUNK_BYTES)]
    sender.taken(answers[0])
    assert sender.pump()[0][0].offset == CHUNK_BYTES
    sender.taken(answers[0])  # it came twice
    run(sender, receiver)
    assert value.is_there


def test_an_answer_that_is_missing_is_given_again():
    sender, receiver, value = Sender(resend_s=5.0), Receiver(), Value(2 * CHUNK_BYTES)
    value.open(receiver)
    sender.add(value.outgoing)
    assert receiver.chunk(*sender.pump(0.0)[0])[1]  # lost
    assert sender.pump(5.0) == []
    assert sender.pump(5.1) == []
    ((chunk, data),) = sender.pump(5.1)
    assert chunk.offset == 0
    sender.taken(receiver.chunk(chunk, data)[1], 5.1)
    run(sender, receiver)
    assert value.is_there


@given(
    sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=5),
    chunk=st.integers(20, 700),
    window=st.integers(1, 3000),
    seed=st.integers(0, 2**32),
    faults=st.sampled_from(["none", "drop", "duplicate", "reorder", "all"]),
)
def test_whatever_happens_on_the_way_everything_arrives_once(sizes, chunk, window, seed, faults):
    rng = random.Random(seed)
    sender, receiver = Sender(window, chunk, resend_s=3.0), Receiver()
    values = [Value(size, task) for task, size in enumerate(sizes)]
    for value in values:
        value.open(receiver)
        sender.add(value.outgoing)

    def deliver(messages):
        found = list(messages)
        if faults in {"drop", "all"}:
            found = [each for each in found if rng.random() > 0.2]
        if faults in {"duplicate", "all"}:
            found = [each for each in found for _ in range(1 + (rng.random() < 0.3))]
        if faults in {"reorder", "all"}:
            rng.shuffle(found)
        return found

    run(sender, receiver, deliver, rounds=50_000, step_s=1.0)
    assert all(value.is_there for value in values)
    assert sender.in_flight == 0


@given(st.lists(st.tuples(st.integers(-5, 300), st.binary(max_size=50))))
def test_whatever_chunks_come_nothing_is_written_outside(chunks):
    area = bytearray(200)

    def write(offset, data):
        assert 0 <= offset <= offset + len(data) <= len(area)

    receiver = Receiver()
    receiver.open(1, 1, len(area), write)
    for offset, data in chunks:
        try:
            receiver.chunk(Chunk(1, 1, offset), data)
        except BadMessage:
            continue


@given(st.lists(st.integers(-3, 6 * CHUNK_BYTES)))
def test_whatever_answers_come_the_window_holds(answers):
    sender, value = Sender(), Outgoing(1, 1, 5 * CHUNK_BYTES, lambda _, size: bytes(size))
    sender.add(value)
    for upto in answers:
        sender.pump()
        sender.taken(ChunkTaken(1, 1, upto))
        assert 0 <= sender.in_flight <= WINDOW_BYTES
        assert 0 <= value.taken <= value.sent <= value.total


def test_a_value_that_asks_waits_for_the_other_end():
    sender = Sender(resend_s=1.0)
    sender.add(Outgoing(1, 1, 10, lambda _, size: bytes(size)), asks=True)
    assert sender.pump() == []
    assert sender.pump(100.0) == []  # however long
    assert sender.in_flight == 0
    assert sender.taken(ChunkTaken(1, 1, 0)) is None
    assert sender.pump() == [(Chunk(1, 1, 0), bytes(10))]


def test_a_value_that_asks_may_be_refused():
    sender = Sender()
    sender.add(Outgoing(1, 1, 10, lambda _, size: bytes(size)), asks=True)
    done = sender.taken(ChunkTaken(1, 1, -1))
    assert done is not None
    assert done.unwanted
