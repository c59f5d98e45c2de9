"""``parsl.logconfigs.json``."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from plait.compat.parsl.logconfigs.base import LogConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["JSONHandler", "JSONLogging"]


class JSONHandler(logging.Handler):
    """One JSON object a line."""

    def __init__(self, filename: Path, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._file = filename.open("a", encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = {
                "created": record.created,
                "name": record.name,
                "levelname": record.levelname,
                "process": record.process,
                "processName": record.processName,
                "thread": record.thread,
                "threadName": record.threadName,
                "funcname": record.funcName,
                "lineno": record.lineno,
                "msg": str(record.msg),
                "formatted": record.getMessage(),
                **{key: value for key, value in vars(record).items() if key.startswith("parsl.")},
            }
            if record.exc_info:
                line["exc_text"] = logging.Formatter().formatException(record.exc_info)
            self._file.write(json.dumps(line, default=str) + "\n")
            self._file.flush()
        except Exception:  # noqa: BLE001 - logging must not end the program; the handler's own way of telling it
            self.handleError(record)

    def close(self) -> None:
        self._file.close()
        super().close()


class JSONLogging(LogConfig):
    """The log of the whole process as one JSON object a line, in ``<name>.jsonlog``."""

    def __init__(self, *, level: int = logging.DEBUG) -> None:
        super().__init__()
        self.level = level

    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
        handler = JSONHandler(log_dir / f"{log_name}.jsonlog")
        handler.setLevel(self.level)
        root = logging.getLogger()
        before = root.level
        root.setLevel(self.level)
        root.addHandler(handler)

        def end() -> None:
            root.removeHandler(handler)
            if root.level == self.level:
                root.setLevel(before)
            handler.close()

        return end
