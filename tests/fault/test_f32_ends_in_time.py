"""F32: closing a link ends in time, whatever is left to send and whether or not anybody is there to take it; also many times, under load."""

from __future__ import annotations

import ast
import time

import pytest

from plait.executors.htex import link as link_module
from plait.executors.htex import messages as m
from plait.limits import LINGER_S
from tests.support import SRC
from tests.unit.executors.htex.link_lab import net

IN_TIME_S = LINGER_S + 2.0


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_router_with_much_to_send_and_nobody_who_reads(encrypted):
    with net(encrypted=encrypted) as lab:
        conn = lab.greet(lab.dealer(), 1.0)
        while lab.router.backlog_bytes(conn) < 5_000_000:
            lab.router.send(conn, m.Chunk(1, 1, 0), bytes(500_000))
        began = time.monotonic()
        lab.router.close()
        assert time.monotonic() - began < IN_TIME_S


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_dealer_with_much_to_send_and_nobody_who_reads(encrypted):
    with net(encrypted=encrypted) as lab:
        dealer = lab.dealer()
        lab.greet(dealer, 1.0)
        while dealer.backlog_bytes() < 5_000_000:
            dealer.send(m.Chunk(1, 1, 0), bytes(500_000))
        began = time.monotonic()
        dealer.close()
        assert time.monotonic() - began < IN_TIME_S


def test_a_dealer_whose_interchange_is_gone():
    with net() as lab:
        dealer = lab.dealer()
        lab.greet(dealer, 1.0)
        lab.router.close(0)
        for _ in range(1000):
            dealer.send(m.Leaving("x" * 1000))
        began = time.monotonic()
        dealer.close()
        assert time.monotonic() - began < IN_TIME_S


def test_nobody_ever_answered():
    began = time.monotonic()
    with pytest.raises(ConnectionError):
        link_module.Dealer(["127.0.0.1", "127.0.0.9"], 1, "", "", "", 0.2)
    assert time.monotonic() - began < IN_TIME_S


def test_what_was_sent_last_arrives():
    with net() as lab:
        dealer = lab.dealer()
        lab.greet(dealer, 1.0)
        for _ in range(20):
            dealer.send(m.Chunk(1, 1, 0), bytes(100_000))
        dealer.send(m.Leaving("done"))
        dealer.close()
        lab.until(lambda: isinstance(lab.got[-1][2], m.Leaving))
        assert len(lab.got) == 22


def test_closed_in_the_middle_of_anything_many_times():
    """Contexts that are closed while keys are being proved and data flows have crashed ZeroMQ."""
    for number in range(25):
        with net() as lab:
            dealers = [lab.dealer() for _ in range(2)]
            conns = [lab.greet(dealer, float(index)) for index, dealer in enumerate(dealers)]
            half_way = [lab.stranger(lab.block()) for _ in range(3)]
            for sock in half_way:
                sock.send(b"x")
            for conn, dealer in zip(conns, dealers, strict=True):
                lab.router.send(conn, m.Chunk(1, 1, 0), bytes(1_000_000))
                dealer.send(m.Chunk(1, 1, 0), bytes(1_000_000))
            for each in (lab.router, *dealers) if number % 2 else (*dealers, lab.router):
                each.close(0.0)


def test_lingering_is_said_for_every_socket():
    """The default is to wait for ever."""
    module = ast.parse((SRC / "executors/htex/link.py").read_text(encoding="utf-8"))
    makers = [
        function.name
        for function in ast.walk(module)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "socket"
        and isinstance(node.func.value, ast.Name) and node.func.value.id == "context"
    ]  # fmt: skip
    assert makers == ["_socket"]
