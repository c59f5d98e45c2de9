"""``parsl.executors.base``: the port for executors that users write, and its adapter to plait's."""

from __future__ import annotations

import concurrent.futures
import functools
import logging
import threading
import time
from abc import ABCMeta, abstractmethod
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError, ExecutorError, InvalidResourceSpecification, TaskExited
from plait.executors.base import ERROR, OK, Executor, ExecutorContext, ExecutorStatus
from plait.executors.pool.call import run_call
from plait.executors.pool.core import walltime_of
from plait.executors.pool.prepare import call_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from typing_extensions import Self

    from plait.executors.base import Outcome
    from plait.executors.pool.call import Call
    from plait.model.resources import Resources
    from plait.model.task import Task

__all__ = ["ParslExecutor"]

_logger = logging.getLogger("plait")


class ParslExecutor(metaclass=ABCMeta):
    """Where tasks run. A plug-in has a `label`, and the methods `submit` and `shutdown`.

    Before `start` the kernel sets `run_id` and `run_dir`.
    """

    label: str = "undefined"
    storage_access: Any = None
    working_dir: str | None = None
    remote_monitoring_radio: Any = None
    log_config: Any = None
    monitoring_messages: Any = None
    run_id: str | None = None
    _run_dir: str | Callable[[], str] = "."

    def __init__(self, *, monitoring_messages: Any = None, run_dir: str = ".", run_id: str | None = None) -> None:
        self.monitoring_messages = monitoring_messages
        self.run_dir = run_dir
        self.run_id = run_id

    @property
    def run_dir(self) -> str:
        """The folder of the run; made when somebody asks for it."""
        value = self._run_dir
        return value if isinstance(value, str) else value()

    @run_dir.setter
    def run_dir(self, value: str | Callable[[], str]) -> None:
        self._run_dir = value

    def start(self) -> None:  # noqa: B027 - most plug-ins have nothing to do
        """Called once, before the first task."""

    @abstractmethod
    def submit(
        self, func: Callable[..., Any], resource_specification: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Runs ``func(*args, **kwargs)``, and returns a future for what it returns or raises."""

    @abstractmethod
    def shutdown(self) -> None:
        """Ends what the executor started."""

    def monitor_resources(self) -> bool:
        return True

    # ------------------------------------------------------------------ for plait: those of `BlockProviderExecutor` have blocks
    executor_exception: Exception | None = None

    def begin_blocks(self, context: ExecutorContext) -> None:  # noqa: B027 - most have none
        """Called once the executor was started."""

    def end_blocks(self, timeout_s: float) -> None:  # noqa: B027
        """Called before it is shut down."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()


class PluginExecutor(Executor):
    """plait's executor over a `ParslExecutor` that a user wrote.

    A plug-in may end a future within `submit`, so what that causes is done by a worklist of the thread, not by recursion.
    """

    ends_running_tasks = False

    def __init__(self, plugin: ParslExecutor) -> None:
        self.plugin = plugin
        self.label = plugin.label
        self._context: ExecutorContext | None = None
        # plug-ins need not be ready for calls of several threads at once; one that runs a task in `submit` is called by that task
        self._lock = threading.RLock()
        self._futures: dict[tuple[Task, int], Future[Any]] = {}
        self._dropped: set[tuple[Task, int]] = set()
        self._local = threading.local()
        self._stopped = False

    def start(self, context: ExecutorContext) -> None:
        self._context = context
        self.plugin.start()
        self.plugin.begin_blocks(context)

    def submit(self, task: Task) -> None:
        if self._stopped or self._context is None:
            raise ExecutorError(self, "it does not run: it was not started, or is shut down")
        if self.plugin.executor_exception is not None:
            raise self.plugin.executor_exception
        details = task.details
        func = _body(task)
        start_s = time.monotonic()
        spec = dict(details.spec) if details is not None else {}
        future: Future[Any]
        with self._lock:
            try:
                future = self.plugin.submit(func, spec, *(task.args or ()), **(task.kwargs or {}))
            except InvalidResourceSpecification:
                raise
            except Exception as error:  # noqa: BLE001 - a failed try, as upstream: it may go better the next time
                future = concurrent.futures.Future()
                future.set_exception(error)
        if not hasattr(future, "add_done_callback"):
            raise ExecutorError(self, f"{type(self.plugin).__name__}.submit() must return a Future, not {future!r}")
        attempt = task.attempt
        self._futures[task, attempt] = future
        future.add_done_callback(functools.partial(self._done, task, attempt, start_s))

    def cancel(self, task: Task, attempt: int) -> bool:
        future = self._futures.get((task, attempt))
        if future is None:
            return True
        self._dropped.add((task, attempt))  # before: the future's callbacks run within its cancel()
        try:
            if future.cancel():
                return True
        except Exception:
            _logger.debug("a future of executor %r cannot be cancelled", self.label, exc_info=True)
        self._dropped.discard((task, attempt))
        return False

    def status(self) -> ExecutorStatus:
        return ExecutorStatus(max(1, len(self._futures)), len(self._futures), 0)  # which of them run, only it knows

    def check(self, resources: Resources) -> None:
        """The plug-in judges what is asked for when it gets it."""

    def explain(self, task: Task) -> str:  # noqa: ARG002 - a plug-in cannot be asked
        return f"was given to executor {self.label!r} ({type(self.plugin).__name__}), with {len(self._futures)} tasks in it"

    def shutdown(self, timeout_s: float) -> None:
        if self._stopped:
            return
        self._stopped = True
        deadline_s = time.monotonic() + timeout_s
        self.plugin.end_blocks(0.8 * timeout_s)
        thread = threading.Thread(target=self.plugin.shutdown, name=f"plait-shutdown-{self.label}", daemon=True)
        thread.start()
        thread.join(max(0.05, deadline_s - time.monotonic()))

    def _done(self, task: Task, attempt: int, start_s: float, future: Future[Any]) -> None:
        self._futures.pop((task, attempt), None)
        if (task, attempt) in self._dropped and future.cancelled():
            self._dropped.discard((task, attempt))
            return
        waiting: list[Outcome] | None = getattr(self._local, "waiting", None)
        outcome = (task, attempt, *_outcome(future), start_s, time.monotonic(), -1)
        if waiting is not None:
            waiting.append(outcome)
            return
        waiting = self._local.waiting = [outcome]
        assert self._context is not None  # noqa: S101 - set by start
        try:
            while waiting:
                batch = waiting[:]
                waiting.clear()
                self._context.deliver(batch)
        finally:
            self._local.waiting = None


def as_plait(executor: object) -> Executor:
    """The executor as the kernel takes it.

    Raises:
        ConfigurationError: it is none.
    """
    if isinstance(executor, Executor):
        if _overrides_submit(executor):
            return PluginExecutor(executor)  # type: ignore[arg-type]  # it has the methods of one
        for_run = getattr(executor, "for_run", None)
        return executor if for_run is None else for_run()
    if isinstance(executor, ParslExecutor):
        return PluginExecutor(executor)
    hint = "; call it: write ThreadPoolExecutor() with parentheses" if isinstance(executor, type) else ""
    raise ConfigurationError(f"Config(executors=[…, {executor!r}]): expected executors{hint}")


def _overrides_submit(executor: Executor) -> bool:
    """Whether a class of somebody's own wants to see the calls: it gets functions, and not the kernel's tasks."""
    own = getattr(type(executor), "submit_of_parsl", None)
    return own is not None and getattr(executor.submit, "__func__", None) is not own


def _outcome(future: Future[Any]) -> tuple[int, Any]:
    from plait.compat.parsl.app.errors import RemoteExceptionWrapper

    try:
        result = future.result()
    except Exception as error:  # noqa: BLE001 - boundary: whatever a future holds is the task's outcome
        return ERROR, error
    except BaseException as error:  # noqa: BLE001 - SystemExit and its like would end whoever asks for the result
        return ERROR, TaskExited(type(error).__name__, str(error)).with_traceback(error.__traceback__)
    if isinstance(result, RemoteExceptionWrapper):
        return ERROR, result.get_exception()
    return OK, result


def _body(task: Task) -> Callable[..., Any]:
    """What the plug-in is to call: the user's function, or what runs it where the call says more than that."""
    call = call_of(task)
    walltime_s = walltime_of(task)
    if call is None and walltime_s is None:
        return task.app.func
    return Body(task.app.func, call, walltime_s)


class Body:
    """A function with what its call says beside it. It can be sent, and returns exceptions as values."""

    def __init__(self, func: Callable[..., Any], call: Call | None, walltime_s: float | None) -> None:
        self.func = func
        self.call = call
        self.walltime_s = walltime_s
        self.__name__ = getattr(func, "__name__", type(func).__name__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from plait.compat.parsl.app.errors import wrap_error

        return wrap_error(self._run)(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        from plait.compat.parsl.app.python import timeout

        call = self.call
        if call is not None and call.kind == "bash":
            return run_call(self.func, args, kwargs, call, in_thread=True)
        func = self.func if self.walltime_s is None else timeout(self.func, self.walltime_s)
        return func(*args, **kwargs) if call is None else run_call(func, args, kwargs, call, in_thread=True)
