"""What the node of a manager has, and how many workers that makes.

What is found can be overridden by variables: ``PARSL_CORES`` and ``PARSL_MEMORY_GB`` as users know them, and for all of it
``PLAIT_CORES``, ``PLAIT_MEMORY_GB``, ``PLAIT_DISK_GB``, ``PLAIT_GPUS`` (names, between commas) and ``PLAIT_END_TIME`` (seconds since 1970).
"""

from __future__ import annotations

import math
import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from plait._util import machine
from plait.errors import ConfigurationError
from plait.executors.htex.hosts import block_hosts, node_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plait.executors.htex.settings import ManagerSettings

_GB: Final = 1 << 30
#: What batch systems and users say about which accelerators may be used.
_VISIBLE: Final = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
#: Of quotients of fractions, which do not come out even.
_TOLERANCE: Final = 1e-9
#: Seconds that a command has that says which accelerators there are.
_TIMEOUT_S: Final = 10.0
_CORES: Final = ("PLAIT_CORES", "PARSL_CORES")
_MEMORY: Final = ("PLAIT_MEMORY_GB", "PARSL_MEMORY_GB")
_DISK: Final = "PLAIT_DISK_GB"
_GPUS: Final = ("PLAIT_GPUS", *_VISIBLE)
#: Variables that say what a node has.
VARIABLES: Final = (*_CORES, *_MEMORY, _DISK, *_GPUS)


@dataclass(frozen=True)
class Node:
    """A node.

    Attributes:
        hostname: its name.
        boot: id of the running system; empty when not known.
        cpus: cores that this process may use; empty where the system does not say.
        cores: how many tasks may be given.
        memory_bytes: memory that tasks may be given; 0 when not known.
        free_memory_bytes: of it, what is free now.
        disk_bytes: free space in the directory for temporary files; 0 when not known.
        gpus: names of accelerators.
        ends_s: when the node is taken away, on the monotonic clock; None when not known.
        name: what launchers of processes call it; empty for its host name.
        hosts: the nodes of its block, where its manager speaks for all of them.
    """

    hostname: str
    boot: str
    cpus: tuple[int, ...]
    cores: float
    memory_bytes: int
    free_memory_bytes: int
    disk_bytes: int
    gpus: tuple[str, ...]
    ends_s: float | None
    name: str = ""
    hosts: tuple[str, ...] = ()

    def walltime_left_s(self) -> float | None:
        """Seconds until it is taken away."""
        return None if self.ends_s is None else max(0.0, self.ends_s - time.monotonic())


class Around(NamedTuple):
    """What there is on this machine for tasks, as far as no settings say otherwise: see `Node`."""

    cores: float
    memory_bytes: int
    free_memory_bytes: int
    disk_bytes: int
    gpus: tuple[str, ...]


def look_around(env: Mapping[str, str]) -> Around:
    """This machine, now.

    Raises:
        ConfigurationError: a variable is not the number that it should be.
    """
    cores, memory_gb, disk_gb = _number(env, *_CORES), _number(env, *_MEMORY), _number(env, _DISK)
    memory_bytes = machine.available_memory_bytes() if memory_gb is None else int(memory_gb * _GB)
    return Around(
        cores=machine.available_cores() if cores is None else cores,
        memory_bytes=memory_bytes,
        free_memory_bytes=min(memory_bytes, _free_bytes() or memory_bytes) if memory_gb is None else memory_bytes,
        disk_bytes=_disk_bytes(env) if disk_gb is None else int(disk_gb * _GB),
        gpus=tuple(find_gpus(env)),
    )


def look(settings: ManagerSettings, env: Mapping[str, str]) -> Node:
    """This node, now.

    Raises:
        ConfigurationError: a variable is not the number that it should be, or the nodes of the block are not known.
    """
    cpus = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    here = look_around(env)
    return Node(
        hostname=socket.gethostname(),
        boot=_text("/proc/sys/kernel/random/boot_id").strip(),
        cpus=cpus,
        cores=here.cores,
        memory_bytes=here.memory_bytes,
        free_memory_bytes=here.free_memory_bytes,
        disk_bytes=here.disk_bytes,
        gpus=tuple(dict.fromkeys(settings.accelerators)) or here.gpus,
        ends_s=_ends_s(settings.walltime_s, env),
        name=node_name(env),
        hosts=tuple(block_hosts(env)) if settings.gives_nodes else (),
    )


def worker_count(settings: ManagerSettings, node: Node) -> int:
    """Workers that fit on the node.

    Raises:
        ConfigurationError: not even one does.
    """
    if settings.gives_nodes:  # a worker waits for the processes that its task starts
        return settings.max_workers or len(node.hosts)
    counts = {"cores": math.floor(node.cores / settings.cores_per_worker + _TOLERANCE)}
    if settings.mem_per_worker_gb:
        counts["memory"] = math.floor(node.free_memory_bytes / (settings.mem_per_worker_gb * _GB) + _TOLERANCE)
    if settings.max_workers is not None:
        counts["max_workers"] = settings.max_workers
    if settings.accelerators:
        counts["accelerators"] = len(settings.accelerators)
    workers = min(counts.values())
    if workers < 1:
        raise ConfigurationError(
            f"no worker fits on {node.hostname}: cores_per_worker={settings.cores_per_worker:g} and it has {node.cores:g} cores; "
            f"mem_per_worker={settings.mem_per_worker_gb} GB and {node.free_memory_bytes / _GB:.1f} GB are free"
        )
    return workers


def find_gpus(env: Mapping[str, str], devices: str = "/dev") -> list[str]:
    """Names of the accelerators that may be used: those that a variable names, else those that the system shows."""
    for variable in _GPUS:
        visible = env.get(variable)
        if visible is not None:
            names = [name.strip() for name in visible.split(",")]
            return [name for name in names if name and name not in {"-1", "NoDevFiles"}]
    return [str(number) for number in range(count_devices(devices))]


def count_shared(names: Sequence[str], workers: int, devices: str = "/dev") -> int:
    """Accelerators that workers may share when there are more of them, see `affinity.accelerators_of_workers`; 0 when that is not to be asked, or not known.

    ``nvidia-smi`` is believed before the devices that the system shows, because it knows which of them this job may use.
    """
    if workers < 2 or not all(name.isdigit() for name in names):
        return 0
    try:
        told = subprocess.run(
            ["nvidia-smi", "-L"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=True
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return count_devices(devices)
    return sum(line[:1].strip() != "" for line in told.stdout.splitlines())  # parts of a GPU are indented


def count_devices(devices: str = "/dev") -> int:
    """Accelerators that the system shows as devices."""
    try:
        return sum(re.fullmatch(r"nvidia\d+", name) is not None for name in os.listdir(devices))
    except OSError:
        return 0


def _ends_s(walltime_s: float | None, env: Mapping[str, str]) -> float | None:
    left_s = [] if walltime_s is None else [walltime_s]
    for variable in ("PLAIT_END_TIME", "SLURM_JOB_END_TIME"):
        end = _number(env, variable)
        if end is not None:
            left_s.append(end - time.time())
    return time.monotonic() + min(left_s) if left_s else None


def _number(env: Mapping[str, str], *variables: str) -> float | None:
    for variable in variables:
        text = env.get(variable, "").strip()
        if text:
            try:
                value = float(text)
            except ValueError:
                raise ConfigurationError(f"{variable}={text!r} in the environment: expected a number") from None
            if not (math.isfinite(value) and value > 0):
                raise ConfigurationError(f"{variable}={text!r} in the environment: expected a number above 0")
            return value
    return None


def _free_bytes() -> int:
    found = re.search(r"^MemAvailable:\s*(\d+) kB", _text("/proc/meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _disk_bytes(env: Mapping[str, str]) -> int:
    try:
        state = os.statvfs(env.get("TMPDIR") or "/tmp")  # noqa: S108 - asked for its size only
    except OSError:
        return 0
    return state.f_bavail * state.f_frsize


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
