"""One end of the driver's socket pair."""

from __future__ import annotations

import os
import socket

import pytest

from plait.errors import BadMessage
from plait.executors.htex import messages as m
from plait.executors.htex.stream import Stream, socket_pair
from plait.executors.pool.page import anonymous_file
from plait.executors.pool.wire import receive_files
from tests.support import wait_until


@pytest.fixture
def ends():
    ours, theirs = socket_pair()
    a, b = Stream(ours, m.TO_DRIVER), Stream(theirs, m.FROM_DRIVER)
    yield a, b
    a.close()
    b.close()


def take(stream, count=1):
    """So many messages."""
    got = []

    def enough():
        got.extend(stream.receive() or ())
        return len(got) >= count

    wait_until(enough)
    return got


def test_messages_arrive_in_order_with_their_payloads(ends):
    a, b = ends
    assert b.receive() == []
    a.send(m.Function(1), b"code")
    a.send(m.Taken(7))
    a.send(m.Function(2), b"x" * 500_000)
    assert take(b, 2)[:2] == [(m.Function(1), b"code", []), (m.Taken(7), b"", [])]


def test_what_the_socket_does_not_take_is_kept_and_sent_later(ends):
    a, b = ends
    payload = os.urandom(1 << 20)
    for number in range(8):
        a.send(m.Function(number), payload)
    assert a.pending > 0
    got = []

    def all_there():
        a.flush()
        got.extend(b.receive())
        return len(got) == 8

    wait_until(all_there)
    assert a.pending == 0
    assert [message.number for message, _, _ in got] == list(range(8))
    assert all(data == payload for _, data, _ in got)


def test_files_travel_with_their_message(ends):
    a, b = ends
    for number in range(20):
        fd = anonymous_file(0)
        os.write(fd, b"%d" % number)
        a.send(m.Data(number, 1), b"", [fd])
    a.send(m.Taken(1))
    got = take(b, 21)
    for message, _, fds in got[:20]:
        assert os.pread(fds[0], 10, 0) == b"%d" % message.task
        os.close(fds[0])
    assert got[20][2] == []


def test_files_that_came_before_nonsense_are_closed(ends, monkeypatch):
    a, b = ends
    for number in range(2):
        a.send(m.Data(number, 1), b"", [anonymous_file(1)])
    got = []

    def as_often_as_there_is_room_for_files(sock, size):
        if got:
            raise BadMessage("too many files")
        data, fds = receive_files(sock, size)
        got.extend(fds)
        return data, fds

    monkeypatch.setattr("plait.executors.htex.stream.receive_files", as_often_as_there_is_room_for_files)
    with pytest.raises(BadMessage, match="too many files"):
        b.receive()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(got[0])


def test_files_that_wait_are_closed_with_the_stream(ends):
    a, _ = ends
    while not a.pending:
        a.send(m.Function(1), b"x" * 100_000)
    a.send(m.Data(1, 1), b"", [anonymous_file(0)])
    a.close()
    assert a.pending == 0
    a.send(m.Data(1, 1), b"", [anonymous_file(0)])  # to nobody: closed as well


def test_the_end_comes_after_what_was_said_before(ends):
    a, b = ends
    for _ in range(3):
        a.send(m.Taken(1))
    a.close()
    assert len(take(b, 3)) == 3
    assert b.receive() is None
    assert b.ended


def test_sending_to_one_who_is_gone_is_no_error(ends):
    a, b = ends
    b.close()
    a.send(m.Taken(1))
    a.send(m.Function(1), b"x" * 1_000_000)
    a.flush()
    assert a.ended
    assert a.pending == 0


def test_nonsense_and_messages_for_others_are_refused(ends):
    a, b = ends
    a.send(m.Placed("m", []))
    with pytest.raises(BadMessage, match="Placed"):
        take(b)


def test_too_many_files_on_the_way_are_waited_for(ends, monkeypatch):
    a, b = ends
    real = socket.socket.sendmsg
    answers = iter([OSError(109, "too many references"), OSError(109, "too many references")])

    class Stub:
        def __init__(self, sock):
            self._sock = sock

        def __getattr__(self, name):
            return getattr(self._sock, name)

        def sendmsg(self, *args):
            error = next(answers, None)
            if error is not None:
                raise error
            return real(self._sock, *args)

    stubbed = Stream(Stub(a._sock), m.TO_DRIVER)
    stubbed.send(m.Data(1, 1), b"", [anonymous_file(0)])
    assert stubbed.pending
    stubbed.flush()
    assert stubbed.pending
    stubbed.flush()
    assert not stubbed.pending
    ((_, _, fds),) = take(b)
    os.close(fds[0])
