from __future__ import annotations

from plait.compat.parsl.serialize.concretes import (
    CallableSerializer,
    DataSerializer,
    DillCallableSerializer,
    DillSerializer,
    PickleSerializer,
)


def test_values_and_functions_come_back():
    data, code = DataSerializer(), CallableSerializer()
    assert data.deserialize(data.serialize({"a": [1, (2,)]})) == {"a": [1, (2,)]}
    y = 4
    assert code.deserialize(code.serialize(lambda x: x + y))(3) == 7
    assert code.deserialize(code.serialize(int)) is int
    assert (data.identifier, code.identifier) == (b"02", b"C2")


def test_they_have_upstreams_names_too():
    assert DillSerializer().deserialize(DataSerializer().serialize(3)) == 3
    assert DillCallableSerializer().identifier == b"C2"
    assert PickleSerializer().identifier == b"01"
    assert PickleSerializer().deserialize(PickleSerializer().serialize({"a": 1})) == {"a": 1}
