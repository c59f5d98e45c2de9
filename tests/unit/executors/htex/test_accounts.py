from __future__ import annotations

import itertools
import random

from plait.executors.htex.accounts import Accounts
from plait.executors.htex.nodes import ManagerState
from tests.unit.executors.htex.core_lab import register


def manager(name="a"):
    return ManagerState(register(name), name, 0.0)


def test_a_message_counts_once_in_whatever_order_they_come():
    one, accounts = manager(), Accounts()
    order = [1, 4, 2, 3, 6, 5, 7]
    for seq in order:
        assert accounts.is_new(one, seq)
        assert not accounts.is_new(one, seq)
    assert all(not accounts.is_new(one, seq) for seq in order)
    assert (one.last_seq, one.ahead) == (7, set())


def test_a_manager_is_told_the_number_up_to_which_the_driver_has_everything():
    one, accounts = manager(), Accounts()
    for seq in (2, 1, 3):
        accounts.is_new(one, seq)
        accounts.delivered(one, seq)
    assert accounts.taken(1) == []  # it was message 2: message 1 is still on its way
    assert one.taken_seq == 0
    assert accounts.taken(2) == [one]
    assert one.taken_seq == 2
    assert accounts.taken(3) == [one]
    assert (one.taken_seq, one.untaken, accounts.untaken) == (3, 0, 0)


def test_one_word_of_the_driver_is_one_word_to_each_manager():
    a, b, accounts = manager("a"), manager("b"), Accounts()
    for seq, each in itertools.product(range(1, 6), (a, b)):
        accounts.is_new(each, seq)
        accounts.delivered(each, seq)
    assert accounts.taken(9) == [a, b]
    assert (a.taken_seq, b.taken_seq) == (5, 4)


def test_messages_with_nothing_for_the_driver_are_taken_at_once():
    one, accounts = manager(), Accounts()
    for seq in (1, 2, 3):
        accounts.is_new(one, seq)
    accounts.delivered(one, 1)
    assert not accounts.count_taken(one, 2)  # not before message 1
    assert accounts.count_taken(one, 2) is False
    assert accounts.taken(1) == [one]
    assert one.taken_seq == 2
    assert accounts.count_taken(one, 3)


def test_one_that_is_gone_is_told_nothing():
    one, accounts = manager(), Accounts()
    accounts.is_new(one, 1)
    accounts.delivered(one, 1)
    one.gone = True
    assert accounts.taken(1) == []
    assert accounts.untaken == 0


def test_one_that_drains_is_named_when_its_last_message_was_taken():
    one, accounts = manager(), Accounts()
    one.draining = "it is idle"
    for seq in (1, 2):
        accounts.is_new(one, seq)
        accounts.delivered(one, seq)
    accounts.taken(1)
    assert accounts.settled() == []
    accounts.taken(2)
    assert accounts.settled() == [one]
    assert accounts.settled() == []


def test_nothing_is_kept_of_what_was_taken():
    one, accounts = manager(), Accounts()
    seqs = list(range(1, 1001))
    random.Random(3).shuffle(seqs)
    for seq in seqs:
        accounts.is_new(one, seq)
        accounts.delivered(one, seq)
    accounts.taken(1000)
    assert (one.taken_seq, len(one.taken_ahead), len(one.ahead), accounts.untaken) == (1000, 0, 0, 0)
