"""Where administrators put the rules of a machine. This is looked at for every configuration, so it loads nothing else."""

from __future__ import annotations

import os
from typing import Final

from plait._util.trust import untrusted
from plait.errors import ConfigurationError

#: The file. No variable of a user's takes its place, so that nobody goes around it by accident.
SYSTEM: Final = "/etc/plait/plait.toml"
#: A variable that names one more, for an installation that keeps its files elsewhere; it counts only when nobody but root can write the file.
VARIABLE: Final = "PLAIT_SYSTEM_CONFIG"
#: Files that are looked at as if they were the machine's, while one is tried (``plait check --rules``).
tried: list[str] = []


def files() -> list[str]:
    """The files that there are and that count.

    Raises:
        ConfigurationError: the variable names one that users may write.
    """
    if tried:
        return list(tried)
    found = [SYSTEM] if os.path.exists(SYSTEM) else []
    other = os.environ.get(VARIABLE)
    if other:
        for path in (os.path.dirname(os.path.abspath(other)), other):
            why = untrusted(path, only_root=True)
            if why:
                raise ConfigurationError(
                    f"{VARIABLE}={other}: {path}: {why}; expected a file, in a folder, that only root can write"
                )
        found.append(other)
    return found
