"""Which plait this is, and which other packages there are; read off the names of folders, because `importlib.metadata` takes its time."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDING: Final = ".dist-info"


def plait_version() -> str:
    """The installed version of plait, as `importlib.metadata` says it. Empty if not installed."""
    return installed_versions().get("plait", "")


def installed_versions() -> dict[str, str]:
    """Packages that can be imported here, with their versions. Names are as in import statements, for those whose package has the same."""
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.endswith(_ENDING):
                package, _, version = name.removesuffix(_ENDING).partition("-")
                found.setdefault(package.replace("-", "_").replace(".", "_").lower(), version)
    return found


def loaded_versions() -> dict[str, str]:
    """Those that this process has imported, and `cloudpickle`, by which code is passed; without plait itself."""
    loaded = {name.lower() for name in list(sys.modules) if "." not in name} | {"cloudpickle"}
    return {name: version for name, version in installed_versions().items() if name in loaded and name != "plait"}


def other_versions(wanted: Mapping[str, str]) -> list[str]:
    """Of these packages and versions, those that are here in another: ``numpy 1.26.4, not 2.1.0``."""
    if not wanted:
        return []
    here = installed_versions()
    return [
        f"{name} {here[name]}, not {version}"
        for name, version in sorted(wanted.items())
        if here.get(name, version) != version
    ]
