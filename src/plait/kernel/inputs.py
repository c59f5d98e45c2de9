"""What a call needs: the futures among its arguments, and the results in their place."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

from plait.dataflow.engine import path_to, root_cause
from plait.dataflow.resolve import DEEP_DEPENDENCY_RESOLVER, PLAIN, DependencyResolver, find_futures, replace_futures
from plait.futures import FINISHED, AppFuture, DataFuture, LiftedFuture
from plait.limits import SCAN_DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plait.model.task import Task


class Inputs:
    """Finds futures in arguments, with the resolver of a run.

    Args:
        resolver: how to look.
        owner: the kernel whose tasks are told from the futures of others.

    Attributes:
        deep: whether the resolver is plait's own, for which shorter ways exist.
    """

    def __init__(self, resolver: DependencyResolver, owner: Any) -> None:
        self.deep = resolver is DEEP_DEPENDENCY_RESOLVER
        self._resolver = resolver
        self._owner = owner

    def parents_among(self, args: tuple[Any, ...]) -> list[Task] | None:
        """The tasks whose futures are arguments themselves; None when there is anything else than these and plain values."""
        parents: list[Task] = []
        for value in args:
            cls = type(value)
            if cls is AppFuture and value._task.owner is self._owner:  # noqa: SLF001 - our own class
                parents.append(value._task)  # noqa: SLF001
            elif cls not in PLAIN:
                return None
        return parents

    def futures_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Future[Any]]:
        """The futures in the arguments, each once."""
        found: list[Future[Any]] = []
        if self.deep:
            if not PLAIN.issuperset(map(type, args)):
                found += find_futures(args, SCAN_DEPTH + 1)
            if not PLAIN.issuperset(map(type, kwargs.values())):
                found += find_futures(kwargs, SCAN_DEPTH + 1)
        else:
            gather = self._resolver.traverse_to_gather
            for value in [*args, *kwargs.values(), *_listed(kwargs)]:
                found += gather(value)
        return list(dict.fromkeys(found))

    def unwrap(self, task: Task) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The task's arguments, results in the place of futures."""
        args, kwargs = task.args or (), task.kwargs or {}
        if self.deep:
            return replace_futures(args, SCAN_DEPTH + 1), replace_futures(kwargs, SCAN_DEPTH + 1)
        unwrap = self._resolver.traverse_to_unwrap
        unwrapped = {name: unwrap(value) for name, value in kwargs.items()}
        if inputs := _listed(kwargs):
            unwrapped["inputs"] = [unwrap(value) for value in inputs]
        return tuple(unwrap(value) for value in args), unwrapped

    def tasks_among(self, futures: Iterable[Future[Any]]) -> Iterator[Task]:
        """The tasks of this kernel behind futures, those of files included."""
        for future in futures:
            origin = future._origin if isinstance(future, DataFuture) else future  # noqa: SLF001 - our own classes
            if isinstance(origin, AppFuture) and origin._task.owner is self._owner:  # noqa: SLF001
                yield origin._task  # noqa: SLF001

    def sort(self, futures: Iterable[Future[Any]]) -> tuple[list[Task], list[Future[Any]]]:
        """Tasks of this kernel among what is waited for, and the other futures."""
        parents: list[Task] = []
        others: list[Future[Any]] = []
        for future in futures:
            origin = future._origin if isinstance(future, DataFuture) else future  # noqa: SLF001 - our own classes
            if isinstance(origin, LiftedFuture):
                origin.start()
            if isinstance(origin, AppFuture) and origin._task.owner is self._owner:  # noqa: SLF001
                parents.append(origin._task)  # noqa: SLF001
            else:
                others.append(future)
        return parents, others


def _listed(kwargs: dict[str, Any]) -> list[Any]:
    """The elements of ``inputs``; none where it is an array, say, which `arguments` left as it is."""
    inputs = kwargs.get("inputs")
    return inputs if isinstance(inputs, list) else []


def results_of(args: Any) -> tuple[Any, ...] | None:
    """Arguments with results in the place of futures; None when anything in them needs more than that."""
    results: list[Any] = []
    for value in args or ():
        cls = type(value)
        if cls in PLAIN:
            results.append(value)
        elif cls is AppFuture and value._state is FINISHED and value._exception is None:  # noqa: SLF001 - our own class
            results.append(value._result)  # noqa: SLF001
        else:
            return None
    return tuple(results)


def failures_among(futures: Iterable[Future[Any]]) -> list[tuple[BaseException, str]]:
    """Root cause and path of each future that failed; all have ended."""
    failures: list[tuple[BaseException, str]] = []
    for future in dict.fromkeys(futures):
        try:
            error = future.exception()
        except CancelledError as cancelled:
            error = cancelled
        if error is None:
            continue
        if isinstance(future, AppFuture) and not isinstance(error, CancelledError):
            failures.append((root_cause(future._task), path_to(future._task)))  # noqa: SLF001 - our own class
        else:
            failures.append((error, repr(future)))
    return failures
