from __future__ import annotations

import logging

import pytest

from plait.compat.parsl.serialize import deserialize, facade, pack_apply_message, serialize, unpack_apply_message
from plait.compat.parsl.serialize.base import SerializerBase
from plait.errors import DeserializationError, DeserializerPluginError, SerializationError


def test_identifier_newline_body():
    assert serialize(3).partition(b"\n")[0] == b"02"
    assert serialize(len).partition(b"\n")[0] == b"C2"
    assert deserialize(serialize([1, None])) == [1, None]


def test_a_call_is_three_parts_behind_their_lengths():
    data = pack_apply_message(int, ("11",), {"base": 2})
    size, _, rest = data.partition(b"\n")
    assert deserialize(rest[: int(size)]) is int
    assert unpack_apply_message(data) == [int, ("11",), {"base": 2}]


@pytest.mark.parametrize("data", [b"5\nabc", b"x\nabc", b"abc"])
def test_what_is_cut_off_is_refused(data):
    with pytest.raises(DeserializationError, match="expected a length"):
        unpack_apply_message(data)


class Upper(SerializerBase):
    def serialize(self, data):
        return data.upper().encode()

    def deserialize(self, payload):
        return payload.decode()


def test_a_way_of_ones_own_is_tried_after_the_others_and_found_by_its_name(monkeypatch):
    monkeypatch.setattr(facade, "methods_for_data", {})
    monkeypatch.setattr(facade, "_loaded", {})
    facade.register_method_for_data(Upper())
    data = serialize("abc")
    assert data == f"{__name__} Upper\nABC".encode()
    monkeypatch.setattr(facade, "methods_for_data", {})
    assert deserialize(data) == "ABC"


def test_an_unknown_way_is_named():
    with pytest.raises(DeserializerPluginError) as caught:
        deserialize(b"ZZ\nabc")
    assert caught.value.header == b"ZZ"


def test_what_cannot_be_sent_is_named():
    with pytest.raises(SerializationError):
        serialize(i for i in ())


def test_large_objects_are_mentioned(caplog):
    with caplog.at_level(logging.WARNING, "parsl"):
        serialize("x" * 2000, buffer_threshold=1000)
    assert "more than 1000" in caplog.text
