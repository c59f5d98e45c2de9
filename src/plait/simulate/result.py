"""What a simulation found: numbers, and how some of them went over time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

#: Moments that a history has at most.
_SAMPLES: Final = 960
#: Seconds between its first moments.
_FIRST_S: Final = 0.005


class History:
    """Numbers over time, at moments whose distance doubles when they become too many.

    Attributes:
        step_s: the present distance.
        times: the moments.
        columns: for each name the number at each moment.
    """

    def __init__(self, *names: str) -> None:
        self.step_s = _FIRST_S
        self.times: list[float] = []
        self.columns: dict[str, list[float]] = {name: [] for name in names}

    def add(self, now_s: float, *numbers: float) -> None:
        """The numbers at a moment, which comes after all others."""
        self.times.append(now_s)
        for column, number in zip(self.columns.values(), numbers, strict=True):
            column.append(number)
        if len(self.times) >= _SAMPLES:
            self.step_s *= 2
            del self.times[1::2]
            for column in self.columns.values():
                del column[1::2]

    def mean(self, name: str) -> float:
        """Of one column, over the time."""
        times, numbers = self.times, self.columns[name]
        if len(times) < 2 or times[-1] <= times[0]:
            return numbers[0] if numbers else 0.0
        area = sum((after - before) * number for before, after, number in zip(times, times[1:], numbers, strict=False))
        return area / (times[-1] - times[0])


@dataclass
class Kind:
    """The tasks of a bag or an app.

    Attributes:
        name: of it.
        done: tasks that ended well.
        failed: tasks that did not.
        useful_s: seconds that their last attempts ran.
        first_s: when the first attempt began.
        last_s: when the last one ended.
    """

    name: str
    done: int = 0
    failed: int = 0
    useful_s: float = 0.0
    first_s: float = float("inf")
    last_s: float = 0.0


@dataclass
class Result:
    """The answer.

    Attributes:
        name: of the workload.
        policy: of placing, by name.
        seed: of all that is random.
        nodes: there may be at once.
        workers: on each.
        tasks: of the workload.
        done: tasks that ended well.
        failed: tasks whose attempts failed or were lost too often.
        skipped: tasks that never ran, because one that they need failed.
        unfinished: tasks that could not be brought to an end, see `stuck`.
        stuck: why, if there are some.
        makespan_s: seconds until the last task ended.
        allocated_core_s: seconds of cores in the blocks, whether used or not.
        useful_core_s: of these, what attempts used that ended well.
        wasted_core_s: what attempts used that failed or were lost.
        mean_wait_s: for which a task was ready and did not run.
        most_waiting: tasks that were ready and did not run, at the worst moment.
        attempts: that were begun and came to an end.
        lost_attempts: attempts that were lost with their node.
        failed_attempts: attempts that raised an error or reached their walltime.
        nodes_lost: nodes that failed.
        blocks: that were requested.
        blocks_expired: that reached their walltime.
        block_wait_s: mean seconds for which a block waited in the queue.
        interchange_busy: part of the time that the interchange worked.
        driver_busy: likewise the driver.
        sent_bytes: from the interchange to nodes.
        received_bytes: from nodes.
        events: that were simulated.
        took_s: seconds that the simulation took.
        kinds: the tasks by bag or app.
        history: waiting, running, workers and nodes over time.
    """

    name: str
    policy: str
    seed: int
    nodes: int
    workers: int
    tasks: int
    done: int = 0
    failed: int = 0
    skipped: int = 0
    unfinished: int = 0
    stuck: str = ""
    makespan_s: float = 0.0
    allocated_core_s: float = 0.0
    useful_core_s: float = 0.0
    wasted_core_s: float = 0.0
    mean_wait_s: float = 0.0
    most_waiting: int = 0
    attempts: int = 0
    lost_attempts: int = 0
    failed_attempts: int = 0
    nodes_lost: int = 0
    blocks: int = 0
    blocks_expired: int = 0
    block_wait_s: float = 0.0
    interchange_busy: float = 0.0
    driver_busy: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0
    events: int = 0
    took_s: float = 0.0
    kinds: list[Kind] = field(default_factory=list)
    history: History = field(default_factory=lambda: History("waiting", "running", "workers", "nodes"))

    @property
    def utilisation(self) -> float:
        """Useful over allocated core time."""
        return self.useful_core_s / self.allocated_core_s if self.allocated_core_s else 0.0

    @property
    def tasks_per_s(self) -> float:
        """Tasks that ended in a second."""
        return self.done / self.makespan_s if self.makespan_s else 0.0

    @property
    def us_per_task(self) -> float:
        """Microseconds that it took to simulate a task."""
        ended = self.done + self.failed
        return self.took_s / ended * 1e6 if ended else 0.0

    def data(self) -> dict[str, Any]:
        """All of it as plain data."""
        data = asdict(self) | {"utilisation": self.utilisation, "tasks_per_s": self.tasks_per_s}
        data["kinds"] = [
            kind | {"first_s": kind["first_s"] if kind["done"] + kind["failed"] else None} for kind in data["kinds"]
        ]
        data["history"] = {"times": self.history.times, **self.history.columns}
        return data
