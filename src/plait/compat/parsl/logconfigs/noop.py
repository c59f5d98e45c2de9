"""``parsl.logconfigs.noop``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait.compat.parsl.logconfigs.base import LogConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["NoopLogging"]


class NoopLogging(LogConfig):
    """No log."""

    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
        del log_dir, log_name
        return lambda: None
