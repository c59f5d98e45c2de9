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
    _find(value, depth, found, {})
    return found


def _find(value: Any, depth: int, found: list[Future[Any]], seen: dict[int, tuple[int, Any]]) -> None:
    kind = _kind(type(value))
    if kind == _LEAF:
        return
    if kind == _FUTURE:
        found.append(value)
        return
    if depth <= 0 or (kind != _FIELDS and _is_plain(value, kind)):
        return
    # children that know their parents would be walked again and again
    if id(value) in seen and depth <= seen[id(value)][0]:
        return
    seen[id(value)] = depth, value  # which keeps its id its own
    # Sets and dictionaries are read in one step: tasks in other threads may add to them.
    if kind == _ITEMS:
        for item in list(value) if isinstance(value, set) else value:
            _find(item, depth - 1, found, seen)
    elif kind == _DICT:
        for key, item in list(value.items()):
            _find(key, depth - 1, found, seen)
            _find(item, depth - 1, found, seen)
    else:
        for field in dataclasses.fields(value):
            _find(getattr(value, field.name, None), depth - 1, found, seen)


def _is_plain(value: Any, kind: int) -> bool:
    try:
        return PLAIN.issuperset(map(type, value)) and (kind == _ITEMS or PLAIN.issuperset(map(type, value.values())))
    except RuntimeError:  # a task in another thread just added to it
        return False


def replace_futures(value: Any, depth: int = SCAN_DEPTH) -> Any:
    """The value with each future that `find_futures` finds replaced by its result.

    Containers that hold futures are rebuilt with their exact type, each once; all others stay the same object.
    """
    return _replace(value, depth, {})


def _replace(value: Any, depth: int, rebuilt: dict[int, tuple[Any, Any]]) -> Any:
    if id(value) in rebuilt:
        return rebuilt[id(value)][1]
    if not find_futures(value, depth):
        return value
    kind = _kind(type(value))
    if kind == _FUTURE:
        return value.result()
    if kind == _ITEMS:
        twin = _rebuild_items(value, depth, rebuilt)
    elif kind == _DICT:
        twin = _rebuild_dict(value, depth, rebuilt)
    else:
        twin = _rebuild_dataclass(value, depth, rebuilt)
    rebuilt[id(value)] = value, twin
    return twin


def _rebuild_items(value: Any, depth: int, rebuilt: dict[int, tuple[Any, Any]]) -> Any:
    if type(value) is list:  # may hold itself
        twin: list[Any] = []
        rebuilt[id(value)] = value, twin
        twin.extend(_replace(item, depth - 1, rebuilt) for item in value)
        return twin
    items = [_replace(item, depth - 1, rebuilt) for item in list(value)]
    if hasattr(value, "_fields"):  # a named tuple takes its fields one by one
        return type(value)(*items)
    return type(value)(items)


def _rebuild_dict(value: dict[Any, Any], depth: int, rebuilt: dict[int, tuple[Any, Any]]) -> dict[Any, Any]:
    twin = value.copy()  # keeps the class, and what it needs beside its items (such as a default factory)
    twin.clear()
    if type(twin) is type(value):  # may hold itself
        rebuilt[id(value)] = value, twin
    for key, item in list(value.items()):
        twin[_replace(key, depth - 1, rebuilt)] = _replace(item, depth - 1, rebuilt)
    return twin if type(twin) is type(value) else type(value)(twin)


def _rebuild_dataclass(value: Any, depth: int, rebuilt: dict[int, tuple[Any, Any]]) -> Any:
    import copy

    twin = copy.copy(value)
    rebuilt[id(value)] = value, twin
    for field in dataclasses.fields(value):
        if hasattr(value, field.name):
            # frozen ones too
            object.__setattr__(twin, field.name, _replace(getattr(value, field.name), depth - 1, rebuilt))
    return twin


@dataclass(frozen=True)
class DependencyResolver:
    """How futures are found in one argument, and how an argument is rebuilt when they have ended.

    Attributes:
        traverse_to_gather: the futures of an argument.
        traverse_to_unwrap: the argument with their results in their place.
        is_usual: whether plain values are left as they are, and a future that is an argument becomes its result; then it need not be asked.
    """

    traverse_to_gather: Callable[[Any], Sequence[Future[Any]]]
    traverse_to_unwrap: Callable[[Any], Any]
    is_usual: bool = dataclasses.field(default=False, repr=False, kw_only=True)


def _gather_shallow(value: Any) -> Sequence[Future[Any]]:
    return (value,) if isinstance(value, Future) else ()


def _unwrap_shallow(value: Any) -> Any:
    return value.result() if isinstance(value, Future) else value


#: Finds futures that are arguments themselves, and elements of ``inputs``.
SHALLOW_DEPENDENCY_RESOLVER: Final = DependencyResolver(_gather_shallow, _unwrap_shallow, is_usual=True)
#: Finds futures inside lists, tuples, sets, dictionaries and dataclasses too.
DEEP_DEPENDENCY_RESOLVER: Final = DependencyResolver(find_futures, replace_futures, is_usual=True)
