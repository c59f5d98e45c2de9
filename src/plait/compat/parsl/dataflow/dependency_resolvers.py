"""``parsl.dataflow.dependency_resolvers``: how futures are found in arguments.

The functions of the two resolvers are `functools.singledispatch`, so that users register types of their own with them.
Registered with either of the deep ones, a type is also found inside containers.
"""

from __future__ import annotations

from concurrent.futures import Future
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from plait.dataflow.resolve import DependencyResolver

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DEEP_DEPENDENCY_RESOLVER",
    "SHALLOW_DEPENDENCY_RESOLVER",
    "DependencyResolver",
    "deep_traverse_to_gather",
    "deep_traverse_to_unwrap",
    "shallow_traverse_to_gather",
    "shallow_traverse_to_unwrap",
]


@singledispatch
def shallow_traverse_to_gather(o: Any) -> Sequence[Future[Any]]:
    del o
    return []


@shallow_traverse_to_gather.register(Future)
def _gather_future(fut: Future[Any]) -> Sequence[Future[Any]]:
    return [fut]


@singledispatch
def shallow_traverse_to_unwrap(o: Any) -> Any:
    return o


@shallow_traverse_to_unwrap.register(Future)
def _unwrap_future(fut: Future[Any]) -> Any:
    return fut.result()


@singledispatch
def deep_traverse_to_gather(o: Any) -> Sequence[Future[Any]]:
    return shallow_traverse_to_gather(o)


@deep_traverse_to_gather.register(list)
@deep_traverse_to_gather.register(tuple)
@deep_traverse_to_gather.register(set)
def _gather_items(items: Any) -> Sequence[Future[Any]]:
    # read in one step: tasks in other threads may add to them
    return [future for item in list(items) for future in deep_traverse_to_gather(item)]


@deep_traverse_to_gather.register(dict)
def _gather_dict(dictionary: dict[Any, Any]) -> Sequence[Future[Any]]:
    return [*_gather_items(dictionary), *_gather_items(dictionary.values())]


@singledispatch
def deep_traverse_to_unwrap(o: Any) -> Any:
    return shallow_traverse_to_unwrap(o)


@deep_traverse_to_unwrap.register(list)
@deep_traverse_to_unwrap.register(tuple)
@deep_traverse_to_unwrap.register(set)
def _unwrap_items(items: Any) -> Any:
    if not _gather_items(items):
        return items
    parts = [deep_traverse_to_unwrap(item) for item in list(items)]
    return type(items)(*parts) if hasattr(items, "_fields") else type(items)(parts)


@deep_traverse_to_unwrap.register(dict)
def _unwrap_dict(dictionary: dict[Any, Any]) -> Any:
    if not _gather_dict(dictionary):
        return dictionary
    pairs = {deep_traverse_to_unwrap(key): deep_traverse_to_unwrap(value) for key, value in list(dictionary.items())}
    copy = dictionary.copy()  # keeps the class, and what it needs beside its items (such as a default factory)
    copy.clear()
    copy.update(pairs)
    return copy


SHALLOW_DEPENDENCY_RESOLVER = DependencyResolver(shallow_traverse_to_gather, shallow_traverse_to_unwrap, is_usual=True)
DEEP_DEPENDENCY_RESOLVER = DependencyResolver(deep_traverse_to_gather, deep_traverse_to_unwrap, is_usual=True)
