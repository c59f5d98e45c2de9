"""Managers on the interchange's host: what goes through their socket, and what becomes of connections that end."""

from __future__ import annotations

import os
import select
import socket
import threading

import msgspec
import pytest

from plait import faults
from plait.executors.htex import messages as m
from plait.executors.htex.near import NearDealer, dial_near, door_in, this_host
from tests.support import wait_until
from tests.unit.executors.htex.near_lab import Near, take
from tests.unit.executors.htex.scripted import settings as manager_settings

pytestmark = pytest.mark.skipif(not this_host(), reason="the system does not tell whose the other end of a socket is")


@pytest.fixture
def lab(tmp_path):
    tmp_path.chmod(0o700)
    made = Near(tmp_path)
    yield made
    made.close()


# ------------------------------------------------------------------ what goes through
def test_messages_go_both_ways(lab):
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    assert [each[1] for each in lab.got] == ["b0"]
    assert lab.links.send(conn, m.Function(3), b"function")
    assert take(dealer, 1) == [(m.Function(3), b"function")]
    assert dealer.is_up
    assert dealer.address == lab.path
    assert lab.links.connections == 1


def test_a_manager_keeps_what_does_not_fit_too(lab):
    dealer = lab.dealer()
    lab.greet(dealer, 1.0)
    data = os.urandom(1 << 20)
    for number in range(6):
        assert dealer.send(m.Chunk(1, 1, number), data)
    assert dealer.backlog_bytes()
    lab.until(lambda: dealer.flush() or len(lab.got) == 7)
    assert dealer.backlog_bytes() == 0
    assert all(each[3] == data for each in lab.got[1:])


def test_what_is_left_at_the_end_is_sent(lab):
    dealer = lab.dealer()
    lab.greet(dealer, 1.0)
    for number in range(6):
        dealer.send(m.Chunk(1, 1, number), bytes(1 << 20))
    dealer.send(m.Leaving("over"))
    thread = threading.Thread(target=dealer.close, args=(10.0,))
    thread.start()
    lab.until(lambda: not thread.is_alive())
    thread.join()
    lab.until(lambda: lab.links.connections == 0)
    kinds = [type(each[2]) for each in lab.got]
    assert (kinds.count(m.Chunk), kinds.count(m.Leaving)) == (6, 1)


# ------------------------------------------------------------------ connections that end
def test_another_life_of_the_interchange(lab):
    dealer = lab.dealer()
    assert dealer.reconnected()
    assert not dealer.reconnected()
    lab.links.close(0)
    wait_until(lambda: not dealer.has_input() and not dealer.is_up)
    assert not os.path.exists(lab.path)
    assert not dealer.send(m.Heartbeat(1.0))
    assert dealer.due_s > 0
    assert dealer.problems == ["the connection was lost; it is made again"]
    lab.links = lab.open()
    lab.links.allow("b0", lab.keys["b0"][0])
    lab.until(lambda: not dealer.has_input() and dealer.is_up)
    assert not dealer.send(m.Heartbeat(2.0)), "nothing is sent before it was told of the connection"
    assert dealer.reconnected()
    assert dealer.due_s == 0
    lab.greet(dealer, 3.0)


def test_a_new_connection_gives_a_sign_until_it_was_asked_for(lab):
    """Whoever is busy with something else may take what came without asking: nothing else comes before the manager has registered."""
    dealer = lab.dealer()
    dealer.reconnected()
    lab.links.close(0)
    wait_until(lambda: not dealer.has_input() and not dealer.is_up)
    lab.links = lab.open()
    lab.links.allow("b0", lab.keys["b0"][0])
    lab.until(lambda: not dealer.has_input() and dealer.is_up)
    assert select.select([dealer], [], [], 0)[0]
    assert dealer.reconnected()
    assert not select.select([dealer], [], [], 0)[0]
    lab.greet(dealer, 1.0)


@pytest.mark.parametrize("killed", [True, False])
def test_of_an_interchange_that_was_killed_the_last_manager_removes_the_socket(lab, killed):
    dealer = lab.dealer()
    if killed:
        lab.links._door._path += ".not"  # it does not get to removing it
    lab.links.close(0)
    wait_until(lambda: not dealer.has_input() and not dealer.is_up)
    if not killed:
        lab.links = lab.open()  # another life
    assert os.path.exists(lab.path)
    dealer.close(0)
    assert os.path.exists(lab.path) is not killed


def test_an_interchange_that_tells_managers_to_end_has_no_socket_left_to_leave(lab):
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    lab.links.lock()
    assert not os.path.exists(lab.path)
    with pytest.raises(OSError, match="No such file"):
        NearDealer(lab.path, "b0", b"")
    lab.links.send(conn, m.Stop("over"), b"")
    assert [message for message, _ in take(dealer, 1, lab.pump)] == [m.Stop("over")]


def test_an_interchange_that_does_not_answer_is_dialled_again(lab, monkeypatch):
    dealer = lab.dealer()
    lab.links.close(0)
    wait_until(lambda: not dealer.has_input() and not dealer.is_up)
    lab.links = lab.open()
    wait_until(lambda: not dealer.has_input() and dealer._line is not None)  # nobody accepts
    dealer.due_s = 0.001
    assert not dealer.has_input()
    assert dealer._line is None
    lab.links.allow("b0", lab.keys["b0"][0])
    lab.until(lambda: not dealer.has_input() and dealer.is_up)


def test_an_interchange_that_is_no_interchange(lab):
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    lab.links._door._by_conn[conn].sock.sendall(b"x" * 14)
    wait_until(lambda: not dealer.has_input() and not dealer.is_up)
    assert "the interchange sent" in dealer.problems[0]


def test_nobody_there(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        NearDealer(str(tmp_path / "interchange.sock"), "b0", b"")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen(1)
        with pytest.raises(OSError, match="did not let us in"):
            NearDealer(str(tmp_path / "s"), "b0", b"", 0.01)
    (tmp_path / "s").unlink()


def test_a_deep_folder(tmp_path):
    folder = tmp_path
    for _ in range(12):
        folder /= "a long name of a folder"
    folder.mkdir(0o700, parents=True)
    lab = Near(folder)
    try:
        lab.greet(lab.dealer(), 1.0)
    finally:
        lab.close()


# ------------------------------------------------------------------ whether there is one
def test_where_it_is(tmp_path):
    path, secret = door_in(str(tmp_path))
    assert path == str(tmp_path / "blocks" / "interchange.sock")
    assert len(bytes.fromhex(secret)) == 32
    assert (tmp_path / "blocks").stat().st_mode & 0o777 == 0o700
    assert door_in(str(tmp_path))[0] == path
    assert door_in(str(tmp_path))[1] != secret
    assert door_in("") == ("", "")
    assert door_in(str(tmp_path / "nowhere")) == ("", "")


def test_no_door_where_the_system_cannot_tell(tmp_path, monkeypatch):
    monkeypatch.delattr(socket, "SO_PEERCRED")
    assert this_host() == ""
    assert door_in(str(tmp_path)) == ("", "")


def test_a_manager_finds_the_door_or_none(lab, monkeypatch):
    lab.allow("b0")
    told = manager_settings(near=lab.path, near_host=this_host(), near_token=lab.token("b0").hex(), block="b0")
    dealer = lab.beside(lambda: dial_near(told))
    assert dealer.is_up
    dealer.close(0)
    for changes in ({"near": ""}, {"near_host": "elsewhere"}, {"near": lab.path + "x"}):
        assert dial_near(msgspec.structs.replace(told, **changes)) is None
    monkeypatch.setattr(faults, "_plan", {"link.drop.Outcomes": "0.5"})
    assert dial_near(told) is None
