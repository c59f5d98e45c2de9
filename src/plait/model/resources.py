"""What a task asks for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait.errors import InvalidResourceSpecification
from plait.model.units import format_bytes, is_utf8, number_of, parse_bytes, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Bytes, nodes and ranks that can be said to others: more than any machine has, and what one field of a message holds.
_MOST_BYTES: Final = 1 << 62
_MOST: Final = (1 << 31) - 1


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
        nodes: whole nodes of one block; 0 for a task that shares a node with others.
        ranks_per_node: processes that the task's launcher starts on each of its nodes; 0 without nodes.
        ranks: all of these processes together.
        launcher_options: words for the launcher's command line, as they are.
    """

    cores: float = 1.0
    memory_bytes: int = 0
    gpus: float = 0.0
    priority: float | None = None
    disk_bytes: int = 0
    labels: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    nodes: int = 0
    ranks_per_node: int = 0
    ranks: int = 0
    launcher_options: str = ""

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
        if self.nodes:
            parts[:1] = [f"{count_of(self.nodes, 'node')} with {count_of(self.ranks_per_node, 'rank')} each"]
        return ", ".join(parts)


DEFAULT: Final = Resources()
#: Names that a resource specification may use.
KEYS: Final = frozenset(
    {
        "cores", "memory", "gpus", "priority", "walltime", "disk", "labels", "near",
        "nodes", "num_nodes", "ranks_per_node", "ranks", "num_ranks", "launcher_options",
    }
)  # fmt: skip
#: What says how a task is spread over nodes; other spellings, as programs that were written for Parsl have them, stand for the same.
SHAPE: Final = {
    "nodes": "nodes",
    "num_nodes": "nodes",
    "ranks_per_node": "ranks_per_node",
    "ranks": "ranks",
    "num_ranks": "ranks",
}


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
    shape: dict[str, int] = {}
    for key, value in spec.items():
        if value is None:
            continue
        try:
            if key in {"memory", "disk"}:
                changes[f"{key}_bytes"] = _bytes(key, value)
            elif key in {"labels", "near"}:
                changes[key] = _names(key, value)
            elif key == "walltime":
                walltime_s = parse_duration(value, key)
            elif key in SHAPE:
                _add_to(shape, key, _whole(key, value))
            elif key == "launcher_options":
                changes[key] = _words(key, value)
            else:
                changes[key] = _number(key, value)
        except ValueError as error:
            raise InvalidResourceSpecification({key}, str(error)) from None
    if shape:
        changes.update(_shape(shape, base))
    found = dataclasses.replace(base, **changes) if changes else base
    if found.launcher_options and not found.nodes:
        raise InvalidResourceSpecification(
            {"launcher_options"},
            f"launcher_options={found.launcher_options!r} without nodes: expected nodes=… beside them",
        )
    return found, walltime_s


def _add_to(shape: dict[str, int], key: str, number: int) -> None:
    name = SHAPE[key]
    if shape.setdefault(name, number) != number:
        raise ValueError(f"{key}={number} and {name}={shape[name]} stand for the same and differ")


def _shape(given: dict[str, int], base: Resources) -> dict[str, int]:
    """Nodes, ranks of each and ranks of all: what was not said follows from the others, in whole numbers.

    Raises:
        InvalidResourceSpecification: they do not go together.
    """
    each, ranks = given.get("ranks_per_node"), given.get("ranks")
    nodes = given.get("nodes") or (ranks // each if ranks and each and not base.nodes else base.nodes) or 1
    if ranks is None:
        each = each or base.ranks_per_node or 1
        ranks = nodes * each
    elif each is None:
        each = ranks // nodes
    if each * nodes != ranks:
        whole = f"{each} on each of them make {each * nodes}" if "ranks_per_node" in given else "not as many on each"
        raise InvalidResourceSpecification(
            set(given),
            f"{count_of(ranks, 'rank')} on {count_of(nodes, 'node')}: {whole}; expected ranks = nodes * ranks_per_node",
        )
    return {"nodes": nodes, "ranks_per_node": each, "ranks": ranks}


def count_of(count: int, what: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{count} {what}{'s' if count != 1 else ''}"


def _names(key: str, value: object) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{key}={value!r}: expected a name or a list of names")
    if not all(map(is_utf8, names)):
        raise ValueError(f"{key}={value!r}: expected names that can be written as UTF-8")
    return tuple(names)


def _words(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{key}={value!r}: expected a line of text")
    return value.strip()


def _bytes(key: str, value: Any) -> int:
    number = parse_bytes(value, key)
    if number > _MOST_BYTES:
        raise ValueError(f"{key}={value!r}: expected at most {format_bytes(_MOST_BYTES)}")
    return number


def _whole(key: str, value: object) -> int:
    number = number_of(value)
    if number is None or not number.is_integer() or number < 1:
        raise ValueError(f"{key}={value!r}: expected a whole number from 1")
    if number > _MOST:
        raise ValueError(f"{key}={value!r}: expected a whole number from 1 to {_MOST}")
    return int(number)


def _number(key: str, value: object) -> float:
    number = number_of(value)
    if number is None:
        raise ValueError(f"{key}={value!r}: expected a number")
    if key == "cores" and number <= 0:
        raise ValueError(f"cores={value!r}: expected more than 0")
    if key == "gpus" and number < 0:
        raise ValueError(f"gpus={value!r}: expected 0 or more")
    return number
