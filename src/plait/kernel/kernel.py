"""The kernel: one run, from load to cleanup. It wires the engine to executors, futures and the event stream.

```
caller's thread ── call ──▶ engine ──▶ executor ──▶ workers, threads
       ▲                      ▲ │                        │
       │ futures              │ └─ Effects ─▶ futures    │
       └──────────────────────┴────── deliver ◀──────────┘
                         (the executor's own thread)
events ──▶ EventStream (a thread of its own) ──▶ journal
```

One lock guards the engine. It is held for the engine's decisions only: never while arguments are serialised, user code runs or a future is set.
What a decision entails (`Effects`) is done after the lock is released, by the thread that brought the news, as a worklist.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

from plait._util.threads import mark
from plait.dataflow.check import check
from plait.dataflow.engine import Effects, Engine, path_to, root_cause
from plait.dataflow.explain import explain, failure_sentence
from plait.dataflow.memo import BasicMemoizer
from plait.dataflow.record import TaskRecord
from plait.dataflow.resolve import DEEP_DEPENDENCY_RESOLVER, PLAIN, find_futures, replace_futures
from plait.errors import JoinError, MissingOutputs, NoDataFlowKernelError, text_of
from plait.executors.base import LOST, OK, Outcome
from plait.futures import CANCELLED as FUTURE_CANCELLED
from plait.futures import FINISHED, AppFuture, DataFuture, LiftedFuture, finish_all
from plait.kernel.arguments import RESERVED, choose_stream_names, read_reserved, refuse_remote_files
from plait.kernel.gate import Gate
from plait.kernel.lifecycle import Lifecycle
from plait.limits import SCAN_DEPTH
from plait.model.events import ATTEMPT_FAILED, TASK_ENDED, TASK_JOINING, TASK_SUBMITTED, TASKS_DONE
from plait.model.resources import DEFAULT, parse_resources
from plait.model.task import CANCELLED, EXEC_DONE, FINAL_STATES, JOINING, LAUNCHED, MEMO_DONE, PENDING, AppSpec, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from plait.config import Config
    from plait.executors.base import Executor
    from plait.model.files import File
    from plait.model.resources import Resources

_monotonic = time.monotonic
#: Calls of a `plait.map` that are submitted at once: workers begin while the next are prepared.
_MAP_CHUNK = 512
_VALIDATE = bool(os.environ.get("PLAIT_VALIDATE"))
#: Results of these types answer ``future[key]`` and ``future.name`` at once; others are asked in a thread, because their code is the user's.
_PLAIN_CONTAINERS = (dict, list, tuple, str, bytes)


class DataFlowKernel(Lifecycle):
    """One run: its tasks, its executors, its files. `plait.load` makes one.

    Args:
        config: how the run is to be done.

    Attributes:
        config: as given.
        run_id: a random id.
        executors: by label.
        memoizer: the plug-in in use.
        cleanup_called: whether the run is over.
    """

    #: Refusals of a call that are to be the outcome of its task, for those whose users look for them in the future.
    refusals_in_futures: tuple[type[Exception], ...] = ()

    def __init__(self, config: Config) -> None:
        self._lock = threading.Lock()
        self._engine = Engine(retries=config.retries, max_losses=config.max_losses, keep=not config.garbage_collect)
        self._resolver = config.dependency_resolver
        self._deep = config.dependency_resolver is DEEP_DEPENDENCY_RESOLVER
        self.memoizer = config.memoizer or BasicMemoizer()
        self._memo_all = self.memoizer.every_task
        self._specs: dict[Any, AppSpec] = {}
        self._failures: dict[tuple[str, str], list[int]] = {}  # (error, app) -> tasks, the first few
        self._gate = None if config.max_pending is None else Gate(config.max_pending, self._engine.unfinished)
        super().__init__(config)

    # ------------------------------------------------------------------ calls
    def call(self, spec: AppSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AppFuture[Any]:
        """Submits a call of an app; returns at once.

        Raises:
            NoDataFlowKernelError: the run is over.
            InvalidResourceSpecification: the call asks for what no executor can ever give.
            ValueError, TypeError: a keyword that plait reads has a value that it cannot use.
        """
        if self._gate is not None:
            self._gate.wait()
        executor = self._only
        if executor is not None and spec.is_simple:
            plain = PLAIN.issuperset(map(type, args))
            if plain and (not kwargs or (PLAIN.issuperset(map(type, kwargs.values())) and RESERVED.isdisjoint(kwargs))):
                return self._call_simple(spec, args, kwargs, executor)
            if not plain and not kwargs and self._deep:
                parents = self._parents_among(args)
                if parents is not None:
                    return self._call_after(spec, args, parents)
        task = Task(spec, args, kwargs, self, _monotonic())
        future: AppFuture[Any] = AppFuture(task)
        task.future = future
        self._call(task, args, kwargs)
        return future

    def _call_simple(
        self, spec: AppSpec, args: tuple[Any, ...], kwargs: dict[str, Any], executor: Executor
    ) -> AppFuture[Any]:
        """A call that waits for nothing and asks for nothing: what most are."""
        now_s = _monotonic()
        task = Task(spec, args, kwargs, self, now_s, state=LAUNCHED, attempt=1, executor=executor, launch_s=now_s)
        future: AppFuture[Any] = AppFuture(task)
        task.future = future
        engine = self._engine
        with self._lock:
            if self._closing:
                self._refuse_call()
            # `Engine.add` and `Engine.launch` in one
            task.id = number = engine.submitted
            engine.submitted = number + 1
            engine.tasks[number] = task
            engine.counts[LAUNCHED] += 1
            engine.app_counts(spec.name)[LAUNCHED] += 1
        if self._emit is not None:
            self._emit(task)
        try:
            executor.submit_simple(task)
        except Exception as error:  # noqa: BLE001 - whatever stops a task is its outcome
            self._failed_to_launch(task, error)
        return future

    def _parents_among(self, args: tuple[Any, ...]) -> list[Task] | None:
        """The tasks whose futures are arguments themselves; None when there is anything else than these and plain values."""
        parents: list[Task] = []
        for value in args:
            cls = type(value)
            if cls is AppFuture and value._task.owner is self:  # noqa: SLF001 - our own class
                parents.append(value._task)  # noqa: SLF001
            elif cls not in PLAIN:
                return None
        return parents

    def _call_after(self, spec: AppSpec, args: tuple[Any, ...], parents: list[Task]) -> AppFuture[Any]:
        """A call that needs the results of tasks and nothing else: the most frequent of those that wait."""
        task = Task(spec, args, {}, self, _monotonic())
        future: AppFuture[Any] = AppFuture(task)
        task.future = future
        task.depends = tuple([value for value in args if type(value) is AppFuture])
        engine = self._engine
        with self._lock:
            if self._closing:
                self._refuse_call()
            engine.add(task)
            engine.wait_for(task, parents)
            waits = task.waiting > 0
        if self._emit is not None:
            self._emit((TASK_SUBMITTED, task.submit_s, task.id, spec.name, [parent.id for parent in parents]))
        if not waits:
            effects = Effects()
            with self._lock:
                engine.settle_waiting(task, effects)
            self._apply(effects)
        return future

    def _call(self, task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        spec = task.app
        refusal: Exception | None = None
        try:
            if kwargs.keys() & RESERVED or spec.reserved_defaults:
                kwargs = task.kwargs = read_reserved(task, kwargs)
            refuse_remote_files(args)
            refuse_remote_files(kwargs.values())
            self._candidates(task)  # refuses what can never be given
        except self.refusals_in_futures as error:
            refusal = error
        futures = self._futures_of(args, kwargs)
        parents, others = self._sort_futures(futures)
        effects = Effects()
        with self._lock:
            if self._closing:
                self._refuse_call()
            self._engine.add(task)
            if futures:
                task.depends = tuple(futures)
        if self._emit is not None:
            depends = sorted({parent.id for parent in parents})
            self._emit(
                (TASK_SUBMITTED, task.submit_s, task.id, spec.name, depends)
                if depends
                else (TASK_SUBMITTED, task.submit_s, task.id, spec.name)
            )
        details = task.details
        if refusal is not None:
            with self._lock:
                self._engine.fail_launch(task, refusal, effects)
        elif details is not None and (details.stdout is not None or details.stderr is not None):
            try:
                choose_stream_names(task, self._autopath)
            except Exception as error:  # noqa: BLE001 - std_autopath is the user's
                with self._lock:
                    self._engine.fail_launch(task, error, effects)
        with self._lock:
            self._engine.wait_for(task, parents, len(others))
            self._engine.settle_waiting(task, effects)
        for other in others:
            other.add_done_callback(lambda _: self._dependency_done(task))
        self._apply(effects)

    def read_specification(self, task: Task, spec: dict[str, Any]) -> tuple[Resources, float | None]:
        """What ``parsl_resource_specification`` asks for: the resources, and the walltime in seconds if there is one.

        Raises:
            InvalidResourceSpecification: it cannot be understood.
        """
        return parse_resources(spec, task.app.resources or DEFAULT)

    def map_calls(self, spec: AppSpec, calls: Iterable[tuple[Any, ...]]) -> list[AppFuture[Any]]:
        """Submits calls with these positional arguments, many at a time."""
        executor = self._only
        futures: list[AppFuture[Any]] = []
        calls = iter(calls)
        while chunk := list(itertools.islice(calls, _MAP_CHUNK)):
            if self._gate is not None:
                self._gate.wait()
            if (
                executor is not None
                and spec.is_simple
                and PLAIN.issuperset(map(type, itertools.chain.from_iterable(chunk)))
            ):
                futures += self._call_many(spec, chunk, executor)
            else:
                futures += [self.call(spec, args, {}) for args in chunk]
        return futures

    def _call_many(self, spec: AppSpec, calls: list[tuple[Any, ...]], executor: Executor) -> list[AppFuture[Any]]:
        """`_call_simple` for many."""
        now_s = _monotonic()
        kwargs: dict[str, Any] = {}
        tasks = [
            Task(spec, args, kwargs, self, now_s, state=LAUNCHED, attempt=1, executor=executor, launch_s=now_s)
            for args in calls
        ]
        futures: list[AppFuture[Any]] = [AppFuture(task) for task in tasks]
        engine = self._engine
        with self._lock:
            if self._closing:
                self._refuse_call()
            number = engine.submitted
            for task, future in zip(tasks, futures, strict=True):
                task.future = future
                task.id = number
                engine.tasks[number] = task
                number += 1
            engine.submitted = number
            engine.counts[LAUNCHED] += len(tasks)
            engine.app_counts(spec.name)[LAUNCHED] += len(tasks)
        if self._emit is not None:
            for task in tasks:
                self._emit(task)
        for task, error in executor.submit_many(tasks):
            self._failed_to_launch(task, error)
        return futures

    def submit(
        self,
        func: Any,
        app_args: Sequence[Any],
        executors: str | Sequence[str] = "all",
        cache: bool = False,
        ignore_for_cache: Sequence[str] | None = None,
        app_kwargs: dict[str, Any] | None = None,
        join: bool = False,
    ) -> AppFuture[Any]:
        """Submits a call of a function that is no app."""
        labels = None if executors == "all" else tuple(executors)
        key = (func, labels, cache, tuple(ignore_for_cache or ()), join)
        spec = self._specs.get(key)
        if spec is None:
            name = getattr(func, "__name__", type(func).__name__)
            spec = self._specs[key] = AppSpec(
                func,
                name,
                "join" if join else "python",
                executors=labels,
                cache=cache,
                ignore_for_cache=ignore_for_cache or (),
            )
        return self.call(spec, tuple(app_args), dict(app_kwargs or {}))

    # ------------------------------------------------------------------ futures in arguments
    def _futures_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Future[Any]]:
        found: list[Future[Any]] = []
        if self._deep:
            if not PLAIN.issuperset(map(type, args)):
                found += find_futures(args, SCAN_DEPTH + 1)
            if not PLAIN.issuperset(map(type, kwargs.values())):
                found += find_futures(kwargs, SCAN_DEPTH + 1)
        else:
            gather = self._resolver.traverse_to_gather
            for value in [*args, *kwargs.values(), *(kwargs.get("inputs") or ())]:
                found += gather(value)
        return list(dict.fromkeys(found))

    def _unwrap(self, task: Task) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = task.args or (), task.kwargs or {}
        if self._deep:
            return replace_futures(args, SCAN_DEPTH + 1), replace_futures(kwargs, SCAN_DEPTH + 1)
        unwrap = self._resolver.traverse_to_unwrap
        unwrapped = {name: unwrap(value) for name, value in kwargs.items()}
        if kwargs.get("inputs"):
            unwrapped["inputs"] = [unwrap(value) for value in kwargs["inputs"]]
        return tuple(unwrap(value) for value in args), unwrapped

    def _sort_futures(self, futures: Iterable[Future[Any]]) -> tuple[list[Task], list[Future[Any]]]:
        """Tasks of this kernel among what is waited for, and the other futures."""
        parents: list[Task] = []
        others: list[Future[Any]] = []
        for future in futures:
            origin = future._parent if isinstance(future, DataFuture) else future  # noqa: SLF001 - our own classes
            if isinstance(origin, LiftedFuture):
                origin.start()
            if isinstance(origin, AppFuture) and origin._task.owner is self:  # noqa: SLF001
                parents.append(origin._task)  # noqa: SLF001
            else:
                others.append(future)
        return parents, others

    def _dependency_done(self, task: Task) -> None:
        effects = Effects()
        with self._lock:
            self._engine.dependency_done(task, effects)
        self._apply(effects)

    # ------------------------------------------------------------------ launching
    def _launch(self, task: Task, effects: Effects) -> None:
        """Gives a ready task to an executor, or ends it here."""
        app = task.app
        executor = self._only
        if executor is not None and app.is_simple and task.details is None and task.depends is not None:
            args = _results_of(task.args)
            if args is not None:
                self._launch_simple(task, args, executor, effects)
                return
        try:
            if task.depends is not None and task.attempt == 0:
                failures = _failures_among(task.depends)
                if failures:
                    with self._lock:
                        self._engine.dependency_failed(task, failures, effects)
                    return
                task.args, task.kwargs = self._unwrap(task)
                task.depends = None
            if task.app.kind == "lift" and self._lift_here(task, effects):
                return
            if (task.app.cache or self._memo_all) and self._from_memo(task, effects):
                return
            candidates = self._candidates(task)
        except Exception as error:  # noqa: BLE001 - whatever stops a task is its outcome
            with self._lock:
                self._engine.fail_launch(task, error, effects)
            return
        with self._lock:
            if not self._engine.launch(task):
                return
        task.launch_s = _monotonic()
        executor = task.executor = candidates[0] if len(candidates) == 1 else min(candidates, key=_load)
        try:
            executor.submit(task)
        except Exception as error:  # noqa: BLE001 - whatever stops a task is its outcome
            with self._lock:
                self._engine.fail(task, task.attempt, error, effects, final=True)

    def _launch_simple(self, task: Task, args: tuple[Any, ...], executor: Executor, effects: Effects) -> None:
        """`_launch` for a task of `_call_after`: all that it needs has succeeded."""
        with self._lock:
            if not self._engine.launch(task):
                return
            task.args, task.depends = args, None
        task.launch_s = _monotonic()
        task.executor = executor
        try:
            if PLAIN.issuperset(map(type, args)):
                executor.submit_simple(task)
            else:
                executor.submit(task)
        except Exception as error:  # noqa: BLE001 - whatever stops a task is its outcome
            with self._lock:
                self._engine.fail(task, task.attempt, error, effects, final=True)

    def _failed_to_launch(self, task: Task, error: BaseException) -> None:
        effects = Effects()
        with self._lock:
            self._engine.fail(task, task.attempt, error, effects, final=True)
        self._apply(effects)

    def _lift_here(self, task: Task, effects: Effects) -> bool:
        assert task.args is not None  # noqa: S101 - it has not ended
        value, key = task.args
        if type(value) not in _PLAIN_CONTAINERS:
            return False
        try:
            result, error = task.app.func(value, key), None
        except Exception as raised:  # noqa: BLE001 - the outcome of the operation
            result, error = None, raised
        with self._lock:
            if self._engine.launch(task):
                if error is None:
                    self._engine.succeed(task, task.attempt, result, effects)
                else:
                    self._engine.fail(task, task.attempt, error, effects, final=True)
        return True

    def _from_memo(self, task: Task, effects: Effects) -> bool:
        known = self.memoizer.check_memo(self.task_record(task))
        if known is None:
            return False
        error = known.exception()
        with self._lock:
            self._engine.memoized(task, None if error is not None else known.result(), error, effects)
        return True

    # ------------------------------------------------------------------ outcomes
    def deliver(self, outcomes: list[Outcome]) -> None:
        """Takes what became of attempts. Called by executors, in threads of theirs."""
        if self._gate is not None:
            before = mark()
            try:
                self._deliver(outcomes)
            finally:
                mark(before)
        else:
            self._deliver(outcomes)

    def _deliver(self, outcomes: list[Outcome]) -> None:
        effects = Effects()
        emit = self._emit
        with self._lock:
            rest = self._engine.succeed_many(outcomes, effects)
            if _VALIDATE:
                check(self._engine)
        if emit is not None:
            self._note_successes(outcomes, emit)
        for outcome in rest:
            try:
                if outcome[0].app.kind != "join" and outcome[2] == OK:
                    self._engine.stale += 1
                elif outcome[2] == OK:
                    self._begin_join(outcome[0], outcome[1], outcome[3], effects)
                else:
                    self._take_failure(outcome, effects)
            except (
                Exception
            ) as error:  # plug-ins and the user's classes have a say here: one task must not stop the others
                self._logger.exception("the outcome of %s could not be taken; the task fails with that", outcome[0])
                with self._lock:
                    self._engine.fail(outcome[0], outcome[1], error, effects, final=True)
        self._apply(effects)

    def _note_successes(self, outcomes: list[Outcome], emit: Callable[[Any], None]) -> None:
        """Tells of tasks that succeeded; those of one worker, at the first attempt, in one event."""
        if len(outcomes) == 1:  # as threads deliver them
            task, attempt, kind, _, start_s, stop_s, worker = outcomes[0]
            if kind == OK and task.state == EXEC_DONE and task.attempt == attempt and task.app.kind != "join":
                emit((TASK_ENDED, stop_s, task.id, EXEC_DONE, attempt, start_s, stop_s, worker))
            return
        last = -2
        tasks: list[int] = []
        starts: list[float] = []
        stops: list[float] = []
        for task, attempt, kind, _, start_s, stop_s, worker in outcomes:
            if kind != OK or task.state != EXEC_DONE or task.attempt != attempt or task.app.kind == "join":
                continue
            if attempt != 1:
                emit((TASK_ENDED, stop_s, task.id, EXEC_DONE, attempt, start_s, stop_s, worker))
                continue
            if worker != last:
                if tasks:
                    emit((TASKS_DONE, last, tasks, starts, stops))
                last = worker
                tasks, starts, stops = [], [], []
            tasks.append(task.id)
            starts.append(start_s)
            stops.append(stop_s)
        if tasks:
            emit((TASKS_DONE, last, tasks, starts, stops))

    def _take_failure(self, outcome: Outcome, effects: Effects) -> None:
        task, attempt, kind, error, start_s, stop_s, worker = outcome
        if kind == LOST:
            with self._lock:
                handled = self._engine.lose(task, attempt, error, effects)
            if handled:
                if task.state not in FINAL_STATES:
                    self._note_attempt(task, attempt, error, lost=True)
                return
        cost: float = 1
        handler = self.config.retry_handler
        final = isinstance(error, JoinError)
        if handler is not None and task.app.retry is None and task.state == LAUNCHED and task.attempt == attempt:
            try:
                cost = handler(error, self.task_record(task))
            except Exception as raised:  # noqa: BLE001 - the user's handler: its error becomes the task's
                raised.__context__ = error
                error, final = raised, True
        with self._lock:
            if task.state == LAUNCHED and task.attempt == attempt:
                details = task.more()
                details.times = (start_s, stop_s, worker)
            self._engine.fail(task, attempt, error, effects, cost=cost, final=final)
        if task.state == PENDING:
            self._note_attempt(task, attempt, error, lost=False)

    def _note_attempt(self, task: Task, attempt: int, error: BaseException, *, lost: bool) -> None:
        if self._emit is not None:
            delay = (task.details.not_before or 0.0) if task.details is not None else 0.0
            self._emit(
                (
                    ATTEMPT_FAILED,
                    _monotonic(),
                    task.id,
                    attempt,
                    lost,
                    f"{type(error).__name__}: {text_of(error)[:500]}",
                    delay,
                )
            )

    # ------------------------------------------------------------------ joins
    def _begin_join(self, task: Task, attempt: int, value: Any, effects: Effects) -> None:
        inner = list(dict.fromkeys(find_futures(value)))
        if not inner and not (isinstance(value, (list, tuple, set, frozenset, dict)) and not any(True for _ in value)):
            error = TypeError(
                f"join_app {task.app.name}() must return a future, or a list, tuple, set or dictionary of futures, "
                f"not {type(value).__name__}; return the future of an app call, or use python_app"
            )
            with self._lock:
                self._engine.fail(task, attempt, error, effects, final=True)
            return
        parents, others = self._sort_futures(inner)
        with self._lock:
            if task.state == LAUNCHED and task.attempt == attempt:
                task.more().join_value = value
                task.depends = tuple(inner)
            current = self._engine.join(task, attempt, parents, len(others), effects)
        if not current:
            return
        if self._emit is not None:
            ids = [parent.id for parent in parents] + [-1] * len(others)
            self._emit((TASK_JOINING, _monotonic(), task.id, ids))
        for other in others:
            other.add_done_callback(lambda _: self._dependency_done(task))

    def _end_join(self, task: Task, effects: Effects) -> None:
        """All inner futures have ended: their results in place of the futures, or a JoinError."""
        value = task.more().join_value
        inner = find_futures(value)
        failures = _failures_among(inner)
        result: Any = None
        error: BaseException | None = None
        if failures:
            error = JoinError(failures, task.id)
        else:
            try:
                result = replace_futures(value)
            except Exception as raised:  # noqa: BLE001 - rebuilding a container of the user's class
                error = raised
        with self._lock:
            task.more().join_value = None
            self._engine.joined(task, result, error, effects)

    # ------------------------------------------------------------------ effects
    def _open_gate(self) -> None:
        if self._gate is not None:
            self._gate.open()

    def _apply(self, effects: Effects) -> None:
        """Does what follows from a decision, and from what that causes, until nothing is left."""
        while True:
            for task in effects.stop:
                executor = task.executor
                if executor is not None:
                    executor.cancel(task, task.attempt)
            called = self._publish_all(effects.settled) if effects.settled else ()
            following = Effects()
            for task in effects.joined:
                self._end_join(task, following)
            for task, delay_s in effects.later:
                self._launch_later(task, delay_s)
            for task in effects.ready:
                self._launch(task, following)
            for future in called:
                future._run_callbacks()  # noqa: SLF001 - our own class
            if not (following.settled or following.ready or following.joined or following.later or following.stop):
                if self._gate is not None:
                    self._gate.look()
                return
            effects = following

    def _publish_all(self, settled: list[tuple[Task, Any, BaseException | None]]) -> list[AppFuture[Any]]:
        """Sets the futures of tasks that ended; those that have callbacks to run."""
        ended: list[AppFuture[Any]] = []
        plain: list[AppFuture[Any]] = []
        now_s = _monotonic()
        keep = self._engine.keep
        everything = self._memo_all
        for task, result, error in settled:
            future = task.future
            if (
                everything
                or task.state != EXEC_DONE
                or task.details is not None
                or task.app.cache
                or task.app.kind == "join"
                or future is None
            ):
                self._publish(task, result, error, now_s)
            else:  # `_publish` for what most tasks are, written out
                task.end_s = now_s
                future._result = result  # noqa: SLF001 - our own class
                plain.append(future)
                if not keep:
                    task.future = None  # future -> task stays; the circle would keep both until the collector comes
            if future is not None:
                ended.append(future)
        finish_all(plain)
        return [future for future in ended if future._cbs is not None]  # noqa: SLF001

    def _publish(self, task: Task, result: Any, error: BaseException | None, now_s: float) -> None:
        """Sets the future of a task that ended, and what hangs on it."""
        task.end_s = now_s
        state = task.state
        if (task.app.cache or self._memo_all) and state not in (MEMO_DONE, CANCELLED):
            self._memoize(task, result, error)
        if (state != EXEC_DONE or task.app.kind == "join") and self._emit is not None:
            self._note_end(task, error, now_s)
        if error is not None:
            self._count_failure(task, error)
        future = task.future
        if future is None:
            return
        future._publish(FUTURE_CANCELLED if state == CANCELLED else FINISHED, result, error)  # noqa: SLF001 - our own class
        details = task.details
        if details is not None and (details.outputs or details.outputs_hidden):
            _publish_files(task, state, error)
        if not self._engine.keep:
            task.future = None

    def _memoize(self, task: Task, result: Any, error: BaseException | None) -> None:
        try:
            if error is None:
                self.memoizer.update_memo_result(self.task_record(task), result)
            else:
                self.memoizer.update_memo_exception(self.task_record(task), error)
        except Exception:
            self._logger.exception("the memoizer failed for %s; its result is not remembered", task)

    def _note_end(self, task: Task, error: BaseException | None, now_s: float) -> None:
        details = task.more()
        start_s, stop_s, worker = details.times or (0.0, 0.0, -1)
        why = details.cancel_reason
        text = trace = ""
        if error is not None:
            import traceback

            why = failure_sentence(task, error)
            text = f"{type(error).__name__}: {text_of(error)[:500]}"
            trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))[-8000:]
        assert self._emit is not None  # noqa: S101 - the caller looked
        self._emit((TASK_ENDED, now_s, task.id, task.state, task.attempt, start_s, stop_s, worker, text, why, trace))

    def _count_failure(self, task: Task, error: BaseException) -> None:
        known = self._failures.setdefault((type(error).__name__, task.app.name), [0, task.id])
        known[0] += 1

    def _launch_later(self, task: Task, delay_s: float) -> None:
        task.more().not_before = _monotonic() + delay_s

        def launch() -> None:
            effects = Effects()
            with self._lock:
                self._engine.retry_now(task, effects)
            self._apply(effects)

        self._timers.after(delay_s, launch)

    # ------------------------------------------------------------------ what futures ask (model.task.Owner)
    def cancel_task(self, task: Task, reason: str = "") -> bool:
        """Cancels a task and all that need it; of a join app, also what it waits for."""
        inner = task.depends if task.state == JOINING else None
        attempt = task.attempt
        if (
            task.state == LAUNCHED
            and task.executor is not None
            and not task.executor.ends_running_tasks
            and not task.executor.cancel(task, attempt)
        ):
            return False
        effects = Effects()
        with self._lock:
            if not self._engine.cancel(task, reason or f"{task} was cancelled", effects):
                return task.state == CANCELLED
        self._apply(effects)
        for future in inner or ():
            future.cancel()
        return True

    def explain_task(self, task: Task) -> str:
        """One sentence on where the task stands."""
        return explain(
            task,
            _monotonic(),
            lambda t: t.executor.explain(t) if t.executor is not None else "is about to be given to an executor",
        )

    def new_lifted(self, parent: AppFuture[Any], operation: str, key: Any) -> Task:
        """The task behind ``future.name`` or ``future[key]``, not submitted yet."""
        spec = self._lift_item if operation == "item" else self._lift_attr
        return Task(spec, (parent, key), {}, self, _monotonic())

    def start_lifted(self, task: Task) -> None:
        """Submits it."""
        try:
            task.submit_s = _monotonic()
            self._call(task, task.args or (), {})
        except NoDataFlowKernelError as error:
            effects = Effects()
            with self._lock:
                self._engine.add(task)
                self._engine.fail_launch(task, error, effects)
            self._apply(effects)

    def task_record(self, task: Task) -> TaskRecord:
        """The task as a mapping."""
        return TaskRecord(task)


def _results_of(args: Any) -> tuple[Any, ...] | None:
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


def _failures_among(futures: Iterable[Future[Any]]) -> list[tuple[BaseException, str]]:
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


def _publish_files(task: Task, state: int, error: BaseException | None) -> None:
    """Ends the DataFutures of a task: with the file when it is there."""
    details = task.more()
    for future in [*details.outputs, *details.outputs_hidden]:
        file: File = future.file_obj
        if state == CANCELLED:
            future._publish(FUTURE_CANCELLED, None, None)  # noqa: SLF001 - our own class
        elif error is not None:
            future._publish(FINISHED, None, error)  # noqa: SLF001
        elif not os.path.exists(file.filepath):
            missing = MissingOutputs(
                f"{task} succeeded, but did not make the file that it declared in outputs", [file.filepath]
            )
            future._publish(FINISHED, None, missing)  # noqa: SLF001
        else:
            future._publish(FINISHED, file, None)  # noqa: SLF001
        future._run_callbacks()  # noqa: SLF001


def _load(executor: Executor) -> float:
    status = executor.status()
    return (status.running + status.queued) / max(1, status.workers)
