"""``parsl.serialize.proxystore``: values of which some parts travel through a store of ProxyStore's."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cloudpickle

from plait.compat.parsl.serialize.base import SerializerBase
from plait.errors import ConfigurationError
from plait.serialize import loads

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ProxyStoreSerializer"]


class ProxyStoreSerializer(SerializerBase):
    """Puts chosen objects into a store, and proxies of them into the bytes.

    Args:
        should_proxy: whether an object is to go through the store; None for all that are asked about, which plain built-in types inside others are not.
        store: a ``proxystore.store.Store``; not needed for reading.
    """

    def __init__(self, should_proxy: Callable[[Any], bool] | None = None, store: Any = None) -> None:
        self._should_proxy = should_proxy
        self._store = store

    def serialize(self, data: Any) -> bytes:
        """Bytes of an object.

        Raises:
            ConfigurationError: there is no store.
        """
        store = self._store
        if store is None:
            raise ConfigurationError("ProxyStoreSerializer().serialize(): expected a store; give it store=Store(…)")
        out = io.BytesIO()
        _Pickler(out, store, self._should_proxy).dump(store.proxy(data) if self._wants(data) else data)
        return out.getvalue()

    def deserialize(self, payload: bytes) -> Any:
        """The object of such bytes, with proxies where the store has parts."""
        return loads(payload)

    def _wants(self, data: Any) -> bool:
        return self._should_proxy is None or bool(self._should_proxy(data))


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Writes proxies of the objects that are chosen."""

    def __init__(self, file: io.BytesIO, store: Any, should_proxy: Callable[[Any], bool] | None) -> None:
        super().__init__(file, protocol=5)
        self._store = store
        self._should_proxy = should_proxy

    def reducer_override(self, obj: Any) -> Any:
        """See `pickle.Pickler`."""
        if self._should_proxy is not None and not _is_proxy(obj) and self._should_proxy(obj):
            return self._store.proxy(obj).__reduce__()
        return super().reducer_override(obj)


def _is_proxy(obj: Any) -> bool:
    return type(obj).__module__.partition(".")[0] == "proxystore" or hasattr(type(obj), "__factory__")
