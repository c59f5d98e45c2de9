"""What an executor on one machine has, what is in use, and what still fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait.errors import InvalidResourceSpecification
from plait.model.resources import count_of
from plait.model.units import format_bytes

if TYPE_CHECKING:
    from plait.model.resources import Resources

#: Of sums of fractions, which do not come out even.
TOLERANCE = 1e-9


class Capacity:
    """Resources of a machine, and how much of them is taken.

    Args:
        cores: how many there are to give.
        memory_bytes: likewise; 0 when it is not known, and then not counted.
        gpus: likewise.
        disk_bytes: space for temporary files, the most that a task may ask for; 0 when it is not known.
    """

    __slots__ = ("cores", "disk_bytes", "gpus", "memory_bytes", "used_cores", "used_gpus", "used_memory_bytes")

    def __init__(self, cores: float, memory_bytes: int = 0, gpus: float = 0, disk_bytes: int = 0) -> None:
        self.cores = cores
        self.memory_bytes = memory_bytes
        self.gpus = gpus
        self.disk_bytes = disk_bytes
        self.used_cores = 0.0
        self.used_memory_bytes = 0
        self.used_gpus = 0.0

    def fits(self, want: Resources) -> bool:
        """Whether it can be given now."""
        return (
            self.used_cores + want.cores <= self.cores + TOLERANCE
            and (not self.memory_bytes or self.used_memory_bytes + want.memory_bytes <= self.memory_bytes)
            and self.used_gpus + want.gpus <= self.gpus + TOLERANCE
        )

    def take(self, want: Resources) -> None:
        """Gives it."""
        self.used_cores += want.cores
        self.used_memory_bytes += want.memory_bytes
        self.used_gpus += want.gpus

    def give_back(self, had: Resources) -> None:
        """Takes it back."""
        self.used_cores -= had.cores
        self.used_memory_bytes -= had.memory_bytes
        self.used_gpus -= had.gpus

    def check(self, want: Resources, label: str) -> None:
        """Refuses what can never be given.

        Raises:
            InvalidResourceSpecification: with the numbers.
        """
        problems = {}
        if want.cores > self.cores + TOLERANCE:
            problems["cores"] = f"{want.cores:g} cores asked, executor {label!r} has {self.cores:g}"
        if self.memory_bytes and want.memory_bytes > self.memory_bytes:
            problems["memory"] = (
                f"{format_bytes(want.memory_bytes)} of memory asked, executor {label!r} has {format_bytes(self.memory_bytes)}"
            )
        if want.gpus > self.gpus + TOLERANCE:
            problems["gpus"] = f"{want.gpus:g} GPUs asked, executor {label!r} has {self.gpus:g}"
        if self.disk_bytes and want.disk_bytes > self.disk_bytes:
            problems["disk"] = (
                f"{format_bytes(want.disk_bytes)} of disk asked, executor {label!r} has {format_bytes(self.disk_bytes)}"
            )
        if want.nodes:
            problems["nodes"] = (
                f"{count_of(want.nodes, 'whole node')} asked, executor {label!r} has one machine for all; "
                "a HighThroughputExecutor or an MPIExecutor gives whole nodes"
            )
        if problems:
            raise InvalidResourceSpecification(set(problems), "; ".join(problems.values()))
