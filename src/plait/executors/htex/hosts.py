"""Which nodes a block has, as the batch system tells the job, and what the node is called here.

In this order: ``PLAIT_NODELIST`` (names between commas or blanks), Slurm, ``PBS_NODEFILE``, ``PE_HOSTFILE`` (Grid Engine), ``LSB_HOSTS`` (LSF),
``COBALT_NODEFILE``. A node that is listed for each of its slots counts once.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Final

from plait.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.:%-]*[A-Za-z0-9_])?")
#: Files with a node in each line, as its first word.
_FILES: Final = ("PBS_NODEFILE", "PE_HOSTFILE", "COBALT_NODEFILE")
_SLURM: Final = ("SLURM_JOB_NODELIST", "SLURM_NODELIST")
_TIMEOUT_S: Final = 30.0
#: Variables that name the nodes of a block.
VARIABLES: Final = ("PLAIT_NODELIST", *_SLURM, *_FILES, "LSB_HOSTS")


def node_name(env: Mapping[str, str]) -> str:
    """What launchers call this node; empty when it is its host name."""
    for variable in ("PLAIT_NODE_NAME", "SLURMD_NODENAME"):
        if name := env.get(variable, "").strip():
            return _checked([name], variable)[0]
    return ""


def block_hosts(env: Mapping[str, str]) -> list[str]:
    """The nodes of the block.

    Raises:
        ConfigurationError: nothing tells them, or what tells them cannot be read.
    """
    if listed := env.get("PLAIT_NODELIST", "").replace(",", " ").split():
        return _checked(listed, "PLAIT_NODELIST")
    for variable in _SLURM:
        if env.get(variable):
            return _checked(_scontrol(env[variable]), variable)
    for variable in _FILES:
        if path := env.get(variable):
            return _checked(_first_words(path, variable), variable)
    if listed := env.get("LSB_HOSTS", "").split():
        return _checked(listed, "LSB_HOSTS")
    raise ConfigurationError(
        "the nodes of the block are not known: expected one of "
        f"{', '.join(VARIABLES)} in the environment of the job; "
        "outside of batch systems name them in worker_init: export PLAIT_NODELIST=node1,node2"
    )


def _scontrol(listed: str) -> list[str]:
    try:
        told = subprocess.run(
            ["scontrol", "show", "hostnames", listed], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or ""
        raise ConfigurationError(
            f"scontrol show hostnames {listed!r} failed, so the nodes of the block are not known: {error}; {said.strip()}"
        ) from error
    return told.stdout.split()


def _first_words(path: str, variable: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return [words[0] for words in map(str.split, file) if words]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{variable}={path!r} in the environment cannot be read: {error}") from error


def _checked(names: Iterable[str], variable: str) -> list[str]:
    """Each once, in their order: names that may stand in a command line."""
    found = list(dict.fromkeys(names))
    wrong = [name for name in found if not _NAME.fullmatch(name)]
    if wrong or not found:
        what = f"{wrong[0]!r} is no name of a host" if wrong else "it names no host"
        raise ConfigurationError(f"{variable} in the environment: {what}")
    return found
