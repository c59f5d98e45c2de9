"""Hosts on this machine: each has a network, a name, a table of mounts and a table of processes of its own, and a cable that tests can cut.

```
this machine ──┐
host 1 ────────┤ switch: a bridge in a network of its own; nothing leads out of it
host 2 ────────┘
```

No name of it is anywhere in the file system: a host is its first process, which the bed's keeper keeps, and ends with it.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from tests.support import require
from tests.testbed.common import BedError, require_commands, require_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.testbed.common import Bed

#: The first process of a host takes the exit status of orphans, as init does.
_INIT = 'hostname "$0"; mount --bind "$1" /etc/hosts; sleep infinity & echo ready >"$2"; wait'
_UNSHARE = ("unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


class Host:
    """One host.

    Attributes:
        name: its name, which all hosts of the network know.
        address: its address.
    """

    def __init__(self, network: Network, number: int) -> None:
        self._network = network
        self.number = number
        self.name = f"{network.prefix}{number}"
        self.address = f"{network.net}.{number}"
        self.pid = 0

    def boot(self) -> None:
        """Starts it and plugs its cable in."""
        bed, ready = self._network.bed, self._network.bed.folder / f"{self.name}.ready"
        ready.unlink(missing_ok=True)
        hosts = bed.folder / "hosts"
        outer = bed.start(self.name, [*_UNSHARE, "bash", "-c", _INIT, self.name, str(hosts), str(ready)])
        bed.until(lambda: ready.exists() and ready.stat().st_size, f"host {self.name} is up", self.name)
        with open(f"/proc/{outer}/task/{outer}/children", encoding="ascii") as children:
            self.pid = int(children.read().split()[0])
        self._network.plug(self)

    def crash(self) -> None:
        """Power off: every process on it is killed, and its network is gone."""
        self._network.bed.kill(self.name)

    def on(self, *argv: str, cwd: str = "/") -> list[str]:
        """A command line that runs there what is given here."""
        found = shutil.which("nsenter") or "nsenter"
        there = [found, "--target", str(self.pid), "--net", "--uts", "--mount", "--pid", f"--wdns={cwd}", "--"]
        return [*there, *argv]

    def run(self, *argv: str, timeout_s: float = 20.0, check: bool = True) -> str:
        """Runs a command there; its output."""
        return self._network.bed.run(self.on(*argv), timeout_s=timeout_s, check=check)

    def start(self, name: str, argv: Sequence[str]) -> None:
        """Starts a daemon there, which must stay in the foreground; `Bed.kill` ends it."""
        program = shutil.which(argv[0], path=self._network.bed.env["PATH"]) or argv[0]
        # the bed's child is nsenter, whose child is the daemon: it is to go with it
        self._network.bed.start(name, self.on("setpriv", "--pdeathsig", "KILL", "--", program, *argv[1:]))

    # ------------------------------------------------------------------ faults
    def cut(self) -> None:
        """Nothing passes, in either direction, and nobody is told."""
        self.run("ip", "link", "set", "eth0", "down")

    def mend(self) -> None:
        """Everything passes again."""
        self.run("ip", "link", "set", "eth0", "up")
        self.run("iptables", "--flush", check=False)

    def drop(self, percent: float) -> None:
        """Of what comes in, so much is lost."""
        odds = ["--match", "statistic", "--mode", "random", "--probability", str(percent / 100)]
        self.run("iptables", "--append", "INPUT", "--in-interface", "eth0", *odds, "--jump", "DROP")


class Network:
    """Hosts on one switch, with this machine.

    Args:
        bed: whose they are; they end with it.
        count: how many.
        prefix: of their names: `<prefix>1` and so on.

    Attributes:
        hosts: the hosts.
        here: the address of this machine on the network.
    """

    def __init__(self, bed: Bed, count: int = 3, prefix: str = "host") -> None:
        require_root("network namespaces")
        require_commands("ip", "iptables", "nsenter", "unshare")
        self.bed = bed
        self.prefix = prefix
        number = os.getpid() * 4 + sum(map(ord, bed.name)) % 4  # several beds of one session, several sessions
        self.net = f"10.{150 + number // 250 % 50}.{number % 250}"
        self.here = f"{self.net}.254"
        self.hosts = [Host(self, number) for number in range(1, count + 1)]
        names = [f"{host.address} {host.name}" for host in self.hosts]
        bed.write("hosts", "\n".join(["127.0.0.1 localhost", *names, f"{self.here} driver", ""]))
        self._switch = Host(self, 0)
        self._cable = f"pl{number % 10**9:x}"  # names of interfaces have at most 15 characters
        try:
            bed.run(["unshare", "--net", "true"])
        except BedError as error:  # root in a container that may not
            require(False, f"network namespaces ({error})")
        self._start_switch()
        for host in self.hosts:
            host.boot()

    def _start_switch(self) -> None:
        pid = self.bed.start("switch", ["unshare", "--net", "sleep", "infinity"])
        self._switch.pid = pid
        self.bed.until(
            lambda: os.stat(f"/proc/{pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino, "the switch is up"
        )
        self._ip("link", "add", "br0", "type", "bridge", "forward_delay", "0")
        self._ip("link", "set", "br0", "up")
        self._ip("link", "add", "here", "type", "veth", "peer", "name", self._cable, "netns", str(os.getpid()))
        self._ip("link", "set", "here", "master", "br0", "up")
        self.bed.run(["ip", "addr", "add", f"{self.here}/24", "dev", self._cable])
        self.bed.run(["ip", "link", "set", self._cable, "up"])

    def plug(self, host: Host) -> None:
        """Connects a host to the switch."""
        port = f"port{host.number}"
        self.bed.run(["nsenter", "--target", str(self._switch.pid), "--net", "ip", "link", "del", port], check=False)
        # the same card as before a crash: others remember it for half a minute
        card = ["address", f"02:00:00:00:00:{host.number:02x}"]
        self._ip("link", "add", port, "type", "veth", "peer", "name", "eth0", *card, "netns", str(host.pid))
        self._ip("link", "set", port, "master", "br0", "up")
        host.run("ip", "link", "set", "lo", "up")
        host.run("ip", "addr", "add", f"{host.address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")

    def _ip(self, *words: str) -> None:
        self.bed.run(["nsenter", "--target", str(self._switch.pid), "--net", "ip", *words])
