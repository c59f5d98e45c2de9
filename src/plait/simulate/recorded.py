"""A workload that was run before, read from its journal: which tasks there were, how long each ran, and what it waited for."""

from __future__ import annotations

import heapq
import os
from array import array
from collections import deque
from typing import TYPE_CHECKING

from plait.errors import ConfigurationError
from plait.model.events import TaskEnded, TaskJoining, TaskSubmitted
from plait.model.task import EXEC_DONE, FAILED, MEMO_DONE
from plait.monitoring.journal import decoder, read_frames, read_journal
from plait.simulate.workload import DEFAULT_BYTES, Load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from plait.executors.htex.messages import Ask
    from plait.model.events import Event
    from plait.simulate.workload import Work


class Recorded:
    """The tasks of a journal.

    Tasks that never ran (cancelled, unfinished, or because of a failed one) are left out; those that ended with an earlier result, and the bodies of join
    apps, take no time and no worker. What a join app waits for was submitted by its body, and so comes after what the join app itself needs. The journal does not say what tasks asked for: say it by app.

    Args:
        events: of the run.
        name: as shown to people.
        asks: what the tasks of an app ask for.
        copies: how many times the whole is to be done, side by side.
        at_once: whether all is submitted at the start, as by a program that waits for nothing; otherwise at the times of the run.

    Attributes:
        left_out: tasks that were not taken.
    """

    def __init__(
        self, events: Iterable[Event], name: str, asks: Mapping[str, Ask | None] | None = None, *, copies: int = 1, at_once: bool = True
    ) -> None:  # fmt: skip
        self.name = name
        self.copies = copies
        self.at_once = at_once
        self.apps: list[str] = []
        self.durations: array[float] = array("d")  # seconds; -1 for those that take none and no worker
        self.app_of: array[int] = array("H")
        self.submits_s: array[float] = array("d")
        self.needs: array[int] = array("I")
        self.children: dict[int, list[int]] = {}
        self.asks = dict(asks or {})
        self._read(events)
        unknown = set(self.asks) - set(self.apps)
        if unknown:
            raise ConfigurationError(
                f"{name}: no app {', '.join(sorted(unknown))}; it has {', '.join(self.apps) or 'no tasks'}"
            )
        if not self.durations:
            raise ConfigurationError(f"{name}: its journal has no task that ran")

    def _read(self, events: Iterable[Event]) -> None:
        submitted: dict[int, tuple[str, float, list[int]]] = {}
        joins: dict[int, list[int]] = {}
        ended: dict[int, float] = {}
        over_s: dict[int, float] = {}  # when a task came to its end
        for event in events:
            if isinstance(event, TaskSubmitted):
                submitted[event.task] = (event.app, event.t_s, event.depends)
            elif isinstance(event, TaskJoining):
                joins[event.task] = event.joins
            elif isinstance(event, TaskEnded) and event.state in {EXEC_DONE, FAILED, MEMO_DONE}:
                over_s[event.task] = event.t_s
                ran = event.state != MEMO_DONE and event.task not in joins and event.start_s and event.stop_s
                ended[event.task] = max(0.0, event.stop_s - event.start_s) if ran else -1.0
        self.left_out = len(submitted) - sum(task in submitted for task in ended)
        first_s = min((t_s for _, t_s, _ in submitted.values()), default=0.0)
        numbers: dict[str, int] = {}
        places: dict[int, int] = {}
        for task in sorted(ended.keys() & submitted.keys()):
            app, t_s, _ = submitted[task]
            places[task] = len(self.durations)
            self.durations.append(ended[task])
            self.app_of.append(numbers.setdefault(app, len(numbers)))
            self.submits_s.append(t_s - first_s)
        self.apps = list(numbers)
        body_of: dict[int, int] = {}  # the place of the body that submitted a task
        for task in sorted(joins.keys() & places.keys()):
            _, submit_s, needs = submitted[task]
            began_s = max([submit_s, *(over_s[other] for other in needs if other in over_s)])
            inner = [other for other in joins[task] if other in places and submitted[other][1] >= began_s]
            if inner and needs:  # a body, which waits for what the join app needs
                body_of.update(dict.fromkeys(inner, len(self.durations)))
                places[-1 - task] = len(self.durations)
                self.durations.append(-1.0)
                self.app_of.append(self.app_of[places[task]])
                self.submits_s.append(submit_s - first_s)
            elif task in body_of:
                body_of.update(dict.fromkeys(inner, body_of[task]))
        for task, place in places.items():
            own = task if task >= 0 else -1 - task
            others = (*submitted[own][2], *(joins.get(own, ()) if own == task else ()))
            before = {places[other] for other in others if other in places}
            if own in body_of:
                before.add(body_of[own])
            before.discard(place)
            self.needs.append(len(before))
            for other in before:
                self.children.setdefault(other, []).append(place)

    def source(self, seed: int) -> RecordedSource:  # noqa: ARG002 - nothing in it is random
        """Its tasks, from the beginning."""
        return RecordedSource(self)


class RecordedSource:
    """The tasks of a journal, as they become ready. A task's number is its place in the journal times the copies, plus the number of its copy."""

    def __init__(self, record: Recorded) -> None:
        self._record = record
        self._copies = copies = record.copies
        self.kinds = record.apps
        self.total = 0
        self.skipped = 0
        self.classes: dict[Ask | None, int] = {}
        groups: dict[tuple[float | None, str], int] = {}
        self._class_of_app: list[int] = []
        for app in record.apps:
            ask = record.asks.get(app)
            group = (ask.priority, ask.label) if ask is not None else (None, "")
            self._class_of_app.append(groups.setdefault(group, len(groups)))
            self.classes[ask] = self._class_of_app[-1]
        self.total = sum(duration_s >= 0 for duration_s in record.durations) * copies
        self._missing: array[int] = array("i", (needs for needs in record.needs for _ in range(copies)))
        self._ready: list[deque[int]] = [deque() for _ in groups]
        self._later: list[tuple[float, int]] = []  # heap of those that are ready and come with time
        self._now_s = 0.0
        for place, needs in enumerate(record.needs):
            if not needs:
                for copy in range(copies):
                    self._comes(place * copies + copy)

    def _comes(self, number: int) -> None:
        """It needs nothing more."""
        ready = deque([number])
        record, copies = self._record, self._copies
        while ready:
            number = ready.popleft()
            place, copy = divmod(number, copies)
            if not record.at_once and record.submits_s[place] > self._now_s:
                heapq.heappush(self._later, (record.submits_s[place], number))
            elif record.durations[place] < 0:
                ready.extend(self._one_less(place, copy))
            else:
                self._ready[self._class_of_app[record.app_of[place]]].append(number)

    def _one_less(self, place: int, copy: int) -> Iterator[int]:
        for child in self._record.children.get(place, ()):
            number = child * self._copies + copy
            self._missing[number] -= 1
            if not self._missing[number]:
                yield number

    def _arrive(self, now_s: float) -> None:
        self._now_s = max(self._now_s, now_s)
        while self._later and self._later[0][0] <= now_s:
            self._comes(heapq.heappop(self._later)[1])

    def take(self, number: int, count: int, now_s: float) -> list[Work]:
        """Up to ``count`` tasks of that class that are ready by now."""
        self._arrive(now_s)
        ready = self._ready[number]
        return [self._work(ready.popleft()) for _ in range(min(count, len(ready)))]

    def _work(self, task: int) -> Work:
        record = self._record
        place = task // self._copies
        app = record.app_of[place]
        ask = record.asks.get(record.apps[app])
        cores = ask.cores if ask is not None else 0.0
        return task, Load(record.durations[place], DEFAULT_BYTES, DEFAULT_BYTES, app, cores), ask

    def ended(self, task: int, load: Load, *, ok: bool) -> None:  # noqa: ARG002 - as others
        """It came to its end, so that others may become ready."""
        todo = [(task, ok)]
        while todo:
            task, ok = todo.pop()
            place, copy = divmod(task, self._copies)
            if ok:
                for number in self._one_less(place, copy):
                    self._comes(number)
                continue
            for child in self._record.children.get(place, ()):
                number = child * self._copies + copy
                if self._missing[number] > 0:
                    self._missing[number] = -1  # it never comes
                    self.skipped += self._record.durations[child] >= 0
                    todo.append((number, False))

    def waiting(self, now_s: float) -> int:
        """How many are ready and were not taken."""
        self._arrive(now_s)
        return sum(map(len, self._ready))

    def next_s(self, now_s: float) -> float | None:
        """When the next will be submitted."""
        self._arrive(now_s)
        return self._later[0][0] if self._later else None


def read_record(
    path: str, asks: Mapping[str, Ask | None] | None = None, *, copies: int = 1, at_once: bool = True
) -> Recorded:
    """Reads the journal in a run's folder, or one file of a journal."""
    if os.path.isdir(path):
        events: Iterable[Event] = read_journal(path)
        name = os.path.basename(os.path.normpath(path))
    else:
        decode = decoder()
        events = (event for body in read_frames(path) for event in decode(body))
        name = os.path.basename(path)
    return Recorded(events, name, asks, copies=copies, at_once=at_once)
