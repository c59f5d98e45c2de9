"""F28: who sends more in one piece than is allowed loses the connection, before it fills anybody's memory; others notice nothing."""

from __future__ import annotations

import socket

import psutil
import zmq

from plait.executors.htex import messages as m
from plait.executors.htex.link import Dealer
from plait.executors.htex.wire import encode
from plait.limits import ROUTER_FRAME_BYTES
from tests.unit.executors.htex.link_lab import net, take

LIMIT = 1_000_000


def test_a_huge_frame_from_a_manager():
    with net(max_frame_bytes=LIMIT) as lab:
        good = lab.dealer("good")
        lab.greet(good, 1.0)
        sock = lab.stranger(lab.block("bad"))
        sock.send_multipart([encode(m.Chunk(1, 1, 0), LIMIT), bytes(LIMIT)])
        lab.until(lambda: len(lab.got) == 2)  # just small enough
        events = sock.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        sock.send_multipart([encode(m.Chunk(1, 1, 0), 2 * LIMIT), bytes(2 * LIMIT)])
        lab.until(lambda: events.poll(0))
        sock.disable_monitor()
        sock.send(encode(m.Heartbeat(2.0)))  # over the next connection
        lab.heard(2.0)
        lab.greet(good, 3.0)
        assert len(lab.got) == 4


def test_a_frame_that_announces_a_terabyte():
    before = psutil.Process().memory_info().rss
    with net(encrypted=False, max_frame_bytes=LIMIT) as lab:
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
        ready = b"\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
        with socket.create_connection(("127.0.0.1", lab.router.port)) as sock:
            sock.sendall(greeting + ready + b"\x02" + (2**40).to_bytes(8, "big") + bytes(1000))
            lab.until(lambda: lab.router.counts["handshake"] and lab.router.connections == 0)
        lab.greet(lab.dealer(), 1.0)
    assert psutil.Process().memory_info().rss - before < 50_000_000


def test_a_huge_frame_to_a_manager():
    with net() as lab:
        dealer: Dealer = lab.dealer(max_frame_bytes=LIMIT)
        conn = lab.greet(dealer, 1.0)
        lab.router.send(conn, m.Function(1), bytes(2 * LIMIT))
        lab.until(dealer.reconnected)
        again = lab.greet(dealer, 2.0)
        lab.router.send(again, m.Heartbeat(3.0))
        assert take(dealer, 1) == [(m.Heartbeat(3.0), b"")]


def test_what_is_allowed_is_enough_for_a_chunk_and_a_batch():
    from plait.limits import CHUNK_BYTES

    assert ROUTER_FRAME_BYTES > 8 * CHUNK_BYTES
