"""Three hosts with sshd, each with a network and processes of its own. Log-in by key only.

What `Network` needs is all that is needed beside OpenSSH. The tests' folders are hidden there, so nothing is shared by chance but the programs.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.testbed.common import Bed, require_commands, require_root
from tests.testbed.netns import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.testbed.netns import Host

# Keys are agreed on in the way that costs least: on a busy machine the default takes a second of each connection.
_SSHD: Final = """\
Port 22
KexAlgorithms curve25519-sha256
ListenAddress 0.0.0.0
HostKey {folder}/hostkey
PidFile none
AuthorizedKeysFile {folder}/id.pub
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
MaxStartups 100
MaxSessions 100
LogLevel VERBOSE
"""
_CLIENT: Final = """\
Host {name}
    HostName {address}
    IdentityFile {folder}/id
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    StrictHostKeyChecking yes
"""


class SshHosts:
    """The hosts.

    Args:
        bed: whose they are.
        network: one whose hosts are to be logged in to; None for three new ones, where the tests' folders are hidden.

    Attributes:
        hosts: the hosts.
        jobs: a folder that all of them have, as homes on file servers are.
        config: configuration for ssh in which they are known by their names.
        here: the address of this machine on their network.
    """

    def __init__(self, bed: Bed, network: Network | None = None) -> None:
        require_commands("ssh", "sshd", "ssh-keygen")
        self.bed = bed
        self._hide = network is None
        self.network = Network(bed, 3, "host") if network is None else network
        self.hosts: list[Host] = self.network.hosts
        self.here = self.network.here
        self.jobs = str(bed.folder / "jobs")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for name in ("hostkey", "id"):
            bed.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(bed.folder / name)])
        bed.write("sshd.conf", _SSHD.format(folder=bed.folder))
        key = (bed.folder / "hostkey.pub").read_text()
        bed.write("known_hosts", "".join(f"{host.address} {key}" for host in self.hosts))
        # a second name of the first makes four
        names = [*((host.name, host.address) for host in self.hosts), (f"{self.hosts[0].name}b", self.hosts[0].address)]
        entries = [_CLIENT.format(name=name, address=address, folder=bed.folder) for name, address in names]
        self.config = str(bed.write("config", "".join(entries)))
        for host in self.hosts:
            self.start_daemon(host)

    def start_daemon(self, host: Host) -> None:
        """Starts the sshd of a host."""
        if self._hide:
            hidden = os.path.join(tempfile.gettempdir(), f"pytest-of-{_user()}")
            os.makedirs(hidden, mode=0o700, exist_ok=True)
            host.run("mount", "-t", "tmpfs", "none", hidden)
        host.start(f"sshd-{host.name}", ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.bed.folder / "sshd.conf")])
        probe = ["ssh", "-F", self.config, "-o", "BatchMode=yes", "-o", "ConnectTimeout=2", host.name, "true"]
        self.bed.until(lambda: self.bed.run(probe) == "", f"sshd of {host.name} answers", f"sshd-{host.name}")

    def processes(self, host: Host) -> list[str]:
        """Command lines of what runs on a host, beside itself and sshd."""
        lines = host.run("ps", "-eo", "args", "--no-headers").splitlines()
        own = (
            "sshd",
            "bash -c hostname",
            "sleep infinity",
            "ps -eo",
            "/usr/sbin/sshd",
            "sh -c echo plait-is-up",
            "cat",
        )
        return [line for line in lines if not line.startswith(own)]


def _user() -> str:
    import getpass

    return getpass.getuser()


@contextlib.contextmanager
def ssh_hosts() -> Iterator[SshHosts]:
    """The hosts, for as long as that lasts."""
    require_root("network namespaces")
    require_commands("ssh", "sshd", "ssh-keygen")
    with Bed("ssh") as bed:
        yield SshHosts(bed)


@pytest.fixture(scope="session")
def ssh_bed() -> Iterator[SshHosts]:
    """The hosts, for all tests of a session."""
    with ssh_hosts() as hosts:
        yield hosts
