"""What belongs to ``__main__``, and what else has no name by which a worker could import it: cloudpickle, and what it cannot do.

Functions behind `functools.lru_cache` are objects of C, which pickle by name only; `functools.singledispatch` keeps weak references, and before
Python 3.12 `functools.cached_property` holds a lock. Scripts use all of them, so here they are taken apart. On the other side their caches are empty.
"""

from __future__ import annotations

import functools
import importlib
import io
import sys
import weakref
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pickle
    from collections.abc import Callable

#: The type of functions with a cache.
CACHED: Final = type(functools.lru_cache(len))


def dumps_by_value(value: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    """Bytes of a value, as `cloudpickle.dumps` makes them."""
    with io.BytesIO() as file:
        _pickler()(file, 5, buffer_callback=buffer_callback).dump(value)
        return file.getvalue()


def is_importable(func: Any) -> bool:
    """Whether a worker finds it by its name in a module."""
    module_name, qualname = getattr(func, "__module__", None), getattr(func, "__qualname__", None)
    if not module_name or not qualname or module_name in {"__main__", "__mp_main__"} or "<" in qualname:
        return False
    module = sys.modules.get(module_name)
    if module is None or _sent_by_value(module_name) or getattr(module, "__spec__", None) is None:
        return False
    try:
        return resolve(module_name, qualname) is func
    except Exception:  # noqa: BLE001 - looking up a name can run properties
        return False


def resolve(module_name: str, qualname: str) -> Any:
    """What the name stands for, an app standing for its function."""
    found: Any = importlib.import_module(module_name)
    for part in qualname.split("."):
        found = getattr(found, part)
    return getattr(found, "__plait_function__", found)


def _sent_by_value(module_name: str) -> bool:
    module = sys.modules.get("cloudpickle.cloudpickle")
    return bool(module is not None and module_name in module._PICKLE_BY_VALUE_MODULES)  # noqa: SLF001 - the public function copies it


@functools.cache
def _pickler() -> type[Any]:
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            kind = type(obj)
            if kind is CACHED and not is_importable(obj):
                return _cached, (obj.__wrapped__, obj.cache_parameters())
            if kind is functools.cached_property:
                return _cached_property, (obj.func, obj.attrname)
            if kind is weakref.WeakKeyDictionary and all(isinstance(key, type) for key in obj):  # of singledispatch
                return weakref.WeakKeyDictionary, (dict(obj),)
            return super().reducer_override(obj)

    return Pickler


def _cached(func: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(func)


def _cached_property(func: Callable[[Any], Any], name: str | None) -> Any:
    made = functools.cached_property(func)
    made.attrname = name
    return made
