from __future__ import annotations

import ipaddress
import sys

import pytest

from plait.compat.parsl import addresses


@pytest.mark.parametrize(
    ("address", "port", "url"),
    [
        ("1.2.3.4", 5, "tcp://1.2.3.4:5"),
        ("::1", "5", "tcp://[::1]:5"),
        ("*", 5, "tcp://*:5"),
        ("1.2.3.4", None, "tcp://1.2.3.4"),
        ("::1", None, "tcp://[::1]"),
    ],
)
def test_urls(address, port, url):
    assert addresses.tcp_url(address, port) == url


def test_a_url_of_a_name_is_refused():
    with pytest.raises(ValueError, match=r"host\.example"):
        addresses.tcp_url("host.example", 3)


def test_an_interface_has_its_address():
    name = "lo" if sys.platform.startswith("linux") else "lo0"
    assert addresses.address_by_interface(name) == "127.0.0.1"
    with pytest.raises(OSError, match=r"address_by_interface\('nope'\)"):
        addresses.address_by_interface("nope")


def test_all_addresses_are_addresses():
    found = addresses.get_all_addresses()
    assert "127.0.0.1" in found
    assert all(ipaddress.ip_address(address) for address in found)
    assert addresses.get_any_address() in found


def test_the_service_outside_is_asked_for_its_answer(monkeypatch):
    import io
    import urllib.request

    asked = []
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda url, timeout: asked.append((url, timeout)) or io.BytesIO(b"203.0.113.7\n")
    )
    assert addresses.address_by_query(timeout=3) == "203.0.113.7"
    assert asked == [("https://api.ipify.org", 3)]


def test_an_answer_that_is_no_address_is_refused(monkeypatch):
    import io
    import urllib.request

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO(b"<html>log in</html>"))
    with pytest.raises(ValueError, match="html"):
        addresses.address_by_query()


def test_ways_that_fail_are_left_out(monkeypatch):
    def fails():
        raise OSError("no route")

    monkeypatch.setattr(addresses, "address_by_route", fails)
    monkeypatch.setattr(addresses, "address_by_hostname", fails)
    assert "127.0.0.1" in addresses.get_all_addresses()
