"""Finding jobs again that another process submitted: a ticket is written down before a job is, and says where to look for it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from plait.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plait.providers.base import ExecutionProvider

#: Where the provider of each system is. Each class has `from_ticket`, or takes the ticket's further entries as parameters and has `adopt`.
SYSTEMS: Final = {
    "slurm": "slurm:SlurmProvider",
    "gridengine": "grid_engine:GridEngineProvider",
    "pbspro": "pbspro:PBSProProvider",
    "torque": "torque:TorqueProvider",
    "lsf": "lsf:LSFProvider",
    "condor": "condor:CondorProvider",
    "flux": "flux:FluxProvider",
    "ssh": "ssh:SSHProvider",
    "kubernetes": "kubernetes:KubernetesProvider",
    "aws": "aws:AWSProvider",
    "googlecloud": "googlecloud:GoogleCloudProvider",
    "azure": "azure:AzureProvider",
}


def recall(ticket: Mapping[str, str]) -> tuple[ExecutionProvider, str]:
    """A provider that can look at the job of a ticket and cancel it, and the job's id for it.

    Raises:
        ConfigurationError: the ticket is of a system that is not known here, or lacks something.
    """
    system = ticket.get("system", "")
    if system not in SYSTEMS:
        raise ConfigurationError(f"ticket of system {system!r}: expected one of {', '.join(sorted(SYSTEMS))}")
    module, _, name = SYSTEMS[system].partition(":")
    kind: Any = getattr(importlib.import_module(f"plait.providers.{module}"), name)
    try:
        if hasattr(kind, "from_ticket"):
            provider = kind.from_ticket(ticket)
        else:
            provider = kind(**{key: value for key, value in ticket.items() if key not in {"system", "job", "name"}})
        return provider, provider.adopt(ticket)
    except (KeyError, TypeError) as error:
        raise ConfigurationError(f"ticket {dict(ticket)!r}: it cannot be used for {name}: {error}") from error
