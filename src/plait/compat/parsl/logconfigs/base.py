"""``parsl.logconfigs.base``: the port for logs that users write."""

from __future__ import annotations

import threading
import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["LogConfig", "oneshot_initialize_logging", "oneshot_uninitialize_logging"]


class LogConfig(ABC):
    """How the log of a run is written."""

    def __init__(self) -> None:
        self.uuid = str(uuid.uuid4())

    @abstractmethod
    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
        """Begins to write the log; the returned function ends that."""


_lock = threading.Lock()
_in_use: dict[str, tuple[int, Callable[[], None]]] = {}  # by uuid: how many use it, and what ends it


def oneshot_initialize_logging(*, log_config: LogConfig, log_dir: Path, log_name: str) -> None:
    """Begins to write the log, unless somebody in this process did before."""
    with _lock:
        users, end = _in_use.get(log_config.uuid, (0, None))
        if end is None:
            end = log_config.initialize_logging(log_dir=log_dir, log_name=log_name)
        _in_use[log_config.uuid] = users + 1, end


def oneshot_uninitialize_logging(*, log_config: LogConfig) -> None:
    """Ends the log when nobody in this process needs it any more."""
    with _lock:
        users, end = _in_use.pop(log_config.uuid)
        if users > 1:
            _in_use[log_config.uuid] = users - 1, end
        else:
            end()
