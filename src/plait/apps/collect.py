"""Working with many futures: `map`, `wait`, `as_completed`."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any, TypeVar

from plait.apps.app import App
from plait.kernel.loader import DataFlowKernelLoader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plait.futures import AppFuture

R = TypeVar("R")

as_completed = concurrent.futures.as_completed
wait = concurrent.futures.wait


def map(app: App[Any, R], *iterables: Iterable[Any]) -> list[AppFuture[R]]:  # noqa: A001 - what users look for
    """Calls an app once for each item, or for each tuple of items of several iterables, as one batch.

    Returns:
        The futures, in the order of the items.

    Raises:
        TypeError: what was given is not an app.
    """
    if not isinstance(app, App):
        raise TypeError(f"plait.map({app!r}, …): expected an app; decorate the function with @plait.python_app")
    for iterable in iterables:
        if not (hasattr(iterable, "__iter__") or hasattr(iterable, "__getitem__")):
            raise TypeError(f"plait.map({app!r}, {iterable!r}): expected lists, or other iterables, of arguments")
    kernel = app.data_flow_kernel or DataFlowKernelLoader.for_call()
    return kernel.map_calls(app.spec, zip(*iterables, strict=False))
