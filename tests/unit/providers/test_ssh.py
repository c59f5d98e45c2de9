"""Parameters, ways back and tickets of `SSHProvider`. Real hosts: tests/cluster/test_ssh_hosts.py, test_ssh_login.py."""

from __future__ import annotations

import socket
import sys

import pytest

from plait.errors import BadLauncher, ConfigurationError
from plait.launchers import SimpleLauncher
from plait.model.jobs import JobState, JobStatus
from plait.providers import GridEngineProvider, LocalProvider, SSHProvider
from plait.providers.shell import CommandFailed, LocalShell
from plait.providers.ssh_hosts import HostJob, HostList, Place
from plait.providers.tickets import recall
from tests.unit.providers.near import Near


@pytest.fixture
def login(tmp_path):
    """A provider whose login host is this machine."""
    made = []

    def login(**parameters):
        provider = SSHProvider(
            host="login", provider=GridEngineProvider(), folder=str(tmp_path), python=sys.executable, **parameters
        )
        provider._shell.connection = Near("login")
        made.append(provider)
        return provider

    yield login
    for provider in made:
        provider.close()


# ------------------------------------------------------------------ parameters
def test_a_list_of_hosts():
    provider = SSHProvider(["a", "b", "c", "d", "e"], nodes_per_block=2)
    assert (provider.max_blocks, provider.nodes_per_block, provider.label) == (2, 2, "ssh")
    assert isinstance(provider._inner, HostList)
    assert not provider.shares_files
    assert repr(provider) == "SSHProvider(hosts=['a', 'b', 'c', 'd', 'e'], nodes_per_block=2, max_blocks=2)"


def test_a_login_host():
    given = GridEngineProvider(nodes_per_block=2, parallel_environment="mpi", max_blocks=7, walltime="02:00:00")
    provider = SSHProvider(host="me@login", provider=given, tunnel=True)
    assert (provider.max_blocks, provider.nodes_per_block, provider.label) == (7, 2, "ssh.gridengine")
    assert provider.walltime == "02:00:00"
    assert provider.tunnels
    assert given.shell is None  # the user's own is left as it is
    assert provider._inner.resources is not given.resources
    assert provider.status_polling_interval == 30


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "either hosts"),
        ({"hosts": ["a"], "host": "b", "provider": GridEngineProvider()}, "either hosts"),
        ({"host": "b"}, "either hosts"),
        ({"hosts": ["a"], "provider": GridEngineProvider()}, "either hosts"),
        ({"hosts": "abc"}, "expected a list of names"),
        ({"hosts": []}, "expected a list of names"),
        ({"hosts": 5}, "expected a list of names"),
        ({"hosts": ["a", "a"]}, "each host once"),
        ({"hosts": ["a", "-oProxyCommand=touch canary"]}, "hosts='-oProxyCommand=touch canary'"),
        ({"host": "-oProxyCommand=x", "provider": GridEngineProvider()}, "host='-oProxyCommand=x'"),
        ({"host": "b", "provider": LocalProvider()}, "a batch system with commands"),
        ({"host": "b", "provider": GridEngineProvider(shell=LocalShell())}, "a batch system with commands"),
        ({"host": "b", "provider": GridEngineProvider(), "max_blocks": 3}, "parameters of that provider"),
        ({"hosts": ["a"], "max_blocks": 2}, "max_blocks=2"),
        ({"hosts": ["a"], "nodes_per_block": 2, "max_blocks": 1}, "nodes_per_block=2"),
        ({"hosts": ["a"], "tunnel": "yes"}, "tunnel='yes'"),
        ({"hosts": ["a"], "options": ["ProxyCommand=x"]}, "ProxyCommand"),
        ({"hosts": ["a"], "init": "a\nb"}, "init="),
        ({"hosts": ["a"], "init": ". /etc/profile"}, "use worker_init"),
        ({"hosts": ["a"], "python": ""}, "python="),
        ({"hosts": ["a"], "cmd_timeout": 0}, "cmd_timeout=0"),
    ],
)
def test_what_cannot_work_is_refused(parameters, message):
    with pytest.raises(ConfigurationError, match=message):
        SSHProvider(**parameters)


def test_a_launcher_that_is_none():
    with pytest.raises(BadLauncher):
        SSHProvider(["a"], launcher="srun")
    assert isinstance(SSHProvider(["a"], launcher=SimpleLauncher())._inner.launcher, SimpleLauncher)


# ------------------------------------------------------------------ ways back
def test_without_a_tunnel_managers_dial_what_they_are_told(login):
    provider = login(tunnel=False)
    assert provider.route(["10.0.0.1", "10.0.0.2"], 54000) == (["10.0.0.1", "10.0.0.2"], 54000)
    assert provider._shell.connection.lines == []


def test_hosts_dial_their_own_loopback():
    provider = SSHProvider(["a", "b"], tunnel=True)
    for shell in provider._inner.shells.values():
        shell.connection = Near(shell.connection.host)
    addresses, port = provider.route(["127.0.0.1"], 54000)
    assert addresses == ["127.0.0.1"]
    assert provider._inner.shells["a"].connection.forwards == [("127.0.0.1", 54000, port)]


@pytest.mark.parametrize("reachable", [True, False])
def test_what_is_not_known_is_tried(login, reachable, monkeypatch):
    """An address of this machine from "there"; the relay is the way back when it does not answer."""
    from plait.providers import ssh_relay

    (address, *_) = ssh_relay.addresses() or pytest.skip("no address but loopback")
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        if not reachable:
            server.close()
        provider = login()
        assert not provider.tunnels
        found = provider.route(["192.0.2.1", address] if reachable else [address], port)
    assert (found[1] == port) is reachable
    assert provider._shell.connection.forwards == ([] if reachable else [(address, port, 0)])


def test_a_relay_that_ends_is_started_again_on_its_port(login):
    with socket.create_server(("127.0.0.1", 0)) as server:
        provider = login(tunnel=True)
        addresses, port = provider.route(["127.0.0.1"], server.getsockname()[1])
        for _ in range(2):
            with socket.create_connection((addresses[0], port), 10):
                server.accept()[0].close()
            provider._relay.kill()
            provider._relay.wait()
            provider.status([])
        provider._shell.connection.lives += 1  # what it stood on is another
        before = provider._relay
        provider.status([])
        assert provider._relay is not before
        with socket.create_connection((addresses[0], port), 10):
            server.accept()[0].close()


def test_a_relay_that_cannot_start_says_so(login):
    provider = login(tunnel=True)
    provider.python = "/no/such/python"
    with pytest.raises(CommandFailed, match="on login: the relay for its compute nodes does not start"):
        provider.route(["127.0.0.1"], 54000)


# ------------------------------------------------------------------ tickets
def test_tickets_of_hosts(tmp_path):
    provider = SSHProvider(["a", "b"], ssh_config="/etc/x", options=["Port=22"], folder="/scratch")
    provider.script_dir = str(tmp_path)
    ticket = provider.ticket("", "plait.run.block-1")
    assert all(isinstance(value, str) for value in ticket.values())
    other, id_ = recall(ticket)
    assert id_ == ticket["name"]
    assert (other.hosts, other.ssh_config, other.options, other.folder) == (
        ["a", "b"],
        "/etc/x",
        ("Port=22",),
        "/scratch",
    )
    assert [place.host for place in other.resources[id_].places] == ["a", "b"]


def test_the_ticket_of_a_job_that_has_begun_names_its_hosts_only():
    """Others, which may not be reached, say nothing of it."""
    provider = SSHProvider(["a", "b"])
    provider.resources["x"] = HostJob("x", "x", [Place("b", "", 0.0)], JobStatus(JobState.RUNNING))
    other, id_ = recall(provider.ticket("x"))
    assert [place.host for place in other.resources[id_].places] == ["b"]


def test_tickets_of_a_login_host():
    provider = SSHProvider(host="login", provider=GridEngineProvider(), init=". /etc/profile")
    ticket = provider.ticket("", "plait.run.block-1")
    other, id_ = recall({**ticket})
    assert (other.host, other.init, other.label) == ("login", ". /etc/profile", "ssh.gridengine")
    assert id_ == f"name:{ticket['name']}"
    assert other._inner.shell.connection.host == "login"
