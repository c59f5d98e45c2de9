"""`ProcessPoolExecutor`: worker processes on this machine; what plait uses when nothing else is configured."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from plait._util import machine
from plait._util.environment import can_be_set
from plait._util.paths import search_path
from plait.errors import ConfigurationError, ExecutorError
from plait.executors.base import Executor, ExecutorContext, ExecutorStatus
from plait.executors.capacity import Capacity
from plait.executors.pool.core import PoolCore, resources_of
from plait.executors.pool.initializer import as_told, checked
from plait.executors.pool.prepare import prepare
from plait.limits import BIG_BYTES
from plait.model.resources import count_of
from plait.model.units import format_duration, parse_bytes
from plait.serialize import FunctionBlob, dump_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plait.executors.pool.link import PoolLink
    from plait.model.resources import Resources
    from plait.model.task import Task


class ProcessPoolExecutor(Executor):
    """Runs tasks in processes of this machine.

    Args:
        label: name of the executor.
        max_workers: tasks that run at once; None for the cores that this process may use (affinity and the cgroup's quota).
        prefetch: tasks that may wait in a worker behind the one that runs; None to follow how long tasks take.
        initializer: called once in each worker before its first task, with ``initargs``.
        initargs: its arguments.
        max_tasks_per_worker: a worker is replaced after so many; None for never.
        env: environment variables to set in workers, or to remove where the value is None.
        cpu_affinity: ``"none"``; ``"block"`` to bind each worker to its share of the cores; or a list with the cores of each worker.
        preload: modules to import before workers are forked. They must not start threads.
        memory_bytes: memory to give to tasks that ask for some, such as ``"8GB"``; None for what this process may use.

    Raises:
        ConfigurationError: a value cannot work.
    """

    restarts = True

    def __init__(
        self,
        label: str = "processes",
        max_workers: int | None = None,
        *,
        prefetch: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Sequence[Any] = (),
        max_tasks_per_worker: int | None = None,
        env: Mapping[str, str | None] | None = None,
        cpu_affinity: str | Sequence[Sequence[int]] = "none",
        preload: Sequence[str] = (),
        memory_bytes: float | str | None = None,
    ) -> None:
        self.label = _folder_name(label)
        self.max_workers = _whole("max_workers", max_workers) or machine.available_cores()
        self.prefetch = _whole("prefetch", prefetch, 0)
        self.initializer = initializer
        self.initargs = checked("ProcessPoolExecutor", initializer, initargs)
        self.max_tasks_per_worker = _whole("max_tasks_per_worker", max_tasks_per_worker)
        self.env = _variables(env)
        self.cpu_affinity = cpu_affinity
        self.preload = _modules(preload)
        self._cpus = _cpu_sets(cpu_affinity, self.max_workers)
        self._capacity = Capacity(
            self.max_workers, machine.available_memory_bytes() if memory_bytes is None else _bytes(memory_bytes)
        )
        self._link: PoolLink | None = None
        self._ending: PoolLink | None = None
        self._core: PoolCore | None = None

    def start(self, context: ExecutorContext) -> None:
        """Starts the workers; does not wait for them."""
        from plait.executors.pool.link import PoolLink
        from plait.executors.pool.outlet import ObjectOutlet

        if sys.platform == "win32":
            raise ConfigurationError(
                "ProcessPoolExecutor needs fork(), which Windows does not have; use ThreadPoolExecutor there"
            )
        config = {
            "path": search_path(),
            "cwd": os.getcwd(),
            "output": context.log_dir(self.label) if context.log_dir else "",
            "cpus": self._cpus,
            "preload": [*self.preload, *(["plait.compat.parsl"] if "plait.compat.parsl" in sys.modules else [])],
            "initializer": as_told(self.initializer, self.initargs),
            "max_tasks": self.max_tasks_per_worker or 0,
        }
        env = {key: value for key, value in {**os.environ, **self.env}.items() if value is not None}
        self._core = PoolCore(Capacity(self._capacity.cores, self._capacity.memory_bytes), self.prefetch)
        self._link = PoolLink(self._core, self.max_workers, config, env, self.label, ObjectOutlet(context))
        self._link.start()

    def submit(self, task: Task) -> None:
        """Takes a task."""
        link = self._running()
        prepare(task)
        link.submit(task)

    def submit_simple(self, task: Task) -> None:
        """Takes a task with plain arguments: the path of most tasks, written out."""
        link = self._link
        if link is None or link.broken is not None:
            link = self._running()
        app = task.app
        blob = app.blob
        if blob is None or not (blob.is_fixed or blob.is_current()):
            app.blob = FunctionBlob(app.func)
        payload = dump_plain((task.args, task.kwargs))
        if len(payload) < BIG_BYTES:
            task.payload = payload
        else:
            prepare(task)
        link.core.queue.append(task)
        if link.sleeping:
            link.nudge()

    def submit_many(self, tasks: Sequence[Task]) -> list[tuple[Task, Exception]]:
        """Takes many such tasks of one app."""
        if not tasks:
            return []
        try:
            link = self._running()
            app = tasks[0].app
            if app.blob is None or not (app.blob.is_fixed or app.blob.is_current()):
                app.blob = FunctionBlob(app.func)
        except Exception as error:  # noqa: BLE001 - whatever stops the app stops each of its tasks
            return [(task, error) for task in tasks]
        for task in tasks:
            task.payload = payload = dump_plain((task.args, task.kwargs))
            if len(payload) >= BIG_BYTES:
                task.payload = None
                prepare(task)
        link.core.queue.extend(tasks)
        if link.sleeping:
            link.wake()
        return []

    def cancel(self, task: Task, attempt: int) -> bool:
        """Ends the attempt. One that still waits in the queue is dropped when its turn comes."""
        if self._link is not None:
            self._link.command("cancel", task, attempt)
        return True

    def recycle(self, reason: str) -> None:
        """Replaces the workers, each when it has done what it holds; nothing is lost."""
        self._running().command("recycle", reason)

    def status(self) -> ExecutorStatus:
        """How much it has to do."""
        core = self._core
        return (
            ExecutorStatus(self.max_workers, core.running, core.queued)
            if core is not None
            else ExecutorStatus(self.max_workers, 0, 0)
        )

    def check(self, resources: Resources) -> None:
        """Refuses what can never be given, with the numbers."""
        self._capacity.check(resources, self.label)

    def explain(self, task: Task) -> str:
        """Where a launched task stands."""
        if self._link is None:
            return super().explain(task)
        if self._link.broken is not None:
            return f"cannot run: {self._link.broken}"
        place = self._link.running_since(task)
        if place is None:
            status = self.status()
            asks = "" if (resources := resources_of(task)).is_default else f" and {resources}"
            with_workers = f"{count_of(status.running, 'task')} {'is' if status.running == 1 else 'are'} with its {count_of(status.workers, 'worker')}"
            return f"waits in executor {self.label!r} for a free worker{asks}: {with_workers} and {status.queued} wait"
        worker, pid, started = place
        if started:
            since = f" for {format_duration(_since(task))}" if task.launch_s is not None else ""
            return f"runs on worker {worker} of executor {self.label!r} (process {pid}){since}"
        return f"waits on worker {worker} of executor {self.label!r} behind a running task"

    def shutdown(self, timeout_s: float) -> None:
        """Ends the workers and all that tasks left."""
        link, self._link = self._link or self._ending, None
        if link is not None:
            self._ending = link  # a call that a Ctrl-C interrupts can be made again
            link.shutdown(timeout_s)
            self._ending = None

    def _running(self) -> PoolLink:
        link = self._link
        if link is None:
            raise ExecutorError(self, "it does not run: it was not started, or is shut down")
        if link.broken is not None:
            raise link.broken
        return link


def _since(task: Task) -> float:
    import time

    return time.monotonic() - (task.launch_s or 0.0)


def _whole(name: str, value: int | None, least: int = 1) -> int | None:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int) or not least <= value <= sys.maxsize
    ):
        raise ConfigurationError(
            f"ProcessPoolExecutor({name}={value!r}): expected a whole number from {least}, or None"
        )
    return value


def _folder_name(label: Any) -> str:
    """The label, under which the output of the workers is found."""
    if not isinstance(label, str) or label in {"", ".", ".."} or not label.isprintable() or "/" in label:
        raise ConfigurationError(
            f"ProcessPoolExecutor(label={label!r}): expected a name of printable characters without a slash, which can be that of a folder"
        )
    return label


def _modules(preload: Any) -> tuple[str, ...]:
    names = tuple(preload) if isinstance(preload, (list, tuple)) else (None,)
    if not all(isinstance(name, str) and all(part.isidentifier() for part in name.split(".")) for name in names):
        raise ConfigurationError(
            f'ProcessPoolExecutor(preload={preload!r}): expected a list of names of modules, such as ["numpy"]'
        )
    return names


def _bytes(memory_bytes: float | str) -> int:
    try:
        return parse_bytes(memory_bytes, "memory_bytes")
    except ValueError as error:
        raise ConfigurationError(f"ProcessPoolExecutor: {error}") from None


def _variables(env: Mapping[str, str | None] | None) -> dict[str, str | None]:
    try:
        variables = dict(env or {})
    except (TypeError, ValueError):
        variables = {"": None}
    if not all(can_be_set(name, value) for name, value in variables.items()):
        raise ConfigurationError(
            f'ProcessPoolExecutor(env={env!r}): expected a dictionary of names and texts, such as {{"OMP_NUM_THREADS": "1"}}'
        )
    return variables


def _cpu_sets(affinity: str | Sequence[Sequence[int]], workers: int) -> list[list[int]]:
    """The cores of each worker; empty to bind none."""
    if affinity == "none":
        return []
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if affinity == "block":
        share = max(1, len(usable) // workers)
        return [usable[(i * share) % len(usable) :][:share] for i in range(workers)] if usable else []
    if isinstance(affinity, str):
        raise ConfigurationError(
            f'ProcessPoolExecutor(cpu_affinity={affinity!r}): expected "none", "block" or a list with the cores of each worker'
        )
    try:
        sets = [sorted(int(core) for core in cores) for cores in affinity]
    except (TypeError, ValueError):
        sets = []
    unknown = {core for cores in sets for core in cores} - set(usable)
    if unknown or not all(sets) or len(sets) != workers:
        raise ConfigurationError(
            f"ProcessPoolExecutor(cpu_affinity={affinity!r}): expected {workers} lists, one for each worker, of cores among {usable}"
        )
    return sets
