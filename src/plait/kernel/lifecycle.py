"""The beginning and the end of a run: directory, log, journal, executors, signals, cleanup.

Start: run directory and log, event stream, executors, progress.
Stop: intake, tasks, executors, progress, events; each step within its own time, and none is skipped because an earlier one failed.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime  # noqa: ICN001 - its own name says more
import logging
import os
import platform
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

from plait._util import procs
from plait._util.dirs import make_numbered_dir
from plait._util.threads import running
from plait._util.timers import Timers
from plait.clock import SystemClock
from plait.configfile import system
from plait.dataflow.engine import Effects
from plait.errors import ConfigurationError, InvalidResourceSpecification, NoDataFlowKernelError, UnknownExecutor
from plait.executors.base import ExecutorContext
from plait.executors.threads import ThreadPoolExecutor
from plait.futures import blocking
from plait.ids import new_run_id
from plait.kernel.signals import leave_on_signals
from plait.limits import GRACE_S, INTERRUPT_EXIT_S, SHUTDOWN_S
from plait.model.events import RUN_ENDED, RUN_STARTED, SCHEMA_VERSION
from plait.model.resources import DEFAULT
from plait.model.task import FINAL_STATES, AppSpec, Task, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self

    from plait.config import Config
    from plait.dataflow.engine import Engine
    from plait.executors.base import Executor
    from plait.kernel.endings import Endings
    from plait.kernel.gate import Gate
    from plait.model.resources import Resources

logging.getLogger("plait").addHandler(logging.NullHandler())

#: Label of the threads that run the bodies of join apps and lifted operations.
INTERNAL = "_plait_internal"

#: Of the time that a cleanup may take: what executors get. Closing files and leaving the interpreter take the rest.
_SHARE_OF_EXECUTORS: Final = 0.9

#: Seconds for what is left of a cleanup when another signal comes while it is in a hurry: all must leave at once.
_AT_ONCE_S: Final = 0.05

#: Called with each kernel before it starts. The command line replaces parts of its configuration in this way.
before_start: list[Callable[[Any], None]] = []

_live: weakref.WeakSet[Lifecycle] = weakref.WeakSet()


class Lifecycle:
    """What a kernel is apart from its tasks."""

    _lock: threading.Lock
    _engine: Engine
    _endings: Endings
    _failures: dict[tuple[str, str], list[int]]
    _gate: Gate | None
    memoizer: Any

    def __init__(self, config: Config) -> None:
        self.config = config
        self.run_id = new_run_id()
        self.cleanup_called = False
        self._executors: dict[str, Executor] = {}
        self.on_cleanup: list[Callable[[], None]] = []
        self._logger = logging.getLogger("plait")
        self._pid = os.getpid()
        self._closing = False
        self._ending: set[Effects] = set()  # of outcomes that the engine has taken, while their futures are being set
        self._leaving = False  # by the end of its block or of the program, which do not wait for tasks
        self._closed = threading.Event()
        self._cleanup_lock = threading.Lock()
        self._run_dir: str | None = None
        self._run_dir_lock = threading.Lock()
        self._wall_offset_s = time.time() - time.monotonic()
        self._close_log: Callable[[], None] = _nothing
        self._emit: Callable[[Any], None] | None = None
        self._stream: Any = None
        self._meter: Any = None  # of what blocks cost
        self._progress: Any = None
        self._only: Executor | None = None
        self._timers = Timers("plait-timers", blocking)
        self._lift_item = AppSpec(_getitem, "item", "lift", executors=(INTERNAL,))
        self._lift_attr = AppSpec(getattr, "attribute", "lift", executors=(INTERNAL,))
        self._restore_signals: Callable[[], None] = lambda: None
        try:
            self._start()
        except BaseException:
            self.cleanup()
            raise

    # ------------------------------------------------------------------ start
    def _start(self) -> None:
        for prepare in before_start:
            prepare(self)
        config = self.config
        if config.initialize_logging:
            self._start_log()
        self.memoizer.start(run_dir=self._run_dir or "", config_run_dir=config.run_dir)
        internal = ThreadPoolExecutor(INTERNAL, config.internal_tasks_max_threads, thread_name_prefix="plait-internal")
        self._add(internal)
        self.add_executors(config.executors)
        self._restore_signals = leave_on_signals()
        atexit.register(self._at_exit)
        _live.add(self)
        self._start_progress()

    def _start_log(self) -> None:
        from plait.monitoring.journal import EventStream, Journal

        directory = self.run_dir
        self._close_log = self._open_log(directory)
        sinks: list[Any] = [Journal(directory)]
        if any(getattr(executor, "provider", None) is not None for executor in self.config.executors):
            from plait.monitoring.usage import UsageMeter

            self._meter = UsageMeter()
            sinks.append(self._meter)
        self._stream = EventStream(sinks)
        self._emit = self._endings.emit = self._stream.emit
        self._emit((RUN_STARTED, time.monotonic(), time.time(), self.run_id, SCHEMA_VERSION, _version(), platform.python_version(),
                    platform.node(), os.getpid(), script_name(), [e.label for e in self.config.executors], procs.number_space()))  # fmt: skip
        self._stream.flush()  # if this process is killed now, others shall know whose blocks are left
        self._logger.info(
            "run %s in %s: plait %s, Python %s, %s",
            self.run_id,
            directory,
            _version(),
            platform.python_version(),
            self.config,
        )

    def _open_log(self, directory: str) -> Callable[[], None]:
        """Begins to write the log of the run; the returned function ends it."""
        handler = _RunLog(os.path.join(directory, "plait.log"), encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handler.setLevel(logging.INFO)
        handler.addFilter(lambda record: not record.name.startswith("concurrent"))
        self._logger.addHandler(handler)
        if self._logger.level == logging.NOTSET:
            self._logger.setLevel(logging.INFO)

        def close() -> None:
            self._logger.removeHandler(handler)
            with contextlib.suppress(OSError):  # what a full disk did not take
                handler.close()

        return close

    def _start_progress(self) -> None:
        if self.config.progress is False:
            return
        from plait.monitoring import display

        if self.config.progress or display.is_wanted():
            self._progress = display.start(self)

    def add_executors(self, executors: Iterable[Executor]) -> None:
        """Starts more executors.

        Raises:
            ConfigurationError: a label is taken, or an executor belongs to another kernel.
            NoDataFlowKernelError: the run is over.
        """
        if self.cleanup_called or os.getpid() != self._pid:
            self._refuse_call()  # nobody would end them
        if not hasattr(executors, "__iter__"):
            raise ConfigurationError(f"add_executors({executors!r}): expected a list of executors")
        for executor in executors:
            if system.files():
                from plait.configfile.rules import enforce

                enforce(executor)  # it may have been changed since its configuration was made, or have none
            self._add(executor)
        usable = [executor for label, executor in self._executors.items() if label != INTERNAL]
        self._only = usable[0] if len(usable) == 1 and not self.memoizer.every_task else None

    def _add(self, executor: Executor) -> None:
        if not hasattr(executor, "label"):
            raise ConfigurationError(f"add_executors([… {executor!r} …]): expected executors")
        if executor.label in self._executors:
            raise ConfigurationError(f"executor {executor!r}: the label {executor.label!r} is taken")
        if executor.run_id is not None:
            raise ConfigurationError(f"executor {executor!r} belongs to another run, {executor.run_id}; make a new one")
        executor.run_id = self.run_id
        log_dir = self._log_dir if self.config.initialize_logging else None
        config = self.config
        context = ExecutorContext(
            self.deliver,  # type: ignore[attr-defined]
            self._emit,
            log_dir,
            SystemClock(),
            config.strategy,
            config.strategy_period,
            config.max_idletime,
        )
        try:
            executor.start(context)
        except BaseException:
            executor.run_id = None  # what was wrong may be put right, and the executor used after all
            raise
        self._executors = {**self._executors, executor.label: executor}  # a new one: others may be walking the old one
        if self.cleanup_called:  # meanwhile, by another thread, which may not have seen it
            self._shut_down(executor, time.monotonic() + SHUTDOWN_S)
            self._refuse_call()

    # ------------------------------------------------------------------ places and times
    @property
    def run_dir(self) -> str:
        """The run's own folder; made when it is first asked for."""
        with self._run_dir_lock:
            if self._run_dir is None:
                self._run_dir = make_numbered_dir(self.config.run_dir)
            return self._run_dir

    def _log_dir(self, label: str) -> str:
        path = os.path.join(self.run_dir, label)
        os.makedirs(path, mode=0o700, exist_ok=True)
        return os.path.abspath(path)

    def wall_time(self, monotonic_s: float | None) -> datetime.datetime | None:
        """The date and time of a moment of the monotonic clock."""
        return None if monotonic_s is None else datetime.datetime.fromtimestamp(monotonic_s + self._wall_offset_s)  # noqa: DTZ006 - local time

    def default_std_autopath(self, task: Any, kind: str) -> str:
        """Where AUTO_LOGNAME points to: ``task_logs/0000/task_0017_name_label.stdout`` in the run's folder.

        Args:
            task: the task, or its record.
            kind: ``stdout`` or ``stderr``.
        """
        if not isinstance(task, Task):
            task = task.task
        label = f"_{task.details.label}" if task.details is not None and task.details.label else ""
        name = f"task_{task.id:04d}_{task.app.name}{label}.{kind}".replace("/", "_")
        return os.path.join(self.run_dir, "task_logs", f"{task.id // 10000:04d}", name)

    def _autopath(self, task: Task, kind: str) -> Any:
        chosen = self.config.std_autopath
        return self.default_std_autopath(task, kind) if chosen is None else chosen(self.task_record(task), kind)  # type: ignore[attr-defined]

    # ------------------------------------------------------------------ looking
    @property
    def executors(self) -> dict[str, Any]:
        """The executors by label, the one for the run's own tasks included."""
        return dict(self._executors)

    @property
    def task_count(self) -> int:
        """Number of tasks submitted so far."""
        return self._engine.submitted

    @property
    def tasks(self) -> dict[int, Any]:
        """Records of tasks by id; of ended ones too when ``garbage_collect`` is False."""
        with self._lock:
            tasks = list(self._engine.tasks.values())
        return {task.id: self.task_record(task) for task in tasks}  # type: ignore[attr-defined]

    @property
    def task_state_counts(self) -> dict[TaskState, int]:
        """Number of tasks in each state."""
        return {TaskState(state): count for state, count in self._engine.counts.items()}

    @property
    def app_counts(self) -> dict[str, dict[int, int]]:
        """Number of tasks in each state, for each app."""
        return {name: dict(counts) for name, counts in list(self._engine.apps.items())}

    @property
    def failures(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Failed tasks, grouped: (error, app) to (how many, number of the first)."""
        return {key: (count, first) for key, (count, first) in list(self._endings.failures.items())}

    @property
    def usages(self) -> list[Any]:
        """What the blocks of each executor cost until now, and what of it was useful (`monitoring.usage.Usage`); empty without a journal."""
        if self._meter is None:
            return []
        self._stream.flush()
        return list(self._meter.usages(time.monotonic()))

    def log_task_states(self) -> None:
        """Writes the counts of states to the log."""
        counts = ", ".join(f"{state.name}: {count}" for state, count in self.task_state_counts.items() if count)
        self._logger.info("tasks by state: %s", counts or "none")

    def wait_for_current_tasks(self) -> None:
        """Waits until all tasks that were submitted before this call have ended.

        Raises:
            NoDataFlowKernelError: this process was forked from the one that loaded plait; it would wait for ever.
            RuntimeError: the call comes from a task, which would wait for itself.
        """
        if os.getpid() != self._pid:
            self._refuse_call()
        if (task := running()) is not None:
            raise RuntimeError(
                f"wait_for_current_tasks() in {task} would wait for this task too, for ever; wait for the futures that it needs"
            )
        with self._lock:
            futures = [task.future for task in self._engine.tasks.values()]
            futures += [ended[0].future for effects in list(self._ending) for ended in effects.settled]
        for future in futures:
            if future is not None and not future.done():
                with contextlib.suppress(CancelledError):
                    future.exception()

    # ------------------------------------------------------------------ choosing executors
    def _candidates(self, task: Task, resources: Resources | None = None) -> list[Executor]:
        """The executors that may run a task.

        Args:
            task: which one.
            resources: what it is to have; None for what it asks for.

        Raises:
            UnknownExecutor: a label that no executor has.
            InvalidResourceSpecification: no executor can ever give what the task asks for.
        """
        spec = task.app
        details = task.details
        if resources is None:
            resources = details.resources if details is not None and details.resources is not None else spec.resources
        if spec.kind == "join":
            return [self._executors[INTERNAL]]
        if spec.executors is None:
            candidates = (
                [self._only]
                if self._only is not None
                else [e for label, e in self._executors.items() if label != INTERNAL]
            )
            if self._only is None and (
                resources is None or not resources.nodes
            ):  # whole nodes are not for those who do not ask for them
                candidates = [e for e in candidates if not getattr(e, "gives_nodes", False)] or candidates
        else:
            unknown = [label for label in spec.executors if label not in self._executors]
            if unknown or not spec.executors:
                known = ", ".join(repr(label) for label in self._executors if label != INTERNAL)
                raise UnknownExecutor(f"app {spec.name}: executors={list(spec.executors)!r}: expected some of {known}")
            candidates = [self._executors[label] for label in spec.executors]
        asks = resources is not None and resources != DEFAULT
        walltime_s = details.walltime_s if details is not None and details.walltime_s is not None else spec.walltime_s
        if not asks and walltime_s is None:
            return candidates
        refusal: InvalidResourceSpecification | None = None
        able = []
        for executor in candidates:
            try:
                if asks and resources is not None:
                    executor.check(resources)
                if walltime_s is not None:
                    executor.check_walltime(walltime_s)
                able.append(executor)
            except InvalidResourceSpecification as error:
                refusal = error
        if refusal is not None and not able:
            raise refusal
        return able

    def _refuse_call(self) -> NoReturn:
        raise NoDataFlowKernelError(
            "this process was forked from the one that loaded plait; call plait.load() here to submit tasks"
            if os.getpid() != self._pid
            else "the kernel of this app was cleaned up; load another with plait.load()"
        )

    # ------------------------------------------------------------------ the end
    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        mode = self.config.exit_mode
        if mode == "skip" or os.getpid() != self._pid:  # a child that user code forked inside the block leaves it, too
            return
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        try:
            if mode == "wait" and kind is None:
                self.wait_for_current_tasks()
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            says_so = self._progress is not None or self.config.progress is False
            self._leaving = True
            self.cleanup(INTERRUPT_EXIT_S if interrupted else SHUTDOWN_S)
            self._closed.wait(SHUTDOWN_S)  # another thread may be about it
            if interrupted and not says_so:
                self._report_interrupt()

    def _report_interrupt(self) -> None:
        """Says what became of a run that a Ctrl-C ended, where no display does."""
        from plait.monitoring import display

        if not display.is_silenced():
            print(f"plait: interrupted: {self._sentence()}", file=sys.stderr)  # noqa: T201 - to whoever sits there

    def cleanup(self, timeout_s: float = SHUTDOWN_S) -> None:
        """Ends the run: unfinished tasks are cancelled, executors shut down, files closed. Calling it again does nothing.

        Args:
            timeout_s: seconds that it may take.
        """
        if os.getpid() != self._pid:  # the driver's run is not ours to end
            return
        with self._cleanup_lock:
            if self.cleanup_called:
                self._restore_signals()  # another thread may have ended the run: it could not
                return
            self.cleanup_called = True
        self._clean_up_whatever_comes(timeout_s)

    def _clean_up_whatever_comes(self, timeout_s: float) -> None:
        """Continues after a signal: in a hurry after the first, at once after the next."""
        try:
            self._cleanup(timeout_s)
        except (KeyboardInterrupt, SystemExit):
            if timeout_s > _AT_ONCE_S:
                self._clean_up_whatever_comes(INTERRUPT_EXIT_S if timeout_s > INTERRUPT_EXIT_S else _AT_ONCE_S)
            raise

    def _cleanup(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + _SHARE_OF_EXECUTORS * timeout_s
        with self._lock:
            self._closing = True
        hurried = timeout_s <= INTERRUPT_EXIT_S
        steps: list[Callable[[], object]] = [
            self._open_gate,  # type: ignore[attr-defined]
            partial(self._give_up_tasks, everything=hurried),
            *(partial(self._shut_down, executor, deadline_s) for executor in self._executors.values()),
            lambda: self._give_up_tasks(everything=True),
            self._timers.stop,
            self.memoizer.close,
            self._end_progress,
            self._end_log,
            lambda: atexit.unregister(self._at_exit),
            self._restore_signals,
            *self.on_cleanup,
        ]
        for step in steps:
            try:
                step()
            except Exception:
                self._logger.exception("a step of the cleanup failed; the others go on")
        _live.discard(self)
        self._closed.set()

    def _shut_down(self, executor: Executor, deadline_s: float) -> None:
        left_s = max(0.05, deadline_s - time.monotonic())
        executor.shutdown(min(left_s, GRACE_S) if self._leaving and executor.in_process else left_s)
        if executor.restarts:
            executor.run_id = None  # the next run may have it

    def _give_up_tasks(self, *, everything: bool = False) -> None:
        """Cancels tasks that have not ended; those that run in threads only when their time is over, commands of threads when a block is left."""
        effects = Effects()
        with self._lock:
            for task in list(self._engine.tasks.values()):
                if task.state in FINAL_STATES:
                    continue
                executor = task.executor
                if (
                    not everything
                    and executor is not None
                    and not executor.ends_running_tasks
                    and not (executor.cancel if self._leaving else executor.drop)(task, task.attempt)
                ):
                    continue
                self._engine.cancel(
                    task, f"{task} was cancelled because the kernel was cleaned up before it ended", effects
                )
        self._apply(effects)  # type: ignore[attr-defined]

    def _end_progress(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _end_log(self) -> None:
        sentence = self._sentence()
        self._logger.info("run %s ended: %s", self.run_id, sentence)
        if self._stream is not None:
            self._emit_end(sentence)
            self._stream.close()
        close, self._close_log = self._close_log, _nothing
        close()

    def _sentence(self) -> str:
        from plait.monitoring.summary import closing_sentence

        return closing_sentence(self.task_state_counts, self.failures, self.usages)

    def _emit_end(self, sentence: str) -> None:
        if self._emit is not None:
            self._emit((RUN_ENDED, time.monotonic(), time.time(), sentence))

    def _at_exit(self) -> None:
        if self.cleanup_called or os.getpid() != self._pid:
            return
        left = sum(task.state not in FINAL_STATES for task in list(self._engine.tasks.values()))
        if left:
            what = f"{left} tasks are unfinished; they are" if left > 1 else "1 task is unfinished; it is"
            message = (
                f"plait: the program ends while {what} cancelled. "
                "Wait for the futures, call plait.wait_for_current_tasks(), or use `with plait.load(Config(exit_mode='wait')):`."
            )
            self._logger.warning(message)
            print(message, file=sys.stderr)  # noqa: T201 - to whoever sits there
        # what the interpreter notes when an exception ends the program
        interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
        self._leaving = True
        with contextlib.suppress(KeyboardInterrupt, SystemExit):  # signals that hurried it: here is nobody to tell
            self.cleanup(INTERRUPT_EXIT_S if interrupted else SHUTDOWN_S)


def _nothing() -> None:
    """Nothing to do."""


class _RunLog(logging.FileHandler):
    """The log of a run. A line that another thread is just writing when the run ends must not open the file again, as the base does."""

    _has_failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line, unless the file was closed."""
        if self.stream is not None:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base's name
        """Says once that the disk is full, say; the base writes a traceback for every line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._has_failed:
            self._has_failed = True
            print(f"plait: {self.baseFilename} cannot be written ({error}); the run goes on", file=sys.stderr)  # noqa: T201 - nowhere else to say so


def _getitem(value: Any, key: Any) -> Any:
    return value[key]


def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("plait")


def script_name() -> str:
    """Name of the program that runs."""
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    return os.path.basename(path) if path else "interactive"


def _in_forked_child() -> None:
    """User code forked the driver: the kernel stays the parent's."""
    for kernel in list(_live):
        kernel._closing = True  # noqa: SLF001 - this module's own class
        kernel._gate = None  # noqa: SLF001 - nothing ends here: whoever waits for room would wait for ever
        kernel._lock = threading.Lock()  # noqa: SLF001 - a thread that is not here may hold the old one
    _live.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
