"""A worker's end in the driver: frames go out whole, whatever the socket takes, and come in as they were sent."""

import errno
import os
import select
import socket

import pytest

from plait.errors import BadMessage
from plait.executors.pool import wire
from plait.executors.pool.core import WorkerState
from plait.executors.pool.page import PAGE_BYTES, Page, anonymous_file
from plait.executors.pool.peer import Peer
from tests.support import wait_until


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    fd = anonymous_file(PAGE_BYTES)
    peer = Peer(WorkerState(0), ours, Page(fd), select.poll())
    os.close(fd)
    yield peer, theirs
    peer.close()
    theirs.close()


def _frames(sock, number):
    reader, frames = wire.FrameReader(), []
    while len(frames) < number:
        frames += reader.feed(*wire.receive_files(sock, 65536))
    return frames


def test_a_frame_that_does_not_fit_is_kept_and_follows_later(pair):
    peer, theirs = pair
    bodies = [bytes([n]) * 500_000 for n in range(3)]
    for body in bodies:
        peer.send(wire.frame(wire.TASKS, body), [])
    assert peer.out
    reader, frames = wire.FrameReader(), []
    while len(frames) < 3:
        frames += reader.feed(*wire.receive_files(theirs, 1 << 16))
        peer.flush()
    assert [body for _, body, _ in frames] == bodies
    assert not peer.out


def test_files_arrive_with_their_frame_and_are_closed_here(pair):
    peer, theirs = pair
    fd = anonymous_file(0)
    os.pwrite(fd, b"content", 0)
    peer.send(wire.frame(wire.TASKS, b"x", 1), [fd])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    ((_, body, files),) = _frames(theirs, 1)
    assert body == b"x"
    assert os.pread(files[0], 10, 0) == b"content"
    os.close(files[0])


def test_what_arrives_is_frames_nothing_or_the_end(pair):
    peer, theirs = pair
    assert peer.receive() == []
    assert not peer.has_more()
    theirs.sendall(wire.frame(wire.READY, b"1") + wire.frame(wire.RETIRE, b"2")[:-1])
    assert peer.receive() == [(wire.READY, b"1", [])]
    theirs.sendall(b"2")
    assert peer.receive() == [(wire.RETIRE, b"2", [])]
    theirs.shutdown(socket.SHUT_WR)
    wait_until(peer.has_more)
    assert peer.receive() is None


def test_what_is_no_frame_is_told(pair):
    peer, theirs = pair
    theirs.sendall(b"\xff" * 64)
    with pytest.raises(BadMessage):
        peer.receive()


def test_sending_to_one_that_is_gone_is_no_error(pair):
    peer, theirs = pair
    theirs.close()
    for _ in range(3):
        peer.send(wire.frame(wire.TASKS, b"x"), [])
    assert not peer.out


def test_files_of_frames_that_waited_for_one_that_is_gone_are_closed(pair):
    peer, theirs = pair
    files = [anonymous_file(1) for _ in range(3)]
    peer.send(wire.frame(wire.TASKS, bytes(3_000_000)), [])
    for fd in files:
        peer.send(wire.frame(wire.TASKS, b"x", 1), [fd])
    assert len(peer.out) == 4
    theirs.close()
    peer.flush()
    assert not peer.out
    for fd in files:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


@pytest.mark.parametrize("number", [errno.ETOOMANYREFS, errno.ENOBUFS])
def test_what_the_system_cannot_send_now_is_sent_later_and_in_order(pair, monkeypatch, number):
    peer, theirs = pair
    send = wire.send_files

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(wire, "send_files", refuse)
    peer.send(wire.frame(wire.TASKS, b"first", 1), [anonymous_file(1)])
    peer.send(wire.frame(wire.TASKS, b"second"), [])
    assert peer.stalled
    assert peer._poll.poll(0) == [], "the socket could take it: waiting for that would not be waiting"
    peer.flush()
    assert peer.stalled
    monkeypatch.setattr(wire, "send_files", send)
    peer.flush()
    assert not peer.stalled
    assert not peer.out
    (_, first, (fd,)), (_, second, _) = _frames(theirs, 2)
    os.close(fd)
    assert (first, second) == (b"first", b"second")


def test_one_that_is_held_up_is_not_read_until_it_goes_on():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    fd = anonymous_file(PAGE_BYTES)
    poll = select.poll()
    peer = Peer(WorkerState(0), ours, Page(fd), poll)
    os.close(fd)
    peer.hold_up(on=True)
    theirs.sendall(wire.frame(wire.READY, b"1"))
    assert poll.poll(0) == []
    peer.send(wire.frame(wire.TASKS, bytes(3_000_000)), [])  # what waits to be sent is sent all the same
    assert peer.out
    theirs.recv(2_000_000)
    assert poll.poll(1000) == [(peer.fd, select.POLLOUT)]
    peer.hold_up(on=False)
    assert poll.poll(0)[0][1] & select.POLLIN
    peer.hold_up(on=True)
    theirs.close()
    assert poll.poll(1000)[0][1] & (select.POLLHUP | select.POLLERR)
    peer.close()
