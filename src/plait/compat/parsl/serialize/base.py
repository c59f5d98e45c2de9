"""``parsl.serialize.base``."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

__all__ = ["SerializerBase"]


class SerializerBase:
    """One way of making bytes of objects. A way of one's own is found where the bytes arrive by its module and class name."""

    @cached_property
    def identifier(self) -> bytes:
        """What the bytes begin with."""
        return f"{type(self).__module__} {type(self).__name__}".encode()

    @abstractmethod
    def serialize(self, data: Any) -> bytes:
        """Bytes of an object, without the identifier."""

    @abstractmethod
    def deserialize(self, payload: bytes) -> Any:
        """The object of such bytes."""
