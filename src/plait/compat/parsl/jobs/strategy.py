"""``parsl.jobs.strategy``: plait's scaling policies by upstream's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError
from plait.scaling.policy import STRATEGIES, policy_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Strategy"]


class Strategy:
    """How executors scale. Each executor of a run asks its own policy, when its period is over and when something happened.

    Attributes:
        policy: the policy of that name (`plait.scaling.policy`).
        executors: those that it was told of.
    """

    def __init__(self, *, strategy: str | None, max_idletime: float) -> None:
        if strategy is not None and strategy not in STRATEGIES:
            raise ConfigurationError(f"Strategy(strategy={strategy!r}): expected one of {', '.join(STRATEGIES)}")
        self.strategy = strategy or "none"
        self.max_idletime = max_idletime
        self.policy = policy_of(self.strategy)
        self.executors: dict[str, Any] = {}

    def add_executors(self, executors: Iterable[Any]) -> None:
        """Takes note of executors."""
        self.executors.update((executor.label, executor) for executor in executors)

    def strategize(self, executors: Iterable[Any] | None = None) -> None:
        """Has executors decide now."""
        for executor in self.executors.values() if executors is None else executors:
            executor.poll_facade()
