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
import math
import numbers
import os
import threading
import time
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

from plait._util.identity import identity_of
from plait._util.threads import mark
from plait.dataflow.check import check
from plait.dataflow.engine import Effects, Engine
from plait.dataflow.explain import explain
from plait.dataflow.memo import BasicMemoizer
from plait.dataflow.record import TaskRecord
from plait.dataflow.resolve import PLAIN, find_futures, replace_futures
from plait.errors import (
    ConfigurationError,
    DataFlowException,
    InvalidResourceSpecification,
    JoinError,
    NoDataFlowKernelError,
    text_of,
)
from plait.executors.base import LOST, OK, Outcome
from plait.executors.pool.core import resources_of
from plait.futures import AppFuture
from plait.kernel.arguments import RESERVED, choose_stream_names, read_reserved, refuse_remote_files
from plait.kernel.endings import Endings
from plait.kernel.gate import Gate
from plait.kernel.inputs import Inputs, failures_among, results_of
from plait.kernel.lifecycle import Lifecycle
from plait.model.events import TASK_JOINING, TASK_SUBMITTED
from plait.model.resources import DEFAULT, parse_resources
from plait.model.task import CANCELLED, FINAL_STATES, JOINING, LAUNCHED, PENDING, AppSpec, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from plait.config import Config
    from plait.executors.base import Executor
    from plait.futures import PlaitFuture
    from plait.model.resources import Resources

_monotonic = time.monotonic
#: Calls of a `plait.map` that are submitted at once: workers begin while the next are prepared.
_MAP_CHUNK = 512
#: Functions given to `DataFlowKernel.submit` of which is kept what was made of them.
_SPECS_KEPT = 1000
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
        if not hasattr(config, "exit_mode"):
            raise ConfigurationError(f"DataFlowKernel({config!r}): expected a plait.Config")
        self._lock = threading.Lock()
        self._engine = Engine(retries=config.retries, max_losses=config.max_losses, keep=not config.garbage_collect)
        self._inputs = Inputs(config.dependency_resolver, self)
        self._usual = getattr(config.dependency_resolver, "is_usual", False)
        self.memoizer = config.memoizer or BasicMemoizer()
        self._memo_all = self.memoizer.every_task
        self._specs: dict[Any, AppSpec] = {}
        self._endings = Endings(self.memoizer, self.task_record, keep=not config.garbage_collect)
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
        if executor is not None and spec.is_simple and self._usual:
            plain = PLAIN.issuperset(map(type, args))
            if plain and (not kwargs or (PLAIN.issuperset(map(type, kwargs.values())) and RESERVED.isdisjoint(kwargs))):
                return self._call_simple(spec, args, kwargs, executor)
            if not plain and not kwargs and self._inputs.deep:
                parents = self._inputs.parents_among(args)
                if parents is not None:
                    return self._call_after(spec, args, parents)
        task = Task(spec, args, kwargs, self, _monotonic())
        future: AppFuture[Any] = AppFuture(task)
        task.future = future
        try:
            self._call(task, args, kwargs)
        except BaseException:
            self._abandon([task])
            raise
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
        try:
            with self._lock:
                if self._closing:
                    self._refuse_call()
                # `Engine.add` and `Engine.launch` in one
                counts = engine.app_counts(spec.name)
                task.id = number = engine.submitted
                engine.submitted = number + 1
                engine.tasks[number] = task
                engine.counts[LAUNCHED] += 1
                counts[LAUNCHED] += 1
            if self._emit is not None:
                self._emit(task)
            try:
                executor.submit_simple(task)
            except Exception as error:  # noqa: BLE001 - whatever stops a task is its outcome
                self._failed_to_launch(task, error)
        except BaseException:
            self._abandon([task])
            raise
        return future

    def _call_after(self, spec: AppSpec, args: tuple[Any, ...], parents: list[Task]) -> AppFuture[Any]:
        """A call that needs the results of tasks and nothing else: the most frequent of those that wait."""
        task = Task(spec, args, {}, self, _monotonic())
        future: AppFuture[Any] = AppFuture(task)
        task.future = future
        task.depends = tuple([value for value in args if type(value) is AppFuture])
        engine = self._engine
        try:
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
        except BaseException:
            self._abandon([task])
            raise
        return future

    def _abandon(self, tasks: list[Task]) -> None:
        """A call was interrupted, by a Ctrl-C, say: nobody has the futures of these, and not all of them may have got to where they end."""
        effects = Effects()
        with self._lock:
            for task in tasks:
                if self._engine.tasks.get(task.id) is task:  # else it was not submitted yet, or has ended
                    self._engine.cancel(task, f"{task} was cancelled because its call was interrupted", effects)
        self._apply(effects)

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
        futures = self._inputs.futures_of(args, kwargs)
        if "inputs" in kwargs and spec.accepts is not None and "inputs" not in spec.accepts:
            kwargs.pop("inputs")  # the task waits for them, whether its function takes them or not
        parents, others = self._inputs.sort(futures)
        effects = Effects()
        with self._lock:
            if self._closing:
                self._refuse_call()
            self._engine.add(task)
            if (
                futures or not self._inputs.deep
            ):  # a resolver of the user's has a say about arguments without futures too
                task.depends = tuple(futures)
        if self._emit is not None:
            asks = "" if (resources := resources_of(task)).is_default else str(resources)
            depends = sorted({parent.id for parent in parents})
            self._emit((TASK_SUBMITTED, task.submit_s, task.id, spec.name, depends, asks))
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
            if task.details is not None and task.details.cancel_reason:
                # by another thread, while this one submitted it
                self._engine.cancel(task, task.details.cancel_reason, effects)
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
                and self._usual
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
        many = len(tasks)
        try:
            with self._lock:
                if self._closing:
                    self._refuse_call()
                counts = engine.app_counts(spec.name)
                number = engine.submitted
                for task, future in zip(tasks, futures, strict=True):
                    task.future = future
                    task.id = number
                    number += 1
                entries = [(task.id, task) for task in tasks]
                engine.submitted = number
                engine.counts[LAUNCHED] += many
                counts[LAUNCHED] += many
                # The only call from the line above `submitted` on: a signal comes after it.
                engine.tasks.update(entries)
            if self._emit is not None:
                for task in tasks:
                    self._emit(task)
            for task, error in executor.submit_many(tasks):
                self._failed_to_launch(task, error)
        except BaseException:
            self._abandon(tasks)
            raise
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
        key = (identity_of(func), labels, cache, tuple(ignore_for_cache or ()), join)
        spec = self._specs.get(key)
        if spec is None:
            name = getattr(func, "__name__", type(func).__name__)
            if len(self._specs) >= _SPECS_KEPT:  # a program may submit a new function each time
                self._specs.clear()
            spec = self._specs[key] = AppSpec(
                func,
                name,
                "join" if join else "python",
                executors=labels,
                cache=cache,
                ignore_for_cache=ignore_for_cache or (),
            )
        return self.call(spec, tuple(app_args), dict(app_kwargs or {}))

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
        if (
            executor is not None
            and app.is_simple
            and self._usual
            and task.details is None
            and task.depends is not None
            and not task.kwargs
        ):
            args = results_of(task.args)
            if args is not None:
                self._launch_simple(task, args, executor, effects)
                return
        try:
            if task.depends is not None and task.attempt == 0:
                failures = failures_among(task.depends)
                if failures:
                    with self._lock:
                        self._engine.dependency_failed(task, failures, effects)
                    return
                task.args, task.kwargs = self._inputs.unwrap(task)
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
        try:
            executor = task.executor = candidates[0] if len(candidates) == 1 else min(candidates, key=_load)
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
        if known is None or known is task.future:  # noted at an earlier attempt
            return False
        if not isinstance(known, Future):
            raise TypeError(
                f"{type(self.memoizer).__name__}.check_memo() returned {known!r} for {task}; expected a future, or None"
            )
        if known.done():
            self._take_memo(task, known, effects)
        else:  # an equal call that has not ended: this thread has others to launch, perhaps what that one needs
            known.add_done_callback(lambda _: self._memo_ended(task, known))
        return True

    def _memo_ended(self, task: Task, known: Future[Any]) -> None:
        effects = Effects()
        self._take_memo(task, known, effects)
        self._apply(effects)

    def _take_memo(self, task: Task, known: Future[Any], effects: Effects) -> None:
        try:
            error = known.exception()
        except CancelledError as cancelled:
            error = cancelled
        with self._lock:
            self._engine.memoized(task, None if error is not None else known.result(), error, effects)

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
        with self._lock:
            self._ending.add(effects)
            rest = self._engine.succeed_many(outcomes, effects)
            if _VALIDATE:
                check(self._engine)
        try:
            self._endings.note_successes(outcomes)
            called: list[PlaitFuture[Any]] = []
            if rest and effects.settled:  # plug-ins that are asked about the rest may wait for what has ended
                called = self._endings.publish_all(effects.settled)
                effects.settled = []
            self._take_rest(rest, effects)
            self._apply(effects, called)
        finally:
            self._ending.discard(effects)

    def _take_rest(self, rest: list[Outcome], effects: Effects) -> None:
        """Outcomes that are no plain success."""
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

    def _take_failure(self, outcome: Outcome, effects: Effects) -> None:
        task, attempt, kind, error, start_s, stop_s, worker = outcome
        if kind == LOST:
            with self._lock:
                handled = self._engine.lose(task, attempt, error, effects)
            if handled:
                if task.state not in FINAL_STATES:
                    self._endings.note_attempt(task, attempt, error, lost=True)
                return
        cost: float = 1
        handler = self.config.retry_handler
        final = isinstance(error, JoinError)
        if handler is not None and task.app.retry is None and task.state == LAUNCHED and task.attempt == attempt:
            details = task.more()
            details.error = error  # the record counts this failure too
            try:
                cost = _checked_cost(handler(error, self.task_record(task)), task)
            except Exception as raised:  # noqa: BLE001 - the user's handler: its error becomes the task's
                raised.__context__ = error
                error, final = raised, True
            except BaseException as raised:  # noqa: BLE001 - sys.exit(), which would end this thread, and with it all that it brings
                said = f"{type(raised).__name__}: {text_of(raised)}"
                left = DataFlowException(
                    f"retry_handler raised {said} for {task}; to end the program, do so in its main thread"
                )
                left.__context__ = error
                error, final = left, True
            finally:
                details.error = None
        final = final or not self._can_escalate(task)
        with self._lock:
            if task.state == LAUNCHED and task.attempt == attempt:
                details = task.more()
                details.times = (start_s, stop_s, worker)
            self._engine.fail(task, attempt, error, effects, cost=cost, final=final)
        if task.state == PENDING:
            self._endings.note_attempt(task, attempt, error, lost=False)

    def _can_escalate(self, task: Task) -> bool:
        """Whether there is an executor for what the next attempt would ask for. If not, the error of this one says more than a refusal."""
        policy = task.app.retry
        if policy is None or not policy.escalate:
            return True
        asked = task.details.resources if task.details is not None else None
        wanted = policy.next_resources(asked or task.app.resources)
        try:
            self._candidates(task, wanted)
        except InvalidResourceSpecification as refusal:
            self._logger.info("%s is not tried again with more: %s", task, refusal.message)
            return False
        return True

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
        parents, others = self._inputs.sort(inner)
        with self._lock:
            current = task.state == LAUNCHED and task.attempt == attempt
            if current and self._waits_for(parents, task):
                circle = DataFlowException(
                    f"{task} returned a future that waits for {task} itself, so neither would ever end; "
                    "return futures of calls that need nothing of this one"
                )
                self._engine.fail(task, attempt, circle, effects, final=True)
                return
            if current:
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
        failures = failures_among(inner)
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

    def _waits_for(self, tasks: list[Task], wanted: Task) -> bool:
        """Whether any of them is the wanted one, or waits for it. The lock is held; only a join can close a circle."""
        seen = set(tasks)
        following = list(seen)
        for task in following:  # grows while it is walked
            if task is wanted:
                return True
            if task.state in {PENDING, JOINING} and task.depends:
                new = set(self._inputs.tasks_among(task.depends)) - seen
                seen |= new
                following += new
        return False

    # ------------------------------------------------------------------ effects
    def _open_gate(self) -> None:
        if self._gate is not None:
            self._gate.open()

    def _apply(self, effects: Effects, called: Sequence[PlaitFuture[Any]] = ()) -> None:
        """Does what follows from a decision, and from what that causes, until nothing is left; then calls back, which may take its time.

        Args:
            effects: what the decision entails.
            called: futures that were set before, and are called back with the others.
        """
        todo, ended = [effects], [*called]
        try:
            self._work_off(todo, ended)
        except (KeyboardInterrupt, SystemExit):
            # A signal: others wait for the rest, and what is done twice does no harm.
            self._work_off(todo, ended)
            raise

    def _work_off(self, todo: list[Effects], called: list[PlaitFuture[Any]]) -> None:
        while todo:
            effects = todo[0]
            for task in effects.stop:
                executor = task.executor
                if executor is not None:
                    executor.cancel(task, task.attempt)
            if effects.settled:
                self._endings.publish_all(effects.settled, called)
            effects.dropped.clear()
            following = Effects()
            todo.append(following)
            for task in effects.joined:
                self._end_join(task, following)
            for task, delay_s in effects.later:
                self._launch_later(task, delay_s)
            for task in effects.ready:
                self._launch(task, following)
            if not (following.settled or following.ready or following.joined or following.later or following.stop):
                todo.pop()
            todo.pop(0)
        if self._gate is not None:
            self._gate.look()
        _call_back(iter(called))

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
        try:
            with self._lock:
                if task.id < 0:  # a lifted one, which another thread is just submitting
                    task.more().cancel_reason = reason or f"{task.app.name} was cancelled"
                    return True
                if not self._engine.cancel(task, reason or f"{task} was cancelled", effects):
                    return task.state == CANCELLED
            self._apply(effects)
        except (KeyboardInterrupt, SystemExit):  # what has been cancelled is told: done twice it does no harm
            self._apply(effects)
            raise
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

    def check_waiting(self, task: Task) -> None:
        """Refuses to wait for it in a process that was forked from the run's: its end is not heard of there."""
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"{task} had not ended when this process was forked from the one that submitted it, and ends there only: "
                "wait for it there, or before the fork"
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
        except BaseException:
            self._abandon([task])
            raise

    def task_record(self, task: Task) -> TaskRecord:
        """The task as a mapping."""
        return TaskRecord(task)


def _call_back(futures: Iterator[PlaitFuture[Any]]) -> None:
    """Runs the callbacks of each; a signal that one of them meets is raised after the others."""
    try:
        for future in futures:
            future._run_callbacks()  # noqa: SLF001 - our own class
    except BaseException:
        _call_back(futures)
        raise


def _load(executor: Executor) -> float:
    status = executor.status()
    return (status.running + status.queued) / max(1, status.workers)


def _checked_cost(cost: Any, task: Task) -> float:
    """What a retry handler returned, if it can be added up."""
    if isinstance(cost, numbers.Real) and not math.isnan(cost):
        return cost  # type: ignore[return-value]
    raise TypeError(f"retry_handler returned {cost!r} for {task}; expected a number, what this failure costs")
