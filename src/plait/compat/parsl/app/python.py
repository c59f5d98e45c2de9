"""``parsl.app.python``."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from typing import TYPE_CHECKING, Any, Final

from plait.compat.parsl.app.app import AppBase
from plait.errors import AppTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from plait.compat.parsl.dataflow.dflow import DataFlowKernel

__all__ = ["PythonApp", "timeout"]


class PythonApp(AppBase):
    """An app of a Python function; of one that returns futures to wait for, with ``join=True``."""

    def __new__(
        cls,
        func: Callable[..., Any],
        data_flow_kernel: DataFlowKernel | None = None,
        cache: bool = False,
        executors: list[str] | str = "all",
        ignore_for_cache: Sequence[str] | None = None,
        join: bool = False,
        **options: Any,
    ) -> Self:
        del func, data_flow_kernel, cache, executors, ignore_for_cache, options  # `__init__` reads them
        return super().__new__(_JoinApp if join and cls is PythonApp else cls)  # type: ignore[return-value]

    def __init__(
        self,
        func: Callable[..., Any],
        data_flow_kernel: DataFlowKernel | None = None,
        cache: bool = False,
        executors: list[str] | str = "all",
        ignore_for_cache: Sequence[str] | None = None,
        join: bool = False,
        **options: Any,
    ) -> None:
        del join  # the class says it
        super().__init__(func, data_flow_kernel, executors, cache, ignore_for_cache, **options)

    @property
    def join(self) -> bool:
        return self.kind == "join"


class _JoinApp(PythonApp):
    kind = "join"


def timeout(f: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """The function, ended by `AppTimeout` when it takes longer.

    The exception is raised in the thread that runs the function as soon as that runs Python code again.
    """

    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        limit = _Limit(threading.get_ident())
        timer = threading.Timer(seconds, limit.strike)
        timer.daemon = True
        timer.start()
        try:
            return f(*args, **kwargs)
        finally:
            timer.cancel()
            limit.lift()

    return wrapper


#: Calls in which an exception from another thread is surely met.
_LOOKS: Final = 100


def _nothing() -> None:
    """A call, before which the interpreter looks for it."""


class _Limit:
    """Raises AppTimeout in a thread, unless the thread came to its end before."""

    def __init__(self, thread: int) -> None:
        self._thread = ctypes.c_ulong(thread)
        self._lock = threading.Lock()
        self._over = self._struck = False

    def strike(self) -> None:
        with self._lock:
            if not self._over:
                self._struck = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, ctypes.py_object(AppTimeout))

    def lift(self) -> None:
        """The function is over; an exception that is on its way no longer strikes.

        It is met here rather than taken back: CPython 3.11 would go on looking for it at each call, for ever, and stand still once it is traced.
        """
        with self._lock:
            self._over = True
        if self._struck:
            with contextlib.suppress(AppTimeout):
                for _ in range(_LOOKS):
                    _nothing()
