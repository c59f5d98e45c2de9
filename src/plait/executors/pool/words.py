"""What workers wrote before they ended."""

from __future__ import annotations

import glob
import os
from typing import Final

#: Bytes of a worker's log that are told when no worker can be started.
LAST_WORDS_BYTES: Final = 2000


def last_words(folder: str) -> str:
    """The end of what was last written to the log of a worker; empty when there is none."""
    path, said = _newest(folder)
    return f"the end of {path}:\n{said}\n" if said else ""


def last_line(folder: str) -> tuple[str, str]:
    """The last line of it, and the file; empty when there is none."""
    path, said = _newest(folder)
    return (said.splitlines()[-1], path) if said else ("", "")


def _newest(folder: str) -> tuple[str, str]:
    if not folder:
        return "", ""
    try:
        path = max(glob.glob(os.path.join(glob.escape(folder), "worker_*.log")), key=os.path.getmtime)
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LAST_WORDS_BYTES))
            return path, file.read().decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        return "", ""
