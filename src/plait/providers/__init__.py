"""Providers: where blocks of nodes come from. The names are loaded when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.providers.base import ExecutionProvider
    from plait.providers.cluster import ClusterProvider
    from plait.providers.local import LocalProvider

__all__ = ["ClusterProvider", "ExecutionProvider", "LocalProvider"]

_HOME = {
    "ExecutionProvider": "base",
    "ClusterProvider": "cluster",
    "LocalProvider": "local",
    "SlurmProvider": "slurm",
    "GridEngineProvider": "grid_engine",
    "SSHProvider": "ssh",
    "PBSProProvider": "pbspro",
    "TorqueProvider": "torque",
    "LSFProvider": "lsf",
    "CondorProvider": "condor",
    "FluxProvider": "flux",
    "KubernetesProvider": "kubernetes",
    "AWSProvider": "aws",
    "GoogleCloudProvider": "googlecloud",
    "AzureProvider": "azure",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'plait.providers' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"plait.providers.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
