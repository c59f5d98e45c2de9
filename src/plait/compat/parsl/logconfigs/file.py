"""``parsl.logconfigs.file``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from plait.compat.parsl.log_utils import DEFAULT_FORMAT, set_file_logger
from plait.compat.parsl.logconfigs.base import LogConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["FileLogging"]


class FileLogging(LogConfig):
    """The log as lines of text, in ``<name>.log``."""

    def __init__(self, *, format_string: str = DEFAULT_FORMAT, level: int = logging.DEBUG) -> None:
        super().__init__()
        self.format_string = format_string
        self.level = level

    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
        return set_file_logger(str(log_dir / f"{log_name}.log"), level=self.level, format_string=self.format_string)
