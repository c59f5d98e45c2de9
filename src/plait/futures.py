"""Handles to outcomes: `AppFuture`, `DataFuture`.

A `PlaitFuture` is a `concurrent.futures.Future` for whoever looks at it, but it makes its lock only when somebody waits,
because most futures are finished before anybody does (5.1 -> 0.7 µs for create, set and read, measured).

How a setter and a waiter cannot miss each other: a state is published either under the condition, or, while there is none, under
the lock under which conditions get their place. So whoever holds the condition sees a state that does not change, as the standard
`wait` and `as_completed` rely on: they would count a future twice that ends between their look at it and its setter's look for waiters.

Nothing here knows the kernel: a future asks the owner of its task (`model.task.Owner`).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import CancelledError, Future, InvalidStateError, TimeoutError  # noqa: A004 - the class of the futures' contract
from concurrent.futures import _base as _cf  # pyright: ignore[reportPrivateUsage]
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from plait.limits import SCAN_DEPTH
from plait.model.task import FINAL_STATES, Task, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from typing_extensions import Self

    from plait.model.files import File

R = TypeVar("R")

PENDING = _cf.PENDING
CANCELLED = _cf.CANCELLED_AND_NOTIFIED  # the standard `wait` overlooks plain CANCELLED
FINISHED = _cf.FINISHED
_ENDED = frozenset({_cf.FINISHED, _cf.CANCELLED, _cf.CANCELLED_AND_NOTIFIED})

#: Seconds after which a waiting main thread looks for signals by itself: CPython loses the wake-up where one meets a thread on its way into a
#: lock, which is common on a busy machine, or comes to another thread.
_LOOK_S: Final = 1.0

_making = threading.Lock()
_EAGER = not getattr(sys, "_is_gil_enabled", lambda: True)()


class EndedBySignal(SystemExit):
    """A signal told the program to end. Unlike a `sys.exit()` in a callback, it is not for the callback alone."""


class _Blocking(threading.local):
    """A thread of an executor leaves here what to call before and after it blocks, so that others can run meanwhile. Pairs may nest."""

    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None


blocking = _Blocking()


class _Waiters(list[Any]):
    """Who waits in `concurrent.futures.wait` or `as_completed`: from the moment that it is put here until it is taken away."""

    def append(self, waiter: Any) -> None:
        if blocking.before is not None:
            blocking.before()
        super().append(waiter)

    def remove(self, waiter: Any) -> None:
        super().remove(waiter)
        if blocking.after is not None:
            blocking.after()


class PlaitFuture(Future[R]):
    """A standard future that makes its lock when somebody waits."""

    __slots__ = ("_cbs", "_cond", "_exception", "_result", "_state", "_waiting")

    def __init__(self) -> None:  # no call of the base: it makes a lock
        self._state: str = PENDING
        self._result: Any = None
        self._exception: BaseException | None = None
        self._cond: threading.Condition | None = threading.Condition() if _EAGER else None
        self._waiting: list[Any] | None = None
        self._cbs: list[Callable[[Any], object]] | None = None

    # -- what the standard library reaches for; type checkers see the attributes of its own class
    if not TYPE_CHECKING:

        @property
        def _condition(self) -> threading.Condition:
            condition = self._cond
            if condition is None:
                made = (
                    threading.Condition()
                )  # outside of the lock: making objects may run finalizers, and those may set futures
                with _making:
                    condition = self._cond
                    if condition is None:
                        condition = self._cond = made
            return condition

        @property
        def _waiters(self) -> list[Any]:
            if self._state not in _ENDED:
                self._check_waiting()
            if self._waiting is None:
                self._waiting = _Waiters()
            return self._waiting

        @_waiters.setter
        def _waiters(self, waiters: list[Any]) -> None:
            self._waiting = waiters

        @property
        def _done_callbacks(self) -> list[Callable[[Any], object]]:
            return self._cbs or []

    # -- reading
    def done(self) -> bool:
        """Whether it ended, in whichever way."""
        return self._state in _ENDED

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._state is not FINISHED and self._state in _ENDED

    def result(self, timeout: float | None = None) -> R:
        """The outcome; waits for it.

        Args:
            timeout: seconds to wait at most.

        Raises:
            TimeoutError: it did not end in time.
            CancelledError: it was cancelled.
            RuntimeError: this process was forked from the one that submitted the task, and it had not ended then.
            Exception: what the task raised.
        """
        if self._state is not FINISHED:
            self._wait(timeout)
        error = self._exception
        if error is not None:
            try:
                raise error
            finally:
                # The traceback refers to this frame, and this frame to the error and to this future.
                del error
                self = None  # type: ignore[assignment]  # noqa: PLW0642
        return self._result  # type: ignore[no-any-return]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the task raised, None when it succeeded; waits for the end as `result` does."""
        if self._state is not FINISHED:
            self._wait(timeout)
        return self._exception

    def _wait(self, timeout: float | None) -> None:
        """Blocks until the end; raises when it was cancelled or did not end in time."""
        if self._state not in _ENDED and (timeout is None or timeout > 0):
            before, after = blocking.before, blocking.after
            if before is not None and after is not None:
                before()
                try:
                    self._block(timeout)
                finally:
                    after()
            else:
                self._block(timeout)
        if self._state is FINISHED:
            return
        if self._state in _ENDED:
            raise self._cancellation()
        raise TimeoutError

    def _check_waiting(self) -> None:
        """Raises when the end will not be seen in this process."""

    def _block(self, timeout: float | None) -> None:
        self._check_waiting()
        condition = self._condition
        end_s = float("inf") if timeout is None else time.monotonic() + timeout
        look_s = _LOOK_S if threading.current_thread() is threading.main_thread() else threading.TIMEOUT_MAX
        with condition:
            while self._state not in _ENDED and (left_s := end_s - time.monotonic()) > 0:
                condition.wait(min(left_s, look_s))

    def _cancellation(self) -> CancelledError:
        return CancelledError()

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Calls ``fn(self)`` at the end, or now when it has ended."""
        if self._state in _ENDED:
            self._call(fn)
            return
        callbacks = self._cbs
        if callbacks is None:
            made: list[Callable[[Any], object]] = []
            with _making:  # two threads that each make a list would lose a callback
                callbacks = self._cbs
                if callbacks is None:
                    callbacks = self._cbs = made
        callbacks.append(fn)
        if self._state in _ENDED:  # it ended between the two lines: whoever pops a callback calls it
            self._run_callbacks()

    # -- setting
    def set_result(self, result: R) -> None:
        """Ends it with a result.

        Raises:
            InvalidStateError: it has ended.
        """
        self._refuse_if_ended()
        self._publish(FINISHED, result, None)
        if self._cbs is not None:
            self._run_callbacks()

    def set_exception(self, exception: BaseException | None) -> None:
        """Ends it with an error.

        Raises:
            InvalidStateError: it has ended.
        """
        self._refuse_if_ended()
        self._publish(FINISHED, None, exception)
        if self._cbs is not None:
            self._run_callbacks()

    def _refuse_if_ended(self) -> None:
        if self._state in _ENDED:
            raise InvalidStateError(f"{self!r} has ended: its outcome cannot be changed")

    def _publish(self, state: str, result: Any, error: BaseException | None) -> None:
        """Makes the outcome visible and wakes who waits; callbacks are run by `_run_callbacks`."""
        self._result = result
        self._exception = error
        condition = self._cond
        if condition is None:
            with _making:
                condition = self._cond
                if condition is None:
                    self._state = state
                    return
        with condition:
            self._state = state
            for waiter in self._waiting or ():
                if state is not FINISHED:
                    waiter.add_cancelled(self)
                elif error is None:
                    waiter.add_result(self)
                else:
                    waiter.add_exception(self)
            condition.notify_all()

    def _run_callbacks(self) -> None:
        callbacks = self._cbs
        while callbacks:
            try:
                fn = callbacks.pop(0)  # atomic: each is called once, whoever gets it
            except IndexError:
                return
            try:
                self._call(fn)
            except BaseException:  # a signal: it is for the program, but the others have a right to know
                self._run_callbacks()
                raise

    def _call(self, fn: Callable[[Any], object]) -> None:
        try:
            fn(self)
        except BaseException as error:
            if (
                isinstance(error, (KeyboardInterrupt, EndedBySignal))
                and threading.current_thread() is threading.main_thread()
            ):
                raise  # a Ctrl-C or SIGTERM that came meanwhile, which nobody else would get
            _cf.LOGGER.exception("a callback of %r raised; the other callbacks and tasks go on", self)

    def _invoke_callbacks(self) -> None:
        self._run_callbacks()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"{self!r} cannot be sent to another process; its result can: give the future to an app as an argument, by itself or, "
            "where the configuration's dependency_resolver is DEEP_DEPENDENCY_RESOLVER (which it is for `import plait`, and not for "
            f"`import parsl`, if nothing is said), in lists, tuples, sets, dictionaries and dataclasses, at most {SCAN_DEPTH} deep"
        )


def finish_all(futures: Sequence[PlaitFuture[Any]]) -> None:
    """Publishes many results at once; each future has its ``_result`` already. Callbacks are left to the caller.

    Between taking and releasing the lock nothing is made, so no finalizer of the collector's can run into it.
    """
    with _making:
        for future in futures:
            if future._cond is None:
                future._state = FINISHED
    for future in futures:
        if future._state is not FINISHED:
            future._publish(FINISHED, future._result, None)


class AppFuture(PlaitFuture[R], Generic[R]):
    """The handle of one call of an app."""

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        # As in the base, written out: this runs once per task.
        self._state = PENDING
        self._result = None
        self._exception = None
        self._cond = threading.Condition() if _EAGER else None
        self._waiting = None
        self._cbs = None
        self._task = task

    @property
    def tid(self) -> int:
        """Number of the task, in order of submission from 0."""
        return self._task.id

    def task_status(self) -> str:
        """Name of the task's state, such as ``pending``, ``launched``, ``exec_done``."""
        return TaskState(self._task.state).name

    @property
    def task_record(self) -> Any:
        """The task as a mapping."""
        return self._task.owner.task_record(self._task)

    @property
    def task_def(self) -> Any:
        """An older name of `task_record`, which programs use."""
        return self.task_record

    @property
    def stdout(self) -> Any:
        """Where the task's standard output goes: as given, or the name that was chosen."""
        details = self._task.details
        return details.stdout if details is not None else None

    @property
    def stderr(self) -> Any:
        """Where the task's standard error goes: as given, or the name that was chosen."""
        details = self._task.details
        return details.stderr if details is not None else None

    @property
    def outputs(self) -> list[DataFuture]:
        """A DataFuture for each file that the call declared in ``outputs``."""
        details = self._task.details
        return details.outputs if details is not None else []

    def running(self) -> bool:
        """Whether the task was given to an executor and has not ended."""
        return self._state == PENDING and self._task.state == TaskState.launched

    def cancel(self) -> bool:
        """Cancels the task, queued or running, and the tasks that need it.

        A running task's processes are ended (SIGTERM, 2 s, SIGKILL); the future is cancelled at once.

        Returns:
            True when it is accepted.
            False when the task has ended, or is Python that runs in a thread, which cannot be ended.
        """
        return bool(self._task.owner.cancel_task(self._task))

    def explain(self) -> str:
        """One sentence: what the task waits for, where it runs, or why it failed."""
        return str(self._task.owner.explain_task(self._task))

    def _check_waiting(self) -> None:
        self._task.owner.check_waiting(self._task)

    def _cancellation(self) -> CancelledError:
        from plait.errors import TaskCancelled

        details = self._task.details
        return TaskCancelled(
            details.cancel_reason if details is not None and details.cancel_reason else f"{self._task} was cancelled"
        )

    def __await__(self) -> Generator[Any, None, R]:
        import asyncio

        if not self.done():
            self._check_waiting()
        return asyncio.wrap_future(self).__await__()

    # -- lifting
    def __getitem__(self, key: Any) -> AppFuture[Any]:
        return LiftedFuture(self, "item", key)

    def __getattr__(self, name: str) -> AppFuture[Any]:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if self._state is FINISHED and self._exception is None and _lacks(self._result, name):
            raise AttributeError(
                f"the result of {self._task}, of type {type(self._result).__name__!r}, has no attribute {name!r}"
            )
        return LiftedFuture(self, "attr", name)

    def __iter__(self) -> Any:
        # With __getitem__ alone, iteration would make futures without end.
        raise TypeError(f"the future of {self._task} cannot be iterated; iterate its result()")

    def __repr__(self) -> str:
        text = f"<{type(self).__name__} of {self._task}: {TaskState(self._task.state).name}"
        if self._state is FINISHED:
            text += (
                f" raised {type(self._exception).__name__}"
                if self._exception is not None
                else f" returned {type(self._result).__name__}"
            )
        return text + ">"


class LiftedFuture(AppFuture[Any]):
    """``future.name`` or ``future[key]``: a task of its own, submitted when it is first used."""

    __slots__ = ("_lift_lock", "_started")

    def __init__(self, parent: AppFuture[Any], operation: str, key: Any) -> None:
        owner = parent._task.owner
        super().__init__(owner.new_lifted(parent, operation, key))
        self._task.future = self
        self._lift_lock = threading.Lock()
        self._started = False

    def start(self) -> LiftedFuture:
        """Submits the task, once."""
        with self._lift_lock:
            started, self._started = self._started, True
        if not started:
            try:
                self._task.owner.start_lifted(self._task)
            except BaseException:  # a signal: whoever asks next submits it, unless it is already
                self._started = self._task.id >= 0
                raise
        return self

    if not TYPE_CHECKING:

        @property
        def _condition(self) -> threading.Condition:
            self.start()
            return PlaitFuture._condition.fget(self)

    def _block(self, timeout: float | None) -> None:
        self.start()
        super()._block(timeout)

    def _wait(self, timeout: float | None) -> None:
        self.start()
        super()._wait(timeout)

    def done(self) -> bool:
        self.start()
        return super().done()

    def running(self) -> bool:
        self.start()
        return super().running()

    def cancel(self) -> bool:
        self.start()
        return super().cancel()

    def explain(self) -> str:
        self.start()
        return super().explain()

    @property
    def tid(self) -> int:
        return self.start()._task.id

    def task_status(self) -> str:
        self.start()
        return super().task_status()

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        self.start()
        super().add_done_callback(fn)


class DataFuture(PlaitFuture["File"]):
    """A file that a task will have made; its result is the File, once the file is there.

    Args:
        fut: the future of the task that makes the file.
        file_obj: the file.
        tid: number of the task. Who gives it makes a future of their own, which ends with ``fut``; the kernel sets its own ones.
    """

    __slots__ = ("_file", "_origin", "_parent", "_tid")

    def __init__(self, fut: AppFuture[Any], file_obj: File, tid: int | None = None) -> None:
        super().__init__()
        self._parent = fut
        self._file = file_obj
        self._tid = tid
        self._origin: Future[Any] = fut if tid is None else self  # whose end to wait for
        if tid is not None:
            fut.add_done_callback(self._follow)

    def _follow(self, fut: Future[Any]) -> None:
        if fut.cancelled():
            self._publish(CANCELLED, None, None)
            self._run_callbacks()
        elif (error := fut.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(self._file)

    @property
    def parent(self) -> AppFuture[Any]:
        """The future of the task that makes the file."""
        return self._parent

    @property
    def tid(self) -> int:
        """Number of that task."""
        return self._parent.tid if self._tid is None else self._tid

    @property
    def file_obj(self) -> File:
        """The file, there or not."""
        return self._file

    @property
    def filepath(self) -> str:
        """Its path."""
        return self._file.filepath

    @property
    def filename(self) -> str:
        """Its path, as `filepath`."""
        return self._file.filepath

    def cancel(self) -> bool:
        """Cancels the task that makes the file."""
        return self._parent.cancel()

    def running(self) -> bool:
        """Whether the task that makes the file runs."""
        return self._parent.running()

    def _check_waiting(self) -> None:
        if isinstance(self._parent, PlaitFuture):
            self._parent._check_waiting()

    def _cancellation(self) -> CancelledError:
        return self._parent._cancellation() if isinstance(self._parent, PlaitFuture) else super()._cancellation()

    def __repr__(self) -> str:
        maker = self._parent._task if isinstance(self._parent, AppFuture) else f"task {self._tid}"
        return f"<DataFuture {self._file.url} of {maker}: {'done' if self.done() else 'not yet'}>"


def _lacks(value: Any, name: str) -> bool:
    """Whether the value has no such attribute. One that raises something else is there."""
    try:
        return not hasattr(value, name)
    except Exception:  # noqa: BLE001 - a property of the user's class: what it raises is the outcome of the lift
        return False


def is_final(task: Task) -> bool:
    """Whether the task has ended."""
    return task.state in FINAL_STATES


def _in_forked_child() -> None:
    """A thread that is not here may hold the lock."""
    global _making  # noqa: PLW0603 - it is this process's
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
