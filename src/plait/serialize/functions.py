"""Functions: serialised once, named by their digest.

A function of an importable module goes by reference, with the digest of its code;
a worker that imported an older version of the module imports it again.
All others (``__main__``, notebooks, lambdas, closures, partials, bound methods) go by value through cloudpickle.
"""

from __future__ import annotations

import functools
import importlib
import marshal
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from plait.errors import DeserializationError, SerializationError, text_of
from plait.serialize.by_value import CACHED, dumps_by_value, is_importable, resolve
from plait.serialize.values import dumps, loads

try:  # hashlib's own, without the 5 ms that loading OpenSSL takes in each worker
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CellType

_BY_VALUE = b"V"
_BY_NAME = b"N"
_ABSENT = object()
#: Types whose values stay what they are, and modules with such types; loggers go by name.
_FIXED = frozenset(
    {int, float, complex, str, bytes, bool, type(None), type(Ellipsis), range, FunctionType, BuiltinFunctionType, ModuleType, CACHED}
)  # fmt: skip
_FIXED_IN = frozenset({"datetime", "decimal", "fractions", "logging", "pathlib", "re", "uuid", "zoneinfo"})
#: Functions that hold more are not compared before each call; only when a variable is assigned anew.
_SMALL_BYTES = 32_768


class FunctionBlob:
    """A function as bytes, and the digest that names it.

    Attributes:
        digest: 16 bytes of BLAKE2b over the data.
        data: what `load_function` reads.
        is_fixed: whether nothing that went along can change, so that `is_current` need not be asked.
    """

    __slots__ = ("_func", "_held", "data", "digest", "is_fixed")

    def __init__(self, func: Callable[..., Any]) -> None:
        data = _reference(func)
        held = _Held()
        if data is None:
            data = _value(func)
            held.look_at(func)
        self._held = held
        self._func = func if held.may_change and len(data) < _SMALL_BYTES else None
        self.data = data
        self.digest = _digest(data)
        self.is_fixed = not (held.names or held.cells or self._func is not None)

    def is_current(self) -> bool:
        """Whether the function would still be sent with the same variables: scripts and notebooks change them between calls."""
        for namespace, name, value in self._held.names:
            if namespace.get(name, _ABSENT) is not value:
                return False
        for cell, value in self._held.cells:
            if _content(cell) is not value:
                return False
        if self._func is not None:  # lists, dictionaries and objects change inside
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


class _Held:
    """What goes along with functions that are sent by value.

    Attributes:
        names: (namespace, name, object) of each global that they use.
        cells: variables of functions around them, and what these hold.
        may_change: whether something of it can change inside.
    """

    __slots__ = ("_visited", "cells", "may_change", "names")

    def __init__(self) -> None:
        self.names: list[tuple[dict[str, Any], str, Any]] = []
        self.cells: list[tuple[CellType, Any]] = []
        self.may_change = False
        self._visited: set[int] = set()

    def look_at(self, func: Any, module: str | None = None) -> None:
        """Adds what a function, method, partial or other object with a call holds, if that is of the module or cannot be imported."""
        func = _behind_cache(func)
        if id(func) in self._visited:
            return
        self._visited.add(id(func))
        if isinstance(func, functools.partial):
            self._keep([*func.args, *func.keywords.values()], module)
            self.look_at(func.func, module)
        elif isinstance(func, MethodType):
            self._keep([func.__self__], module)
            self.look_at(func.__func__, module)
        elif isinstance(func, FunctionType):
            if func.__module__ == module or not is_importable(func):
                self._look_into(func)
        else:
            self.may_change |= _may_change(func)

    def _look_into(self, func: FunctionType) -> None:
        namespace = func.__globals__
        found = [(name, namespace[name]) for name in _names(func.__code__) if name in namespace]
        self.names += [(namespace, name, value) for name, value in found]
        cells = [(cell, _content(cell)) for cell in func.__closure__ or ()]
        self.cells += cells
        given = [*(func.__defaults__ or ()), *(func.__kwdefaults__ or {}).values()]
        self._keep(
            [*(value for _, value in found), *(value for _, value in cells if value is not _ABSENT), *given],
            func.__module__,
        )

    def _keep(self, values: Iterable[Any], module: str | None) -> None:
        for value in values:
            is_app = hasattr(type(value), "__plait_function__")
            self.look_at(value.__plait_function__ if is_app else value, module)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return _ABSENT


def _may_change(value: Any) -> bool:
    """Whether it is an object that may change inside. Classes change, too, but hardly between calls, and to compare them costs most."""
    kind = type(value)
    if kind in (tuple, frozenset):
        return any(map(_may_change, value))
    if kind in _FIXED or isinstance(value, type) or hasattr(kind, "__members__"):
        return False
    return kind.__module__.partition(".")[0] not in _FIXED_IN


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
