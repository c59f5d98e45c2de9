"""S08: a manager cannot say what only a driver or the interchange may say, nor speak for another block, nor under a name of its choice."""

from __future__ import annotations

import pytest

from plait.executors.htex import messages as m
from plait.executors.htex.wire import encode
from plait.limits import MAX_STRIKES
from tests.unit.executors.htex.link_lab import net, register, take

FOREIGN = sorted(frozenset(m.KINDS.values()) - m.FROM_MANAGER, key=lambda kind: kind.__name__)
SAMPLES = [
    m.Stop("x"), m.Cancel([(1, 1)]), m.Allow("b0", "0" * 40), m.Offer([]), m.DrainBlock("b0", "x"), m.Hold("b0", on=True), m.Query(1, "managers"),
    m.Tasks([]), m.Delivered(1, "m1", []), m.Taken(7), m.Welcome("e", 1.0, 1.0, 1.0),
]  # fmt: skip


@pytest.fixture
def lab():
    with net() as found:
        yield found


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_a_manager_cannot_command(lab, message):
    assert type(message) in FOREIGN
    sock = lab.stranger(lab.block())
    sock.send(encode(message))
    sock.send(encode(m.Heartbeat(1.0)))
    lab.heard(1.0)
    assert len(lab.got) == 1
    assert lab.router.counts["bad"] == 1
    assert f"{type(message).__name__}, which is not for this link" in lab.router.problems[-1]


def test_an_interchange_is_not_obeyed_in_what_only_a_driver_says():
    with net() as lab:
        dealer = lab.dealer()
        conn = lab.greet(dealer, 1.0)
        for message in (m.Offer([]), m.Register(*[None] * 18), m.Heartbeat(2.0)):
            lab.router.send(conn, message)
        assert take(dealer, 1) == [(m.Heartbeat(2.0), b"")]
        assert "which is not for this link" in dealer.problems[0]


def test_a_manager_cannot_register_for_another_block(lab):
    lab.block("b1")
    dealer = lab.dealer("b0")
    dealer.reconnected()
    dealer.send(register("b1"))
    dealer.send(register("b0"))
    lab.until(lambda: lab.got)
    assert [(each[1], each[2].block) for each in lab.got] == [("b0", "b0")]
    assert "of block 'b1'" in lab.router.problems[-1]


def test_a_manager_cannot_choose_the_name_of_its_connection(lab):
    victim = lab.greet(lab.dealer("b1"), 1.0)
    sock = lab.stranger(lab.block("b0"), routing_id=b"chosen")
    sock.send(encode(m.Heartbeat(2.0)))
    taken = lab.stranger(lab.block("b0"), routing_id=victim)
    taken.send(encode(m.Heartbeat(3.0)))
    lab.greet(lab.dealer("b0"), 4.0)
    lab.greet(lab.dealer("b1"), 5.0)
    assert {each[2].sent_s for each in lab.got} == {1.0, 4.0, 5.0}


def test_one_who_goes_on_is_put_out_and_others_stay(lab):
    good = lab.greet(lab.dealer("b1"), 1.0)
    sock = lab.stranger(lab.block("b0"))
    for _ in range(MAX_STRIKES + 1):
        sock.send(encode(m.Stop("x")))
    lab.until(lambda: lab.router.counts["ended"])
    assert lab.router.send(good, m.Heartbeat(1.0))
    assert len(lab.router.problems) == 2  # the first bad message, and the end


def test_what_was_recorded_on_one_connection_means_nothing_on_another(lab):
    """Bytes of an encrypted connection, sent again on a new one, are no handshake."""
    import socket
    import threading

    recorded = bytearray()
    port = lab.router.port
    with socket.create_server(("127.0.0.1", 0)) as tap:
        tap.settimeout(10)

        def pass_on() -> None:
            client, _ = tap.accept()
            server = socket.create_connection(("127.0.0.1", port))
            with client, server:

                def back() -> None:
                    while data := server.recv(65536):
                        client.sendall(data)

                thread = threading.Thread(target=back)
                thread.start()
                while data := client.recv(65536):
                    recorded.extend(data)
                    server.sendall(data)
                server.shutdown(socket.SHUT_RDWR)
                thread.join()

        thread = threading.Thread(target=pass_on)
        thread.start()
        lab.router.port = tap.getsockname()[1]
        try:
            dealer = lab.dealer()
        finally:
            lab.router.port = port
        lab.greet(dealer, 1.0)
        dealer.close(0)
        thread.join()
    assert b"plait" not in recorded
    with socket.create_connection(("127.0.0.1", port)) as replay:
        replay.sendall(recorded)
        lab.until(lambda: lab.router.counts["handshake"])
    assert len(lab.got) == 1
