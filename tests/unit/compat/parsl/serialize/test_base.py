from __future__ import annotations

from plait.compat.parsl.serialize.base import SerializerBase


class Mine(SerializerBase):
    pass


def test_a_way_of_ones_own_is_named_by_module_and_class():
    assert Mine().identifier == f"{__name__} Mine".encode()
