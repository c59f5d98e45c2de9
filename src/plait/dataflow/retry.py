"""Whether, when and with what a failed task is tried again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plait.model.resources import DEFAULT

if TYPE_CHECKING:
    from plait.model.resources import Resources

_TOO_LARGE: Final = 1e100


@dataclass(frozen=True)
class Retry:
    """A policy for failed attempts of an app.

    Attributes:
        max: attempts after the first.
        backoff_s: seconds before the second attempt; doubled before each further one.
        jitter: share of that time by which it varies at random, from 0 to 1, so that tasks do not come back all at once.
        on: classes of exceptions that are worth another attempt.
        escalate: factors for the resources of the next attempt, such as ``{"memory": 2.0}``.
    """

    max: int = 1
    backoff_s: float = 0.0
    jitter: float = 0.0
    on: tuple[type[BaseException], ...] = (Exception,)
    escalate: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.max, bool) or not isinstance(self.max, int) or self.max < 0:
            raise ValueError(f"Retry(max={self.max!r}): expected 0 or a larger whole number")
        if not (_is_number(self.backoff_s) and self.backoff_s >= 0):
            raise ValueError(f"Retry(backoff_s={self.backoff_s!r}): expected seconds, not negative")
        if not (_is_number(self.jitter) and 0 <= self.jitter <= 1):
            raise ValueError(f"Retry(jitter={self.jitter!r}): expected a share from 0 to 1")
        on = self.on if isinstance(self.on, tuple) else (self.on,)
        if not all(isinstance(cls, type) and issubclass(cls, BaseException) for cls in on):
            raise ValueError(f"Retry(on={self.on!r}): expected classes of exceptions")
        object.__setattr__(self, "on", on)
        known = {"cores", "memory", "gpus", "disk"}
        if not isinstance(self.escalate, Mapping) or not all(
            name in known and _is_number(factor) and factor > 0 for name, factor in self.escalate.items()
        ):
            raise ValueError(
                f"Retry(escalate={self.escalate!r}): expected a dictionary of factors above 0 for some of {', '.join(sorted(known))}"
            )

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after that many failed attempts (1 or more)."""
        delay = self.backoff_s * 2.0 ** min(failures - 1, 30)
        return delay * (1 + self.jitter * (2 * random.random() - 1)) if self.jitter else delay

    def next_resources(self, resources: Resources | None) -> Resources | None:
        """What the next attempt asks for."""
        return (resources or DEFAULT).scaled(self.escalate) if self.escalate else resources


def as_retry(value: Any) -> Retry | None:
    """A policy for a policy or a number of retries.

    Raises:
        ValueError: for anything else.
    """
    if value is None or isinstance(value, Retry):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Retry(max=value)
    raise ValueError(f"retries={value!r}: expected a number of attempts after the first, or a plait.Retry")


def _is_number(value: Any) -> bool:
    """Whether it is a number that can be reckoned with: not infinite, and not so large that it soon is."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _TOO_LARGE
