from __future__ import annotations

import select
import socket
import threading

import pytest
import zmq

from plait.errors import BadMessage, ConfigurationError, ExecutorError
from plait.executors.htex import link as link_module
from plait.executors.htex import messages as m
from plait.executors.htex.link import (
    Dealer,
    Router,
    endpoint,
    new_keys,
    raise_open_files_limit,
)
from tests.support import require, wait_until
from tests.unit.executors.htex.link_lab import HOST, PORTS, Net, net, register, take


@pytest.fixture(params=[True, False], ids=["keys", "plain"])
def lab(request):
    with net(encrypted=request.param) as found:
        yield found


@pytest.fixture
def curve():
    with net() as found:
        yield found


# ------------------------------------------------------------------ there and back
def test_messages_go_both_ways_in_order(lab: Net):
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    for number in range(1000):
        assert lab.router.send(conn, m.Cancel([(number, 1)]))
    found = take(dealer, 1000, pump=lab.pump)
    assert [message.items[0][0] for message, _ in found] == list(range(1000))
    for number in range(1000):
        assert dealer.send(m.Returned([(number, 1)]))
        dealer.flush()
    lab.until(lambda: (dealer.flush(), len(lab.got))[1] == 1001)
    assert [each[2].items[0][0] for each in lab.got[1:]] == list(range(1000))
    assert {each[0] for each in lab.got} == {conn}


def test_payloads_arrive_as_they_were(lab: Net):
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    payload = bytes(range(256)) * 4096
    dealer.send(m.Chunk(1, 2, 3), payload)
    lab.until(lambda: len(lab.got) == 2)
    assert lab.got[1][2:] == (m.Chunk(1, 2, 3), payload)
    lab.router.send(conn, m.Function(7), payload)
    assert take(dealer, 1) == [(m.Function(7), payload)]


def test_a_connection_speaks_for_the_block_of_its_key(curve: Net):
    for number, block in enumerate(("b0", "b1")):
        dealer = curve.dealer(block)
        curve.greet(dealer, number)
        assert curve.heard(number)[1] == block


def test_without_keys_a_managers_word_is_taken_for_its_block():
    with net(encrypted=False) as lab:
        dealer = lab.dealer()
        dealer.send(register("b7"))
        lab.until(lambda: lab.got)
        assert lab.got[0][1] == "b7"


def test_poll_tells_when_something_came(lab: Net):
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    ready = select.poll()
    ready.register(lab.router.fileno(), select.POLLIN)
    lab.pump()
    lab.until(lambda: not ready.poll(0))
    dealer.send(m.Heartbeat(2.0))
    assert ready.poll(10_000)
    lab.heard(2.0)
    ready.unregister(lab.router.fileno())
    ready.register(dealer.fileno(), select.POLLIN)
    assert not dealer.has_input()
    lab.router.send(conn, m.Heartbeat(3.0))
    assert ready.poll(10_000)
    assert take(dealer, 1) == [(m.Heartbeat(3.0), b"")]


def test_what_poll_may_not_tell_has_input_does(lab: Net):
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    assert not lab.router.has_input()
    dealer.send(m.Heartbeat(2.0))
    wait_until(lambda: lab.router.send(conn, m.Heartbeat(0.0)) and lab.router.has_input())
    lab.heard(2.0)
    wait_until(dealer.has_input)


def test_receive_takes_no_more_than_it_is_told(lab: Net):
    dealer = lab.dealer()
    lab.greet(dealer, 1.0)
    for _ in range(20):
        dealer.send(m.Returned([]))
    got = []
    while len(got) < 20:
        wait_until(lab.router.has_input)
        found = lab.router.receive(7)
        assert len(found) <= 7
        got += found
    assert not lab.router.has_input()


def test_one_call_takes_a_bounded_number_of_bytes(lab: Net, monkeypatch):
    monkeypatch.setattr(link_module, "RECEIVE_BYTES", 1000)
    dealer = lab.dealer()
    lab.greet(dealer, 1.0)
    for _ in range(4):
        dealer.send(m.Chunk(1, 1, 0), bytes(600))
    dealer.send(m.Heartbeat(2.0))
    lab.heard(2.0)
    assert len(lab.got) == 6


# ------------------------------------------------------------------ where it listens
@pytest.mark.parametrize("address", ["0.0.0.0", "*", "10.1.2.3", "::", "login1"])
def test_without_keys_it_listens_on_loopback_only(address):
    with pytest.raises(ConfigurationError, match="anyone who reaches that address"):
        Router(["127.0.0.1", address], None, PORTS, "", "")


def test_a_port_of_the_range_is_taken():
    with net() as lab:
        assert PORTS[0] <= lab.router.port < PORTS[1]
        assert lab.router.addresses == [HOST]


def test_a_fixed_port_that_is_taken():
    with socket.create_server((HOST, 0)) as other, pytest.raises(ExecutorError, match="in use"):
        Router([HOST], other.getsockname()[1], PORTS, "", "")


def test_a_range_that_is_taken():
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ExecutorError, match=f"any port from {port} to {port}"):
            Router([HOST], None, (port, port + 1), "", "")


def test_an_address_of_another_machine():
    keys = new_keys()
    with pytest.raises(ExecutorError, match=r"192\.0\.2\.1"):
        Router(["192.0.2.1"], None, PORTS, keys[1], keys[0])
    router = Router(["192.0.2.1", HOST], None, PORTS, keys[1], keys[0])  # its network may have gone since it was found
    assert router.addresses == [HOST]
    router.close(0)


def test_nothing_listens_elsewhere(lab: Net):
    import psutil

    mine = [each.laddr for each in psutil.Process().net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    assert (HOST, lab.router.port) in mine
    assert {each.ip for each in mine if each.port == lab.router.port} == {HOST}


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_ipv6():
    require(has_ipv6(), "an IPv6 loopback")
    with net(bind=("::1",)) as lab:
        dealer = lab.dealer(addresses=("::1",))
        assert dealer.address == "::1"
        lab.greet(dealer, 1.0)


def test_both_families_on_one_port():
    require(has_ipv6(), "an IPv6 loopback")
    with net(bind=(HOST, "::1")) as lab:
        for number, address in enumerate((HOST, "::1")):
            lab.greet(lab.dealer(addresses=(address,)), number)


def test_endpoints():
    assert endpoint("1.2.3.4", 5) == "tcp://1.2.3.4:5"
    assert endpoint("::1", 5) == "tcp://[::1]:5"


# ------------------------------------------------------------------ dialling
def test_the_first_address_that_answers_is_kept(curve: Net):
    dealer = curve.dealer(addresses=("127.0.0.8", "127.0.0.9", HOST))
    assert dealer.address == HOST
    curve.greet(dealer, 1.0)


def test_each_failure_is_told():
    with socket.create_server((HOST, 0)) as silent, pytest.raises(ConnectionError) as info:
        Dealer([HOST, "127.0.0.9", "no.such.host.invalid"], silent.getsockname()[1], *("", "", ""), 0.5)
    text = str(info.value)
    assert "127.0.0.1: something took the connection and did not answer" in text
    assert "127.0.0.9: connection refused" in text
    assert "no.such.host.invalid: " in text


def test_another_connection_that_is_not_answered_yet_does_not_hide_why_the_first_was_refused(monkeypatch):
    """Many more are tried within the time; it may be over just after one was made."""
    events = iter([zmq.EVENT_CONNECTED, zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_CONNECTED])

    def told(_):
        try:
            return next(events), 400, b""
        except StopIteration:
            raise zmq.Again from None

    monkeypatch.setattr(link_module, "_next_event", told)
    keys = (new_keys()[0], *new_keys())
    with pytest.raises(ConnectionError, match=r"127.0.0.1: the interchange does not know our key \(400\)"):
        Dealer([HOST], 1, *keys, 0.01)


def test_no_address_at_all():
    with pytest.raises(ConnectionError, match="no address was given"):
        Dealer([], 1, "", "", "", 0.1)


def test_something_else_listens_there():
    ready = threading.Event()
    with socket.create_server((HOST, 0)) as server:
        server.settimeout(10)

        def ssh() -> None:
            try:
                while not ready.is_set():
                    client, _ = server.accept()
                    client.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
                    client.close()
            except OSError:
                pass

        thread = threading.Thread(target=ssh)
        thread.start()
        try:
            with pytest.raises(ConnectionError, match="something"):
                Dealer([HOST], server.getsockname()[1], new_keys()[0], *new_keys(), 0.5)
        finally:
            ready.set()
            socket.create_connection(server.getsockname()).close()
            thread.join()


# ------------------------------------------------------------------ connections come and go
def test_the_first_connection_is_new_too(lab: Net):
    dealer = lab.dealer()
    assert dealer.reconnected()
    assert not dealer.reconnected()


def test_a_router_that_comes_back_is_found_again(lab: Net):
    dealer = lab.dealer()
    old = lab.greet(dealer, 1.0)
    lab.restart()
    lab.until(dealer.reconnected)
    assert not dealer.reconnected()
    new = lab.greet(dealer, 2.0)
    assert lab.router.send(new, m.Heartbeat(3.0))
    assert old == new or not lab.router.send(old, m.Heartbeat(4.0))
    take(dealer, 1)


def test_nothing_of_ours_is_sent_before_the_new_connection_is_known(lab: Net):
    dealer = lab.dealer()
    lab.greet(dealer, 1.0)
    lab.router.close(0)
    wait_until(lambda: not (dealer.reconnected() or dealer.is_up))
    assert not dealer.send(m.Heartbeat(2.0))
    assert dealer.backlog_bytes() == 0
    lab.restart()
    lab.until(dealer.reconnected)
    lab.greet(dealer, 3.0)
    assert [each[2] for each in lab.got] == [m.Heartbeat(1.0), m.Heartbeat(3.0)]


def test_the_last_word_is_heard_over_a_connection_that_has_ended(lab: Net):
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    assert not dealer.has_input()
    lab.router.send(conn, m.Stop("the end"))
    lab.router.close()
    wait_until(lambda: not (dealer.reconnected() or dealer.is_up))
    assert take(dealer, 1) == [(m.Stop("the end"), b"")]


def test_a_key_may_become_known_later(curve: Net):
    dealer = curve.dealer()
    curve.greet(dealer, 1.0)
    curve.restart(allow=False)
    curve.until(lambda: curve.router.counts["key"])
    assert not dealer.reconnected()
    curve.router.allow("b0", curve.keys["b0"][0])
    curve.until(dealer.reconnected)
    curve.greet(dealer, 2.0)


def test_a_stranger_may_have_the_port_for_a_while(curve: Net):
    dealer = curve.dealer()
    curve.greet(dealer, 1.0)
    port = curve.router.port
    curve.router.close(0)
    with socket.create_server((HOST, port)) as server:
        server.settimeout(10)
        client, _ = server.accept()
        client.sendall(b"220 mail.example ESMTP Postfix" + b"x" * 100)
        client.close()
    curve.restart()
    curve.until(dealer.reconnected)
    curve.greet(dealer, 2.0)


def test_connections_are_counted(lab: Net):
    assert lab.router.connections == 0
    dealers = [lab.dealer() for _ in range(3)]
    lab.until(lambda: lab.router.connections == 3)
    for dealer in dealers:
        dealer.close(0)
    lab.until(lambda: lab.router.connections == 0)


def test_those_who_are_gone_are_forgotten(lab: Net):
    for number in range(80):
        dealer = lab.dealer()
        lab.greet(dealer, number)
        lab.dealers.remove(dealer)
        dealer.close(0)
    lab.until(lambda: lab.router.connections == 0)
    lab.greet(lab.dealer(), 1000.0)
    assert len(lab.router._peers) < 80


def test_sending_to_those_who_are_gone(lab: Net):
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    assert not lab.router.send(b"\0nope", m.Heartbeat(1.0))
    dealer.close(0)
    lab.until(lambda: not lab.router.send(conn, m.Heartbeat(1.0)))
    assert lab.router.backlog_bytes() == 0


# ------------------------------------------------------------------ no room
def test_what_has_no_room_is_kept_and_what_is_urgent_overtakes(lab: Net):
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    payload = bytes(200_000)
    sent = 0
    while not lab.router.backlog_bytes(conn):
        assert lab.router.send(conn, m.Chunk(1, 1, sent), payload)
        sent += 1
    for _ in range(5):
        assert lab.router.send(conn, m.Chunk(1, 1, sent), payload)
        sent += 1
    assert lab.router.send(conn, m.Stop("now"))
    assert lab.router.backlog_bytes(conn) == lab.router.backlog_bytes() > 5 * len(payload)
    found = take(dealer, sent + 1, 30, lab.pump)
    assert [message.offset for message, _ in found if isinstance(message, m.Chunk)] == list(range(sent))
    at = next(index for index, (message, _) in enumerate(found) if isinstance(message, m.Stop))
    assert at < sent - 4
    assert lab.router.backlog_bytes(conn) == 0


def test_the_dealer_keeps_what_has_no_room_too(lab: Net):
    dealer = lab.dealer()
    lab.greet(dealer, 1.0)
    payload = bytes(200_000)
    sent = 0
    while dealer.backlog_bytes() < 2_000_000:
        assert dealer.send(m.Chunk(1, 1, sent), payload)
        sent += 1
    assert dealer.send(m.Leaving("now"))
    lab.until(lambda: (dealer.flush(), len(lab.got))[1] == sent + 2, 30)
    assert [each[2].offset for each in lab.got if isinstance(each[2], m.Chunk)] == list(range(sent))
    assert isinstance(lab.got[-1][2], m.Chunk)


def test_who_does_not_read_is_disconnected(lab: Net, monkeypatch):
    monkeypatch.setattr(link_module, "LINK_BACKLOG_BYTES", 5_000_000)
    deaf, other = lab.dealer(), lab.dealer()
    conn, better = lab.greet(deaf, 1.0), lab.greet(other, 2.0)
    while lab.router.send(conn, m.Chunk(1, 1, 0), bytes(500_000)):
        pass
    assert lab.router.backlog_bytes() == 0
    assert "waited for it to read" in lab.router.problems[-1]
    lab.router.send(better, m.Heartbeat(1.0))
    take(other, 1)
    lab.until(lambda: lab.router.connections < 2)


def test_what_is_too_large_for_the_other_end_is_not_sent(lab: Net, monkeypatch):
    monkeypatch.setattr(link_module, "DEALER_FRAME_BYTES", 1000)
    monkeypatch.setattr(link_module, "ROUTER_FRAME_BYTES", 1000)
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    with pytest.raises(BadMessage, match="too large"):
        lab.router.send(conn, m.Function(1), bytes(1001))
    with pytest.raises(BadMessage, match="too large"):
        dealer.send(m.Leaving("x" * 1001))
    lab.greet(dealer, 2.0)


# ------------------------------------------------------------------ keys
def test_keys_are_text_and_new_each_time():
    first, second = new_keys(), new_keys()
    assert all(len(key) == 40 and key.isascii() for key in first + second)
    assert len(set(first + second)) == 4


@pytest.mark.parametrize("key", ["", "x", "€" * 40, "~" * 40, "0" * 45])
def test_what_is_no_key(curve: Net, key):
    with pytest.raises(ConfigurationError, match="no CURVE key"):
        curve.router.allow("b0", key)


def test_allowing_again_changes_nothing(curve: Net):
    dealer = curve.dealer()
    conn = curve.greet(dealer, 1.0)
    curve.router.allow("b0", curve.keys["b0"][0])
    assert curve.router.send(conn, m.Heartbeat(2.0))
    curve.greet(dealer, 3.0)


def test_a_new_key_ends_connections_with_the_old_one(curve: Net):
    dealer = curve.dealer()
    conn = curve.greet(dealer, 1.0)
    curve.router.allow("b0", new_keys()[0])
    assert not curve.router.send(conn, m.Heartbeat(2.0))
    curve.until(lambda: not dealer.reconnected() and not dealer.is_up)
    curve.until(lambda: curve.router.counts["key"])


def test_revoking_what_nobody_has(curve: Net):
    curve.router.revoke("no such block")


def test_a_connection_that_spoke_only_after_its_key_was_taken_away(curve: Net):
    dealer = curve.dealer()
    curve.router.revoke("b0")
    dealer.send(m.Heartbeat(1.0))
    curve.until(lambda: not dealer.reconnected() and not dealer.is_up)
    assert curve.got == []


# ------------------------------------------------------------------ one thread
def test_another_thread_is_noticed(lab: Net):
    dealer = lab.dealer()
    conn = lab.greet(dealer, 1.0)
    dealer.receive()
    errors = []

    def intrude() -> None:
        for call in (lab.router.receive, dealer.receive, lambda: lab.router.send(conn, m.Heartbeat(1.0))):
            try:
                call()
            except AssertionError as error:
                errors.append(error)

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert len(errors) == 3


# ------------------------------------------------------------------ the end
def test_closing_twice(lab: Net):
    dealer = lab.dealer()
    dealer.close()
    dealer.close()
    lab.router.close()
    lab.router.close()


def test_the_limit_of_open_files_is_raised_to_what_is_allowed(monkeypatch):
    import resource

    limits = {"now": (64, 256)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.update(now=new))
    assert raise_open_files_limit() == 256
    assert limits["now"] == (256, 256)


def test_a_limit_that_cannot_be_raised(monkeypatch):
    import resource

    def refuse(*_):
        raise ValueError

    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 256))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_open_files_limit() == 64


def test_room_for_connections_follows_from_open_files(monkeypatch):
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (100_000, 100_000))
    assert 90_000 < link_module._room_for_connections() < 100_000
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert link_module._room_for_connections() == 1_000_000
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))
    assert link_module._room_for_connections() == 1
