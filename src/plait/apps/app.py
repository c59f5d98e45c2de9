"""`App`: a function whose calls run elsewhere and give futures."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from plait.dataflow.retry import as_retry
from plait.errors import ConfigurationError
from plait.kernel.arguments import RESERVED, is_nothing
from plait.kernel.loader import DataFlowKernelLoader
from plait.model.resources import DEFAULT, KEYS, parse_resources
from plait.model.task import AppSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from typing_extensions import Self

    from plait.futures import AppFuture
    from plait.kernel.kernel import DataFlowKernel

P = ParamSpec("P")
R = TypeVar("R")

#: What `App.options` and the decorators take beside the names of the field.
OPTIONS = frozenset(
    {
        "cores",
        "memory",
        "gpus",
        "priority",
        "walltime",
        "disk",
        "labels",
        "near",
        "nodes",
        "num_nodes",
        "ranks_per_node",
        "ranks",
        "num_ranks",
        "launcher_options",
        "retries",
        "max_losses",
        "executors",
        "cache",
        "ignore_for_cache",
        "label",
    }
)


class App(Generic[P, R]):
    """A function whose calls are tasks.

    Calling it returns a future at once. Futures among the arguments, also inside lists, tuples, sets, dictionaries and dataclasses,
    are replaced by their results before the function runs.

    Attributes:
        func: the function.
        options_given: what was said about its calls.
    """

    kind = "python"
    #: Whether a function that yields, or is async, is refused: its result is an object that has not done anything yet.
    refuses_lazy = True

    def __init__(
        self,
        func: Callable[..., Any],
        data_flow_kernel: DataFlowKernel | None = None,
        executors: str | Sequence[str] = "all",
        cache: bool = False,
        ignore_for_cache: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        if not callable(func):
            raise ConfigurationError(f"{self.kind}_app: expected a function, not {func!r}")
        if self.refuses_lazy and any(
            kind(func)
            for kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
        ):
            what = "a generator" if inspect.isgeneratorfunction(func) else "an async function"
            raise ConfigurationError(
                f"{self.kind}_app: {_name(func)}() is {what}; an app's function must return its result"
            )
        if data_flow_kernel is not None and not hasattr(data_flow_kernel, "call"):
            raise ConfigurationError(
                f"{self.kind}_app: data_flow_kernel={data_flow_kernel!r}: expected what plait.load() returns, or None"
            )
        self.func = func
        self.data_flow_kernel = data_flow_kernel
        self.options_given: dict[str, Any] = {
            **options,
            "executors": executors,
            "cache": cache,
            "ignore_for_cache": ignore_for_cache,
        }
        functools.update_wrapper(self, func)
        if not hasattr(self, "__name__"):
            self.__name__ = _name(func)
        self.spec = _spec(func, self.kind, self.options_given)
        self._variants: dict[Any, App[P, R]] = {}

    @property
    def __plait_function__(self) -> Callable[..., Any]:
        return self.func

    if TYPE_CHECKING:

        @overload
        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> AppFuture[R]: ...
        @overload
        def __call__(self, /, *args: Any, **kwargs: Any) -> AppFuture[R]: ...  # futures in the place of values

    def __call__(self, /, *args: Any, **kwargs: Any) -> AppFuture[R]:
        """Submits a call."""
        kernel = self.data_flow_kernel or DataFlowKernelLoader.for_call()
        return kernel.call(self.spec, args, kwargs)

    def options(self, **options: Any) -> App[P, R]:
        """The same app with other options: ``app.options(cores=4)(x)``.

        Args:
            options: any of cores, memory, gpus, disk, priority, walltime, labels, near, nodes, ranks_per_node, ranks, launcher_options, retries,
                max_losses, executors, cache, ignore_for_cache, label.

        Raises:
            ConfigurationError: an option is unknown or its value cannot work.
        """
        try:
            key: Any = tuple(sorted(options.items()))
            known = self._variants.get(key)
        except TypeError:
            key = known = None
        if known is not None:
            return known
        given = {**self.options_given, **options}
        twin: App[P, R] = type(self)(self.func, self.data_flow_kernel, **given)
        twin.spec.blob = self.spec.blob
        if key is not None and len(self._variants) < 1000:
            self._variants[key] = twin
        return twin

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type | None = None) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type | None = None) -> Callable[..., AppFuture[R]]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: the instance becomes the first argument."""
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> Any:
        module = sys.modules.get(getattr(self, "__module__", "") or "")
        name = getattr(self, "__qualname__", "")
        if (
            module is not None
            and module.__name__ not in {"__main__", "__mp_main__"}
            and getattr(module, name, None) is self
        ):
            return name
        return _rebuild, (type(self), self.func, self.options_given)

    def __repr__(self) -> str:
        return f"<{self.kind}_app {getattr(self, '__module__', '?')}.{self.__name__}>"


class PythonApp(App[P, R]):
    """A Python function whose calls run elsewhere."""


class BashApp(App[P, int]):
    """A function that returns a command line, which is run; the result is 0."""

    kind = "bash"


class JoinApp(App[P, R]):
    """A function that returns futures; the results of these are its result."""

    kind = "join"


def _rebuild(cls: type[App[Any, Any]], func: Callable[..., Any], options: Mapping[str, Any]) -> App[Any, Any]:
    return cls(func, **options)


def _name(func: Callable[..., Any]) -> str:
    inner = func.func if isinstance(func, functools.partial) else func
    return getattr(inner, "__name__", None) or type(func).__name__


def _spec(func: Callable[..., Any], kind: str, options: Mapping[str, Any]) -> AppSpec:
    unknown = set(options) - OPTIONS
    name = _name(func)
    if unknown:
        raise ConfigurationError(
            f"{name}: unknown option {', '.join(sorted(unknown))}; expected some of {', '.join(sorted(OPTIONS))}"
        )
    wanted = {key: options[key] for key in KEYS if options.get(key) is not None}
    resources, walltime_s = parse_resources(wanted)
    accepts, defaults = _reserved_of(func)
    losses = options.get("max_losses")
    if losses is not None and (isinstance(losses, bool) or not isinstance(losses, int) or losses < 0):
        raise ConfigurationError(f"{name}: max_losses={losses!r}: expected 0 or a larger whole number")
    return AppSpec(
        func,
        name,
        kind,
        executors=_labels(name, options.get("executors", "all")),
        cache=bool(options.get("cache")),
        ignore_for_cache=_ignored(name, options.get("ignore_for_cache")),
        retry=as_retry(options.get("retries")),
        max_losses=losses,
        resources=None if resources == DEFAULT else resources,
        walltime_s=walltime_s,
        label=options.get("label"),
        reserved_defaults=defaults,
        accepts=accepts,
    )


def _ignored(name: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(each, str) for each in _listed(given)):
        raise ConfigurationError(f"{name}: ignore_for_cache={given!r}: expected a list of names of arguments")
    return tuple(given or ())


def _listed(given: Any) -> list[Any]:
    try:
        return list(given or ())
    except TypeError:
        return [given]


def _labels(name: str, executors: Any) -> list[str] | None:
    if executors is None or (isinstance(executors, str) and executors == "all"):
        return None
    if not isinstance(executors, list) or not executors or not all(isinstance(label, str) for label in executors):
        raise ValueError(f"{name}: executors={executors!r}: expected 'all' or a list of labels of executors")
    return executors


def _reserved_of(func: Callable[..., Any]) -> tuple[frozenset[str] | None, dict[str, Any]]:
    """Which reserved keywords the function takes (None for any), and the values that it declares for them."""
    try:
        parameters: Iterable[inspect.Parameter] = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):  # builtins without a signature
        return frozenset(), {}
    accepts, defaults, takes_any = set(), {}, False
    for parameter in parameters:
        takes_any |= parameter.kind is inspect.Parameter.VAR_KEYWORD
        if parameter.name in RESERVED:
            accepts.add(parameter.name)
            if parameter.default is not inspect.Parameter.empty and not is_nothing(parameter.default):
                defaults[parameter.name] = parameter.default
    return (None if takes_any else frozenset(accepts)), defaults
