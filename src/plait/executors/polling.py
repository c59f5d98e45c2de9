"""Asking a provider how jobs are: soon after something changed, seldom when nothing does, all in one call, and without taking silence for an answer."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from plait.errors import text_of
from plait.model.jobs import JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.providers.base import ExecutionProvider

_logger: Final = logging.getLogger("plait")

#: Seconds between two polls at least, whatever the provider says.
_MIN_POLL_S: Final = 0.02
#: After a change polls follow each other after this many seconds, or this share of the provider's interval if that is less; then twice as many, and so on.
_FIRST_S: Final = 1.0
_FIRST_SHARE: Final = 0.1
#: Polls within one of the provider's intervals, at most, however much changes.
_MOST: Final = 10
#: Polls that may fail in a row before people are told.
_QUIET_FAILURES: Final = 3
#: Factor by which polling slows down at most while it fails, and the seconds to which it may do so where that is less.
_MAX_SLOWDOWN: Final = 8.0
_SLOW_S: Final = 120.0


class Poller:
    """When to ask a provider, and what it answers.

    Attributes:
        failures: times in a row that it did not answer.
    """

    def __init__(self, provider: ExecutionProvider, label: str) -> None:
        self.failures = 0
        self._provider = provider
        self._label = label
        self._last_s = float("-inf")
        self._step_s: float | None = None  # to the next poll, when something changed lately
        self._asked_s: deque[float] = deque(maxlen=_MOST)

    @property
    def _interval_s(self) -> float:
        return max(_MIN_POLL_S, self._provider.status_polling_interval)

    def hasten(self) -> None:
        """Something changed: it is worth asking soon, and then more and more seldom."""
        self._step_s = max(_MIN_POLL_S, min(_FIRST_S, self._interval_s * _FIRST_SHARE))

    def due_s(self) -> float:
        """When it may be asked again."""
        interval_s = self._interval_s
        if self.failures:
            slow_s = min(interval_s * _MAX_SLOWDOWN, max(interval_s, _SLOW_S))
            return self._last_s + min(slow_s, interval_s * 2.0 ** min(self.failures, 10))
        due_s = self._last_s + (interval_s if self._step_s is None else min(interval_s, self._step_s))
        if len(self._asked_s) == _MOST:
            due_s = max(due_s, self._asked_s[0] + interval_s)
        return due_s

    def ask(self, jobs: Sequence[str]) -> list[JobStatus] | None:
        """How the jobs are; None when that cannot be known now."""
        if self._step_s is not None:
            self._step_s *= 2
            if self._step_s >= self._interval_s:
                self._step_s = None
        try:
            statuses = self._provider.status(jobs)
            if len(statuses) != len(jobs) or not all(isinstance(status, JobStatus) for status in statuses):
                raise TypeError(f"expected {len(jobs)} statuses, not {statuses!r}")  # noqa: TRY301 - handled like other failures
        except (Exception, SystemExit) as error:  # noqa: BLE001 - plug-ins, which may call sys.exit(), and the world: not knowing is not the end of a job
            self.failures += 1
            if self.failures == _QUIET_FAILURES:
                _logger.warning(
                    "executor %s: the provider %s has not said for a while how jobs are; what was known of them is assumed: %s",
                    self._label, self._provider.label, text_of(error),
                )  # fmt: skip
            return None
        else:
            self.failures = 0
            return statuses
        finally:
            self._last_s = time.monotonic()
            self._asked_s.append(self._last_s)
