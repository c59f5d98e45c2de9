"""``parsl.serialize.facade``: objects as ``identifier newline body``, calls as three of those, each behind its length."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from plait.compat.parsl.serialize.concretes import CallableSerializer, DataSerializer
from plait.errors import DeserializationError, DeserializerPluginError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.compat.parsl.serialize.base import SerializerBase

__all__ = [
    "deserialize",
    "pack_apply_message",
    "pack_buffers",
    "register_method_for_code",
    "register_method_for_data",
    "serialize",
    "unpack_and_deserialize",
    "unpack_apply_message",
    "unpack_buffers",
]

_logger = logging.getLogger("parsl")

methods_for_code: dict[bytes, SerializerBase] = {}
methods_for_data: dict[bytes, SerializerBase] = {}
_loaded: dict[bytes, SerializerBase] = {}


def register_method_for_code(s: SerializerBase) -> None:
    """Functions are tried with it, after those that were registered before."""
    methods_for_code[s.identifier] = s


def register_method_for_data(s: SerializerBase) -> None:
    """Values are tried with it, after those that were registered before."""
    methods_for_data[s.identifier] = s


register_method_for_code(CallableSerializer())
register_method_for_data(DataSerializer())


def serialize(obj: Any, buffer_threshold: int = 1_000_000) -> bytes:
    """The bytes of an object, by the first of the registered ways that succeeds.

    Raises:
        SerializationError: none does; that of the last of them.
    """
    methods = methods_for_code if callable(obj) else methods_for_data
    failure: Exception | None = None
    for identifier, method in methods.items():
        try:
            data = identifier + b"\n" + method.serialize(obj)
        except Exception as error:  # noqa: BLE001 - ways of users may raise anything; the last is reported
            failure = error
            continue
        if len(data) > buffer_threshold:
            _logger.warning(
                "an object of type %s has %d bytes, more than %d", type(obj).__name__, len(data), buffer_threshold
            )
        return data
    assert failure is not None  # noqa: S101 - there is always one way
    raise failure


def deserialize(payload: bytes) -> Any:
    """The object of such bytes.

    Raises:
        DeserializerPluginError: nothing here knows the identifier that they begin with.
        DeserializationError: they cannot be read.
    """
    header, _, body = payload.partition(b"\n")
    method = methods_for_code.get(header) or methods_for_data.get(header) or _loaded.get(header) or _load(header)
    return method.deserialize(body)


def _load(header: bytes) -> SerializerBase:
    module, _, name = header.decode(errors="replace").partition(" ")
    try:
        method: SerializerBase = getattr(importlib.import_module(module), name)()
    except Exception as error:
        raise DeserializerPluginError(header) from error
    _loaded[header] = method
    return method


def pack_apply_message(func: Any, args: Any, kwargs: Any, buffer_threshold: int = 128_000_000) -> bytes:
    """The bytes of a call."""
    return pack_buffers([serialize(part, buffer_threshold) for part in (func, args, kwargs)])


def unpack_apply_message(packed_buffer: bytes) -> list[Any]:
    """Function, arguments and named arguments of a call's bytes."""
    return [deserialize(part) for part in unpack_buffers(packed_buffer)]


def unpack_and_deserialize(packed_buffer: bytes) -> Any:
    """The objects of bytes from `pack_buffers`."""
    return unpack_apply_message(packed_buffer)


def pack_buffers(buffers: Sequence[bytes]) -> bytes:
    """Several byte strings as one."""
    return b"".join(b"%d\n%s" % (len(buffer), buffer) for buffer in buffers)


def unpack_buffers(packed_buffer: bytes) -> list[bytes]:
    """The byte strings of which one was made.

    Raises:
        DeserializationError: it was not made so, or is cut off.
    """
    parts = []
    rest = packed_buffer
    while rest:
        size, newline, rest = rest.partition(b"\n")
        if not newline or not size.isdigit() or len(rest) < int(size):
            raise DeserializationError(f"expected a length and so many bytes, not {size[:20]!r} and {len(rest)} bytes")
        parts.append(rest[: int(size)])
        rest = rest[int(size) :]
    return parts
