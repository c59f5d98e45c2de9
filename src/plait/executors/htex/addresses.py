"""Which addresses this host has, and which of them other hosts may be told to dial."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Beginnings of names of interfaces that lead to containers and virtual machines of this host and not to other hosts: they come last.
_INNER: Final = ("docker", "br-", "virbr", "veth", "cni", "podman", "lxc", "lxd", "vmnet", "vboxnet", "flannel", "cali")
#: Addresses that are told at most: a manager dials all of them at once.
_MANY: Final = 16


def is_loopback(address: str) -> bool:
    """Whether only processes of this host can reach an address."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return address == "localhost"


def host_addresses(first: str | None = None) -> list[str]:
    """Addresses under which other hosts may reach this one, the likeliest first; no loopback and none of one cable only.

    Args:
        first: one that goes before all others, such as that of the route to elsewhere.
    """
    import psutil

    try:
        up = {name for name, status in psutil.net_if_stats().items() if status.isup}
        found = psutil.net_if_addrs()
    except OSError:  # some containers do not let one look
        return choose({}, first)
    interfaces = {
        name: [each.address for each in addresses if each.family in {socket.AF_INET, socket.AF_INET6}]
        for name, addresses in found.items()
        if name in up
    }
    return choose(interfaces, first)


def choose(interfaces: Mapping[str, Sequence[str]], first: str | None = None) -> list[str]:
    """The same for given interfaces: name -> addresses."""
    found = [
        (_rank(name, address), address)
        for name, addresses in interfaces.items()
        for address in addresses
        if _is_of_use(address)
    ]
    ordered = [address for _, address in sorted(found, key=lambda each: each[0])]
    return _once([first, *ordered] if first is not None else ordered)[:_MANY]


def _is_of_use(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # such as fe80::1%eth0 before Python learnt it
        return False
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified)


def _rank(name: str, address: str) -> tuple[bool, int, bool]:
    """Those of the cluster's own networks first: private before public, IPv4 before IPv6; those inside this host last."""
    parsed = ipaddress.ip_address(address)
    return name.startswith(_INNER), parsed.version, not parsed.is_private


def _once(addresses: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(addresses))
