"""What a node of a provider will have, as far as it is known before one is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from plait.errors import ConfigurationError
from plait.executors.htex import hosts, node
from plait.executors.htex.where import stays_here

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plait.providers.base import ExecutionProvider

GIB: Final = 1 << 30
_NAMED: Final = re.compile("|".join(node.VARIABLES))
_LISTS: Final = re.compile("|".join(hosts.VARIABLES))


class Expected(NamedTuple):
    """What a node has; None for what nobody knows.

    Attributes:
        cores: to give to tasks.
        memory_bytes: likewise.
        gpus: how many of them.
        disk_bytes: free space for temporary files.
    """

    cores: float | None = None
    memory_bytes: int | None = None
    gpus: int | None = None
    disk_bytes: int | None = None


def expected_node(provider: ExecutionProvider, accelerators: int, env: Mapping[str, str]) -> Expected:
    """What the provider's parameters say; of blocks on this machine, what their managers will find, which get this environment."""
    cores, gigabytes = getattr(provider, "cores_per_node", None), getattr(provider, "mem_per_node", None)
    told = Expected(cores, int(gigabytes * GIB) if gigabytes else None, accelerators or None)
    if not stays_here(provider) or _names(_NAMED, provider):
        return told
    try:
        here = node.look_around(env)
    except ConfigurationError:  # the managers will say it
        return told
    return Expected(
        told.cores or here.cores,
        told.memory_bytes or here.memory_bytes or None,
        told.gpus or len(here.gpus),
        here.disk_bytes or None,
    )


def expected_nodes(provider: ExecutionProvider, env: Mapping[str, str]) -> int | None:
    """Nodes of a block for whose nodes one manager speaks; None where a list says it that only the manager will see, because no batch system gives the nodes."""
    listed = any(name in env for name in hosts.VARIABLES) or _names(_LISTS, provider)
    return None if listed and stays_here(provider) else provider.nodes_per_block


def _names(variables: re.Pattern[str], provider: Any) -> bool:
    """Whether the managers may see other values of these variables than this process."""
    prefix = getattr(getattr(provider, "launcher", None), "prepend", "")
    return variables.search(f"{getattr(provider, 'worker_init', '')}\n{prefix}") is not None
