"""``parsl.serialize.concretes``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.compat.parsl.serialize.base import SerializerBase
from plait.serialize import FunctionBlob, dumps, load_function, loads

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CallableSerializer", "DataSerializer", "DillCallableSerializer", "DillSerializer", "PickleSerializer"]


class DataSerializer(SerializerBase):
    """Values, as plait sends them."""

    identifier = b"02"

    def serialize(self, data: Any) -> bytes:
        return dumps(data)

    def deserialize(self, payload: bytes) -> Any:
        return loads(payload)


class CallableSerializer(SerializerBase):
    """Functions, as plait sends them."""

    identifier = b"C2"

    def serialize(self, data: Callable[..., Any]) -> bytes:
        return FunctionBlob(data).data

    def deserialize(self, payload: bytes) -> Any:
        return load_function(payload)


class PickleSerializer(DataSerializer):
    """Values too, under the identifier of upstream's plain pickle; not registered."""

    identifier = b"01"


#: What upstream calls them, after the package that it uses.
DillSerializer = DataSerializer
DillCallableSerializer = CallableSerializer
