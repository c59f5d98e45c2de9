"""What this process may use of its machine: cores and memory, after affinity and control groups.

A container or a batch job often has a small part of a large machine, and only the control groups know of it.
"""

from __future__ import annotations

import math
import os
import sys
from typing import Final, NamedTuple

#: Version 1 says "no limit" by the largest number of pages, which no machine has.
_UNLIMITED: Final = 1 << 60


class Mount(NamedTuple):
    """Where a hierarchy of control groups can be read.

    Attributes:
        controllers: names such as ``memory``; empty for version 2, which has all of them in one tree.
        root: the group that the folder stands for.
        folder: where it is mounted.
    """

    controllers: frozenset[str]
    root: str
    folder: str


def parse_mounts(mountinfo: str) -> list[Mount]:
    """The control group mounts in the text of ``/proc/self/mountinfo``."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, *options) = before.split(), (after.split() or [""])
        if kind in {"cgroup", "cgroup2"} and len(fields) > 4:
            names = frozenset(options[-1].split(",")) if kind == "cgroup" and options else frozenset()
            mounts.append(Mount(names, _unescape(fields[3]), _unescape(fields[4])))
    return mounts


def parse_groups(cgroup: str) -> dict[str, str]:
    """Controller -> group in the text of ``/proc/self/cgroup``; version 2 is under the empty name."""
    groups = {}
    for line in cgroup.splitlines():
        _, _, rest = line.partition(":")
        names, found, group = rest.partition(":")
        if found:
            groups.update(dict.fromkeys(names.split(","), group))
    return groups


def group_folders(controller: str, groups: dict[str, str], mounts: list[Mount]) -> list[str]:
    """Folders of the group of a controller and of the groups above it, the innermost first.

    Args:
        controller: such as ``memory``; the empty name for version 2.
        groups: from `parse_groups`.
        mounts: from `parse_mounts`.
    """
    for mount in mounts:
        if controller not in groups or (controller not in mount.controllers if controller else mount.controllers):
            continue
        inner = groups[controller].strip("/")
        root = mount.root.strip("/")
        if inner == root or inner.startswith(f"{root}/"):
            inner = inner[len(root) :].strip("/")
        elif root or inner.startswith(".."):
            inner = ""  # the mount shows another part of the tree, as in many containers: only its top can be read
        parts = inner.split("/") if inner else []
        return [os.path.join(mount.folder, *parts[:depth]) for depth in range(len(parts), -1, -1)]
    return []


def parse_cpu_max(text: str) -> float | None:
    """Cores of ``cpu.max`` (version 2): ``"150000 100000"`` is 1.5; None for no limit."""
    quota, _, period = text.strip().partition(" ")
    return parse_cfs_quota(quota, period or "100000")


def parse_cfs_quota(quota: str, period: str) -> float | None:
    """Cores of ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` (version 1); None for no limit."""
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def parse_limit(text: str) -> int | None:
    """Bytes of ``memory.max`` or ``memory.limit_in_bytes``; None for no limit."""
    try:
        limit = int(text)
    except ValueError:
        return None
    return limit if 0 < limit < _UNLIMITED else None


def parse_counter(text: str, name: str) -> int | None:
    """The number behind ``name`` in lines such as ``oom_kill 3``; None when there is no such line."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return None


def available_cores() -> int:
    """Cores that this process may use: by its affinity, and by the quota of its control groups rounded up. At least 1."""
    quota = _quota(_Groups()) if _has_proc() else None
    return max(1, min(_affinity(), math.ceil(quota) if quota is not None else sys.maxsize))


def available_memory_bytes() -> int:
    """Main memory of the machine, or the limit of a control group of this process if that is smaller; 0 if nobody knows."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        import psutil

        total = int(psutil.virtual_memory().total)
    if not _has_proc():
        return total
    groups = _Groups()
    texts = groups.texts("", "memory.max") + groups.texts("memory", "memory.limit_in_bytes")
    return min([total, *(limit for text in texts if (limit := parse_limit(text)) is not None)])


def oom_kills() -> int:
    """Processes that the kernel killed in this control group because its memory was used up; 0 if unknown.

    It only grows: two readings around a death tell whether this may have been the reason.
    """
    if not _has_proc():
        return 0
    groups = _Groups()
    for text in groups.texts("", "memory.events") + groups.texts("memory", "memory.oom_control"):
        count = parse_counter(text, "oom_kill")
        if count is not None:
            return count
    return 0


class _Groups:
    """The control groups of this process, as far as they can be read."""

    def __init__(self) -> None:
        self._groups = parse_groups(_read("/proc/self/cgroup"))
        self._mounts = parse_mounts(_read("/proc/self/mountinfo"))

    def texts(self, controller: str, name: str) -> list[str]:
        """Content of a file in the group of a controller and in those above it, the innermost first; without those that are not there."""
        folders = group_folders(controller, self._groups, self._mounts)
        return [text for folder in folders if (text := _read(os.path.join(folder, name)))]


def _quota(groups: _Groups) -> float | None:
    quotas = [parse_cpu_max(text) for text in groups.texts("", "cpu.max")]
    pairs = zip(groups.texts("cpu", "cpu.cfs_quota_us"), groups.texts("cpu", "cpu.cfs_period_us"), strict=False)
    quotas += [parse_cfs_quota(quota, period) for quota, period in pairs]
    return min((quota for quota in quotas if quota is not None), default=None)


def _affinity() -> int:
    count = getattr(os, "process_cpu_count", None)  # from Python 3.13; it also knows PYTHON_CPU_COUNT and -X cpu_count
    if count is not None:
        return count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _has_proc() -> bool:
    return sys.platform == "linux"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _unescape(field: str) -> str:
    """A path of mountinfo, where blanks are written as octal numbers."""
    if "\\" not in field:
        return field
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
