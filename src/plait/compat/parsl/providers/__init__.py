"""``parsl.providers``. A provider is loaded when it is first asked for, and only then needs what it needs."""

from __future__ import annotations

import importlib
from typing import Any, Final

from plait.compat.parsl._lazy import lazy

#: Where each provider is; programs import them from there too.
_HOME: Final = {
    "AWSProvider": "aws.aws",
    "AzureProvider": "azure.azure",
    "CondorProvider": "condor.condor",
    "GoogleCloudProvider": "googlecloud.googlecloud",
    "GridEngineProvider": "grid_engine.grid_engine",
    "KubernetesProvider": "kubernetes.kube",
    "LocalProvider": "local.local",
    "LSFProvider": "lsf.lsf",
    "PBSProProvider": "pbspro.pbspro",
    "SlurmProvider": "slurm.slurm",
    "TorqueProvider": "torque.torque",
}

__all__ = [*_HOME]  # noqa: PLE0604 # pyright: ignore[reportUnsupportedDunderAll]

_submodule = lazy(__name__)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        return _submodule(name)
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
