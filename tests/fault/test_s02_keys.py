"""S02: who has no key, a stranger's, or one that was taken away, is refused; who meets a stranger in our place says nothing to him."""

from __future__ import annotations

import pytest

from plait.executors.htex import messages as m
from plait.executors.htex.link import new_keys
from plait.executors.htex.wire import encode
from tests.unit.executors.htex.link_lab import net

CANARY = encode(m.Leaving("canary"))


@pytest.fixture
def lab():
    with net() as found:
        found.greet(found.dealer(), 0.0)
        yield found
        assert [each[2] for each in found.got] == [m.Heartbeat(0.0)], "a stranger was heard"
        found.greet(found.dealer(), 1.0)  # the right ones still come in


def test_no_key(lab):
    lab.stranger().send(CANARY)
    lab.until(lambda: lab.router.counts["handshake"])


def test_a_strangers_key(lab):
    lab.stranger(new_keys()).send(CANARY)
    lab.until(lambda: lab.router.counts["key"])
    assert any("127.0.0.1" in problem for problem in lab.router.problems)


def test_a_key_that_was_taken_away(lab):
    keys = lab.block("b1")
    old = lab.dealer("b1")
    lab.greet(old, 2.0)
    lab.got.pop()
    lab.router.revoke("b1")
    lab.until(lambda: not old.reconnected() and not old.is_up)
    lab.stranger(keys).send(CANARY)
    lab.until(lambda: lab.router.counts["key"] >= 2)
    assert not old.send(m.Leaving("canary"))


def test_our_own_key_and_the_wrong_server(lab):
    with pytest.raises(ConnectionError, match="not this run's interchange"):
        lab.dealer(server=new_keys()[0], timeout_s=1.0)


def test_a_strangers_key_and_the_right_server(lab):
    with pytest.raises(ConnectionError, match="does not know our key"):
        lab.dealer(keys=new_keys(), timeout_s=1.0)


def test_a_server_without_keys_hears_nothing_of_a_manager_with_keys():
    with net(encrypted=False) as open_door, pytest.raises(ConnectionError):
        open_door.dealer(keys=new_keys(), server=new_keys()[0], timeout_s=0.5)
    assert open_door.got == []


def test_a_manager_without_keys_is_not_let_in(lab):
    with pytest.raises(ConnectionError):
        lab.dealer(keys=("", ""), server="", timeout_s=0.5)


def test_nobody_is_let_in_before_the_first_key_is_known():
    with net() as lab:
        sock = lab.stranger(new_keys())
        sock.send(CANARY)
        lab.until(lambda: lab.router.counts["key"])
        assert lab.got == []


def test_one_block_per_key_and_one_key_per_block(lab):
    keys = lab.block("b1")
    dealer = lab.dealer("b1")
    lab.greet(dealer, 2.0)
    lab.router.allow("b2", keys[0])  # the key moves: who had it is somebody else now
    lab.until(dealer.reconnected)
    dealer.send(m.Heartbeat(3.0))
    assert lab.heard(3.0)[1] == "b2"
    del lab.got[1:]
