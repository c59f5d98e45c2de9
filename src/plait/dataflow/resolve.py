"""Futures in arguments: finding them, and putting their results in their place."""

from __future__ import annotations

import dataclasses
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

from plait.limits import SCAN_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Types whose values hold no other object: what most arguments are.
PLAIN: Final[frozenset[type]] = frozenset(
    {int, float, complex, str, bytes, bool, type(None), bytearray, range, PurePath, Path, type(Ellipsis)}
)

_LEAF: Final = 0
_ITEMS: Final = 1
_DICT: Final = 2
_FIELDS: Final = 3
_FUTURE: Final = 4

_kinds: dict[type, int] = dict.fromkeys(PLAIN, _LEAF)


def _kind(cls: type) -> int:
    kind = _kinds.get(cls)
    if kind is None:
        if issubclass(cls, Future):
            kind = _FUTURE
        elif issubclass(cls, (list, tuple, set, frozenset)):
            kind = _ITEMS
        elif issubclass(cls, dict):
            kind = _DICT
        elif dataclasses.is_dataclass(cls):
            kind = _FIELDS
        else:
            kind = _LEAF
        if len(_kinds) < 10_000:
            _kinds[cls] = kind
    return kind


def find_futures(value: Any, depth: int = SCAN_DEPTH) -> list[Future[Any]]:
    """The futures in a value: itself, or inside lists, tuples, sets, dictionaries (keys too) and dataclasses, down to ``depth``."""
    found: list[Future[Any]] = []
    _find(value, depth, found)
    return found


def _find(value: Any, depth: int, found: list[Future[Any]]) -> None:
    kind = _kind(type(value))
    if kind == _LEAF:
        return
    if kind == _FUTURE:
        found.append(value)
        return
    if depth <= 0:
        return
    if kind == _ITEMS:
        if not PLAIN.issuperset(map(type, value)):
            for item in value:
                _find(item, depth - 1, found)
    elif kind == _DICT:
        if not (PLAIN.issuperset(map(type, value)) and PLAIN.issuperset(map(type, value.values()))):
            for key, item in value.items():
                _find(key, depth - 1, found)
                _find(item, depth - 1, found)
    else:
        for field in dataclasses.fields(value):
            _find(getattr(value, field.name, None), depth - 1, found)


def replace_futures(value: Any, depth: int = SCAN_DEPTH) -> Any:
    """The value with each future that `find_futures` finds replaced by its result.

    Containers that hold futures are rebuilt with their exact type; all others stay the same object.
    """
    if not find_futures(value, depth):
        return value
    kind = _kind(type(value))
    if kind == _FUTURE:
        return value.result()
    if kind == _ITEMS:
        items = [replace_futures(item, depth - 1) for item in value]
        if hasattr(value, "_fields"):  # a named tuple takes its fields one by one
            return type(value)(*items)
        return type(value)(items)
    if kind == _DICT:
        return _rebuild_dict(value, depth)
    changes = {
        field.name: replace_futures(getattr(value, field.name), depth - 1)
        for field in dataclasses.fields(value)
        if hasattr(value, field.name)
    }
    return _rebuild_dataclass(value, changes)


def _rebuild_dict(value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    copy = value.copy()  # keeps the class, and what it needs beside its items (such as a default factory)
    copy.clear()
    for key, item in value.items():
        copy[replace_futures(key, depth - 1)] = replace_futures(item, depth - 1)
    return copy if type(copy) is type(value) else type(value)(copy)


def _rebuild_dataclass(value: Any, changes: dict[str, Any]) -> Any:
    import copy

    twin = copy.copy(value)
    for name, item in changes.items():
        object.__setattr__(twin, name, item)  # frozen ones too
    return twin


@dataclass(frozen=True)
class DependencyResolver:
    """How futures are found in one argument, and how an argument is rebuilt when they have ended.

    Attributes:
        traverse_to_gather: the futures of an argument.
        traverse_to_unwrap: the argument with their results in their place.
    """

    traverse_to_gather: Callable[[Any], Sequence[Future[Any]]]
    traverse_to_unwrap: Callable[[Any], Any]


def _gather_shallow(value: Any) -> Sequence[Future[Any]]:
    return (value,) if isinstance(value, Future) else ()


def _unwrap_shallow(value: Any) -> Any:
    return value.result() if isinstance(value, Future) else value


#: Finds futures that are arguments themselves, and elements of ``inputs``.
SHALLOW_DEPENDENCY_RESOLVER: Final = DependencyResolver(_gather_shallow, _unwrap_shallow)
#: Finds futures inside lists, tuples, sets, dictionaries and dataclasses too.
DEEP_DEPENDENCY_RESOLVER: Final = DependencyResolver(find_futures, replace_futures)
