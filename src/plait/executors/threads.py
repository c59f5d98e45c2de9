"""`ThreadPoolExecutor`: threads of the driver. Nothing is sent anywhere; tasks may submit tasks."""

from __future__ import annotations

import contextlib
import heapq
import os
import signal
import threading
import time
from collections import deque
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from plait._util import machine, procs
from plait._util.threads import mark, runs
from plait._util.timers import Timers
from plait.errors import AppTimeout, ConfigurationError, ExecutorError, TaskExited, text_of
from plait.executors.base import ERROR, OK, Executor, ExecutorContext, ExecutorStatus, Outcome
from plait.executors.capacity import TOLERANCE, Capacity
from plait.executors.pool.core import is_plain, resources_of, walltime_of
from plait.executors.pool.prepare import call_of
from plait.futures import blocking
from plait.limits import GRACE_S, INTERRUPT_EXIT_S
from plait.model.events import ATTEMPT_STARTED
from plait.model.resources import DEFAULT
from plait.model.task import LAUNCHED
from plait.model.units import format_duration

if TYPE_CHECKING:
    import subprocess

    from plait.executors.pool.warden import Warden
    from plait.model.resources import Resources
    from plait.model.task import Task


class ThreadPoolExecutor(Executor):
    """Runs tasks in threads of the driver.

    A task that waits for another task lends its place meanwhile, so tasks that wait for tasks cannot fill the pool.

    A thread cannot be ended: a running Python task cannot be cancelled, and the future of one that exceeds its walltime fails in time while the
    thread goes on. Commands of bash apps are ended.

    Args:
        label: name of the executor.
        max_threads: tasks that run at once; one core each for tasks that ask for cores. Memory to give is what this process may use.
        thread_name_prefix: of the threads' names.
        storage_access: staging providers; for those who pass them.
        working_dir: where staged files go; for those who pass it.
        remote_monitoring_radio: accepted and not used: a thread's events need no radio.

    Raises:
        ConfigurationError: a value cannot work.
    """

    ends_running_tasks = False
    in_process = True
    restarts = True

    def __init__(
        self,
        label: str = "threads",
        max_threads: int = 2,
        thread_name_prefix: str | None = None,
        storage_access: list[Any] | None = None,
        working_dir: str | None = None,
        remote_monitoring_radio: Any = None,
    ) -> None:
        self.label = label
        self.max_threads = max_threads
        self.thread_name_prefix = thread_name_prefix or f"ThreadPoolExecutor-{label}"
        self.storage_access = storage_access
        self.working_dir = working_dir
        self.remote_monitoring_radio = remote_monitoring_radio
        self._reset()

    def _reset(self) -> None:
        """As before the first task."""
        if isinstance(self.max_threads, bool) or not isinstance(self.max_threads, int) or self.max_threads < 1:
            raise ConfigurationError(
                f"ThreadPoolExecutor(max_threads={self.max_threads!r}): expected a whole number from 1"
            )
        if not isinstance(self.label, str):
            raise ConfigurationError(f"ThreadPoolExecutor(label={self.label!r}): expected text")
        self._lock = threading.Lock()
        self._capacity = Capacity(self.max_threads)
        self._queue: deque[Task] = deque()  # plain tasks that wait
        self._special: list[tuple[float, int, Task]] = []  # others: heap of (priority, submission, task)
        self._ready: SimpleQueue[Task | None] = SimpleQueue()  # admitted, for a thread that has nothing to do
        self._running: set[tuple[Task, int]] = set()  # with the attempt
        self._dropped: set[tuple[Task, int]] = set()  # cancelled before they began
        self._commands: dict[tuple[Task, int], subprocess.Popen[bytes]] = {}  # that run
        self._cancelled: set[tuple[Task, int]] = set()  # tasks whose command is to end, or is not to begin
        self._threads: set[threading.Thread] = set()
        self._spare = 0  # threads that wait for something to do
        self._lent = 0  # threads that wait for other tasks, or go on after a walltime
        self._context: ExecutorContext | None = None
        self._warden: Warden | None = None
        self._timers = Timers(f"plait-timers-{self.label}", blocking)
        self._stopped = False

    def start(self, context: ExecutorContext) -> None:
        """Threads are started when there is something to do."""
        if self._stopped and self._threads:  # an earlier run used it
            raise ConfigurationError(
                f"{self!r}: tasks of its earlier run still run in its threads; make a new executor"
            )
        self._reset()  # also in the first run: programs assign `max_threads`
        self._context = context

    def submit(self, task: Task) -> None:
        """Takes a task."""
        if is_plain(task):
            self.submit_simple(task)
            return
        with self._lock:
            self._refuse_if_stopped()
            priority = resources_of(task).priority
            heapq.heappush(self._special, (float("inf") if priority is None else priority, task.id, task))
            self._admit()

    def submit_simple(self, task: Task) -> None:
        """Takes a plain task; without the lock when all places are taken: whoever gives one back looks into the queue after that."""
        self._refuse_if_stopped()
        self._queue.append(task)
        if self._special or self._capacity.used_cores + 1 <= self._capacity.cores + TOLERANCE:
            with self._lock:
                self._admit()

    def _refuse_if_stopped(self) -> None:
        if self._stopped or self._context is None:
            raise ExecutorError(self, "it does not run: it was not started, or is shut down")

    def cancel(self, task: Task, attempt: int) -> bool:
        """Drops a task that has not begun, and ends one that runs a command; a thread that runs Python cannot be ended."""
        key = (task, attempt)
        with self._lock:
            runs_command = key in self._running and task.app.kind == "bash"
            if runs_command:
                self._cancelled.add(key)
            command = self._commands.get(key)
        if command is not None:
            self._end_command(command)
        return runs_command or self.drop(task, attempt)

    def drop(self, task: Task, attempt: int) -> bool:
        """Drops a task that has not begun; False when it has."""
        with self._lock:
            if (task, attempt) in self._running:
                return False
            if task.state == LAUNCHED:  # not cancelled yet, so it could begin after all; later its state says enough
                self._dropped.add((task, attempt))
            elif not self._stopped:  # what waited behind it may fit
                self._admit()
            return True

    def status(self) -> ExecutorStatus:
        """How much it has to do."""
        return ExecutorStatus(self.max_threads, len(self._running), len(self._queue) + len(self._special))

    def check(self, resources: Resources) -> None:
        """Refuses what can never be given, with the numbers."""
        if (
            resources.memory_bytes and not self._capacity.memory_bytes
        ):  # few tasks ask, and looking takes half a millisecond
            self._capacity.memory_bytes = machine.available_memory_bytes()
        self._capacity.check(resources, self.label)

    def explain(self, task: Task) -> str:
        """Where a launched task stands."""
        if (task, task.attempt) in self._running:
            since = time.monotonic() - (task.launch_s or time.monotonic())
            return f"runs in a thread of executor {self.label!r} (given to it {format_duration(since)} ago)"
        status = self.status()
        return f"waits in executor {self.label!r} for a free thread: {status.running} tasks run on {status.workers} threads and {status.queued} wait"

    def shutdown(self, timeout_s: float) -> None:
        """Drops what waits, and gives threads that run tasks the time to finish; commands not when there is little of it, as after a Ctrl-C."""
        with self._lock:
            threads = list(self._threads)
            if not self._stopped:  # otherwise a Ctrl-C interrupted an earlier call, which this one continues
                self._stopped = True
                self._queue.clear()
                self._special.clear()
                for _ in threads:
                    self._ready.put(None)
        self._timers.stop()
        deadline_s = time.monotonic() + timeout_s
        if self._warden is not None and timeout_s <= INTERRUPT_EXIT_S:
            self._warden.end_commands(min(GRACE_S, timeout_s / 2))
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline_s - time.monotonic()))
        if self._warden is not None:  # whatever commands are still there, their time is over
            self._warden.close(GRACE_S)

    def _warden_env(self) -> tuple[tuple[str, str], ...]:
        """What marks commands as this executor's; starts the process that ends them when the driver goes away."""
        with self._lock:
            if self._warden is None:
                from plait.executors.pool.warden import Warden

                self._warden = Warden()
            return self._warden.env

    # ------------------------------------------------------------------ who runs next; all with the lock held
    def _next(self) -> Task | None:
        """The task whose turn it is, if it fits; it has its resources then."""
        special, queue, capacity = self._special, self._queue, self._capacity
        while queue and queue[0].state != LAUNCHED:
            task = queue.popleft()
            self._dropped.discard((task, task.attempt))
        while special and special[0][2].state != LAUNCHED:
            task = heapq.heappop(special)[2]
            self._dropped.discard((task, task.attempt))
        if special and (not queue or special[0][0] < float("inf") or special[0][1] < queue[0].id):
            task = special[0][2]
            resources = resources_of(task)
            if not capacity.fits(resources):
                return None
            heapq.heappop(special)
            capacity.take(resources)
            return task
        if queue and capacity.used_cores + 1 <= capacity.cores + TOLERANCE:
            task = queue[0]
            capacity.used_cores += 1
            del queue[0]
            return task
        return None

    def _admit(self) -> None:
        """Gives threads what fits.

        A Ctrl-C may come after any call of what is written in C: from the taking of a plain task to its being given there is none.
        """
        while self._queue or self._special:
            if self._spare <= 0:
                if not self._has_next():
                    return
                self._start_thread()
                self._spare += 1
            task = self._next()
            if task is None:
                return
            self._spare -= 1
            self._ready.put(task)

    def _has_next(self) -> bool:
        """Whether something fits, unless it was cancelled meanwhile."""
        capacity, special = self._capacity, self._special
        plain = bool(self._queue) and capacity.used_cores + 1 <= capacity.cores + TOLERANCE
        return plain or (bool(special) and capacity.fits(resources_of(special[0][2])))

    def _start_thread(self, task: Task | None = None, call: tuple[Any, Any] | None = None) -> None:
        thread = threading.Thread(
            target=self._work, args=(task, call), name=f"{self.thread_name_prefix}_{len(self._threads)}", daemon=True
        )
        thread.start()  # which may fail
        self._threads.add(thread)  # before it takes itself away: the lock is held

    # ------------------------------------------------------------------ the threads
    def _work(self, task: Task | None, call: tuple[Any, Any] | None) -> None:
        mark()
        slot = _Slot(self)
        blocking.before, blocking.after = slot.lend, slot.take_back
        context = self._context
        assert context is not None  # noqa: S101 - set by start
        if task is not None:  # another thread began it
            slot.begin(task)
        me = threading.current_thread()
        try:
            with self._lock:  # a Ctrl-C may have come before who started it could note it
                if self._stopped and me not in self._threads:
                    return
                self._threads.add(me)
            while True:
                if task is None:
                    task = self._ready.get()
                    if task is None:
                        return
                    with self._lock:
                        call = self._begin(task, slot)
                attempt = task.attempt
                outcome = None if call is None else self._run(task, attempt, slot, *call)
                had = call, outcome  # let go without the lock: a finalizer of the user's may call apps
                with self._lock:  # the end of one task and the beginning of the next
                    self._running.discard((task, attempt))
                    if (task, attempt) in self._cancelled:  # it ended because of that, maybe before the engine knows
                        self._cancelled.discard((task, attempt))
                        outcome = None
                    task = call = None
                    surplus = slot.finish()
                    if not self._stopped and not surplus:
                        task = self._next()
                        if task is None:
                            self._spare += 1
                        else:
                            call = self._begin(task, slot)
                        if self._queue or self._special:  # it may have had room for several
                            self._admit()
                del had
                if outcome is not None:
                    slot.next = None if surplus else (task, call)
                    context.deliver([outcome])
                    if slot.next is None:  # one too many, or another goes on
                        return
                    slot.next = None
                elif surplus:
                    return
                del outcome
        finally:
            with self._lock:
                self._threads.discard(me)

    def _begin(self, task: Task, slot: _Slot) -> tuple[Any, Any] | None:
        """Notes that the thread begins a task (the lock is held); its arguments, or None when it is not to be run."""
        key = (task, task.attempt)
        self._running.add(key)
        slot.begin(task)
        args, kwargs = task.args, task.kwargs
        if key in self._dropped:
            self._dropped.discard(key)
            return None
        if task.state != LAUNCHED or args is None or kwargs is None:
            return None
        return args, kwargs

    def _run(self, task: Task, attempt: int, slot: _Slot, args: Any, kwargs: Any) -> Outcome | None:
        context = self._context
        assert context is not None  # noqa: S101 - set by start
        start_s = time.monotonic()
        if context.emit is not None:
            context.emit((ATTEMPT_STARTED, start_s, task.id, attempt, self.label, -1))
        walltime_s = walltime_of(task)
        if walltime_s is not None and task.app.kind != "bash":
            self._timers.at(start_s + walltime_s, lambda: self._timed_out(task, attempt, walltime_s, slot))
        try:
            how = call_of(task)  # refuses impossible streams
            runs(task)
            if how is None:
                result = task.app.func(*args, **kwargs)
            else:
                from plait.executors.pool.call import run_call

                began = None
                if how.kind == "bash":
                    how = how._replace(env=(*how.env, *self._warden_env()))
                    began = partial(self._command_began, (task, attempt))
                result = run_call(task.app.func, args, kwargs, how, in_thread=True, began=began)
        except Exception as error:  # noqa: BLE001 - boundary: whatever a task raises is its outcome
            return task, attempt, ERROR, error, start_s, time.monotonic(), -1
        except BaseException as error:  # noqa: BLE001 - SystemExit and its like
            wrapped = TaskExited(type(error).__name__, text_of(error)).with_traceback(error.__traceback__)
            return task, attempt, ERROR, wrapped, start_s, time.monotonic(), -1
        finally:
            runs(None)
            if self._commands:
                with self._lock:
                    self._commands.pop((task, attempt), None)
        return task, attempt, OK, result, start_s, time.monotonic(), -1

    def _command_began(self, key: tuple[Task, int], command: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._commands[key] = command
            cancelled = key in self._cancelled
        if cancelled:
            self._end_command(command)

    def _end_command(self, command: subprocess.Popen[bytes]) -> None:
        """Ends it with what is below it; the thread that waits for it ends what detached itself."""
        _signal_tree(command, signal.SIGTERM)
        self._timers.after(GRACE_S, lambda: _signal_tree(command, signal.SIGKILL))

    def _timed_out(self, task: Task, attempt: int, walltime_s: float, slot: _Slot) -> None:
        with self._lock:
            if (task, attempt) not in self._running or slot.task is not task:
                return
        slot.lend()
        error = AppTimeout(
            f"{task} ran longer than its walltime of {format_duration(walltime_s)}; a thread cannot be ended, so it goes on in the background. "
            "Use ProcessPoolExecutor for tasks that must be ended."
        )
        assert self._context is not None  # noqa: S101 - set by start
        self._context.deliver([(task, attempt, ERROR, error, 0.0, 0.0, -1)])


def _signal_tree(command: subprocess.Popen[bytes], number: int) -> None:
    if command.returncode is not None:  # somebody else may have its number
        return
    below = procs.descendants(command.pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(command.pid, number)
    procs.signal_all(below, number)


class _Slot:
    """The place of a thread: what its task uses, and whether it is lent to others."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self.task: Task | None = None
        #: What the thread does after it has delivered an outcome, while it does that.
        self.next: tuple[Task | None, tuple[Any, Any] | None] | None = None
        self._resources: Resources = DEFAULT
        self._lent = 0

    def begin(self, task: Task) -> None:
        """The thread begins a task, whose resources were taken when it was admitted."""
        self.task = task
        self._resources = DEFAULT if is_plain(task) else resources_of(task)

    def finish(self) -> bool:
        """The task ended (the lock is held). Whether the thread is one too many now."""
        pool = self._pool
        self.task = None
        if self._lent:
            pool._lent -= 1  # noqa: SLF001 - its own pool
            self._lent = 0
            return True
        pool._capacity.give_back(self._resources)  # noqa: SLF001
        return False

    def lend(self) -> None:
        """The thread will not go on for a while: others may have its place."""
        pool = self._pool
        with pool._lock:  # noqa: SLF001
            following, self.next = self.next, None
            if following is not None:  # it is a callback of the user's that waits
                self.task = None
                pool._start_thread(*following)  # noqa: SLF001
                return
            if self.task is None:
                return
            self._lent += 1
            if self._lent == 1:
                pool._lent += 1  # noqa: SLF001
                pool._capacity.give_back(self._resources)  # noqa: SLF001
                pool._admit()  # noqa: SLF001

    def take_back(self) -> None:
        """The thread goes on; for a moment there may be one more than the pool's number."""
        pool = self._pool
        with pool._lock:  # noqa: SLF001
            if self.task is None or not self._lent:
                return
            self._lent -= 1
            if self._lent == 0:
                pool._lent -= 1  # noqa: SLF001
                pool._capacity.take(self._resources)  # noqa: SLF001
