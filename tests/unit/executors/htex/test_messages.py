from __future__ import annotations

import re

import msgspec
import pytest

from plait.executors.htex import messages as m
from tests.support import ROOT

ALL = frozenset(m.KINDS.values())


def test_every_message_has_a_number_and_a_link():
    declared = {
        cls for cls in vars(m).values() if isinstance(cls, type) and issubclass(cls, m.Message) and cls is not m.Message
    }
    assert declared == ALL
    assert m.FROM_MANAGER | m.TO_MANAGER | m.FROM_DRIVER | m.TO_DRIVER == ALL


def test_numbers_fit_into_the_prefix_and_are_given_once():
    assert all(0 < number < 256 for number in m.KINDS)
    assert len(ALL) == len(m.KINDS)


def test_a_manager_cannot_say_what_a_driver_says():
    assert m.FROM_MANAGER & m.FROM_DRIVER == set()
    assert {
        m.Stop,
        m.Cancel,
        m.Allow,
        m.Offer,
        m.Drain,
        m.DrainBlock,
        m.Hold,
        m.Query,
        m.Taken,
    } & m.FROM_MANAGER == set()


def test_what_goes_both_ways_on_the_link_of_a_manager():
    assert m.FROM_MANAGER & m.TO_MANAGER == {m.Heartbeat, m.Chunk, m.ChunkTaken}


@pytest.mark.parametrize("kind", sorted(ALL, key=lambda kind: kind.__name__))
def test_messages_are_arrays_that_cannot_be_changed(kind):
    config = kind.__struct_config__
    assert config.array_like
    assert config.frozen
    assert config.forbid_unknown_fields
    assert kind.__doc__


def test_the_registrations_of_all_versions_begin_alike():
    assert m.Register.__struct_fields__[:8] == (
        "manager",
        "block",
        "hostname",
        "pid",
        "boot",
        "protocol",
        "plait",
        "python",
    )
    assert m.Refused.__struct_fields__ == ("reason",)


def test_what_is_asked_for_and_what_is_given_has_room_in_a_task():
    ask = m.Ask(cores=2, gpus=0.5, near=("node1",))
    grant = m.Grant(cores=(0, 1), gpus=("0",))
    offer = m.Offer([(1, 1, 2, b"payload", [3, 4], ask), (2, 1, 2, b"", None, None)])
    tasks = m.Tasks([(1, 1, 2, b"payload", [3, 4], grant), (2, 1, 2, b"", None, None)])
    for message in (offer, tasks):
        data = msgspec.msgpack.encode(message)
        assert msgspec.msgpack.decode(data, type=type(message)) == message


def test_the_ways_to_end_are_different():
    names = re.findall(
        r"^([A-Z_]+): Final = \d+  #:", (ROOT / "src/plait/executors/htex/messages.py").read_text(), re.MULTILINE
    )
    numbers = [getattr(m, name) for name in names]
    assert len(numbers) >= 5
    assert len(set(numbers)) == len(numbers)
