"""Which plait this is."""

from __future__ import annotations

import os
import sys


def plait_version() -> str:
    """The installed version of plait, as `importlib.metadata` says it, which takes as long to load as many a process to start. Empty if not installed."""
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith("plait-") and name.endswith(".dist-info"):
                return name.removeprefix("plait-").removesuffix(".dist-info")
    return ""
