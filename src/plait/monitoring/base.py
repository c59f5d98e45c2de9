"""The port for whoever follows a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.model.events import EventTuple


class EventSink(ABC):
    """Receives events, in order and in batches, in a thread of its own: it can neither slow nor fail a task."""

    @abstractmethod
    def write(self, events: Sequence[EventTuple]) -> None:
        """Takes events as tuples, each beginning with its kind."""

    @abstractmethod
    def close(self) -> None:
        """Finishes."""
