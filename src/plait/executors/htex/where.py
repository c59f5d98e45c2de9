"""Where the interchange listens, so that managers reach it and as few others as possible do."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError
from plait.executors.htex.addresses import host_addresses

if TYPE_CHECKING:
    from plait.providers.base import ExecutionProvider

LOOPBACK = "127.0.0.1"


def choose_addresses(provider: ExecutionProvider, address: str | None) -> list[str]:
    """The addresses to listen on: what the user says, unless that is "any address", which nobody can dial; loopback for blocks on this machine; else those by which other machines may come.

    A login node often has several networks, and which of them the compute nodes reach is not to be seen from here: managers dial all,
    and keep what answers. It is never "any address".

    Raises:
        ConfigurationError: the user's address means nothing here.
    """
    if address is not None:
        found = resolve(address)
        if not ipaddress.ip_address(found.partition("%")[0]).is_unspecified:
            return [found]
    if stays_here(provider) or provider.tunnels:
        return [LOOPBACK]
    return host_addresses(by_route() or by_hostname()) or [LOOPBACK]


def stays_here(provider: ExecutionProvider) -> bool:
    """Whether all managers run on this machine."""
    from plait.launchers.simple import SimpleLauncher, SingleNodeLauncher, WrappedLauncher
    from plait.providers.local import LocalProvider

    launcher: Any = getattr(provider, "launcher", None)
    here = (SimpleLauncher, SingleNodeLauncher, WrappedLauncher)
    return isinstance(provider, LocalProvider) and (launcher is None or isinstance(launcher, here))


def resolve(address: str) -> str:
    """An address for a name or an address.

    Raises:
        ConfigurationError: there is no such name.
    """
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"HighThroughputExecutor(address={address!r}): no address is known for this name ({error}); "
            "give an address of this machine that the workers can reach, or None to have one chosen"
        ) from None
    return str(found[0][4][0])


def by_route() -> str | None:
    """The address from which packets to other machines would go out. None is sent."""
    for family, other in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):  # of nobody
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((other, 9))
                return str(probe.getsockname()[0])
        except OSError:
            continue
    return None


def by_hostname() -> str | None:
    """The address that this machine's name stands for."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except (OSError, UnicodeError):
        return None
