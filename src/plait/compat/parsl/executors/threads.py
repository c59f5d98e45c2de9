"""``parsl.executors.threads``."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plait.clock import SystemClock
from plait.compat.parsl.executors.base import ParslExecutor
from plait.compat.parsl.executors.high_throughput.direct import DirectTasks, deliver_to_nobody
from plait.compat.parsl.utils import RepresentationMixin
from plait.errors import InvalidResourceSpecification
from plait.executors.base import ExecutorContext
from plait.executors.threads import ThreadPoolExecutor as _ThreadPoolExecutor
from plait.limits import SHUTDOWN_S
from plait.model.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

__all__ = ["ThreadPoolExecutor"]


@ParslExecutor.register
class ThreadPoolExecutor(_ThreadPoolExecutor, RepresentationMixin):
    """Threads of the driver. Tasks cannot ask for resources."""

    __repr__ = RepresentationMixin.__repr__

    def __init__(
        self,
        label: str = "threads",
        max_threads: int | None = 2,
        thread_name_prefix: str | None = None,
        storage_access: list[Any] | None = None,
        working_dir: str | None = None,
        remote_monitoring_radio: Any = None,
    ) -> None:
        if max_threads is None:
            import os

            max_threads = min(32, (os.cpu_count() or 1) + 4)  # what the standard library's pool takes None for
        super().__init__(label, max_threads, thread_name_prefix, storage_access, working_dir, remote_monitoring_radio)
        self._direct = DirectTasks(self.cancel)
        self.given: ThreadPoolExecutor = self  # what the user made; another one after `for_run`

    def for_run(self) -> ThreadPoolExecutor:
        """Itself; after a run, a new one of the same parameters, so that one configuration serves several runs in turn."""
        if not self._stopped:
            return self
        twin = ThreadPoolExecutor(
            self.label,
            self.max_threads,
            self.thread_name_prefix,
            self.storage_access,
            self.working_dir,
            self.remote_monitoring_radio,
        )
        twin.given = self
        return twin

    # ------------------------------------------------------------------ without a kernel, or beside one
    def start(self, context: ExecutorContext | None = None) -> None:
        """Begins to work; without a kernel when it is called without one."""
        if context is None:
            context = ExecutorContext(deliver_to_nobody, None, None, SystemClock(), "none")
        super().start(replace(context, deliver=functools.partial(self._direct.deliver, context.deliver)))

    def submit(  # type: ignore[override]
        self, func: Any, resource_specification: Mapping[str, Any] | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Runs ``func(*args, **kwargs)`` and returns a future; a kernel gives it whole tasks.

        Raises:
            InvalidResourceSpecification: the specification is not empty.
        """
        if isinstance(func, Task):
            return super().submit(func)
        if resource_specification:
            self.check_specification(resource_specification)
        return self._direct.begin(super().submit, func, {}, args, kwargs)

    # for subclasses that override `submit`
    submit_of_parsl = submit
    executor_exception: Exception | None = None
    begin_blocks = ParslExecutor.begin_blocks
    end_blocks = ParslExecutor.end_blocks

    def shutdown(self, timeout_s: float = SHUTDOWN_S) -> None:
        """Drops what waits, and gives threads that run tasks the time to finish."""
        super().shutdown(timeout_s)
        self._direct.give_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def monitor_resources(self) -> bool:
        return False

    def check_specification(self, spec: Mapping[str, Any]) -> None:
        """Refuses every specification of resources."""
        raise InvalidResourceSpecification(
            set(spec), f"resource specifications are not supported by ThreadPoolExecutor (label {self.label!r})"
        )
