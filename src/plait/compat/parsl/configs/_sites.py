"""Sites of plait's catalogue as Parsl's bundled configurations, whose `config` programs import."""

from __future__ import annotations

import inspect
from typing import Any, Final

from plait.compat.parsl import launchers, providers
from plait.compat.parsl.config import Config
from plait.compat.parsl.executors.high_throughput.executor import HighThroughputExecutor
from plait.configfile.kinds import find_class
from plait.configfile.toml import parse
from plait.sites import find_site

#: What stands for a parameter that only the user knows, where a word in capitals is no value.
_STAND_INS: Final[dict[str, Any]] = {
    "vm_reference": {
        "publisher": "YOUR_PUBLISHER",
        "offer": "YOUR_OFFER",
        "sku": "YOUR_SKU",
        "version": "latest",
        "vm_size": "YOUR_VM_SIZE",
        "disk_size_gb": 30,
        "admin_username": "your_user",
        "password": "YOUR_PASSWORD",
    }
}


def config_of(name: str) -> Config:
    """The configuration of a site, with words such as ``YOUR_ACCOUNT`` for what the user must put there.

    Raises:
        ConfigurationError: there is no such site.
    """
    site = find_site(name)
    document = parse(site.text, site.path)
    needs = {need: _STAND_INS.get(need, f"YOUR_{need.upper()}") for need in site.needs}
    return Config(executors=[_executor(table, needs) for table in document["executors"]])


def _executor(table: dict[str, Any], needs: dict[str, Any]) -> HighThroughputExecutor:
    table = {name: value for name, value in table.items() if name != "type"}
    block = {**needs, **table.pop("provider")}
    if "launcher" in block:
        block["launcher"] = _made(block["launcher"], launchers)
    return HighThroughputExecutor(provider=_made(block, providers), **table)


def _made(table: dict[str, Any], room: Any) -> Any:
    """The object of a table: of Parsl's class if that has all its parameters, else of plait's, which has more."""
    values = {name: value for name, value in table.items() if name != "type"}
    cls = getattr(room, table["type"])
    if not set(values) <= set(inspect.signature(cls).parameters):
        cls = find_class(table["type"])
    return cls(**values)
