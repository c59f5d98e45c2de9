"""A second host: a network namespace, joined to this one by a cable that tests can cut.

Needs root and iproute2; without root the tests that use it skip.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

from tests.support import require, require_command, require_linux

if TYPE_CHECKING:
    from collections.abc import Iterator


class Node:
    """The other host.

    Attributes:
        here: address of this host on the cable.
        there: address of the other host.
        prefix: what runs a command there.
    """

    def __init__(self, name: str, net: str) -> None:
        self.name = name
        self.here = f"{net}.1"
        self.there = f"{net}.2"
        self.prefix = f"ip netns exec {name}"

    def cut(self) -> None:
        """Nothing passes, in either direction, and nobody is told."""
        _ip("-n", self.name, "link", "set", "eth0", "down")

    def mend(self) -> None:
        """Everything passes again."""
        _ip("-n", self.name, "link", "set", "eth0", "up")
        _ip("-n", self.name, "route", "flush", "type", "blackhole", check=False)

    def mute(self) -> None:
        """What the other host sends is lost; what is sent to it arrives."""
        _ip("-n", self.name, "route", "add", "blackhole", f"{self.here}/32")


@contextlib.contextmanager
def node() -> Iterator[Node]:
    """Makes the other host, and takes it away."""
    require_linux("network namespaces")
    require(os.geteuid() == 0, "root, for network namespaces")
    require_command("ip")
    name = f"plait-{os.getpid()}"
    other = Node(name, f"10.{200 + os.getpid() // 250 % 50}.{os.getpid() % 250}")
    end = f"pl{os.getpid() % 10**9}"
    try:
        _ip("netns", "add", name)
    except RuntimeError as error:  # root in a container that may not
        require(False, f"network namespaces ({error})")
    try:
        _ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("addr", "add", f"{other.here}/30", "dev", end)
        _ip("link", "set", end, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "addr", "add", f"{other.there}/30", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        yield other
    finally:
        _ip("link", "del", end, check=False)
        _ip("netns", "del", name, check=False)


def _ip(*arguments: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
