"""What a figure depends on besides the code: the machine, the interpreter, the libraries, the commit."""

from __future__ import annotations

import datetime as dt
import os
import platform
import shutil
import subprocess
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any

_LIBRARIES = ("plait", "cloudpickle", "numpy", "msgspec")


def describe(root: Path) -> dict[str, Any]:
    """Describe this machine and the checkout at `root`, without names or paths."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "optimised_python": "--enable-optimizations" in _configure_arguments(),
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
        "commit": _git(root, "rev-parse", "--short=12", "HEAD"),
        "modified": bool(_git(root, "status", "--porcelain", "--untracked-files=no", "--", "src")),
        "load": round(os.getloadavg()[0], 2),
    }


def now() -> str:
    """Return the date and time, UTC, to the second."""
    return dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _configure_arguments() -> str:
    return sysconfig.get_config_var("CONFIG_ARGS") or ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run([git, "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
