"""S07: many idle connections, slow ones, and those that send anything at all: the link lives, and managers are heard meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import socket

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.executors.htex import link as link_module
from plait.executors.htex import messages as m
from plait.executors.htex.link import new_keys
from plait.executors.htex.wire import PREFIX, encode
from plait.limits import SAY_EVERY_S
from tests.support import wait_until
from tests.unit.executors.htex.link_lab import HOST, net, take

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)


@contextlib.contextmanager
def clients(lab, count, data=b""):
    """So many TCP connections, each of which has sent something."""
    with contextlib.ExitStack() as stack:
        socks = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection((HOST, lab.router.port)))
            with contextlib.suppress(OSError):
                sock.sendall(data)
            socks.append(sock)
            lab.pump()
        yield socks


@pytest.fixture
def quick(monkeypatch):
    """Handshakes have half a second."""
    monkeypatch.setattr(link_module, "HANDSHAKE_S", 0.5)


def has_files(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return max(soft, count) <= hard


def test_a_thousand_idle_connections(quick):
    count = 1000 if has_files(4096) else 200
    with net() as lab:
        old = lab.dealer()
        conn = lab.greet(old, 1.0)
        with clients(lab, count) as socks:
            lab.greet(lab.dealer(timeout_s=20), 2.0)
            assert lab.router.send(conn, m.Heartbeat(3.0))
            take(old, 1)
            lab.until(lambda: lab.router.connections == 2, 20)  # each had its time to prove who it is
            assert all(sock.recv(4096) is not None for sock in socks[:10])
        assert len(lab.router.problems) <= 2


def test_connections_that_dribble(quick):
    with net() as lab:
        lab.greet(lab.dealer(), 1.0)
        with clients(lab, 20) as socks:
            at = 0

            def dribble() -> bool:
                nonlocal at
                at += 1
                for sock in socks:
                    with contextlib.suppress(OSError):
                        sock.send(GREETING[at % len(GREETING) :][:1])
                return lab.router.connections == 1

            lab.until(dribble, 20)
        lab.greet(lab.dealer(), 2.0)


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), b"SSH-2.0-x\r\n", b"\0" * 5000, b"\xff" * 5000,
        GREETING, GREETING + b"\x04\x05HELLO", GREETING + b"\x06" + (2**62).to_bytes(8, "big"), GREETING + b"\x02\x00" * 2000, b"\xff\0\0\0\0\0\0\0\1\x7f",
    ],
    ids=["http", "tls", "ssh", "zeros", "ones", "greeting", "hello", "huge", "empty", "half"],
)  # fmt: skip
def test_other_protocols(data, encrypted, quick):
    with net(encrypted=encrypted) as lab:
        old = lab.dealer()
        lab.greet(old, 1.0)
        with clients(lab, 3, data) as socks:
            for sock in socks:
                with contextlib.suppress(OSError):  # it was put out already
                    sock.shutdown(socket.SHUT_WR)
            lab.until(lambda: lab.router.connections == 1)
        lab.greet(old, 2.0)
        lab.greet(lab.dealer(), 3.0)
        assert len(lab.got) == 3


def test_random_bytes(quick):
    rng = random.Random(7)
    with net() as lab:
        for _ in range(100):
            prefix = rng.choice([b"", GREETING[: rng.randrange(64)], GREETING])
            with clients(lab, 1, prefix + rng.randbytes(rng.randrange(2000))):
                pass
        lab.until(lambda: lab.router.connections == 0)
        lab.greet(lab.dealer(), 1.0)


def test_a_log_does_not_grow_with_bad_connections(quick):
    with net() as lab:
        for _ in range(300):
            with clients(lab, 1, b"\x1b[31mnonsense\r\n" * 10):
                pass
        lab.until(lambda: lab.router.connections == 0)
        assert lab.router.counts["handshake"] > 100
        text = "\n".join(lab.router.problems)
        assert len(lab.router.problems) <= 1 + 300 // SAY_EVERY_S
        assert "nonsense" not in text


# ------------------------------------------------------------------ with a key
parts = st.lists(st.binary(max_size=100), min_size=1, max_size=4)
heads = st.builds(
    lambda kind, header, announced: PREFIX.pack(b"\xf1P", 1, kind, 0, len(header), announced) + header,
    st.sampled_from(sorted(m.KINDS)),
    st.binary(max_size=60),
    st.sampled_from([0, 1, 2**32 - 1]),
)


@pytest.fixture(scope="module")
def open_lab():
    with net() as lab:
        yield lab


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(parts | st.tuples(heads).map(list) | st.tuples(heads, st.binary(max_size=5)).map(list), max_size=12))
def test_whatever_a_manager_sends_the_next_is_heard_and_only_good_messages_come_out(open_lab, messages):
    lab = open_lab
    lab.got.clear()
    sock = lab.stranger(lab.block("mad"))
    for message in messages:
        sock.send_multipart(message)
    for number in range(20):  # with these strikes it may be out before the end; then another is heard
        sock.send(encode(m.Heartbeat(float(number))))
    good = lab.stranger(lab.block("good"))
    good.send(encode(m.Heartbeat(100.0)))
    lab.until(lambda: any(each[1] == "good" for each in lab.got))
    assert all(type(each[2]) in m.FROM_MANAGER for each in lab.got)
    assert [each[2] for each in lab.got if each[1] == "good"] == [m.Heartbeat(100.0)]
    lab.hang_up()


def test_pickles_are_never_loaded(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/canary",)

    data = pickle.dumps(Bomb())
    with net() as lab, clients(lab, 3, data):
        sock = lab.stranger(lab.block())
        sock.send(data)
        sock.send_multipart([encode(m.Outcomes(1, [(1, 1, 0, data, 0.0, 0.0, 1)]))])
        sock.send_multipart([encode(m.Chunk(1, 1, 0), len(data)), data])
        lab.until(lambda: len(lab.got) == 2)
    assert not (tmp_path / "canary").exists()


def turns_until_heard(lab):
    """How many messages come until the next one of the good block."""
    before = len(lab.got)

    def heard() -> bool:
        lab.got += lab.router.receive(8)
        return any(each[1] == "good" for each in lab.got[before:])

    wait_until(heard, 20)
    return len(lab.got) - before


def test_a_mad_manager_leaves_the_others_their_turns():
    """S29: one floods the interchange with good messages, many more than it can take: who sends little is heard soon."""
    with net() as lab:
        good = lab.dealer("good")
        lab.greet(good, 0.0)
        mad = lab.stranger(lab.block("mad"))
        beat = encode(m.Heartbeat(-1.0))
        turns = []
        for number in range(1, 101):
            with contextlib.suppress(zmq.Again):
                while True:
                    mad.send(beat, zmq.NOBLOCK)
            assert good.send(m.Heartbeat(float(number)))
            turns.append(turns_until_heard(lab))
        assert sum(each[1] == "good" for each in lab.got) == 101
        assert sorted(turns)[90] <= 200, turns  # of thousands that wait


def test_a_known_key_is_not_enough_without_the_servers():
    with net() as lab:
        sock = lab.stranger(lab.block(), server=new_keys()[0])
        sock.send(encode(m.Heartbeat(1.0)))
        lab.until(lambda: lab.router.counts["handshake"])
        assert lab.got == []
