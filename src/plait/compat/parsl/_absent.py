"""What upstream has and this version does not: names and modules, with the reason that users are told."""

from __future__ import annotations

from typing import Final

_MONITORING: Final = "the monitoring database"
_STAGING: Final = "staging of remote files"
_OTHER: Final = "executors that stand on other systems"

#: Names of the packages in `PACKAGES`, each with the feature that it belongs to.
NAMES: Final = {
    "WorkQueueExecutor": _OTHER,
    "TaskVineExecutor": _OTHER,
    "FluxExecutor": _OTHER,
    "FluxMPIExecutor": _OTHER,
    "GlobusComputeExecutor": _OTHER,
    "RadicalPilotExecutor": _OTHER,
    "MonitoringHub": _MONITORING,
}  # fmt: skip
PACKAGES: Final = frozenset({"parsl", "parsl.executors"})

#: Modules of upstream, by the beginning of their name.
MODULES: Final = {
    "parsl.executors.high_throughput": "the inside of upstream's pilot jobs, which is another here",
    "parsl.executors": _OTHER,
    "parsl.curvezmq": "the inside of upstream's pilot jobs, which is another here",
    "parsl.configs.gc_multisite": _OTHER,
    "parsl.configs.gc_tutorial": _OTHER,
    "parsl.configs.vineex_local": _OTHER,
    "parsl.configs.wqex_local": _OTHER,
    "parsl.monitoring": _MONITORING,
    "parsl.data_provider": _STAGING,
    "parsl.usage_tracking": "usage tracking, of which this version sends nothing",
    "parsl.benchmark": "the command `plait bench`",
    "parsl.serialize": "other ways of serialisation",
}


def why_absent(name: str) -> str:
    """The sentence for a name or module ``parsl.…`` that is not there; empty for one that upstream does not have either."""
    feature = _feature(name)
    if not feature:
        return ""
    return f"plait does not have {name} yet: it belongs to {feature} (docs/reference/differences-from-parsl.md lists what is there)"


def _feature(name: str) -> str:
    package, _, last = name.rpartition(".")
    if package in PACKAGES and last in NAMES:
        return NAMES[last]
    if last[:1].isupper():  # a class that upstream does not have, not a module
        return ""
    for start, feature in MODULES.items():
        if name == start or name.startswith(start + "."):
            return feature
    return ""
