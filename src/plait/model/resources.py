"""What a task asks for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait.errors import InvalidResourceSpecification
from plait.model.units import format_bytes, parse_bytes, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Resources:
    """The resources of one task.

    Attributes:
        cores: processor cores.
        memory_bytes: main memory; 0 says nothing about it.
        gpus: accelerators; fractions share one.
        priority: lower numbers run first; tasks without one run after all that have one.
        disk_bytes: space in the node's scratch directory; 0 says nothing about it.
        labels: whose the task is, in the user's own words; an executor that shares its nodes does so fairly between different ones.
        near: names of hosts, blocks or managers that have the task's data: a hint for placing.
    """

    cores: float = 1.0
    memory_bytes: int = 0
    gpus: float = 0.0
    priority: float | None = None
    disk_bytes: int = 0
    labels: tuple[str, ...] = ()
    near: tuple[str, ...] = ()

    @property
    def is_default(self) -> bool:
        """Whether any worker fits, in order of submission."""
        return self == DEFAULT

    def scaled(self, factors: Mapping[str, float]) -> Resources:
        """These resources with some multiplied: ``{"memory": 2.0}``."""
        changes: dict[str, Any] = {}
        for name, factor in factors.items():
            field = f"{name}_bytes" if name in {"memory", "disk"} else name
            changes[field] = type(getattr(self, field))(getattr(self, field) * factor)
        return dataclasses.replace(self, **changes)

    def __str__(self) -> str:
        parts = [f"{self.cores:g} core{'s' if self.cores != 1 else ''}"]
        if self.memory_bytes:
            parts.append(format_bytes(self.memory_bytes))
        if self.gpus:
            parts.append(f"{self.gpus:g} GPU{'s' if self.gpus != 1 else ''}")
        if self.disk_bytes:
            parts.append(f"{format_bytes(self.disk_bytes)} of disk")
        return ", ".join(parts)


DEFAULT: Final = Resources()
#: Names that a resource specification may use.
KEYS: Final = frozenset({"cores", "memory", "gpus", "priority", "walltime", "disk", "labels", "near"})


def parse_resources(spec: Mapping[str, Any], base: Resources = DEFAULT) -> tuple[Resources, float | None]:
    """Reads ``{"cores": 2, "memory": "4GB", "walltime": "10m"}`` on top of ``base``.

    Returns:
        The resources, and the walltime in seconds if there is one.

    Raises:
        InvalidResourceSpecification: for an unknown key or an impossible value.
    """
    unknown = set(spec) - KEYS
    if unknown:
        raise InvalidResourceSpecification(unknown, f"expected some of {', '.join(sorted(KEYS))}")
    walltime_s: float | None = None
    changes: dict[str, Any] = {}
    for key, value in spec.items():
        if value is None:
            continue
        try:
            if key in {"memory", "disk"}:
                changes[f"{key}_bytes"] = parse_bytes(value, key)
            elif key in {"labels", "near"}:
                changes[key] = _names(key, value)
            elif key == "walltime":
                walltime_s = parse_duration(value, key)
            else:
                changes[key] = _number(key, value)
        except ValueError as error:
            raise InvalidResourceSpecification({key}, str(error)) from None
    return (dataclasses.replace(base, **changes) if changes else base), walltime_s


def _names(key: str, value: object) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{key}={value!r}: expected a name or a list of names")
    return tuple(names)


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124 - NaN
        raise ValueError(f"{key}={value!r}: expected a number")
    if key == "cores" and value <= 0:
        raise ValueError(f"cores={value!r}: expected more than 0")
    if key == "gpus" and value < 0:
        raise ValueError(f"gpus={value!r}: expected 0 or more")
    return float(value)
