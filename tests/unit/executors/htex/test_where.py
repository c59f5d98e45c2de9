"""Where the interchange listens."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from plait.errors import ConfigurationError
from plait.executors.htex import where
from plait.executors.htex.addresses import is_loopback
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
    assert where.choose_addresses(LocalProvider(), None) == ["127.0.0.1"]
    assert where.choose_addresses(LocalProvider(launcher=SimpleLauncher()), None) == ["127.0.0.1"]
    assert where.stays_here(LocalProvider())


def test_others_reach_the_address_of_the_route():
    addresses = where.choose_addresses(Remote(), None)
    address = addresses[0]
    assert address == (where.by_route() or where.by_hostname() or "127.0.0.1")
    assert not any(ipaddress.ip_address(each).is_unspecified for each in addresses)
    assert not where.stays_here(Remote())


def test_whose_provider_brings_a_port_of_loopback_to_its_nodes_needs_no_other():
    provider = Remote()
    provider.tunnels = True
    assert where.choose_addresses(provider, None) == ["127.0.0.1"]


def test_a_launcher_that_goes_to_other_nodes_leaves_this_machine():
    provider = LocalProvider()
    provider.launcher = object()
    assert not where.stays_here(provider)


@pytest.mark.parametrize(("given", "found"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("localhost", None)])
def test_what_the_user_says_goes_before(given, found):
    (address,) = where.choose_addresses(Remote(), given)
    assert address == found if found else is_loopback(address)


@pytest.mark.parametrize("given", ["0.0.0.0", "::"])
def test_any_address_is_none_that_can_be_dialled(given):
    assert where.choose_addresses(LocalProvider(), given) == ["127.0.0.1"]
    assert where.choose_addresses(Remote(), given) == where.choose_addresses(Remote(), None)


def test_a_name_of_this_machine_that_cannot_be_looked_up(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: f"{'x' * 70}.y")
    assert where.by_hostname() is None


def test_a_name_that_nobody_knows(monkeypatch):
    def fails(*_, **__):
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(ConfigurationError, match=r"address='nobody'.*no address is known"):
        where.choose_addresses(Remote(), "nobody")
