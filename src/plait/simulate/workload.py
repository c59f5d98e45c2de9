"""What a simulated run has to do: the interface. It is described in a few lines (`description`), or read from a journal (`recorded`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from plait.simulate.draws import uniform

if TYPE_CHECKING:
    from plait.executors.htex.messages import Ask

#: Bytes of a pickled call, and of a result, where nothing is said.
DEFAULT_BYTES: Final = 200


class Load:
    """What one simulated task does. It stands where the pickled call would be, and is as long.

    Attributes:
        duration_s: for which an attempt runs.
        input_bytes: of its call.
        output_bytes: of its result.
        cores: that it keeps busy; 0 for a worker's share.
        kind: what it is called in results: the bag or the app.
        fail_part: the part of its attempts that raise an error.
        fail_key: by which that is drawn.
    """

    __slots__ = ("cores", "duration_s", "fail_key", "fail_part", "input_bytes", "kind", "output_bytes")

    def __init__(
        self,
        duration_s: float,
        input_bytes: int = DEFAULT_BYTES,
        output_bytes: int = DEFAULT_BYTES,
        kind: int = 0,
        cores: float = 0.0,
        fail_part: float = 0.0,
        fail_key: int = 0,
    ) -> None:
        self.duration_s = duration_s
        self.input_bytes = input_bytes
        self.output_bytes = output_bytes
        self.kind = kind
        self.cores = cores
        self.fail_part = fail_part
        self.fail_key = fail_key

    def __len__(self) -> int:
        return self.input_bytes

    def fails(self, task: int, attempt: int) -> bool:
        """Whether that attempt raises an error: the same in every simulation of a seed."""
        return self.fail_part > 0 and uniform(self.fail_key, task * 64 + attempt) < self.fail_part


#: A task that is ready: (number, what it does, what it asks for)
Work = tuple[int, Load, "Ask | None"]


class Source(Protocol):
    """The tasks of one simulation, as they become ready.

    Attributes:
        total: how many there are.
        kinds: names of what `Load.kind` counts.
        classes: numbers of queues that must not hold each other up, by what is asked for: one for each priority and label.
        skipped: tasks that never ran, because one that they need failed.
    """

    total: int
    kinds: list[str]
    classes: dict[Ask | None, int]
    skipped: int

    def take(self, number: int, count: int, now_s: float) -> list[Work]:
        """Up to ``count`` tasks of that class that are ready by now."""
        ...

    def ended(self, task: int, load: Load, *, ok: bool) -> None:
        """It came to its end, so that others may become ready."""
        ...

    def waiting(self, now_s: float) -> int:
        """How many are ready and were not taken."""
        ...

    def next_s(self, now_s: float) -> float | None:
        """When the next will be submitted; None when that is not a matter of time."""
        ...


class Workload(Protocol):
    """Something that can be simulated, more than once."""

    name: str

    def source(self, seed: int) -> Source:
        """Its tasks, from the beginning."""
        ...
