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
        ConfigurationError: the variable names one that users may write, or the machine's own is hidden from this user.
    """
    if tried:
        return list(tried)
    found = [SYSTEM] if _is_there(SYSTEM) else []
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


def _is_there(path: str) -> bool:
    """Whether the file is there. One that this user may not read is a slip of whoever wrote it: it would bind nobody, without a word."""
    try:
        os.stat(path)
    except PermissionError:
        pass
    except OSError:
        return False
    else:
        if os.access(path, os.R_OK):
            return True
    raise ConfigurationError(
        f"{path}: you may not read the rules of this machine (Permission denied); ask its administrators to let everybody read "
        "this file and its folder"
    )
