"""Values: the plain C pickler where it is right, cloudpickle where it is not, big buffers beside the pickle.

The plain pickler is several times faster (3 against 12 µs for a small call), but it writes what belongs to ``__main__`` by name,
and the ``__main__`` of a worker is another.
Whatever it wrote by such a name shows in the bytes; only then, or when it fails, cloudpickle does the work again.
"""

from __future__ import annotations

import functools
import pickle
import sys
from typing import TYPE_CHECKING, Any, Final

from plait.errors import DeserializationError, SerializationError, text_of
from plait.limits import BIG_BYTES
from plait.serialize.by_value import dumps_by_value

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What `dumps(None)` gives; results are so often None that both sides know it.
NONE_BYTES: Final = pickle.dumps(None, 5)

_dumps = pickle.dumps
_loads = pickle.loads

#: Bytes of a value that consists of built-in types only: such values need none of the care of `dumps`.
dump_plain: Final = functools.partial(pickle.dumps, protocol=5)


def dumps(value: Any, buffers: list[pickle.PickleBuffer] | None = None) -> bytes:
    """Bytes of a value.

    Args:
        value: anything.
        buffers: where to put buffers of `limits.BIG_BYTES` or more instead of into the bytes; None to keep all inside.

    Raises:
        SerializationError: naming the part that cannot be sent.
    """
    callback = None
    if buffers is not None:
        callback = _collector(buffers)
    try:
        data = _dumps(value, 5, buffer_callback=callback)
        if b"__main__" not in data and not _by_value_modules():
            return data
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001, S110 - whatever the object raises: the next try tells
        pass
    if buffers is not None:
        buffers.clear()
    try:
        return dumps_by_value(value, callback)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise SerializationError(_culprit(value), f"{type(error).__name__}: {text_of(error)}") from error


def loads(data: Any, buffers: Iterable[Any] | None = None) -> Any:
    """The value of bytes from `dumps`.

    Raises:
        DeserializationError: with what the rebuilding raised as its cause.
    """
    try:
        return _loads(data, buffers=buffers)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DeserializationError(f"{type(error).__name__}: {text_of(error)}") from error


def _collector(buffers: list[pickle.PickleBuffer]) -> Any:
    def collect(buffer: pickle.PickleBuffer) -> bool:
        try:
            size = buffer.raw().nbytes
        except BufferError:  # not contiguous
            return True
        if size < BIG_BYTES:
            return True  # stays inside
        buffers.append(buffer)
        return False

    return collect


def _by_value_modules() -> bool:
    """Whether the user told cloudpickle to send some modules by value."""
    module = sys.modules.get("cloudpickle.cloudpickle")
    return bool(module is not None and module._PICKLE_BY_VALUE_MODULES)  # noqa: SLF001 - cloudpickle's own registry; the public function copies it


def _culprit(value: Any) -> str:
    """The path to the innermost part that cannot be pickled: ``argument 0['key'].lock (type lock)``."""
    path, part = _walk(value, "", 0)
    return f"{path or 'the value'} (type {type(part).__module__}.{type(part).__qualname__})"


def _walk(value: Any, path: str, depth: int) -> tuple[str, Any]:
    if depth < 8:
        for name, part in _parts(value):
            if not _pickles(part):
                return _walk(part, path + name, depth + 1)
    return path, value


def _parts(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        return [(f".{name}", part) for name, part in attributes.items()]
    return ()


def _pickles(value: Any) -> bool:
    try:
        dumps_by_value(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - an object may raise anything
        return False
    return True
