"""``parsl.config``."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any, Final

import plait.config
from plait.compat.parsl.dataflow.dependency_resolvers import SHALLOW_DEPENDENCY_RESOLVER
from plait.compat.parsl.dataflow.memoization import BasicMemoizer, refuse_checkpoints
from plait.compat.parsl.executors.base import as_plait
from plait.compat.parsl.executors.threads import ThreadPoolExecutor
from plait.compat.parsl.jobs.strategy import Strategy
from plait.compat.parsl.logconfigs.base import LogConfig
from plait.compat.parsl.utils import RepresentationMixin
from plait.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plait.compat.parsl.dataflow.taskrecord import TaskRecord
    from plait.dataflow.memo import Memoizer
    from plait.dataflow.resolve import DependencyResolver

__all__ = ["Config"]

#: Parameters that upstream had once; released programs still pass them.
REMOVED: Final = ("app_cache", "checkpoint_mode", "checkpoint_files", "checkpoint_period")


class Config(RepresentationMixin):
    """How a run is to be done: upstream's parameters, defaults and attributes."""

    progress = False  # what plait shows besides

    def __init__(
        self,
        executors: Iterable[Any] | None = None,
        memoizer: Memoizer | None = None,
        dependency_resolver: DependencyResolver | None = None,
        exit_mode: str = "cleanup",
        garbage_collect: bool = True,
        internal_tasks_max_threads: int = 10,
        retries: int = 0,
        retry_handler: Callable[[Exception, TaskRecord], float] | None = None,
        run_dir: str = "runinfo",
        std_autopath: Callable[..., Any] | None = None,
        strategy: str | Strategy | None = "simple",
        strategy_period: float = 5,
        max_idletime: float = 120.0,
        monitoring: None = None,
        usage_tracking: int = 0,
        project_name: str | None = None,
        initialize_logging: bool | LogConfig = True,
        **removed: Any,
    ) -> None:
        self.executors = executors
        former = self._read_removed(removed)
        self.memoizer = former if memoizer is None else memoizer
        self.dependency_resolver = dependency_resolver
        self.exit_mode = exit_mode
        self.garbage_collect = garbage_collect
        self.internal_tasks_max_threads = internal_tasks_max_threads
        self.retries = retries
        self.retry_handler = retry_handler
        self.run_dir = run_dir
        self.std_autopath = std_autopath
        if strategy is None:
            warnings.warn("Config(strategy=None): write strategy='none'", DeprecationWarning, stacklevel=2)
            strategy = "none"
        self.strategy = strategy
        self.strategy_period = strategy_period
        self.max_idletime = max_idletime
        self.monitoring = monitoring
        self.usage_tracking = usage_tracking
        self.project_name = project_name
        self.initialize_logging = initialize_logging
        self.as_plait()  # checks every value

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuses or warns as the constructor does: upstream's guide assigns what it once took."""
        if name in REMOVED:
            former = self._read_removed({name: value})
            self.memoizer = self.memoizer or former
        super().__setattr__(name, value)

    @property
    def executors(self) -> tuple[Any, ...]:
        return self._executors

    @executors.setter
    def executors(self, executors: Iterable[Any] | None) -> None:
        self._executors = _as_tuple(executors) or (ThreadPoolExecutor(),)

    def as_plait(self) -> plait.config.Config:
        """The same for plait's kernel.

        Raises:
            ConfigurationError: naming the parameter, its value and what was expected.
        """
        if self.monitoring is not None:
            raise ConfigurationError(
                f"Config(monitoring={self.monitoring!r}): plait does not have the monitoring database yet; leave it out"
            )
        return plait.config.Config(
            [as_plait(executor) for executor in self._executors],
            memoizer=BasicMemoizer() if self.memoizer is None else self.memoizer,
            dependency_resolver=self.dependency_resolver or SHALLOW_DEPENDENCY_RESOLVER,
            exit_mode=self.exit_mode,
            garbage_collect=self.garbage_collect,
            internal_tasks_max_threads=self.internal_tasks_max_threads,
            retries=self.retries,
            retry_handler=self.retry_handler,
            max_losses=0,
            run_dir=self.run_dir,
            std_autopath=self.std_autopath,
            strategy=self.strategy.start_with() if isinstance(self.strategy, Strategy) else self.strategy,
            strategy_period=self.strategy_period,
            max_idletime=self.max_idletime,
            usage_tracking=int(self.usage_tracking) if isinstance(self.usage_tracking, bool) else self.usage_tracking,
            project_name=self.project_name,
            initialize_logging=isinstance(self.initialize_logging, LogConfig) or self.initialize_logging,
            progress=False,
        )

    @classmethod
    def of_plait(cls, config: plait.config.Config) -> Config:
        """The same for programs that were written for upstream, from a file (``plait run --config``)."""
        names = inspect.signature(cls).parameters
        return cls(**{name: getattr(config, name) for name in names if hasattr(config, name)})

    @staticmethod
    def _read_removed(removed: dict[str, Any]) -> Memoizer | None:
        """What parameters of former versions mean now: one warning each."""
        for name, value in removed.items():
            if name not in REMOVED:
                raise TypeError(f"Config() got an unexpected keyword argument {name!r}")
            refuse_checkpoints(f"Config({name}={value!r})", None if name == "app_cache" else value)
            instead = "memoizer=BasicMemoizer(memoize=…)" if name == "app_cache" else "memoizer=BasicMemoizer(…)"
            warnings.warn(
                f"Config({name}={value!r}): upstream has removed this parameter; write {instead}, or leave it out",
                FutureWarning,
                stacklevel=3,
            )
        return BasicMemoizer(memoize=False) if removed.get("app_cache", True) is False else None


def _as_tuple(executors: Iterable[Any] | None) -> tuple[Any, ...]:
    try:
        return tuple(executors or ())
    except TypeError:
        raise ConfigurationError(
            f"Config(executors={executors!r}): expected a list of executors, such as [ThreadPoolExecutor()]"
        ) from None
