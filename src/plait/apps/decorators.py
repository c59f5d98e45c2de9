"""The decorators: `python_app`, `bash_app`, `join_app`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from plait.apps.app import App, BashApp, JoinApp, PythonApp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from plait.futures import AppFuture
    from plait.kernel.kernel import DataFlowKernel

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
K = TypeVar("K")


@overload
def python_app(function: Callable[P, R], /, *rest: Any, **options: Any) -> App[P, R]: ...
@overload
def python_app(
    function: None = None,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    executors: str | Sequence[str] = "all",
    ignore_for_cache: Sequence[str] | None = None,
    **options: Any,
) -> Callable[[Callable[P, R]], App[P, R]]: ...
def python_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    executors: str | Sequence[str] = "all",
    ignore_for_cache: Sequence[str] | None = None,
    **options: Any,
) -> Any:
    """Makes an app of a Python function, as ``@python_app``, ``@python_app(...)`` or ``python_app(function)``.

    Args:
        function: the function.
        data_flow_kernel: the run that its calls belong to; None for the one that is loaded when it is called.
        cache: whether a call with the same arguments as an earlier one gives that one's outcome.
        executors: labels of executors that may run it, or ``"all"``.
        ignore_for_cache: names of keyword arguments that do not count for `cache`.
        options: cores, memory (``"4GB"``), gpus, disk, priority (lower runs first), walltime (``"10m"``), labels (whose it is, for a fair share),
            near (where its data is), nodes (whole ones), ranks_per_node, ranks, launcher_options (for programs of several processes),
            retries (a number or `plait.Retry`), max_losses, label (for file names).

    Raises:
        ConfigurationError: an option is unknown, or its value cannot work.
        InvalidResourceSpecification: a resource is not an amount.
    """
    return _decorate(PythonApp, function, data_flow_kernel, cache, executors, ignore_for_cache, options)


@overload
def bash_app(function: Callable[P, str], /, *rest: Any, **options: Any) -> App[P, int]: ...
@overload
def bash_app(
    function: None = None,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    executors: str | Sequence[str] = "all",
    ignore_for_cache: Sequence[str] | None = None,
    **options: Any,
) -> Callable[[Callable[P, str]], App[P, int]]: ...
def bash_app(
    function: Callable[..., str] | None = None,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    executors: str | Sequence[str] = "all",
    ignore_for_cache: Sequence[str] | None = None,
    **options: Any,
) -> Any:
    """Makes an app of a function that returns a command line for ``/bin/bash``; parameters as of `python_app`.

    The function runs on the worker. The result is 0; another exit code is `BashExitFailure`.
    """
    return _decorate(BashApp, function, data_flow_kernel, cache, executors, ignore_for_cache, options)


class _JoinDecorator(Protocol):
    """The result of a join app is that of the futures it returns; of containers in containers the type is not known."""

    @overload
    def __call__(self, function: Callable[P, Future[R]], /) -> App[P, R]: ...
    @overload
    def __call__(
        self, function: Callable[P, list[AppFuture[R]]] | Callable[P, list[Future[R]]], /
    ) -> App[P, list[R]]: ...
    @overload
    def __call__(self, function: Callable[P, tuple[Future[R], Future[S]]], /) -> App[P, tuple[R, S]]: ...
    @overload
    def __call__(self, function: Callable[P, tuple[Future[R], ...]], /) -> App[P, tuple[R, ...]]: ...
    @overload
    def __call__(
        self, function: Callable[P, dict[K, AppFuture[R]]] | Callable[P, dict[K, Future[R]]], /
    ) -> App[P, dict[K, R]]: ...
    @overload
    def __call__(self, function: Callable[P, Any], /) -> App[P, Any]: ...


@overload
def join_app(function: Callable[P, Future[R]], /) -> App[P, R]: ...
@overload
def join_app(function: Callable[P, list[AppFuture[R]]] | Callable[P, list[Future[R]]], /) -> App[P, list[R]]: ...
@overload
def join_app(function: Callable[P, tuple[Future[R], Future[S]]], /) -> App[P, tuple[R, S]]: ...
@overload
def join_app(function: Callable[P, tuple[Future[R], ...]], /) -> App[P, tuple[R, ...]]: ...
@overload
def join_app(
    function: Callable[P, dict[K, AppFuture[R]]] | Callable[P, dict[K, Future[R]]], /
) -> App[P, dict[K, R]]: ...
@overload
def join_app(function: Callable[P, Any], /) -> App[P, Any]: ...
@overload
def join_app(
    function: None = None,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    ignore_for_cache: Sequence[str] | None = None,
    **options: Any,
) -> _JoinDecorator: ...
def join_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    ignore_for_cache: Sequence[str] | None = None,
    **options: Any,
) -> Any:
    """Makes an app of a function that calls apps and returns their futures; its result is theirs.

    The function runs in a thread of the driver and should only submit; while it waits for what it returned, it holds no worker and no thread.
    It returns a future, or lists, tuples, sets or dictionaries of futures, however nested. A failure in them is `JoinError`.
    """
    return _decorate(JoinApp, function, data_flow_kernel, cache, "all", ignore_for_cache, options)


def _decorate(
    cls: type[App[Any, Any]],
    function: Callable[..., Any] | None,
    data_flow_kernel: DataFlowKernel | None,
    cache: bool,
    executors: str | Sequence[str],
    ignore_for_cache: Sequence[str] | None,
    options: dict[str, Any],
) -> Any:
    def decorator(func: Callable[..., Any]) -> App[Any, Any]:
        return cls(func, data_flow_kernel, executors, cache, ignore_for_cache, **options)

    return decorator if function is None else decorator(function)
