"""``parsl.dataflow.dflow``: plait's kernel with upstream's meanings."""

from __future__ import annotations

import datetime as dt
import functools
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plait.kernel.kernel
from plait.compat.parsl.config import Config
from plait.compat.parsl.dataflow.dependency_resolvers import SHALLOW_DEPENDENCY_RESOLVER
from plait.compat.parsl.dataflow.states import States
from plait.compat.parsl.dataflow.taskrecord import INTERNAL, TaskRecord
from plait.compat.parsl.executors.base import PluginExecutor, as_plait
from plait.compat.parsl.executors.threads import ThreadPoolExecutor
from plait.compat.parsl.jobs.strategy import Strategy
from plait.compat.parsl.logconfigs.base import LogConfig
from plait.compat.parsl.logconfigs.file import FileLogging
from plait.compat.parsl.version import VERSION
from plait.errors import ConfigurationError, InvalidResourceSpecification, NoDataFlowKernelError, UnknownExecutor
from plait.futures import AppFuture, DataFuture
from plait.kernel.lifecycle import INTERNAL as PLAIT_INTERNAL
from plait.kernel.lifecycle import script_name
from plait.kernel.loader import DataFlowKernelLoader as _Loader
from plait.model.resources import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from plait.compat.parsl.jobs.job_status_poller import JobStatusPoller
    from plait.executors.base import Executor
    from plait.model.resources import Resources
    from plait.model.task import AppSpec, Task

__all__ = ["DataFlowKernel", "DataFlowKernelLoader"]

_logger = logging.getLogger("parsl")


class DataFlowKernel(plait.kernel.kernel.DataFlowKernel):
    """One run."""

    refusals_in_futures = (InvalidResourceSpecification, UnknownExecutor)
    config: Any

    monitoring = None

    def __init__(self, config: Config) -> None:
        if not isinstance(config, Config):
            raise ConfigurationError(f"DataFlowKernel({config!r}): expected a parsl.Config")
        self._given = config
        self.workflow_name = script_name()
        self.workflow_version = str(dt.datetime.now().astimezone().replace(microsecond=0, tzinfo=None))
        self.dependency_resolver = config.dependency_resolver or SHALLOW_DEPENDENCY_RESOLVER
        stop_forwarding = _forward_log()
        try:
            super().__init__(config.as_plait())
        except BaseException:
            stop_forwarding()
            raise
        self.on_cleanup.append(stop_forwarding)
        self.config = config
        if isinstance(config.initialize_logging, LogConfig):
            from plait.compat.parsl.logconfigs._tasks import TaskLog

            self._stream.add(TaskLog(self.run_id, self._wall_offset_s))
        if isinstance(config.strategy, Strategy):
            self.job_status_poller  # noqa: B018 - from its making on it asks the strategy
        _logger.info("parsl %s, run %s", VERSION, self.run_id)
        _logger.info("%r", config)

    # ------------------------------------------------------------------ executors
    @property
    def executors(self) -> dict[str, Any]:
        """The executors by label, as they were given."""
        found = {label: _as_given(executor) for label, executor in self._executors.items() if label != PLAIT_INTERNAL}
        if PLAIT_INTERNAL in self._executors:
            found[INTERNAL] = self._executors[PLAIT_INTERNAL]
        return found

    def add_executors(self, executors: Iterable[Any]) -> None:
        ready = [as_plait(executor) for executor in executors]
        for executor in ready:
            if isinstance(executor, PluginExecutor):
                executor.plugin.run_id = self.run_id
                executor.plugin.run_dir = lambda: self.run_dir
            elif "_run_dir" in vars(executor):
                executor.run_dir = lambda: self.run_dir  # type: ignore[attr-defined]
            provider = getattr(_as_given(executor), "provider", None)
            if provider is not None and self._given.initialize_logging:
                provider.script_dir = self._log_dir(
                    "submit_scripts"
                )  # also for plug-ins that submit jobs when they start
        super().add_executors(ready)
        if "job_status_poller" in vars(self):  # those of the configuration are there before it is
            self.job_status_poller.add_executors(_with_blocks(map(_as_given, ready)))

    @functools.cached_property
    def job_status_poller(self) -> JobStatusPoller:
        """Shows the executors that have blocks. Each keeps its own."""
        from plait.compat.parsl.jobs.job_status_poller import JobStatusPoller

        config = self._given
        poller = JobStatusPoller(
            strategy=config.strategy, max_idletime=config.max_idletime, strategy_period=config.strategy_period
        )
        poller.add_executors(_with_blocks(self.executors.values()))
        return poller

    def read_specification(self, task: Task, spec: dict[str, Any]) -> tuple[Resources, float | None]:
        """Plug-ins and threads judge a specification themselves; plait's other executors know what plait knows."""
        if all(isinstance(executor, (PluginExecutor, ThreadPoolExecutor)) for executor in super()._candidates(task)):
            return task.app.resources or DEFAULT, None
        return super().read_specification(task, spec)

    def _candidates(self, task: Task, resources: Resources | None = None) -> list[Executor]:
        candidates = super()._candidates(task, resources)
        details = task.details
        if details is None or not details.spec:
            return candidates
        refusal: InvalidResourceSpecification | None = None
        able = []
        for executor in candidates:
            try:
                if isinstance(executor, ThreadPoolExecutor):
                    executor.check_specification(details.spec)
                able.append(executor)
            except InvalidResourceSpecification as error:
                refusal = error
        if refusal is not None and not able:
            raise refusal
        return able

    # ------------------------------------------------------------------ tasks
    def call(self, spec: AppSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AppFuture[Any]:
        if spec.executors and INTERNAL in spec.executors:
            spec.executors = tuple(PLAIT_INTERNAL if label == INTERNAL else label for label in spec.executors)
        return super().call(spec, args, kwargs)

    def submit(
        self,
        func: Callable[..., Any],
        app_args: Sequence[Any],
        executors: str | Sequence[str] = "all",
        cache: bool = False,
        ignore_for_cache: Sequence[str] | None = None,
        app_kwargs: dict[str, Any] | None = None,
        join: bool = False,
    ) -> AppFuture[Any]:
        return super().submit(func, app_args, executors, cache, ignore_for_cache, app_kwargs, join)

    def task_record(self, task: Task) -> TaskRecord:
        return TaskRecord(task)

    @property
    def task_state_counts(self) -> dict[States, int]:  # type: ignore[override]
        counts = {int(state): count for state, count in super().task_state_counts.items()}
        return {state: counts.get(int(state), 0) for state in States}

    def render_future_description(self, dep: Future[Any]) -> str:
        """What the future stands for, in a few words."""
        if isinstance(dep, DataFuture):
            return f"{dep.filename} from task {dep.tid}"
        if isinstance(dep, AppFuture) and dep.task_record["dfk"] is self:
            return f"task {dep.tid}"
        return repr(dep)

    # ------------------------------------------------------------------ the end
    def _at_exit(self) -> None:
        if not self.cleanup_called and os.getpid() == self._pid:
            _logger.warning(
                "the program ends while this run is loaded, so it is cleaned up now; call parsl.dfk().cleanup(), or load it in a with block"
            )
        super()._at_exit()

    def _cleanup(self, timeout_s: float) -> None:
        if "job_status_poller" in vars(self):  # a strategy of one's own has nothing to decide while executors end
            self.job_status_poller.close(timeout_s / 10)
        super()._cleanup(timeout_s)

    # ------------------------------------------------------------------ the log
    def _open_log(self, directory: str) -> Callable[[], None]:
        given = self._given.initialize_logging
        plan = given if isinstance(given, LogConfig) else FileLogging()
        return plan.initialize_logging(log_dir=Path(os.path.abspath(directory)), log_name="parsl")


class DataFlowKernelLoader:
    """Keeps the kernel that apps use when they were not given one: the same as plait's."""

    @classmethod
    def load(cls, config: Config | None = None) -> DataFlowKernel:
        if config is not None and not isinstance(config, Config):
            raise ConfigurationError(f"parsl.load({config!r}): expected a parsl.Config or nothing")
        if config is not None:
            _Loader.check_own()
        elif _Loader.default is not None:
            config = Config.of_plait(_Loader.default())
        return _Loader.load(config or Config(), DataFlowKernel)  # type: ignore[arg-type,return-value]

    @classmethod
    def dfk(cls) -> DataFlowKernel:
        return _Loader.dfk()  # type: ignore[return-value]

    @classmethod
    def clear(cls) -> None:
        _Loader.clear()

    @classmethod
    def wait_for_current_tasks(cls) -> None:
        _Loader.wait_for_current_tasks()

    @classmethod
    def for_call(cls) -> plait.kernel.kernel.DataFlowKernel:
        """The kernel for an app's call, which must have been loaded."""
        if _Loader.current() is None and "PLAIT_WORKER" not in os.environ:
            raise NoDataFlowKernelError("Must first load config")
        return _Loader.for_call()


def _with_blocks(executors: Iterable[Any]) -> list[Any]:
    from plait.compat.parsl.executors.status_handling import BlockProviderExecutor

    return [executor for executor in executors if isinstance(executor, BlockProviderExecutor)]


def _as_given(executor: Executor) -> Any:
    if isinstance(executor, PluginExecutor):
        return executor.plugin
    return executor.given if isinstance(executor, ThreadPoolExecutor) else executor


# ------------------------------------------------------------------ plait's log as parsl's
class _ToParsl(logging.Handler):
    """Passes what plait logs on to the logger that users of upstream know."""

    def emit(self, record: logging.LogRecord) -> None:
        if _logger.isEnabledFor(record.levelno):
            twin = logging.makeLogRecord({**vars(record), "name": "parsl" + record.name.removeprefix("plait")})
            _logger.handle(twin)


_forwarding_lock = threading.Lock()
_forwarding = 0
_handler = _ToParsl()
_before = (True, logging.NOTSET)


def _forward_log() -> Callable[[], None]:
    """While a kernel of ours lives, plait's log is parsl's; the returned function ends that, when called for the last of them."""
    global _forwarding, _before  # noqa: PLW0603 - the logger is global
    log = logging.getLogger("plait")
    with _forwarding_lock:
        _forwarding += 1
        if _forwarding == 1:
            _before = (log.propagate, log.level)
            log.propagate = False
            if log.level == logging.NOTSET:
                log.setLevel(logging.INFO)
            log.addHandler(_handler)
    done = threading.Event()

    def stop() -> None:
        global _forwarding  # noqa: PLW0603
        with _forwarding_lock:
            if done.is_set():
                return
            done.set()
            _forwarding -= 1
            if _forwarding == 0:
                log.removeHandler(_handler)
                log.propagate, level = _before
                log.setLevel(level)

    return stop
