"""F26, F27: nothing is dropped when an end reads slowly, and what waits for it is bounded; who is gone is known to be gone."""

from __future__ import annotations

import pytest

from plait.executors.htex import link as link_module
from plait.executors.htex import messages as m
from tests.unit.executors.htex.link_lab import net, take

COUNT = 5000


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    monkeypatch.setattr(link_module, "LINK_MESSAGES", 10)
    monkeypatch.setattr(link_module, "DEALER_MESSAGES", 10)


def test_a_manager_that_reads_late_gets_everything():
    with net() as lab:
        dealer = lab.dealer()
        conn = lab.greet(dealer, 1.0)
        for number in range(COUNT):
            assert lab.router.send(conn, m.Cancel([(number, 1)] * 20))
        assert lab.router.backlog_bytes(conn) > 0
        found = take(dealer, COUNT, 60, lab.pump)
        assert [message.items[0][0] for message, _ in found] == list(range(COUNT))


def test_an_interchange_that_reads_late_gets_everything():
    with net() as lab:
        dealer = lab.dealer()
        lab.greet(dealer, -1.0)
        for number in range(COUNT):
            assert dealer.send(m.Returned([(number, 1)] * 20))
        assert dealer.backlog_bytes() > 0
        lab.until(lambda: (dealer.flush(), len(lab.got) > COUNT)[1], 60)
        assert [each[2].items[0][0] for each in lab.got[1:]] == list(range(COUNT))


def test_one_that_does_not_read_keeps_nobody_else_waiting():
    with net() as lab:
        slow, quick = lab.dealer("slow"), lab.dealer("quick")
        to_slow, to_quick = lab.greet(slow, 1.0), lab.greet(quick, 2.0)
        while lab.router.backlog_bytes(to_slow) < 10_000_000:
            assert lab.router.send(to_slow, m.Chunk(1, 1, 0), bytes(500_000))
        for number in range(500):
            assert lab.router.send(to_quick, m.Heartbeat(float(number)))
        assert len(take(quick, 500, 20, lab.router.flush)) == 500


def test_those_who_are_gone_get_nothing_and_it_is_known():
    with net() as lab:
        dealer = lab.dealer()
        conn = lab.greet(dealer, 1.0)
        while not lab.router.backlog_bytes(conn):
            lab.router.send(conn, m.Chunk(1, 1, 0), bytes(500_000))
        dealer.close(0)
        lab.until(lambda: not lab.router.send(conn, m.Heartbeat(1.0)))
        assert lab.router.backlog_bytes() == 0
