"""``parsl.jobs.job_status_poller``: what programs ask of it. In plait each executor keeps its own blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.clock import SystemClock
from plait.compat.parsl.executors.base import ParslExecutor
from plait.compat.parsl.executors.status_handling import BlockProviderExecutor
from plait.compat.parsl.jobs.strategy import Strategy
from plait.executors.base import ExecutorContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.executors.base import Outcome

__all__ = ["JobStatusPoller"]


class JobStatusPoller:
    """Keeps the blocks of executors.

    The one of a run (``dfk.job_status_poller``) only shows the run's executors, which were started with their blocks. One that a program makes for
    executors that it starts itself begins to keep blocks for them.
    """

    def __init__(self, *, strategy: str | None, max_idletime: float, strategy_period: float, **_: Any) -> None:
        self.interval = strategy_period
        self._strategy = Strategy(strategy=strategy, max_idletime=max_idletime)
        self._own: list[ParslExecutor] = []

    @property
    def executors(self) -> list[Any]:
        """Those that it was told of."""
        return list(self._strategy.executors.values())

    def add_executors(self, executors: Sequence[Any]) -> None:
        """Takes executors, which must have been started."""
        self._strategy.add_executors(executors)
        for executor in executors:
            if isinstance(executor, ParslExecutor) and executor.run_id is None:
                self._own.append(executor)
                executor.begin_blocks(self._context())

    def _context(self) -> ExecutorContext:
        strategy = self._strategy
        return ExecutorContext(
            _deliver_to_nobody, None, None, SystemClock(), strategy.strategy, self.interval, strategy.max_idletime
        )

    def poll(self) -> None:
        """Has the executors look at their blocks soon, and decide."""
        self._strategy.strategize([each for each in self.executors if isinstance(each, BlockProviderExecutor)])

    def close(self, timeout: float | None = None) -> None:
        """Gives back the blocks that this one began to keep."""
        for executor in self._own:
            executor.end_blocks(10.0 if timeout is None else timeout)
        self._own.clear()


def _deliver_to_nobody(outcomes: list[Outcome]) -> None:
    """Executors without a kernel end their futures themselves."""
