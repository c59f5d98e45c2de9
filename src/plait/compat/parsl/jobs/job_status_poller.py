"""``parsl.jobs.job_status_poller``: what programs ask of it. In plait each executor keeps its own blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.clock import SystemClock
from plait.compat.parsl.executors.base import ParslExecutor
from plait.compat.parsl.executors.status_handling import BlockProviderExecutor
from plait.compat.parsl.jobs.strategy import Strategy
from plait.compat.parsl.utils import Timer
from plait.executors.base import ExecutorContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.executors.base import Outcome

__all__ = ["JobStatusPoller"]


class JobStatusPoller:
    """Keeps the blocks of executors.

    The one of a run (``dfk.job_status_poller``) only shows the run's executors, which were started with their blocks. One that a program makes for
    executors that it starts itself begins to keep blocks for them. With a strategy that somebody has written it has a thread, which asks that.
    """

    def __init__(
        self, *, strategy: str | Strategy | None, max_idletime: float, strategy_period: float, **_: Any
    ) -> None:
        self.interval = strategy_period
        self.executors: list[Any] = []
        self._strategy = (
            strategy if isinstance(strategy, Strategy) else Strategy(strategy=strategy, max_idletime=max_idletime)
        )
        self._strategy.period_s = strategy_period
        self._own: list[ParslExecutor] = []
        self._timer: Timer | None = None

    def add_executors(self, executors: Sequence[Any]) -> None:
        """Takes executors, which must have been started."""
        self.executors += executors
        self._strategy.add_executors(executors)
        self._begin_blocks(executors)
        if self._timer is None and self._strategy.is_own():
            self._timer = Timer(self.poll, interval=self.interval, name="JobStatusPoller-Timer")

    def _begin_blocks(self, executors: Sequence[Any]) -> None:
        for executor in executors:
            if isinstance(executor, ParslExecutor) and executor.run_id is None:
                self._own.append(executor)
                executor.begin_blocks(self._context())

    def _context(self) -> ExecutorContext:
        strategy = self._strategy
        return ExecutorContext(
            _deliver_to_nobody, None, None, SystemClock(), strategy.start_with(), self.interval, strategy.max_idletime
        )

    def poll(self) -> None:
        """Has the strategy decide for the executors that have blocks."""
        able = [each for each in self.executors if isinstance(each, BlockProviderExecutor)]
        self._strategy.strategize([each for each in able if each.status_polling_interval and not each.bad_state_is_set])

    def close(self, timeout: float | None = None) -> None:
        """Asks the strategy no more; gives back the blocks that this one began to keep."""
        if self._timer is not None:
            self._timer.close(timeout)
            self._timer = None
        for executor in self._own:
            executor.end_blocks(10.0 if timeout is None else timeout)
        self._own.clear()


def _deliver_to_nobody(outcomes: list[Outcome]) -> None:
    """Executors without a kernel end their futures themselves."""
