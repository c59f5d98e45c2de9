"""What a simulated run has to do: described in a few lines, or read from a journal (`recorded`).

A described workload has bags of tasks. Tasks of a bag are alike: how long they take, what they ask for, what comes before them. They are made when they are
wanted and dropped when they have ended, so ten million need no more memory than a thousand.
"""

from __future__ import annotations

import importlib
import json
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

from plait.errors import ConfigurationError
from plait.executors.htex.messages import Ask
from plait.model.units import parse_bytes, parse_duration
from plait.simulate.draws import Draw, constant, key_of, parse_draw, parse_size, uniform

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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


# ------------------------------------------------------------------ description
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


_KEYS: Final = frozenset({
    "tasks", "duration", "cores", "memory", "gpus", "disk", "walltime", "priority", "label", "near", "input", "output", "fail", "start", "every",
    "after", "each", "layers", "chain",
})  # fmt: skip


class Described:
    """A workload of bags.

    Args:
        bags: in the order of their submission; each names only bags before it.
        name: as shown to people.
    """

    def __init__(self, bags: Iterable[Bag], name: str = "workload") -> None:
        self.name = name
        self.bags = list(bags)
        known: set[str] = set()
        for bag in self.bags:
            for other in chain(bag.after, bag.each):
                if other not in known:
                    raise ConfigurationError(f"bag {bag.name}: it comes after {other!r}, which is no bag before it")
            if bag.name in known:
                raise ConfigurationError(f"bag {bag.name}: there are two of this name")
            known.add(bag.name)
        if not self.bags:
            raise ConfigurationError(
                "a workload needs a bag of tasks, such as {'bag': {'work': {'tasks': 100, 'duration': 10}}}"
            )

    def source(self, seed: int) -> BagSource:
        """Its tasks, from the beginning."""
        return BagSource(self.bags, seed)


def described(data: Mapping[str, Any], name: str = "workload") -> Described:
    """Reads a description: ``{"name": …, "bag": {NAME: {"tasks": 100, "duration": "30s", …}}}``.

    Raises:
        ConfigurationError: naming what cannot be read.
    """
    unknown = set(data) - {"name", "bag"}
    bags = data.get("bag")
    if unknown or not isinstance(bags, dict):
        raise ConfigurationError(
            f"workload {name}: expected `name` and tables `bag.NAME`"
            + (f", found {', '.join(sorted(unknown))}" if unknown else "")
        )
    return Described(chain.from_iterable(_bags(key, value) for key, value in bags.items()), str(data.get("name", name)))


def read_description(path: str) -> Described:
    """Reads it from a file of TOML or JSON.

    Raises:
        ConfigurationError: it is not there, or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
        if path.endswith(".json"):
            data = json.loads(content)
        else:
            try:
                tomllib = importlib.import_module("tomllib")
            except ModuleNotFoundError:  # Python 3.10
                raise ConfigurationError(f"{path}: TOML needs Python 3.11; the same as JSON can be read here") from None
            data = tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigurationError(f"{path}: it cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: expected tables `bag.NAME`")
    return described(data, path)


def _bags(name: str, given: Any) -> Iterator[Bag]:
    if not isinstance(given, dict):
        raise ConfigurationError(f"bag {name}: expected a table with `tasks` and `duration`, found {given!r}")
    unknown = set(given) - _KEYS
    if unknown or not {"tasks", "duration"} <= set(given):
        what = f"does not know {', '.join(sorted(unknown))}" if unknown else "needs `tasks` and `duration`"
        raise ConfigurationError(f"bag {name}: it {what}; it may have {', '.join(sorted(_KEYS))}")
    what = f"bag {name}: "
    every = given.get("every")
    bag = Bag(
        name,
        _count(given["tasks"], f"{what}tasks"),
        parse_draw(given["duration"], f"{what}duration"),
        ask_of(given, what),
        parse_size(given.get("input", DEFAULT_BYTES), f"{what}input"),
        parse_size(given.get("output", DEFAULT_BYTES), f"{what}output"),
        _part(given.get("fail", 0.0), f"{what}fail"),
        _quantity(given.get("start", 0.0), f"{what}start"),
        None if every is None else parse_draw(every, f"{what}every"),
        _names(given.get("after", ())),
        _names(given.get("each", ())),
    )
    layers, steps = (_count(given.get(key, 1), f"{what}{key}") for key in ("layers", "chain"))
    if layers > 1 and steps > 1:
        raise ConfigurationError(f"{what}layers and chain exclude each other")
    count = max(layers, steps)
    for number in range(count - 1):  # the last has the bag's own name, which others may come after
        last = (f"{name}/{number}",) if number else ()
        yield _step(bag, f"{name}/{number + 1}", last, layers > 1)
    yield _step(bag, name, (f"{name}/{count - 1}",), layers > 1) if count > 1 else bag


def _step(bag: Bag, name: str, before: tuple[str, ...], barrier: bool) -> Bag:
    after, each, start_s = (
        (bag.after, bag.each, bag.start_s) if not before else (before, (), 0.0) if barrier else ((), before, 0.0)
    )
    return Bag(
        name, bag.tasks, bag.duration, bag.ask, bag.input_size, bag.output_size, bag.fail_part, start_s, None if before else bag.every, after, each
    )  # fmt: skip


def ask_of(given: Mapping[str, Any], what: str) -> Ask | None:
    """What a task asks for, from ``cores``, ``memory``, ``gpus``, ``disk``, ``walltime``, ``priority``, ``label`` and ``near``.

    Raises:
        ConfigurationError: for an impossible value.
    """
    try:
        walltime, priority = given.get("walltime"), given.get("priority")
        ask = Ask(
            float(given.get("cores", 1.0)),
            parse_bytes(given.get("memory", 0), "memory"),
            float(given.get("gpus", 0.0)),
            parse_bytes(given.get("disk", 0), "disk"),
            None if walltime is None else parse_duration(walltime),
            None if priority is None else float(priority),
            str(given.get("label", "")),
            _names(given.get("near", ())),
        )
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{what}{error}") from error
    return None if ask == Ask() else ask


def _count(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{name}={value!r}: expected a whole number, 1 or more")
    return value


def _part(value: Any, name: str) -> float:
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ConfigurationError(f"{name}={value!r}: expected a number from 0 to 1")
    return float(value)


def _quantity(value: Any, name: str) -> float:
    try:
        return parse_duration(value, name)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))


# ------------------------------------------------------------------ tasks of a description
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
                bag.duration.at(uniform(self.duration_key, place)),
                bag.input_size.at(uniform(self.input_key, place)),
                bag.output_size.at(uniform(self.output_key, place)),
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
