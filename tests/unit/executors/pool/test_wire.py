"""Frames come out as they went in, however they are cut; what is no frame is refused; big values travel beside them."""

from __future__ import annotations

import contextlib
import os
import resource
import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadMessage, DeserializationError
from plait.executors.pool import wire
from plait.limits import BIG_BYTES

kinds = st.sampled_from([wire.INIT, wire.FUNCTION, wire.TASKS, wire.STOP, wire.READY, wire.OUTCOMES, wire.RETIRE])


@given(st.lists(st.tuples(kinds, st.binary(max_size=300)), max_size=20), st.data())
def test_frames_survive_any_cutting(frames, data):
    stream = b"".join(wire.frame(kind, body) for kind, body in frames)
    reader = wire.FrameReader()
    read = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        read += reader.feed(stream[:size], [])
        stream = stream[size:]
    assert read == [(kind, body, []) for kind, body in frames]


@given(st.lists(st.binary(max_size=64), max_size=10))
def test_any_bytes_give_frames_or_bad_message(parts):
    reader = wire.FrameReader()
    try:
        for part in parts:
            for kind, body, files in reader.feed(part, []):
                assert kind <= wire.RETIRE
                assert isinstance(body, bytes)
                assert files == []
    except BadMessage:
        pass


@given(st.binary(max_size=200))
def test_any_body_decodes_or_raises_one_kind_of_error(body):
    for decode in (wire.decode_tasks, wire.decode_outcomes, wire.decode_function, wire.decode_text, wire.decode_any):
        with contextlib.suppress(ValueError):  # what the link catches
            decode(body)
    assert issubclass(msgspec.DecodeError, ValueError)


outcomes = st.tuples(
    st.integers(0, 2**63),
    st.integers(0, 2),
    st.binary(max_size=100),
    st.none() | st.lists(st.integers(0, 2**40)),
    st.floats(allow_nan=False),
    st.floats(allow_nan=False),
)


@given(st.lists(outcomes, max_size=20))
def test_outcomes_round_trip(items):
    assert wire.decode_outcomes(wire.encode(items)) == items


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**63),
            st.integers(0, 2**31),
            st.binary(max_size=50),
            st.none() | st.lists(st.integers(0, 2**40)),
        ),
        max_size=20,
    )
)
def test_tasks_round_trip(items):
    assert wire.decode_tasks(wire.encode(items)) == items


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_files_come_with_their_frame(pair):
    ours, theirs = pair
    reader = wire.FrameReader()
    for text in (b"first", b"second"):
        fd = wire.anonymous_file(0)
        os.write(fd, text)
        wire.send_files(ours, [wire.frame(wire.TASKS, text, 1)], [fd])
        os.close(fd)
    wire.send_files(ours, [wire.frame(wire.STOP, b"")], [])
    frames = []
    while len(frames) < 3:
        frames += reader.feed(*wire.receive_files(theirs, 65536))
    for kind, body, files in frames[:2]:
        assert kind == wire.TASKS
        (fd,) = files
        assert os.pread(fd, 100, 0) == body
        os.close(fd)
    assert frames[2] == (wire.STOP, b"", [])


def test_files_of_a_frame_that_never_becomes_whole_are_closed(pair):
    ours, theirs = pair
    reader = wire.FrameReader()
    fd = wire.anonymous_file(0)
    wire.send_files(ours, [wire.frame(wire.TASKS, b"x" * 100, 1)[:50]], [fd])
    os.close(fd)
    assert reader.feed(*wire.receive_files(theirs, 65536)) == []
    reader.close()  # the check around each test would find the descriptor


def test_a_frame_in_many_pieces_and_what_follows_it():
    reader = wire.FrameReader()
    body = bytes(range(256)) * 4096
    data = wire.frame(wire.TASKS, body) + wire.frame(wire.STOP, b"")
    frames = []
    for start in range(0, len(data), 1000):
        frames += reader.feed(data[start : start + 1000], [])
    assert frames == [(wire.TASKS, body, []), (wire.STOP, b"", [])]


def test_lost_files_are_not_taken_for_others(pair):
    """More may be sent than this process may have open: the message says so instead of shifting the rest."""
    ours, theirs = pair
    fds = [wire.anonymous_file(0) for _ in range(20)]
    wire.send_files(ours, [b"x"], fds)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(fds) + 3, limits[1]))
    try:
        with pytest.raises(BadMessage, match="too many files open"):
            wire.receive_files(theirs, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in fds:
            os.close(fd)


# ------------------------------------------------------------------ big values
@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize(
    "value",
    [b"x" * BIG_BYTES, bytearray(b"y" * (3 * BIG_BYTES)), ["z" * BIG_BYTES, 1]],
    ids=["bytes", "bytearray", "list"],
)
def test_big_values(value, in_file):
    segments = wire.dump_value(value, in_file=in_file)
    assert isinstance(segments, wire.Segments)
    for _ in range(2):  # a task that is sent again
        assert wire.load_segments(segments.file(), segments.sizes) == value
    segments.close()
    segments.close()


@pytest.mark.parametrize("in_file", [True, False])
def test_big_values_without_a_file(in_file):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(100_001, dtype="u1")
    segments = wire.dump_value([array, array[:7].copy(), "x" * BIG_BYTES], in_file=in_file)
    first, second, text = wire.load_whole(segments.whole(), segments.sizes)
    first += 0  # can be written to
    assert (first == array).all()
    assert (second == array[:7]).all()
    assert text == "x" * BIG_BYTES
    segments.close()


def test_arrays_are_separate_and_can_be_written_to():
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(100_000)
    segments = wire.dump_value(array)
    array[0] = 7  # what the caller does after the call is not sent
    first, second = (wire.load_segments(segments.file(), segments.sizes) for _ in range(2))
    first += 1
    assert (first[0], second[0]) == (1, 0)
    segments.close()


def test_small_values_are_bytes():
    assert isinstance(wire.dump_value(1), bytes)
    assert isinstance(wire.dump_value(b"x" * (BIG_BYTES - 100)), bytes)


def test_the_count_of_open_files_returns():
    before = wire.Segments.waiting
    segments = wire.dump_value(b"x" * BIG_BYTES)
    assert wire.Segments.waiting == before + 1
    del segments
    assert wire.Segments.waiting == before


def test_mappings_are_bounded_by_the_limit_of_open_files():
    numpy = pytest.importorskip("numpy")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    segments = wire.dump_value(numpy.ones(BIG_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(128, limits[0]), limits[1]))
    try:
        kept = [wire.load_segments(segments.file(), segments.sizes) for _ in range(300)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert all(array.sum() == BIG_BYTES for array in kept)
    segments.close()
    del kept


def test_a_file_that_is_too_short():
    fd = wire.anonymous_file(10)
    with pytest.raises(BadMessage, match="10 bytes"):
        wire.load_segments(fd, [1000])


def test_a_file_with_something_else():
    fd = wire.anonymous_file(1024)
    with pytest.raises(DeserializationError):
        wire.load_segments(fd, [1000])


@given(st.lists(st.integers(0, 1 << 30), max_size=10))
def test_segments_begin_where_buffers_may(sizes):
    starts = wire.offsets(sizes)
    assert len(starts) == len(sizes) + 1
    assert all(start % 64 == 0 for start in starts)
    assert all(start + size <= following for start, size, following in zip(starts, sizes, starts[1:], strict=False))
