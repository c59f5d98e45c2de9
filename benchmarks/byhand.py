"""The few lines that a user of a plain executor writes to run a graph of tasks: futures, callbacks and a counter."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.adapters import Adapter, Handle


def app(adapter: Adapter, function: Callable[..., object]) -> Callable[..., Handle]:
    """Return what submits a call whose arguments may be handles: the library's own way, or the one below."""
    submit = adapter.app(function)
    if adapter.knows_dependencies:
        return submit
    return lambda *arguments: _Node(adapter, submit, arguments).future


class _Node:
    """One task that waits for its arguments, is submitted, and passes its result on."""

    def __init__(self, adapter: Adapter, submit: Callable[..., Handle], arguments: tuple[object, ...]) -> None:
        self.future: Future[object] = Future()
        self._adapter = adapter
        self._submit = submit
        self._arguments = arguments
        self._lock = threading.Lock()
        parents = [argument for argument in arguments if isinstance(argument, Future)]
        self._missing = len(parents)
        if not parents:
            self._launch()
        for parent in parents:
            parent.add_done_callback(self._parent_done)

    def _parent_done(self, _: Future[object]) -> None:
        with self._lock:
            self._missing -= 1
            ready = not self._missing
        if ready:
            self._launch()

    def _launch(self) -> None:
        try:
            values = [value.result() if isinstance(value, Future) else value for value in self._arguments]
            self._adapter.when_done(self._submit(*values), self._finish)
        except Exception as error:
            self.future.set_exception(error)

    def _finish(self, handle: Handle) -> None:
        try:
            self.future.set_result(self._adapter.result(handle))
        except Exception as error:
            self.future.set_exception(error)
