"""Showing the log: on a stream or in a file, as long as wanted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

__all__ = ["DEFAULT_FORMAT", "set_file_logger", "set_stream_logger"]

DEFAULT_FORMAT: Final = "%(created)f %(asctime)s %(processName)s-%(process)d %(threadName)s-%(thread)d %(name)s:%(lineno)d %(funcName)s %(levelname)s: %(message)s"


def set_stream_logger(
    name: str = "plait",
    level: int = logging.DEBUG,
    format_string: str | None = None,
    stream: io.TextIOBase | None = None,
) -> Callable[[], None]:
    """Shows the log on a stream.

    Args:
        name: of the logger.
        level: from which on.
        format_string: of each line, as the logging module has it; None for one with time, process and thread.
        stream: where to; None for standard error.

    Returns:
        A function that ends it.
    """
    return _attach(logging.StreamHandler(stream), name, level, format_string)


def set_file_logger(
    filename: str, name: str = "plait", level: int = logging.DEBUG, format_string: str | None = None
) -> Callable[[], None]:
    """Appends the log to a file.

    Args:
        filename: of the file.
        name: of the logger.
        level: from which on.
        format_string: as in `set_stream_logger`.

    Returns:
        A function that ends it and closes the file.

    Raises:
        OSError: the file cannot be opened.
    """
    return _attach(
        logging.FileHandler(filename, encoding="utf-8", errors="backslashreplace"), name, level, format_string
    )


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
