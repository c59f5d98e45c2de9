"""Messages come out as they went in, however they are cut; whatever else comes is refused, and nothing but refused."""

from __future__ import annotations

import os
import pickle
import time
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadMessage
from plait.executors.htex import messages as m
from plait.executors.htex import wire
from plait.executors.htex.wire import PREFIX, StreamReader, decode, encode, from_parts, read_prefix, to_parts
from tests.unit.executors.htex.link_lab import register
from tests.unit.executors.htex.strategies import messages, struct

ALL = frozenset(m.KINDS.values())


@given(messages)
def test_any_message_survives(message):
    assert decode(encode(message), ALL) == message


@given(messages, st.binary(max_size=200))
def test_any_message_survives_in_parts(message, payload):
    head, rest = to_parts(message, payload, 1_000_000)
    assert rest == payload
    assert from_parts(head, rest, 0, ALL) == message


@pytest.mark.parametrize(
    ("payload", "extra", "match"), [(b"", 0, "not those announced"), (b"xyz", 0, "not those"), (b"xy", 1, "3 parts")]
)
def test_parts_that_do_not_belong_together(payload, extra, match):
    head, _ = to_parts(m.Function(1), b"xy", 1000)
    with pytest.raises(BadMessage, match=match):
        from_parts(head, payload, extra, ALL)


@given(st.lists(st.tuples(messages, st.binary(max_size=200)), max_size=8), st.data())
def test_a_stream_survives_any_cutting(frames, data):
    stream = b"".join(encode(message, len(payload)) + payload for message, payload in frames)
    reader = StreamReader(ALL)
    read = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        read += reader.feed(stream[:size], [])
        stream = stream[size:]
    assert read == [(message, payload, []) for message, payload in frames]


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(data):
    try:
        decode(data, ALL)
    except BadMessage:
        pass


@given(st.sampled_from(sorted(m.KINDS)), st.binary(max_size=300))
def test_any_header_is_refused_or_read(kind, header):
    data = PREFIX.pack(wire.MAGIC, wire.VERSION, kind, 0, len(header), 0) + header
    try:
        message = decode(data, ALL)
    except BadMessage:
        return
    assert isinstance(message, m.KINDS[kind])


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)  # fmt: skip


@given(st.sampled_from(sorted(m.KINDS)), st.lists(json, max_size=20))
def test_any_msgpack_is_refused_or_read(kind, fields):
    header = msgspec.msgpack.encode(fields)
    data = PREFIX.pack(wire.MAGIC, wire.VERSION, kind, 0, len(header), 0) + header
    try:
        decode(data, ALL)
    except BadMessage:
        pass


@given(messages, st.data())
def test_a_damaged_message_is_refused_or_another_one(message, data):
    frame = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(frame), ALL)
    except BadMessage:
        pass


@given(st.lists(st.binary(max_size=64), max_size=10))
def test_any_stream_gives_messages_or_is_refused(parts):
    reader = StreamReader(ALL)
    try:
        for part in parts:
            reader.feed(part, [])
    except BadMessage:
        pass


def test_only_what_is_expected_is_read():
    for kind in m.FROM_DRIVER - m.FROM_MANAGER:
        number = next(number for number, cls in m.KINDS.items() if cls is kind)
        with pytest.raises(BadMessage, match=f"{kind.__name__}, which is not for this link"):
            decode(PREFIX.pack(wire.MAGIC, wire.VERSION, number, 0, 1, 0) + b"\x90", m.FROM_MANAGER)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "0 bytes, less than a prefix"),
        (b"\xf1P\x01", "3 bytes, less than a prefix"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not begin as plait's do"),
        (pickle.dumps(os.getcwd, protocol=4) * 3, "does not begin"),
        (PREFIX.pack(wire.MAGIC, wire.VERSION + 1, 1, 0, 0, 0), "version"),
        (PREFIX.pack(wire.MAGIC, wire.VERSION, 255, 0, 0, 0), "unknown kind 255"),
        (PREFIX.pack(wire.MAGIC, wire.VERSION, 1, 0, wire.MAX_HEADER_BYTES + 1, 0), "announces"),
        (PREFIX.pack(wire.MAGIC, wire.VERSION, 1, 0, 0, wire.MAX_PAYLOAD_BYTES + 1), "announces"),
        (PREFIX.pack(wire.MAGIC, wire.VERSION, 1, 0, 2, 0) + b"\x90", "whose prefix announces"),
        (encode(m.Heartbeat(1.0)) + b"x", "whose prefix announces"),
        (PREFIX.pack(wire.MAGIC, wire.VERSION, 1, 0, 1, 0) + b"\x90", "Heartbeat that cannot be read"),
    ],
)
def test_what_is_refused_and_why(data, match):
    with pytest.raises(BadMessage, match=match):
        decode(data, ALL)


def test_more_fields_than_a_message_has():
    header = msgspec.msgpack.encode([1.0, 2.0, 3.0])
    with pytest.raises(BadMessage):
        decode(PREFIX.pack(wire.MAGIC, wire.VERSION, 1, 0, len(header), 0) + header, ALL)


@pytest.mark.parametrize(
    "header", [b"\x91\xdd\xff\xff\xff\xff", b"\x92\x01\xdd\x0f\xff\xff\xff", b"\x91\xc6\xff\xff\xff\xff"]
)
def test_lengths_that_lie_cost_nothing(header):
    tracemalloc.start()
    try:
        for kind in m.KINDS:
            with pytest.raises(BadMessage):
                decode(PREFIX.pack(wire.MAGIC, wire.VERSION, kind, 0, len(header), 0) + header, ALL)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("nest", [b"\x91", b"\x81\xa1a"])
def test_depth_that_would_exhaust_the_stack(nest):
    header = nest * 100_000
    for kind in m.KINDS:
        with pytest.raises(BadMessage):
            decode(PREFIX.pack(wire.MAGIC, wire.VERSION, kind, 0, len(header), 0) + header, ALL)


def test_a_reason_does_not_repeat_what_came():
    secret = b"canary-7d1f"
    header = msgspec.msgpack.encode([secret.decode(), secret])
    for kind in m.KINDS:
        with pytest.raises(BadMessage) as info:
            decode(PREFIX.pack(wire.MAGIC, wire.VERSION, kind, 0, len(header), 0) + header, ALL - {m.Answer})
        assert "canary" not in str(info.value)


# ------------------------------------------------------------------ other versions
def test_a_registration_of_another_version_is_understood_well_enough_to_refuse_it():
    fields = ["m1", "b0", "node", 7, "boot", m.PROTOCOL + 1, "9.9", "3.20.1", {"all": "new"}, [1, 2]]
    header = msgspec.msgpack.encode(fields)
    number = next(number for number, cls in m.KINDS.items() if cls is m.Register)
    message = decode(PREFIX.pack(wire.MAGIC, wire.VERSION, number, 0, len(header), 0) + header, m.FROM_MANAGER)
    assert isinstance(message, m.Register)
    assert (message.manager, message.block, message.hostname, message.pid) == ("m1", "b0", "node", 7)
    assert (message.protocol, message.plait, message.python) == (m.PROTOCOL + 1, "9.9", "3.20.1")
    assert (message.workers, message.draining) == (0, True)


@pytest.mark.parametrize(
    "fields",
    [
        ["m1"],
        ["m1", "b0", "node", 7, "boot", m.PROTOCOL, "9.9", "3.20.1"],
        ["m1", "b0", "node", 7, "boot", "x", "9.9", "3"],
    ],
)
def test_a_registration_that_is_none(fields):
    header = msgspec.msgpack.encode(fields)
    number = next(number for number, cls in m.KINDS.items() if cls is m.Register)
    with pytest.raises(BadMessage):
        decode(PREFIX.pack(wire.MAGIC, wire.VERSION, number, 0, len(header), 0) + header, m.FROM_MANAGER)


def test_a_registration_of_this_version_in_full():
    message = register(holds=[(1, 2)], walltime_left_s=1.5)
    assert decode(encode(message), m.FROM_MANAGER) == message


# ------------------------------------------------------------------ streams
@given(struct(m.Function), st.binary(max_size=100), st.integers(0, 3))
def test_files_go_with_their_frames(message, payload, files):
    reader = StreamReader(ALL)
    frame = encode(message, len(payload), files) + payload
    other = encode(m.Heartbeat(1.0))
    assert reader.feed(frame[:5], list(range(100, 100 + files))) == []
    assert reader.feed(frame[5:] + other, []) == [
        (message, payload, list(range(100, 100 + files))),
        (m.Heartbeat(1.0), b"", []),
    ]


def test_a_frame_whose_files_did_not_come():
    with pytest.raises(BadMessage, match="without its 2 files"):
        StreamReader(ALL).feed(encode(m.Heartbeat(1.0), 0, 2), [7])


def test_files_of_frames_that_were_never_complete_are_closed():
    reader = StreamReader(ALL)
    inside, outside = os.pipe()
    reader.feed(b"\xf1", [inside])
    reader.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(inside)
    os.close(outside)


def test_a_large_frame_in_small_pieces_costs_no_more_than_its_bytes():
    payload = bytes(32 * 1024 * 1024)
    stream = encode(m.Function(1), len(payload)) + payload
    reader = StreamReader(ALL)
    began = time.process_time()
    read = []
    for at in range(0, len(stream), 4096):
        read += reader.feed(stream[at : at + 4096], [])
    assert [(message, len(got)) for message, got, _ in read] == [(m.Function(1), len(payload))]
    assert time.process_time() - began < 5.0  # copying the rest each time would take minutes
    assert reader.feed(encode(m.Heartbeat(1.0)), []) == [(m.Heartbeat(1.0), b"", [])]


def test_the_prefix_can_be_read_inside_a_buffer():
    data = b"xyz" + encode(m.Function(1), 7, 2)
    kind, files, header_bytes, payload_bytes = read_prefix(data, 3)
    assert (m.KINDS[kind], files, header_bytes, payload_bytes) == (m.Function, 2, len(data) - 3 - PREFIX.size, 7)
