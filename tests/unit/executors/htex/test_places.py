"""The ring in which places are written down."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.executors.htex.messages import Placed
from plait.executors.htex.places import FILE_BYTES, Ring, ring_file
from plait.executors.pool.page import anonymous_file


def pair():
    """A writer and a reader of the same ring."""
    fd = ring_file()
    try:
        return Ring(fd), Ring(fd)
    finally:
        os.close(fd)


def test_what_one_writes_the_other_reads_once():
    writer, reader = pair()
    assert reader.read() == []
    for body in (b"one", b"", b"x" * 1000):
        assert writer.write(body)
    assert reader.read() == [b"one", b"", b"x" * 1000]
    assert reader.read() == []
    writer.close()
    reader.close()


def test_places_are_messages():
    writer, reader = pair()
    placed = Placed("m1", [(1, 1), (2, 3)])
    assert writer.note(placed)
    writer.write(b"garbage")
    assert writer.note(placed)
    assert reader.noted() == [placed, placed]
    writer.close()
    reader.close()


def test_a_full_ring_takes_nothing_until_it_was_read():
    writer, reader = pair()
    bodies = []
    while writer.write(body := b"%d" % len(bodies) * 100):
        bodies.append(body)
    assert len(bodies) > 1000
    assert reader.read() == bodies
    assert writer.write(b"again")
    assert reader.read() == [b"again"]
    assert not writer.write(b"x" * FILE_BYTES)
    writer.close()
    reader.close()


def test_what_is_no_ring_is_refused():
    fd = anonymous_file(100)
    with pytest.raises(ValueError, match="100 bytes"):
        Ring(fd)
    os.close(fd)


def test_nonsense_in_it_harms_nobody():
    writer, reader = pair()
    writer._data[:4] = b"\xff\xff\xff\x7f"
    writer._numbers[0] = 500
    assert reader.read() == []
    assert reader.read() == []
    writer.close()
    reader.close()


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 60_000), st.booleans()), max_size=80))
def test_nothing_is_lost_or_changed_however_it_wraps(steps):
    writer, reader = pair()
    expected: list[bytes] = []
    got: list[bytes] = []
    for number, (size, looks) in enumerate(steps):
        body = bytes([number % 251]) * size
        if writer.write(body):
            expected.append(body)
        if looks:
            got += reader.read()
    got += reader.read()
    assert got == expected
    writer.close()
    reader.close()
