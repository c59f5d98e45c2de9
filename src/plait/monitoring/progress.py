"""How far a run is: what every progress display shows, worked out from the kernel's counts in time that grows with the apps only."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plait.model.task import CANCELLED, DEP_FAIL, EXEC_DONE, FAILED, JOINING, LAUNCHED, MEMO_DONE, PENDING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds over which a rate is taken.
WINDOW_S: Final = 15.0
#: Samples kept of that time.
_SAMPLES: Final = 60
#: Ends that a rate is taken from at least, while tasks run: of long tasks hardly one ends within the window.
_ENDS: Final = 10


@dataclass(frozen=True)
class Row:
    """One app, or all of them together.

    Attributes:
        name: of the app.
        waiting: tasks that wait: for inputs, for a free worker, for what they joined.
        running: tasks that run.
        done: tasks that ended with a result.
        failed: tasks that ended with an error of their own.
        other: tasks that ended without having run: cancelled, or needing what failed.
        rate: tasks that end in a second, lately; None when that is not known yet.
    """

    name: str
    waiting: int
    running: int
    done: int
    failed: int
    other: int
    rate: float | None

    @property
    def total(self) -> int:
        """Tasks submitted so far."""
        return self.unfinished + self.ended

    @property
    def ended(self) -> int:
        """Tasks that came to an end, good or bad."""
        return self.done + self.failed + self.other

    @property
    def unfinished(self) -> int:
        """Tasks that have not ended."""
        return self.waiting + self.running

    @property
    def eta_s(self) -> float | None:
        """Seconds until the tasks known now have ended, if it goes on like this."""
        return self.unfinished / self.rate if self.unfinished and self.rate else None


@dataclass(frozen=True)
class Progress:
    """A look at a run.

    Attributes:
        elapsed_s: since it began.
        total: all apps together.
        apps: each app that was called, in the order of their first calls.
    """

    elapsed_s: float
    total: Row
    apps: tuple[Row, ...]

    @property
    def counts(self) -> tuple[tuple[str, int, int, int, int, int], ...]:
        """What a viewer would notice a change of."""
        return tuple((r.name, r.waiting, r.running, r.done, r.failed, r.other) for r in self.apps)


class Meter:
    """Looks at a kernel again and again, and knows the rates.

    Args:
        kernel: whose `app_counts` to read.
        start_s: when the run began.
    """

    def __init__(self, kernel: Any, start_s: float) -> None:
        self._kernel = kernel
        self._start_s = start_s
        self._history: dict[str, deque[tuple[float, int]]] = {}

    def look(self, now_s: float) -> Progress:
        """How far the run is now."""
        counts: Mapping[str, Mapping[int, int]] = self._kernel.app_counts
        running_of = _share({name: c.get(LAUNCHED, 0) for name, c in counts.items()}, self._places())
        rows = []
        for name, c in counts.items():
            given, running = c.get(LAUNCHED, 0), running_of[name]
            waiting = c.get(PENDING, 0) + c.get(JOINING, 0) + given - running
            done = c.get(EXEC_DONE, 0) + c.get(MEMO_DONE, 0)
            failed, other = c.get(FAILED, 0), c.get(DEP_FAIL, 0) + c.get(CANCELLED, 0)
            rate = self._rate(name, now_s, done + failed, running)
            rows.append(Row(name, waiting, running, done, failed, other, rate))
        running = sum(r.running for r in rows)
        total = Row(
            "all",
            sum(r.waiting for r in rows),
            running,
            sum(r.done for r in rows),
            sum(r.failed for r in rows),
            sum(r.other for r in rows),
            self._rate("", now_s, sum(r.done + r.failed for r in rows), running),
        )
        return Progress(now_s - self._start_s, total, tuple(rows))

    def _places(self) -> int | None:
        """Tasks that can run at once; None when the executors do not say."""
        executors = getattr(self._kernel, "executors", None) or {}
        places = 0  # so few as that while no block of an executor is up
        for label, executor in list(executors.items()):
            if label.startswith("_"):  # plait's own, for the bodies of join apps
                continue
            try:
                places += executor.status().workers
            except Exception:  # noqa: BLE001 - a display never fails because of a plug-in
                return None
        return places

    def _rate(self, name: str, now_s: float, ended: int, running: int) -> float | None:
        """Tasks per second of late; before the first end there is none."""
        history = self._history.get(name)
        if history is None:
            history = self._history[name] = deque([(self._start_s, 0)])
        if ended <= 0:
            if not running:  # it has not begun: what it waits for does not make it slow
                history[0] = (now_s, 0)
            return None
        least = _ENDS if running else 0
        while len(history) > 1 and history[1][0] <= now_s - WINDOW_S and ended - history[1][1] >= least:
            history.popleft()
        then_s, before = history[0]
        if len(history) > 1 and history[-1][1] == history[-2][1] == ended:
            history[-1] = (now_s, ended)  # of a time without ends its begin and end are enough
        elif now_s - history[-1][0] >= WINDOW_S / _SAMPLES:
            history.append((now_s, ended))
        return max(0, ended - before) / (now_s - then_s) if now_s > then_s else None


def _share(launched: dict[str, int], places: int | None) -> dict[str, int]:
    """How many of each app's launched tasks run.

    Nobody knows which of the tasks in a queue do. With more of them than places, each app is shown with its share; the sum is right.
    """
    total = sum(launched.values())
    if places is None or total <= places:
        return launched
    shares = {name: divmod(count * places, total) for name, count in launched.items()}
    left = places - sum(whole for whole, _ in shares.values())
    favoured = set(sorted(shares, key=lambda name: -shares[name][1])[:left])
    return {name: whole + (name in favoured) for name, (whole, _) in shares.items()}
