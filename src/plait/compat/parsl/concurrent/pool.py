"""`ParslPoolExecutor`: a run behind the interface of `concurrent.futures.Executor`."""

from __future__ import annotations

import time
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import plait.apps
from plait._util.identity import identity_of
from plait.compat.parsl.app.python import PythonApp
from plait.compat.parsl.dataflow.dflow import DataFlowKernel, DataFlowKernelLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from plait.compat.parsl.config import Config

__all__ = ["ParslPoolExecutor"]


class ParslPoolExecutor(Executor):
    """Runs functions as tasks of a run: of one that it loads from a configuration, and ends, or of one that is there.

    Raises:
        ValueError: both were given, or neither.
    """

    def __init__(
        self, config: Config | None = None, dfk: DataFlowKernel | None = None, executors: list[str] | str = "all"
    ) -> None:
        if (config is None) == (dfk is None):
            raise ValueError("ParslPoolExecutor(): must specify one of config or dfk, not both")
        self._owns = dfk is None
        self._kernel: DataFlowKernel | None = dfk if dfk is not None else DataFlowKernelLoader.load(config)
        self._executors = executors
        self._apps: dict[Any, PythonApp] = {}

    @property
    def app_count(self) -> int:
        """How many functions have become apps."""
        return len(self._apps)

    def get_app(self, fn: Callable[..., Any]) -> PythonApp:
        """The app of a function; the same one each time."""
        app = self._apps.get(identity_of(fn))
        if app is None:
            app = PythonApp(fn, data_flow_kernel=self._running(), executors=self._executors)
            self._apps[identity_of(fn)] = app
        return app

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submits a call. Futures among the arguments, of apps as well, are waited for."""
        self._running()
        return self.get_app(fn)(*args, **kwargs)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """The results of the calls, in order. All are submitted at once; ``chunksize`` and ``buffersize`` are not needed.

        Raises:
            TimeoutError: a result was not there ``timeout`` seconds after this call.
        """
        del chunksize, buffersize
        deadline = None if timeout is None else time.monotonic() + timeout
        self._running()
        futures = plait.apps.map(self.get_app(fn), *iterables)
        return (future.result(None if deadline is None else deadline - time.monotonic()) for future in futures)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the run if it was loaded here.

        Args:
            wait: whether to wait for the tasks.
            cancel_futures: whether to cancel those that have not begun, before waiting for the others.
        """
        kernel, self._kernel = self._kernel, None
        if kernel is None or not self._owns:
            return
        if cancel_futures:
            for record in kernel.tasks.values():
                if record["status"].name == "pending":
                    record.task.future.cancel()
        if wait:
            kernel.wait_for_current_tasks()
        kernel.cleanup()

    def _running(self) -> DataFlowKernel:
        kernel = self._kernel
        if kernel is None:
            raise RuntimeError("ParslPoolExecutor has been shut down: make a new one to submit tasks")
        return kernel
