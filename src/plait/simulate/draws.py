"""Random quantities that do not depend on the order in which they are asked for.

A number is drawn by its name and its place: the duration of task 17 of a group is the same in every simulation of that seed, whatever was placed
where before. So two policies are compared on the same tasks, and the difference between them is the policies' own.
"""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

from plait.errors import ConfigurationError
from plait.model.units import parse_bytes, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MASK: Final = 2**64 - 1
_NORMAL: Final = NormalDist()
#: Beyond these, draws are larger than numbers can be.
_MOST_SIGMA: Final = 30.0
_LEAST_SHAPE: Final = 0.1
EXPECTED: Final = (
    'a number, a quantity such as "30s" or "10MB", or one of "uniform:LOW,HIGH", "exponential:MEAN", "normal:MEAN,DEVIATION", '
    '"lognormal:MEDIAN,SIGMA", "pareto:LEAST,SHAPE", "values:A,B,…"'
)


def key_of(seed: int, *names: object) -> int:
    """A number that stands for these names under this seed."""
    text = "\0".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def uniform(key: int, place: int) -> float:
    """A number above 0 and below 1, uniformly distributed: one step of SplitMix64."""
    z = (key + place * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 12) * 2.0**-52 + 2.0**-53


class Draw:
    """A distribution of numbers that are not negative.

    Attributes:
        text: as it was given.
        mean: of the distribution.
        fixed: its only value, if it has but one.
        at: its quantile function: the value below which that part of all draws lies.
    """

    __slots__ = ("at", "fixed", "mean", "text")

    def __init__(self, text: str, mean: float, at: Callable[[float], float], fixed: float | None = None) -> None:
        self.text = text
        self.mean = mean
        self.at = at
        self.fixed = fixed

    def draw(self, key: int, place: int) -> float:
        """The number of that name and place."""
        fixed = self.fixed
        return self.at(uniform(key, place)) if fixed is None else fixed

    def __repr__(self) -> str:
        return f"Draw({self.text!r})"


def constant(value: float) -> Draw:
    """Always that."""
    return Draw(f"{value:g}", value, lambda _: value, value)


def parse_draw(spec: object, name: str, unit: Callable[[float | str, str], float] = parse_duration) -> Draw:
    """Reads a distribution as people write it.

    Args:
        spec: a number, text (see `EXPECTED`), a sequence of values, or a `Draw`.
        name: of the thing, for the message.
        unit: reads the quantities in it: `parse_duration` or `parse_bytes`.

    Raises:
        ConfigurationError: naming the thing, the value and what was expected.
    """
    if isinstance(spec, Draw):
        return spec
    try:
        if isinstance(spec, (list, tuple)):
            return _values([unit(value, name) for value in spec], f"values of {name}")
        if isinstance(spec, str) and ":" in spec and spec.partition(":")[0].strip().isalpha():
            kind, _, rest = spec.partition(":")
            return _named(kind.strip(), [part.strip() for part in rest.split(",")], spec, unit, name)
        value: Any = spec
        if isinstance(value, str) and _is_number(value):
            value = float(value)
        return constant(float(unit(value, name)))
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{name}={spec!r}: expected {EXPECTED}") from error


def parse_size(spec: object, name: str) -> Draw:
    """Likewise for bytes."""
    return parse_draw(spec, name, parse_bytes)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _named(kind: str, parts: Sequence[str], text: str, unit: Callable[[float | str, str], float], name: str) -> Draw:
    def quantity(part: str) -> float:
        return float(unit(float(part) if _is_number(part) else part, name))

    if kind == "values":
        return _values([quantity(part) for part in parts], text)
    if kind == "exponential":
        (mean,) = map(quantity, parts)
        return Draw(text, mean, lambda u: -mean * math.log(1.0 - u))
    if kind == "uniform":
        low, high = map(quantity, parts)
        if high < low:
            raise ValueError(text)
        return Draw(text, (low + high) / 2, lambda u: low + (high - low) * u)
    if kind == "normal":
        middle, deviation = map(quantity, parts)
        return Draw(text, middle, lambda u: max(0.0, middle + deviation * _NORMAL.inv_cdf(u)))
    if kind == "lognormal":
        first, second = parts
        median, sigma = quantity(first), float(second)
        if not abs(sigma) <= _MOST_SIGMA:
            raise ValueError(text)
        return Draw(text, median * math.exp(sigma * sigma / 2), lambda u: median * math.exp(sigma * _NORMAL.inv_cdf(u)))
    if kind == "pareto":
        first, second = parts
        least, shape = quantity(first), float(second)
        if not shape >= _LEAST_SHAPE:
            raise ValueError(text)
        mean = least * shape / (shape - 1) if shape > 1 else math.inf
        return Draw(text, mean, lambda u: least * (1.0 - u) ** (-1.0 / shape))
    raise ValueError(kind)


def _values(values: Sequence[float], text: str) -> Draw:
    count = len(values)
    if not count:
        raise ValueError(text)
    if count == 1:
        return constant(values[0])
    kept = tuple(values)
    return Draw(text, sum(kept) / count, lambda u: kept[int(u * count)])
