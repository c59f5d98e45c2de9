"""Bags of tasks: tasks of one are alike in how long they take, what they ask for, and what comes before them.

They are made when they are wanted and dropped when they have ended, so ten million need no more memory than a thousand.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plait.simulate.draws import Draw, constant, key_of, uniform
from plait.simulate.workload import DEFAULT_BYTES, Load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plait.executors.htex.messages import Ask
    from plait.simulate.workload import Work


@dataclass(frozen=True)
class Bag:
    """Tasks that are alike.

    Attributes:
        name: of the bag.
        tasks: how many.
        duration: seconds that an attempt runs.
        ask: what each asks for; None for just a worker.
        input_size: bytes of the call.
        output_size: bytes of the result.
        fail_part: part of the attempts that raise an error.
        start_s: when the first is submitted.
        every: seconds between submissions; None for all at once.
        after: bags that must have ended before.
        each: bags whose tasks come before those of this one, in order: task 3 of ten needs those from three tenths to four tenths.
    """

    name: str
    tasks: int
    duration: Draw
    ask: Ask | None = None
    input_size: Draw = field(default_factory=lambda: constant(DEFAULT_BYTES))
    output_size: Draw = field(default_factory=lambda: constant(DEFAULT_BYTES))
    fail_part: float = 0.0
    start_s: float = 0.0
    every: Draw | None = None
    after: tuple[str, ...] = ()
    each: tuple[str, ...] = ()


class _BagState:
    """A bag in the course of a simulation."""

    __slots__ = (
        "arrived", "bag", "barriers", "base", "blocked", "class_number", "duration_key", "each_by", "every_key", "fail_key", "failed_early", "input_key", "kind",
        "left", "load", "missing", "next_s", "output_key", "parents", "ready", "released_by", "spoiled", "taken",
    )  # fmt: skip

    def __init__(self, bag: Bag, base: int, kind: int, class_number: int, seed: int) -> None:
        self.bag = bag
        self.base = base
        self.kind = kind
        self.class_number = class_number
        self.duration_key, self.input_key, self.output_key, self.every_key, self.fail_key = (
            key_of(seed, bag.name, what) for what in ("duration", "input", "output", "every", "fail")
        )
        self.arrived = self.taken = 0
        self.left = bag.tasks
        self.next_s: float | None = bag.start_s
        self.barriers = len(bag.after)
        self.spoiled = False  # a task of it did not succeed
        self.blocked = False  # one that it comes after is spoiled
        self.parents: list[_BagState] = []
        self.each_by: list[_BagState] = []  # whose tasks each wait for some of this one's
        self.released_by: list[_BagState] = []  # that wait for the whole of this one
        self.ready: deque[int] = deque()
        self.missing: dict[int, int] = {}  # tasks of which some, but not all, may still come: how many
        self.failed_early: set[int] = set()
        self.load: Load | None = None
        if bag.duration.fixed is not None and bag.input_size.fixed is not None and bag.output_size.fixed is not None:
            self.load = self._make(bag.duration.fixed, bag.input_size.fixed, bag.output_size.fixed)

    def _make(self, duration_s: float, input_bytes: float, output_bytes: float) -> Load:
        bag = self.bag
        cores = bag.ask.cores if bag.ask is not None else 0.0
        return Load(duration_s, int(input_bytes), int(output_bytes), self.kind, cores, bag.fail_part, self.fail_key)

    def work(self, place: int) -> Work:
        load = self.load
        if load is None:
            bag = self.bag
            load = self._make(
                bag.duration.draw(self.duration_key, place),
                bag.input_size.draw(self.input_key, place),
                bag.output_size.draw(self.output_key, place),
            )
        return self.base + place, load, self.bag.ask

    def arrive(self, now_s: float) -> None:
        """Counts what has been submitted by now."""
        every, tasks = self.bag.every, self.bag.tasks
        if every is None:
            if self.next_s is not None and self.next_s <= now_s:
                self.arrived, self.next_s = tasks, None
            return
        while self.next_s is not None and self.next_s <= now_s:
            self.arrived += 1
            self.next_s = (
                self.next_s + every.at(uniform(self.every_key, self.arrived)) if self.arrived < tasks else None
            )

    def needs(self, place: int) -> int:
        """How many tasks that one waits for, of those that are each before one of these."""
        count = 0
        for parent in self.parents:
            many, few = parent.bag.tasks, self.bag.tasks
            count += 1 if many <= few else -(-(place + 1) * many // few) - -(-place * many // few)
        return count

    def followers(self, child: _BagState, place: int) -> range:
        """The tasks of a child that wait for that one of this bag."""
        mine, theirs = self.bag.tasks, child.bag.tasks
        if mine >= theirs:
            number = place * theirs // mine
            return range(number, number + 1)
        return range(-(-place * theirs // mine), -(-(place + 1) * theirs // mine))


class BagSource:
    """The tasks of a description, as they become ready."""

    def __init__(self, bags: Iterable[Bag], seed: int) -> None:
        self.total = 0
        self.skipped = 0
        self.classes: dict[Ask | None, int] = {}
        self._states: list[_BagState] = []
        groups: dict[tuple[float | None, str], int] = {}
        kinds: dict[str, int] = {}
        by_name: dict[str, _BagState] = {}
        for bag in bags:
            group = (bag.ask.priority, bag.ask.label) if bag.ask is not None else (None, "")
            number = self.classes[bag.ask] = groups.setdefault(group, len(groups))
            kind = kinds.setdefault(bag.name.partition("/")[0], len(kinds))
            state = _BagState(bag, self.total, kind, number, seed)
            self.total += bag.tasks
            self._states.append(state)
            by_name[bag.name] = state
            for other in bag.after:
                by_name[other].released_by.append(state)
            for other in bag.each:
                by_name[other].each_by.append(state)
                state.parents.append(by_name[other])
        self.kinds = list(kinds)
        self._bases = [state.base for state in self._states]
        # Bags of each class with tasks that are ready, or that come with time: dictionaries, because their order is kept and leaving costs nothing.
        self._live: list[dict[_BagState, None]] = [{} for _ in groups]
        for state in self._states:
            if not state.parents and not state.barriers:
                self._live[state.class_number][state] = None

    def take(self, number: int, count: int, now_s: float) -> list[Work]:
        """Up to ``count`` tasks of that class that are ready by now: in order of their bags, and of readiness where they wait for others."""
        found: list[Work] = []
        empty = []
        for state in self._live[number]:
            if len(found) >= count:
                break
            if state.parents:
                some = min(len(state.ready), count - len(found))
                found.extend(state.work(state.ready.popleft()) for _ in range(some))
                if not state.ready:
                    empty.append(state)
            else:
                state.arrive(now_s)
                end = min(state.arrived, state.taken + count - len(found))
                found.extend(map(state.work, range(state.taken, end)))
                state.taken = end
                if end == state.bag.tasks:
                    empty.append(state)
        for state in empty:
            del self._live[number][state]
        return found

    def ended(self, task: int, load: Load, *, ok: bool) -> None:  # noqa: ARG002 - another source knows by the load
        """It came to its end, so that others may become ready."""
        state = self._states[bisect_right(self._bases, task) - 1]
        if ok and not state.each_by and state.left > 1:  # most of them
            state.left -= 1
            return
        ends = deque([(state, task - state.base, ok)])
        while ends:
            state, place, ok = ends.popleft()
            state.left -= 1
            if not ok:
                state.spoiled = True
            for child in state.each_by:
                for follower in state.followers(child, place):
                    self._one_less(child, follower, ends, ok=ok)
            if not state.left:
                for child in state.released_by:
                    self._released(child, ends, spoiled=state.spoiled)

    def _one_less(self, child: _BagState, place: int, ends: deque[tuple[_BagState, int, bool]], *, ok: bool) -> None:
        left = child.missing.pop(place, None)
        left = (child.needs(place) if left is None else left) - 1
        if not ok:
            child.failed_early.add(place)
        if left:
            child.missing[place] = left
        elif child.blocked or place in child.failed_early:
            child.failed_early.discard(place)
            self.skipped += 1
            ends.append((child, place, False))
        else:
            child.ready.append(place)
            if not child.barriers:
                self._live[child.class_number][child] = None

    def _released(self, child: _BagState, ends: deque[tuple[_BagState, int, bool]], *, spoiled: bool) -> None:
        child.barriers -= 1
        child.blocked |= spoiled
        if not child.blocked:
            if not child.barriers and (child.ready or not child.parents):
                self._live[child.class_number][child] = None
            return
        places = list(child.ready) if child.parents else range(child.taken, child.bag.tasks)
        child.ready.clear()
        child.taken = child.bag.tasks  # so that they are skipped once
        self.skipped += len(places)
        ends.extend((child, place, False) for place in places)

    def waiting(self, now_s: float) -> int:
        """How many are ready and were not taken."""
        count = 0
        for live in self._live:
            for state in live:
                if state.parents:
                    count += len(state.ready)
                else:
                    state.arrive(now_s)
                    count += state.arrived - state.taken
        return count

    def next_s(self, now_s: float) -> float | None:
        """When the next will be submitted."""
        soonest: float | None = None
        for live in self._live:
            for state in live:
                if not state.parents:
                    state.arrive(now_s)
                    if state.next_s is not None and (soonest is None or state.next_s < soonest):
                        soonest = state.next_s
        return soonest
