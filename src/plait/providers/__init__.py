"""Providers: where blocks of nodes come from. The names are loaded when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait._util.lazy import lazy

if TYPE_CHECKING:
    from plait.providers.aws import AWSProvider as AWSProvider
    from plait.providers.azure import AzureProvider as AzureProvider
    from plait.providers.base import ExecutionProvider as ExecutionProvider
    from plait.providers.cluster import ClusterProvider as ClusterProvider
    from plait.providers.condor import CondorProvider as CondorProvider
    from plait.providers.flux import FluxProvider as FluxProvider
    from plait.providers.googlecloud import GoogleCloudProvider as GoogleCloudProvider
    from plait.providers.grid_engine import GridEngineProvider as GridEngineProvider
    from plait.providers.kubernetes import KubernetesProvider as KubernetesProvider
    from plait.providers.local import LocalProvider as LocalProvider
    from plait.providers.lsf import LSFProvider as LSFProvider
    from plait.providers.pbspro import PBSProProvider as PBSProProvider
    from plait.providers.slurm import SlurmProvider as SlurmProvider
    from plait.providers.ssh import SSHProvider as SSHProvider
    from plait.providers.torque import TorqueProvider as TorqueProvider

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
__all__ = [*_HOME]  # noqa: PLE0604 # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazy(__name__, _HOME)
