from __future__ import annotations

import pytest

from plait.compat.parsl.serialize import deserialize, facade
from plait.compat.parsl.serialize.proxystore import ProxyStoreSerializer
from plait.errors import ConfigurationError

STORED = {}


class Proxy:
    """As ProxyStore's, but it does not hide."""

    __factory__ = None

    def __init__(self, key):
        self.key = key

    def __reduce__(self):
        return fetch, (self.key,)


def fetch(key):
    return STORED[key]


class Store:
    def proxy(self, obj):
        STORED[len(STORED)] = obj
        return Proxy(len(STORED) - 1)


class Table:
    def __init__(self, rows):
        self.rows = rows


@pytest.fixture(autouse=True)
def empty():
    STORED.clear()


def test_chosen_objects_travel_through_the_store():
    serializer = ProxyStoreSerializer(should_proxy=lambda obj: isinstance(obj, Table), store=Store())
    data = serializer.serialize({"a": [Table("x" * 1000)], "b": 2})
    assert len(data) < 500
    assert len(STORED) == 1
    found = ProxyStoreSerializer().deserialize(data)
    assert (found["a"][0].rows, found["b"]) == ("x" * 1000, 2)


def test_the_whole_may_be_chosen():
    serializer = ProxyStoreSerializer(store=Store())
    assert serializer.deserialize(serializer.serialize([1, 2])) == [1, 2]
    assert STORED == {0: [1, 2]}


def test_writing_needs_a_store():
    with pytest.raises(ConfigurationError, match="store=Store"):
        ProxyStoreSerializer().serialize(3)


def test_the_other_end_finds_it_by_its_name(monkeypatch):
    monkeypatch.setattr(facade, "methods_for_data", {})
    facade.register_method_for_data(ProxyStoreSerializer(store=Store()))
    data = facade.serialize([1, 2])
    facade.methods_for_data.clear()
    assert deserialize(data) == [1, 2]
