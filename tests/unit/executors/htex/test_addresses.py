from __future__ import annotations

import ipaddress

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.executors.htex.addresses import choose, host_addresses, is_loopback


def test_the_clusters_network_comes_first_and_what_is_inside_this_host_last():
    interfaces = {
        "docker0": ["172.17.0.1"],
        "eth0": ["141.2.3.4", "2a00:1450::7", "fe80::1%eth0"],
        "ib0": ["10.1.0.5", "fd00::5"],
        "lo": ["127.0.0.1", "::1"],
    }
    assert choose(interfaces) == ["10.1.0.5", "141.2.3.4", "fd00::5", "2a00:1450::7", "172.17.0.1"]


def test_one_may_be_put_first():
    assert choose({"eth0": ["141.2.3.4"], "ib0": ["10.1.0.5"]}, "141.2.3.4") == ["141.2.3.4", "10.1.0.5"]
    assert choose({}, "10.9.9.9") == ["10.9.9.9"]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "169.254.7.7", "fe80::1", "fe80::1%eth0", "224.0.0.1", "ff02::1", "0.0.0.0", "::", "x"],
)
def test_what_is_of_no_use_to_others(address):
    assert choose({"eth0": [address]}) == []


def test_not_too_many():
    assert len(choose({"eth0": [f"10.0.0.{number}" for number in range(100)]})) == 16


@given(
    st.dictionaries(
        st.text(max_size=8), st.lists(st.ip_addresses().map(str) | st.text(max_size=20), max_size=8), max_size=5
    )
)
def test_whatever_there_is(interfaces):
    found = choose(interfaces)
    assert len(set(found)) == len(found)
    for address in found:
        assert not is_loopback(address)
        assert not ipaddress.ip_address(address).is_unspecified
        assert any(address in addresses for addresses in interfaces.values())


def test_where_one_may_not_look(monkeypatch):
    def fails():
        raise PermissionError(13, "not allowed")

    monkeypatch.setattr(psutil, "net_if_stats", fails)
    assert host_addresses("10.9.9.9") == ["10.9.9.9"]
    assert host_addresses() == []


def test_this_host():
    for address in host_addresses():
        assert not is_loopback(address)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("0.0.0.0", False), ("::", False),
     ("*", False), ("fe80::1%eth0", False), ("node7", False)],
)  # fmt: skip
def test_loopback(address, expected):
    assert is_loopback(address) is expected
