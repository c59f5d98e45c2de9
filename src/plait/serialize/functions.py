"""Functions: serialised once, named by their digest.

A function of an importable module goes by reference, with the digest of its code;
a worker that imported an older version of the module imports it again.
All others (``__main__``, notebooks, lambdas, closures, partials, bound methods) go by value through cloudpickle.
"""

from __future__ import annotations

import importlib
import marshal
import sys
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from plait.errors import DeserializationError, SerializationError, text_of
from plait.serialize.by_value import CACHED, dumps_by_value, is_importable, resolve
from plait.serialize.values import dumps, loads

try:  # hashlib's own, without the 5 ms that loading OpenSSL takes in each worker
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

if TYPE_CHECKING:
    from collections.abc import Callable

_BY_VALUE = b"V"
_BY_NAME = b"N"
_ABSENT = object()
_MUTABLE = frozenset({list, dict, set, bytearray})
#: Functions whose globals are larger are not compared before each call; only when a global is assigned anew.
_SMALL_BYTES = 32_768


class FunctionBlob:
    """A function as bytes, and the digest that names it.

    Attributes:
        digest: 16 bytes of BLAKE2b over the data.
        data: what `load_function` reads.
        is_fixed: whether nothing that went along can change, so that `is_current` need not be asked.
    """

    __slots__ = ("_func", "_seen", "data", "digest", "is_fixed")

    def __init__(self, func: Callable[..., Any]) -> None:
        data = _reference(func)
        #: What went along by value: (namespace, name, object) of each global that the function uses.
        self._seen: list[tuple[dict[str, Any], str, Any]] = []
        if data is None:
            data = _value(func)
            _gather_globals(func, self._seen, set())
        self._func = func if any(type(value) in _MUTABLE for _, _, value in self._seen) else None
        self.data = data
        self.digest = _digest(data)
        self.is_fixed = not self._seen

    def is_current(self) -> bool:
        """Whether the function would still be sent with the same globals: scripts and notebooks change them between calls."""
        for namespace, name, value in self._seen:
            if namespace.get(name, _ABSENT) is not value:
                return False
        if self._func is not None and len(self.data) < _SMALL_BYTES:  # lists and dictionaries change inside
            return _digest(_value(self._func)) == self.digest
        return True


def load_function(data: bytes) -> Callable[..., Any]:
    """The function of a `FunctionBlob`'s data.

    Raises:
        DeserializationError: its module cannot be imported here, or its parts cannot be rebuilt.
    """
    body = memoryview(data)[1:]
    if data[:1] == _BY_VALUE:
        return loads(body)  # type: ignore[no-any-return]
    module_name, qualname, digest = loads(body)
    try:
        func = resolve(module_name, qualname)
        if _code_digest(func) != digest:
            importlib.reload(sys.modules[module_name])
            func = resolve(module_name, qualname)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DeserializationError(
            f"the function {module_name}.{qualname} cannot be imported on the worker: {type(error).__name__}: {text_of(error)}. "
            f"The worker searches {sys.path}; install the module there, or define the function in the script."
        ) from error
    return func  # type: ignore[no-any-return]


def _reference(func: Callable[..., Any]) -> bytes | None:
    if not is_importable(func):
        return None
    return _BY_NAME + dumps((func.__module__, func.__qualname__, _code_digest(func)))


def _value(func: Callable[..., Any]) -> bytes:
    try:
        return _BY_VALUE + dumps_by_value(func)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        name = getattr(func, "__name__", repr(func))
        raise SerializationError(
            f"function {name}",
            f"{type(error).__name__}: {text_of(error)}; it, its globals or its closure hold something that cannot be sent",
        ) from error


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16, person=b"plait.function").digest()


def _gather_globals(func: Any, seen: list[tuple[dict[str, Any], str, Any]], visited: set[int]) -> None:
    """The globals that a function sent by value uses, and those of such functions among them."""
    func = getattr(func, "__func__", getattr(func, "func", func))  # of a method, of a partial
    func = _behind_cache(func)
    if not isinstance(func, FunctionType) or id(func) in visited:
        return
    visited.add(id(func))
    namespace = func.__globals__
    for name in _names(func.__code__):
        if name in namespace:
            value = namespace[name]
            seen.append((namespace, name, value))
            inner = _behind_cache(getattr(value, "__plait_function__", value))
            if isinstance(inner, FunctionType) and inner.__module__ == func.__module__:
                _gather_globals(inner, seen, visited)


def _behind_cache(func: Any) -> Any:
    return func.__wrapped__ if type(func) is CACHED else func


def _names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


def _code_digest(func: Any) -> bytes:
    """Digest of the byte code, without file name and line numbers, the same in every process; empty for what has none (builtins, classes)."""
    code = getattr(func, "__code__", None)
    if not isinstance(func, FunctionType) or code is None:
        return b""
    data = marshal.dumps(_bare(code), 2)  # bytes of later formats depend on which objects the process shares
    return blake2b(data, digest_size=8).digest()


def _bare(code: CodeType) -> tuple[Any, ...]:
    return (code.co_code, code.co_names, tuple(map(_constant, code.co_consts)), code.co_varnames)


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _bare(value)
    if isinstance(value, tuple):
        return tuple(map(_constant, value))
    if isinstance(value, frozenset):  # their order differs between processes
        return ("frozenset", *sorted(repr(_constant(v)) for v in value))
    return repr(value)
