"""Asking a provider how jobs are: not too often, all in one call, and without taking silence for an answer."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from plait.errors import text_of
from plait.model.jobs import JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.providers.base import ExecutionProvider

_logger: Final = logging.getLogger("plait")

#: Seconds between two polls at least, whatever the provider says.
_MIN_POLL_S: Final = 0.02
#: Share of the provider's interval after which it may be asked early.
_EARLY: Final = 0.1
#: Polls that may fail in a row before people are told.
_QUIET_FAILURES: Final = 3
#: Factor by which polling slows down at most while it fails.
_MAX_SLOWDOWN: Final = 8.0


class Poller:
    """When to ask a provider, and what it answers. Used by one thread, but for `early`.

    Attributes:
        early: something happened that makes it worth asking before the time.
    """

    def __init__(self, provider: ExecutionProvider, label: str) -> None:
        self.early = False
        self._provider = provider
        self._label = label
        self._last_s = float("-inf")
        self._failures = 0

    def due_s(self) -> float:
        """When it may be asked again."""
        interval_s = max(_MIN_POLL_S, self._provider.status_polling_interval)
        if self._failures:
            return self._last_s + interval_s * min(_MAX_SLOWDOWN, 2.0**self._failures)
        return self._last_s + (max(_MIN_POLL_S, interval_s * _EARLY) if self.early else interval_s)

    def ask(self, jobs: Sequence[str]) -> list[JobStatus] | None:
        """How the jobs are; None when that cannot be known now."""
        self.early = False
        try:
            statuses = self._provider.status(jobs)
            if len(statuses) != len(jobs) or not all(isinstance(status, JobStatus) for status in statuses):
                raise TypeError(f"expected {len(jobs)} statuses, not {statuses!r}")  # noqa: TRY301 - handled like other failures
        except Exception as error:  # noqa: BLE001 - plug-ins and the world: not knowing is not the end of a job
            self._failures += 1
            if self._failures == _QUIET_FAILURES:
                _logger.warning(
                    "executor %s: the provider %s has not said for a while how jobs are; what was known of them is assumed: %s",
                    self._label, self._provider.label, text_of(error),
                )  # fmt: skip
            return None
        else:
            self._failures = 0
            return statuses
        finally:
            self._last_s = time.monotonic()
