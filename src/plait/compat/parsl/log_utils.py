"""``parsl.log_utils``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

__all__ = ["DEFAULT_FORMAT", "set_file_logger", "set_stream_logger"]

DEFAULT_FORMAT: Final = "%(created)f %(asctime)s %(processName)s-%(process)d %(threadName)s-%(thread)d %(name)s:%(lineno)d %(funcName)s %(levelname)s: %(message)s"


def set_stream_logger(
    name: str = "parsl",
    level: int = logging.DEBUG,
    format_string: str | None = None,
    stream: io.TextIOBase | None = None,
) -> Callable[[], None]:
    """Shows the log on a stream (standard error when none is given); the returned function ends that."""
    return _attach(logging.StreamHandler(stream), name, level, format_string)


def set_file_logger(
    filename: str, name: str = "parsl", level: int = logging.DEBUG, format_string: str | None = None
) -> Callable[[], None]:
    """Appends the log to a file; the returned function ends that, and closes the file."""
    return _attach(logging.FileHandler(filename), name, level, format_string)


def _attach(handler: logging.Handler, name: str, level: int, format_string: str | None) -> Callable[[], None]:
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter(format_string or DEFAULT_FORMAT, datefmt="%Y-%m-%d %H:%M:%S"))
    loggers = [logging.getLogger(name), logging.getLogger("concurrent.futures")]
    before = loggers[0].level
    loggers[0].setLevel(level)
    for logger in loggers:
        logger.addHandler(handler)

    def detach() -> None:
        for logger in loggers:
            logger.removeHandler(handler)
        if loggers[0].level == level:
            loggers[0].setLevel(before)
        handler.close()

    return detach
