from __future__ import annotations

from plait.compat.parsl.serialize.concretes import CallableSerializer, DataSerializer


def test_values_and_functions_come_back():
    data, code = DataSerializer(), CallableSerializer()
    assert data.deserialize(data.serialize({"a": [1, (2,)]})) == {"a": [1, (2,)]}
    y = 4
    assert code.deserialize(code.serialize(lambda x: x + y))(3) == 7
    assert code.deserialize(code.serialize(int)) is int
    assert (data.identifier, code.identifier) == (b"02", b"C2")
