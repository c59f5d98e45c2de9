"""The door for managers on the interchange's host: who gets in, and how it works beside the link by TCP."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from plait import faults
from plait.executors.htex import door, near
from plait.executors.htex import messages as m
from plait.executors.htex.door import Door, with_door
from plait.executors.htex.link import Dealer, Router, new_keys
from plait.executors.htex.near import NearDealer, this_host, token_of
from plait.executors.htex.wire import encode
from tests.support import wait_until
from tests.unit.executors.htex.interchange_lab import Lab
from tests.unit.executors.htex.link_lab import HOST, PORTS, register
from tests.unit.executors.htex.near_lab import SECRET, Near, take

pytestmark = pytest.mark.skipif(not this_host(), reason="the system does not tell whose the other end of a socket is")


@pytest.fixture
def lab(tmp_path):
    tmp_path.chmod(0o700)
    made = Near(tmp_path)
    yield made
    made.close()


# ------------------------------------------------------------------ who gets in
def test_the_socket_is_its_owners_alone(lab):
    info = os.stat(lab.path)
    assert stat.S_ISSOCK(info.st_mode)
    assert info.st_mode & 0o777 == 0o600


def test_no_door_in_a_folder_that_others_enter(tmp_path):
    tmp_path.chmod(0o755)
    with pytest.raises(PermissionError, match="alone"):
        Near(tmp_path)


@pytest.mark.parametrize("token", [b"", b"x" * 32, token_of("77" * 32, "b0", ""), token_of(SECRET, "b1", "")])
def test_a_wrong_token(lab, token):
    with pytest.raises(OSError, match="did not let us in"):
        lab.dealer(token=token)
    assert lab.links.counts["key"] == 1
    assert lab.links.connections == 0


def test_a_block_that_is_not_allowed(lab):
    with pytest.raises(OSError, match="did not let us in"):
        lab.dealer(token=token_of(SECRET, "b0", new_keys()[0]), allow=False)


def test_a_token_ends_with_the_key(lab):
    dealer = lab.dealer()
    token = lab.token("b0")
    lab.greet(dealer, 1.0)
    lab.links.revoke("b0")
    wait_until(lambda: not dealer.has_input() and not dealer.is_up)
    assert not dealer.send(m.Leaving("canary"))
    with pytest.raises(OSError, match="did not let us in"):
        lab.dealer(token=token, allow=False)
    assert len(lab.got) == 1


def test_one_block_for_a_key_and_one_key_for_a_block(lab):
    dealer = lab.dealer()
    lab.links.allow("b0", lab.keys["b0"][0])  # said again: nothing happens
    conn = lab.greet(dealer, 1.0)
    lab.links.allow("b2", lab.keys["b0"][0])  # the key moves
    wait_until(lambda: not dealer.has_input() and not dealer.is_up)
    assert not lab.links.send(conn, m.SayAgain())


def test_a_manager_speaks_for_its_own_block(lab):
    dealer = lab.dealer()
    dealer.reconnected()
    dealer.send(register("b1"))
    lab.until(lambda: lab.links.counts["bad"])
    assert lab.got == []
    wait_until(lambda: not dealer.has_input() and not dealer.is_up)


def test_without_encryption_a_token_is_needed_all_the_same(tmp_path):
    tmp_path.chmod(0o700)
    lab = Near(tmp_path, encrypted=False)
    try:
        lab.greet(lab.dealer("b7"), 1.0)
        with pytest.raises(OSError, match="did not let us in"):
            lab.dealer("b7", b"x")
    finally:
        lab.close()


def test_another_users_process(lab, monkeypatch):
    monkeypatch.setattr(near, "is_ours", lambda sock: False)
    monkeypatch.setattr(door, "is_ours", lambda sock: False)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(lab.path)
        lab.until(lambda: lab.links.counts["key"])
        assert sock.recv(1) == b""
    with pytest.raises(ConnectionError, match="another user's"):
        NearDealer(lab.path, "b0", b"")


@pytest.mark.parametrize(
    "said", [b"\xff" * 2000, b"\x00\x00", b"\x02\x00ab", encode(m.Leaving("canary")), b"\x01\x00\x90GET / HTTP"]
)
def test_who_says_something_else(lab, said):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(lab.path)
        sock.sendall(said)
        lab.until(lambda: lab.links.counts["key"])
    assert lab.got == []
    lab.until(lambda: lab.links.connections == 0)


def test_who_says_half_and_leaves(lab):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(lab.path)
        sock.sendall(b"\x30")
        lab.until(lambda: lab.links.connections == 1)
        sock.sendall(b"\x00")
        lab.pump()
    lab.until(lambda: lab.links.connections == 0)


def test_those_that_say_nothing_are_few_and_not_for_long(lab, monkeypatch):
    monkeypatch.setattr(door, "MAX_UNPROVEN", 2)
    socks = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    try:
        for sock in socks:
            sock.connect(lab.path)
        lab.until(lambda: lab.links.counts["key"] == 1)
        assert lab.links.connections == 2
        for guest in lab.links._door._guests.values():
            guest.since_s -= door.HANDSHAKE_S
        lab.greet(lab.dealer(), 1.0)
        assert lab.links.connections == 1
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize(
    "said",
    [
        b"x" * 14,
        encode(m.Welcome("epoch", 1.0, 1.0, 1.0)),  # what interchanges say, not managers
        encode(m.Chunk(1, 1, 0), (1 << 24) + 1),  # larger than the interchange takes
        encode(m.Leaving("bye"), files=1),
    ],
)
def test_a_manager_that_is_out_of_its_mind_is_ended(lab, said):
    dealer = lab.dealer()
    dealer._sock.sendall(said)
    lab.until(lambda: lab.links.counts["bad"])
    assert any("sent a" in each for each in lab.links.problems)
    assert lab.got == []
    assert lab.links.connections == 0


# ------------------------------------------------------------------ beside the link by TCP
class Told:
    """Settings of an interchange, as far as they matter here."""

    def __init__(self, near):
        self.near = near
        self.near_secret = SECRET
        self.server_secret = "secret"


def test_managers_on_other_hosts_come_by_tcp(lab):
    dealer = lab.dealer()
    one = lab.greet(dealer, 1.0)
    far = lab.beside(lambda: Dealer([HOST], lab.links.port, lab.public, *lab.keys["b0"], 10.0))
    try:
        far.reconnected()
        far.send(m.Heartbeat(2.0))
        two = lab.until(lambda: next((each[0] for each in lab.got if each[2] == m.Heartbeat(2.0)), None))
        for conn in (one, two):
            assert lab.links.send(conn, m.SayAgain())
        assert take(dealer, 1) == [(m.SayAgain(), b"")]
        assert take(far, 1, lab.pump) == [(m.SayAgain(), b"")]
        assert lab.links.connections == 2
    finally:
        far.close(0)


def test_one_that_does_not_read_is_ended(lab, monkeypatch):
    monkeypatch.setattr(door, "LINK_BACKLOG_BYTES", 4 << 20)
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    data = bytes(1 << 20)
    assert [lab.links.send(conn, m.Chunk(1, 1, number), data) for number in range(12)].count(False)
    assert lab.links.counts["deaf"] == 1
    assert not lab.links.send(conn, m.SayAgain())
    assert lab.links.connections == 0


def test_what_does_not_fit_waits_and_control_overtakes_chunks(lab):
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    data = os.urandom(1 << 20)
    for number in range(12):
        lab.links.send(conn, m.Chunk(1, 1, number), data)
    assert lab.links.backlog_bytes(conn) == lab.links.backlog_bytes() > 8 << 20
    lab.links.send(conn, m.Cancel([(5, 1)]))
    came = take(dealer, 13, lab.pump)
    kinds = [type(message) for message, _ in came]
    assert kinds.index(m.Cancel) < 10
    assert [message.offset for message, _ in came if isinstance(message, m.Chunk)] == list(range(12))
    assert all(payload == data for message, payload in came if isinstance(message, m.Chunk))
    lab.until(lambda: lab.links.backlog_bytes() == 0)


def test_the_router_alone_where_there_can_be_no_door(tmp_path, monkeypatch):
    router = Router([HOST], None, PORTS, *reversed(new_keys()))
    try:
        assert with_door(router, Told("")) is router
        assert with_door(router, Told(str(tmp_path / "nowhere" / "s"))) is router
        monkeypatch.setattr(faults, "_plan", {"link.drop.Outcomes": "0.5"})
        assert with_door(router, Told(str(tmp_path / "s"))) is router
    finally:
        router.close(0)


def test_a_real_interchange(tmp_path):
    tmp_path.chmod(0o700)
    path = str(tmp_path / "s")
    lab = Lab(near=path, near_secret=SECRET)
    try:
        lab.wait(m.Listening)
        public = new_keys()[0]
        lab.send(m.Allow("b0", public))
        dealer = NearDealer(path, "b0", token_of(SECRET, "b0", public), 10.0)
        try:
            assert dealer.reconnected()
            dealer.send(register("b0", "m1"))
            assert lab.wait(m.ManagerUp).manager == "m1"
            lab.send(m.Function(0), b"function")
            lab.send(m.Offer([(7, 1, 0, b"payload", None, None)]))
            kinds = [type(message) for message, _ in take(dealer, 3)]
            assert kinds == [m.Welcome, m.Function, m.Tasks]
            dealer.send(m.Outcomes(1, [(7, 1, m.DONE, b"result", 1.0, 1.001, 0)]))
            assert lab.wait(m.Delivered).items == [(7, 1, m.DONE, b"result", 1.0, 1.001, 0)]
            lab.send(m.Stop("over"))
            assert take(dealer, 1) == [(m.Stop("over"), b"")]
        finally:
            dealer.close()
        assert lab.process.wait(10) == 0
        assert not os.path.exists(path)
    finally:
        lab.close()


def test_the_door_counts_who_is_there(lab):
    door = lab.links._door
    assert isinstance(door, Door)
    assert len(door) == 0
    lab.dealer()
    assert len(door) == 1


def test_what_another_life_left_there_is_replaced(lab):
    lab.links._door._listener.close()  # as after a SIGKILL
    lab.router.close(0)
    lab.links._epoll.close()
    lab.links = lab.open()
    lab.greet(lab.dealer(), 1.0)
