"""``parsl.log_utils``: plait's loggers, under the name that programs here use."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from plait.kernel import loggers
from plait.kernel.loggers import DEFAULT_FORMAT

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

__all__ = ["DEFAULT_FORMAT", "set_file_logger", "set_stream_logger"]


def set_stream_logger(
    name: str = "parsl",
    level: int = logging.DEBUG,
    format_string: str | None = None,
    stream: io.TextIOBase | None = None,
) -> Callable[[], None]:
    """Shows the log on a stream (standard error when none is given); the returned function ends that."""
    return loggers.set_stream_logger(name, level, format_string, stream)


def set_file_logger(
    filename: str, name: str = "parsl", level: int = logging.DEBUG, format_string: str | None = None
) -> Callable[[], None]:
    """Appends the log to a file; the returned function ends that, and closes the file."""
    return loggers.set_file_logger(filename, name, level, format_string)
