"""Where the interchange listens."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from plait.errors import ConfigurationError
from plait.executors.htex import where
from plait.launchers.simple import SimpleLauncher
from plait.providers import LocalProvider
from plait.providers.base import ExecutionProvider


class Remote(ExecutionProvider):
    label = "remote"
    status_polling_interval = 1.0

    def submit(self, command, tasks_per_node, job_name=""):
        return None

    def status(self, job_ids):
        return []

    def cancel(self, job_ids):
        return []


def test_blocks_on_this_machine_need_no_more_than_loopback():
    assert where.choose_address(LocalProvider(), None) == "127.0.0.1"
    assert where.choose_address(LocalProvider(launcher=SimpleLauncher()), None) == "127.0.0.1"
    assert where.stays_here(LocalProvider())


def test_others_reach_the_address_of_the_route():
    address = where.choose_address(Remote(), None)
    assert address == (where.by_route() or where.by_hostname() or "127.0.0.1")
    assert not ipaddress.ip_address(address).is_unspecified
    assert not where.stays_here(Remote())


def test_a_launcher_that_goes_to_other_nodes_leaves_this_machine():
    provider = LocalProvider()
    provider.launcher = object()
    assert not where.stays_here(provider)


@pytest.mark.parametrize(("given", "found"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("localhost", None)])
def test_what_the_user_says_goes_before(given, found):
    address = where.choose_address(Remote(), given)
    assert address == found if found else where.is_loopback(address)


def test_a_name_that_nobody_knows(monkeypatch):
    def fails(*_, **__):
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(ConfigurationError, match=r"address='nobody'.*no address is known"):
        where.choose_address(Remote(), "nobody")


def test_loopback_addresses():
    assert where.is_loopback("127.0.0.2")
    assert where.is_loopback("::1")
    assert not where.is_loopback("10.0.0.1")
    assert not where.is_loopback("name")
