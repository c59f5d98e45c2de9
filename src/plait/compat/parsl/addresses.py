"""``parsl.addresses``: ways of finding an address of this machine."""

from __future__ import annotations

import ipaddress
import logging
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "address_by_hostname",
    "address_by_interface",
    "address_by_query",
    "address_by_route",
    "get_all_addresses",
    "get_any_address",
    "tcp_url",
]

_logger = logging.getLogger("parsl")


def address_by_route() -> str:
    """The address from which packets to the Internet would go out. None is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("8.8.8.8", 80))
        return str(probe.getsockname()[0])


def address_by_query(timeout: float = 30) -> str:
    """The address that a public service (https://api.ipify.org) sees.

    Raises:
        OSError: it cannot be asked.
    """
    import urllib.request

    with urllib.request.urlopen("https://api.ipify.org", timeout=timeout) as answer:
        return str(ipaddress.ip_address(answer.read(100).decode().strip()))


def address_by_hostname() -> str:
    """The address that this machine's name stands for."""
    return socket.gethostbyname(socket.gethostname())


def address_by_interface(ifname: str) -> str:
    """The IPv4 address of a network interface, such as ``eth0``.

    Raises:
        OSError: there is no such interface, or it has no such address.
    """
    import psutil

    interfaces = psutil.net_if_addrs()
    for address in interfaces.get(ifname, ()):
        if address.family == socket.AF_INET:
            return str(address.address)
    raise OSError(
        f"address_by_interface({ifname!r}): expected an interface with an IPv4 address, some of {', '.join(interfaces)}"
    )


def get_all_addresses() -> set[str]:
    """All addresses that can be found without asking anybody outside."""
    import psutil

    found = set()
    for name in psutil.net_if_addrs():
        try:
            found.add(address_by_interface(name))
        except OSError:
            _logger.debug("interface %s has no IPv4 address", name)
    for way in (address_by_hostname, address_by_route):
        address = _try(way)
        if address is not None:
            found.add(address)
    return found


def get_any_address() -> str:
    """Some address of this machine.

    Raises:
        OSError: none can be found.
    """
    addresses = sorted(get_all_addresses())
    if not addresses:
        raise OSError("get_any_address(): this machine has no address that can be found")
    return addresses[0]


def _try(way: Callable[[], str]) -> str | None:
    try:
        return way()
    except OSError:
        _logger.debug("%s() found nothing", way.__name__)
        return None


def tcp_url(address: str, port: str | int | None = None) -> str:
    """``tcp://address:port``, with brackets around an IPv6 address; ``*`` may stand for every address.

    Raises:
        ValueError: the address is none.
    """
    text = address
    if address != "*":
        text = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    return f"tcp://{text}" if port is None else f"tcp://{text}:{port}"
