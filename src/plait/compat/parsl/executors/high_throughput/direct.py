"""Tasks that an executor is given directly, as upstream's executors are used without a kernel or beside it."""

from __future__ import annotations

import functools
import importlib
import itertools
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from plait.executors.base import OK
from plait.model.resources import parse_resources
from plait.model.task import LAUNCHED, AppSpec, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plait.executors.base import Outcome

#: Number of the first: far from those of kernels.
FIRST: Final = 1 << 40


class DirectTasks:
    """Tasks of which no kernel knows, and their futures.

    Args:
        cancel: ends an attempt of a task.
    """

    def __init__(self, cancel: Callable[[Task, int], object]) -> None:
        self._cancel = cancel
        self._futures: dict[Task, Future[Any]] = {}
        self._numbers = itertools.count(FIRST)

    def begin(
        self, start: Callable[[Task], None], func: Callable[..., Any], spec: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[Any]:  # fmt: skip
        """Makes a task, has it started, and returns its future. What ``start`` raises is passed on."""
        resources, walltime_s = parse_resources(spec)
        name = getattr(func, "__name__", type(func).__name__)
        app = AppSpec(func, name, resources=None if resources.is_default else resources, walltime_s=walltime_s)
        task = Task(app, args, kwargs, None, time.monotonic(), next(self._numbers), state=LAUNCHED, attempt=1)
        if spec:
            task.more().spec = dict(spec)
        future: Future[Any] = Future()
        self._futures[task] = future
        try:
            start(task)
        except BaseException:
            del self._futures[task]
            raise
        future.add_done_callback(functools.partial(self._given_up, task))
        return future

    def future(self, task: Task) -> Any:
        """The future of a task, whosever it is."""
        return self._futures.get(task, task.future)

    def deliver(self, to_kernel: Callable[[list[Outcome]], None], outcomes: list[Outcome]) -> None:
        """Ends futures of tasks that are ours; the others are the kernel's."""
        if self._futures:
            others = []
            for outcome in outcomes:
                future = self._futures.pop(outcome[0], None)
                if future is None:
                    others.append(outcome)
                elif future.set_running_or_notify_cancel():
                    if outcome[2] == OK:
                        future.set_result(outcome[3])
                    else:
                        future.set_exception(outcome[3])
            outcomes = others
        if outcomes:
            to_kernel(outcomes)

    def give_up(self) -> None:
        """Cancels what has not ended."""
        for future in list(self._futures.values()):
            future.cancel()

    def _given_up(self, task: Task, future: Future[Any]) -> None:
        if future.cancelled() and self._futures.pop(task, None) is not None:
            self._cancel(task, task.attempt)


def run_payload(name: str, buffer: bytes, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """On a worker: hands the bytes of a call to the function of this dotted name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)(buffer, *args, **kwargs)


def deliver_to_nobody(outcomes: list[Outcome]) -> None:
    """Outcomes of tasks that nobody knows any more."""
