"""``parsl.app.app``: the decorators, and what they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.apps import App
from plait.compat.parsl.dataflow.dflow import DataFlowKernelLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plait.compat.parsl.dataflow.dflow import DataFlowKernel
    from plait.futures import AppFuture

__all__ = ["AppBase", "bash_app", "join_app", "python_app"]


class AppBase(App[Any, Any]):
    """An app that needs a loaded configuration when it is called."""

    refuses_lazy = False  # a program that has such an app somewhere must still be importable; on threads it even works

    def __init__(
        self,
        func: Callable[..., Any],
        data_flow_kernel: DataFlowKernel | None = None,
        executors: list[str] | str = "all",
        cache: bool = False,
        ignore_for_cache: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(func, data_flow_kernel, executors, cache, ignore_for_cache, **options)

    @property
    def executors(self) -> list[str] | str:
        return ["_parsl_internal"] if self.kind == "join" else self.options_given["executors"]

    @property
    def cache(self) -> bool:
        return bool(self.options_given["cache"])

    @property
    def ignore_for_cache(self) -> Sequence[str] | None:
        return self.options_given["ignore_for_cache"]  # type: ignore[no-any-return]

    @property
    def kwargs(self) -> dict[str, Any]:
        """Defaults of the function for keywords that are read by the kernel."""
        return dict(self.spec.reserved_defaults)

    def __call__(self, *args: Any, **kwargs: Any) -> AppFuture[Any]:
        kernel = self.data_flow_kernel or DataFlowKernelLoader.for_call()
        return kernel.call(self.spec, args, kwargs)


def python_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    executors: list[str] | str = "all",
    ignore_for_cache: Sequence[str] | None = None,
) -> Any:
    """Makes an app of a Python function, as ``@python_app``, ``@python_app(...)`` or ``python_app(function)``."""
    from plait.compat.parsl.app.python import PythonApp

    def decorator(func: Callable[..., Any]) -> PythonApp:
        return PythonApp(func, data_flow_kernel, cache, executors, ignore_for_cache)

    return decorator if function is None else decorator(function)


def join_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    ignore_for_cache: Sequence[str] | None = None,
) -> Any:
    """Makes an app of a function that calls apps and returns their futures; its result is theirs."""
    from plait.compat.parsl.app.python import PythonApp

    def decorator(func: Callable[..., Any]) -> PythonApp:
        return PythonApp(func, data_flow_kernel, cache, "all", ignore_for_cache, join=True)

    return decorator if function is None else decorator(function)


def bash_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    executors: list[str] | str = "all",
    ignore_for_cache: Sequence[str] | None = None,
) -> Any:
    """Makes an app of a function that returns a command line for ``/bin/bash``; its result is 0."""
    from plait.compat.parsl.app.bash import BashApp

    def decorator(func: Callable[..., Any]) -> BashApp:
        return BashApp(func, data_flow_kernel, cache, executors, ignore_for_cache)

    return decorator if function is None else decorator(function)
