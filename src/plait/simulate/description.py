"""A workload that is described: read from TOML, JSON or a dictionary."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from plait.configfile import toml
from plait.errors import ConfigurationError
from plait.executors.htex.messages import Ask
from plait.model.units import parse_bytes, parse_duration
from plait.simulate.bags import Bag, BagSource
from plait.simulate.draws import parse_draw, parse_size
from plait.simulate.workload import DEFAULT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    if not isinstance(data, Mapping):
        raise ConfigurationError(f"workload {name}: expected tables `bag.NAME`, or the path of a file, found {data!r}")
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
        data = json.loads(content) if path.endswith(".json") else toml.parse(content.decode(), path)
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
        _others(given.get("after", ()), f"{what}after"),
        _others(given.get("each", ()), f"{what}each"),
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
            _number(given.get("cores", 1.0), "cores", 0.0),
            parse_bytes(given.get("memory", 0), "memory"),
            _number(given.get("gpus", 0.0), "gpus", 0.0),
            parse_bytes(given.get("disk", 0), "disk"),
            None if walltime is None else parse_duration(walltime, "walltime"),
            None if priority is None else _number(priority, "priority"),
            str(given.get("label", "")),
            _names(given.get("near", ())),
        )
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{what}{error}") from error
    return None if ask == Ask() else ask


def _number(value: Any, name: str, least: float = -math.inf) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number >= least):
        raise ValueError(f"{name}={value!r}: expected a number" + (" from 0" if not least else ""))
    return number


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


def _others(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, (str, list, tuple)):
        raise ConfigurationError(f"{name}={value!r}: expected the name of a bag before it, or several")
    return _names(value)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (str, list, tuple)):
        raise TypeError(f"near={value!r}: expected a name, or several")
    return (value,) if isinstance(value, str) else tuple(map(str, value))
