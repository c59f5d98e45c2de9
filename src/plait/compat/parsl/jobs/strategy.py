"""``parsl.jobs.strategy``: plait's scaling policies by upstream's names, and the base of strategies that users write.

A strategy of one's own overrides `strategize`, or one of the methods that it calls, and looks at executors and scales them itself: ``outstanding()``,
``status_facade``, ``workers_per_node``, ``provider.max_blocks`` …, ``scale_out_facade(n)``, ``scale_in_facade(n, max_idletime)``. It is given as
``Config(strategy=MyStrategy(strategy=None, max_idletime=60))``. The first ``init_blocks`` are plait's. What it leaves to the base class, plait's policy does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError
from plait.scaling.policy import STRATEGIES, policy_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Strategy"]


class Strategy:
    """How executors scale.

    Attributes:
        policy: plait's policy of that name (`plait.scaling.policy`).
        executors: by label, what it remembers of those that it was told of.
        strategies: what is done at every period, by name.
        period_s: seconds between two periods.
    """

    period_s = 5.0

    def __init__(self, *, strategy: str | None, max_idletime: float) -> None:
        if strategy is not None and strategy not in STRATEGIES:
            raise ConfigurationError(f"Strategy(strategy={strategy!r}): expected one of {', '.join(STRATEGIES)}")
        self.strategy = strategy or "none"
        self.max_idletime = max_idletime
        self.policy = policy_of(self.strategy)
        self.executors: dict[str, dict[str, Any]] = {}
        self._following: dict[str, str] = {}
        self.strategies: dict[str | None, Callable[[Sequence[Any]], None]] = {
            None: self._strategy_init_only,
            "none": self._strategy_init_only,
            "simple": self._strategy_simple,
            "htex_auto_scale": self._strategy_htex_auto_scale,
        }

    def add_executors(self, executors: Iterable[Any]) -> None:
        """Takes note of executors."""
        for executor in executors:
            self.executors[executor.label] = {"idle_since": None, "first": True}

    def strategize(self, executors: Sequence[Any]) -> None:
        """Decides for executors, by the strategy of that name."""
        self.strategies.get(self.strategy, self._by_policy)(executors)

    def _strategy_init_only(self, executors: Sequence[Any]) -> None:
        self._follow(executors, "none")

    def _strategy_simple(self, executors: Sequence[Any]) -> None:
        self._general_strategy(executors, strategy_type="simple")

    def _strategy_htex_auto_scale(self, executors: Sequence[Any]) -> None:
        self._general_strategy(executors, strategy_type="htex")

    def _general_strategy(self, executors: Sequence[Any], *, strategy_type: str) -> None:
        self._follow(executors, "htex_auto_scale" if strategy_type == "htex" else "simple")

    def _by_policy(self, executors: Sequence[Any]) -> None:
        self._follow(executors, self.strategy)

    def _follow(self, executors: Sequence[Any], policy: str) -> None:
        """Has executors decide, and by this policy if they decided by another."""
        for executor in executors:
            if self._following.get(executor.label, self.start_with()) != policy:
                executor.scale_as(policy, self.max_idletime, self.period_s)
            self._following[executor.label] = policy
            executor.poll_facade()

    def start_with(self) -> str:
        """The policy by which executors decide before this was first asked: with a strategy of somebody's own none, until that wants one."""
        return "none" if self.is_own() else self.strategy

    def is_own(self) -> bool:
        """Whether somebody has written this one."""
        return type(self) is not Strategy or "strategize" in vars(self)
