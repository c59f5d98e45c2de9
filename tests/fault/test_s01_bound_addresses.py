"""S01: the one thing that listens is the interchange, on the chosen address; not the driver, no manager, no worker."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

import plait
from plait.testing import tasks
from tests.fault.pilot import interchanges, pilot_jobs, up
from tests.leaks import descendants
from tests.support import require, require_linux

echo = plait.python_app(tasks.echo)
LISTENS, UDP_UNCONNECTED = "0A", "07"


def sockets_of(pid: int) -> set[str]:
    """Inodes of the sockets that a process has."""
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                kind, _, inode = os.readlink(f"/proc/{pid}/fd/{name}").partition(":")
                if kind == "socket":
                    found.add(inode.strip("[]"))
    return found


def address_of(text: str) -> tuple[str, int]:
    """``0100007F:D431`` as an address and a port."""
    host, port = text.split(":")
    raw = b"".join(bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8))
    return socket.inet_ntop(socket.AF_INET6 if len(raw) == 16 else socket.AF_INET, raw), int(port, 16)


def bound() -> dict[str, tuple[str, int]]:
    """What is open for others to speak to: inode -> address and port."""
    found = {}
    for name in ("tcp", "tcp6", "udp", "udp6", "udplite", "raw", "raw6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == LISTENS or not name.startswith("tcp"):
                    found[words[9]] = address_of(words[1])
    return found


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.3", "::1", None])
def test_the_interchange_alone_listens(address):
    require_linux("reads /proc")
    if address == "::1":
        require(Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text(), "IPv6")
    before = sockets_of(os.getpid())
    with pilot_jobs(max_losses=0, options={"address": address}) as kernel:
        up(kernel)
        assert [future.result(30) for future in [echo(i) for i in range(20)]] == list(range(20))
        (interchange,) = interchanges()
        ours = {pid: sockets_of(pid) for pid in (os.getpid(), *descendants())}
        ours[os.getpid()] -= before
        everything = bound()
        where = {pid: {everything[inode] for inode in inodes if inode in everything} for pid, inodes in ours.items()}
        where = {pid: found for pid, found in where.items() if found}
    assert list(where) == [interchange], where
    ((host, port),) = where[interchange]
    assert host == (address or "127.0.0.1")
    assert port > 1023
