"""The configuration of a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from plait._util.given import RemembersGiven
from plait.configfile import system
from plait.dataflow.memo import Memoizer
from plait.dataflow.resolve import DEEP_DEPENDENCY_RESOLVER, DependencyResolver
from plait.errors import ConfigurationError
from plait.executors.base import Executor
from plait.executors.processes import ProcessPoolExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plait.scaling.policy import ScalingPolicy

EXIT_MODES: Final = ("cleanup", "skip", "wait")
STRATEGIES: Final = ("none", "simple", "htex_auto_scale", "demand")


class Config(RemembersGiven):
    """How a run is to be done. It is never changed by a run, and checked when it is made.

    Args:
        executors: where tasks run; none given means one `ProcessPoolExecutor` on all cores.
        memoizer: plug-in for memoization; None for a table in memory.
        dependency_resolver: how futures are found in arguments; None to look into lists, tuples, sets, dictionaries and dataclasses.
        exit_mode: what leaving ``with plait.load(...)`` does: ``"cleanup"`` gives up unfinished tasks, ``"wait"`` waits for them
            (unless an exception leaves the block), ``"skip"`` does nothing.
        garbage_collect: whether records of ended tasks are dropped.
        internal_tasks_max_threads: threads for the bodies of join apps.
        retries: cost of failures that a task may gather and still be tried again; a failure costs 1 unless ``retry_handler`` says otherwise.
        retry_handler: called with the exception and the task's record; returns the cost of this failure.
        max_losses: attempts that a task may lose with a worker and still be tried again; these cost no retries.
        max_pending: tasks that may be unfinished at one time: calls of apps wait while there are so many, so that memory stays bounded;
            None for no bound. Calls from within tasks and callbacks never wait.
        run_dir: folder in which each run makes a numbered folder.
        std_autopath: called with the task's record and ``"stdout"`` or ``"stderr"``; returns where `plait.AUTO_LOGNAME` points to.
        strategy: how many blocks the executors that obtain some have: ``"simple"`` as many as the tasks want, and none but the floor when
            there has been no task for a while; ``"htex_auto_scale"`` also gives idle blocks back while there are tasks; ``"demand"`` as many as the
            cores, memory, accelerators, nodes and walltimes of the tasks call for; ``"none"`` as many as at the start. Or a
            `plait.scaling.policy.ScalingPolicy`, such as a `plait.scaling.policy.Demand` with parameters of its own.
        strategy_period: seconds between two decisions of it.
        max_idletime: seconds after which an idle block may be given back.
        monitoring: must be None.
        usage_tracking: 0 to 3; nothing is ever sent at 0.
        project_name: name for usage messages.
        initialize_logging: whether the run writes ``plait.log``, its journal and the workers' output; False leaves no file.
        progress: whether a progress display is shown; None to show it on a terminal and in notebooks.

    Raises:
        ConfigurationError: naming the parameter, its value and what was expected.
    """

    def __init__(
        self,
        executors: Iterable[Executor] | None = None,
        *,
        memoizer: Memoizer | None = None,
        dependency_resolver: DependencyResolver | None = None,
        exit_mode: str = "cleanup",
        garbage_collect: bool = True,
        internal_tasks_max_threads: int = 10,
        retries: float = 0,
        retry_handler: Callable[[Exception, Any], float] | None = None,
        max_losses: int = 2,
        max_pending: int | None = None,
        run_dir: str = "runinfo",
        std_autopath: Callable[[Any, str], Any] | None = None,
        strategy: str | ScalingPolicy | None = "simple",
        strategy_period: float = 5,
        max_idletime: float = 120.0,
        monitoring: None = None,
        usage_tracking: int = 0,
        project_name: str | None = None,
        initialize_logging: bool = True,
        progress: bool | None = None,
    ) -> None:
        self.executors = _executors(executors)
        self.memoizer = memoizer
        self.dependency_resolver = dependency_resolver or DEEP_DEPENDENCY_RESOLVER
        self.exit_mode = exit_mode
        self.garbage_collect = garbage_collect
        self.internal_tasks_max_threads = internal_tasks_max_threads
        self.retries = retries
        self.retry_handler = retry_handler
        self.max_losses = max_losses
        self.max_pending = max_pending
        is_path = isinstance(run_dir, (str, os.PathLike)) and "\0" not in str(run_dir)
        _expect(is_path, "run_dir", run_dir, "the path of a folder")
        self.run_dir = os.fspath(run_dir)
        self.std_autopath = std_autopath
        self.strategy: str | ScalingPolicy = "none" if strategy is None else strategy
        self.strategy_period = strategy_period
        self.max_idletime = max_idletime
        self.monitoring = monitoring
        self.usage_tracking = usage_tracking
        self.project_name = project_name
        self.initialize_logging = initialize_logging
        self.progress = progress
        if system.files():
            from plait.configfile.rules import enforce

            enforce(self)
        self._check()

    @classmethod
    def from_toml(cls, source: str | os.PathLike[str]) -> Config:
        """The configuration of a file.

        Args:
            source: its path; or its text, which has more than one line, or a ``=`` in the only one.

        Raises:
            ConfigurationError: with every mistake in it: line, path of the key, value, and what was expected.
        """
        from plait.configfile.reading import Reader
        from plait.configfile.rules import defaults_of
        from plait.configfile.toml import read_text

        text, name = (source, "the text") if _is_text(source) else (read_text(source), os.fspath(source))
        made: Config = Reader(str(text), name, defaults_of).read(cls)
        return made

    @classmethod
    def from_site(cls, name: str, **values: Any) -> Config:
        """The configuration that the catalogue has for a machine (``plait sites`` lists them).

        Args:
            name: of the site.
            values: for every object of it that has a parameter of this name, such as ``account="m1234"``.

        Raises:
            ConfigurationError: there is no such site, it needs a value that was not given, or a value cannot work.
        """
        from plait.configfile.reading import Reader
        from plait.configfile.rules import defaults_of
        from plait.sites import find_site

        site = find_site(name)
        made: Config = Reader(site.text, f"site {name} ({site.path})", defaults_of).read(cls, values)
        return made

    def to_toml(self, *, defaults: bool = False) -> str:
        """The text of a file that gives the same configuration.

        Args:
            defaults: whether to write parameters that have their default too.

        Raises:
            ConfigurationError: a value cannot stand in a file, such as a function without a name; with its path.
        """
        from plait.configfile.writing import to_text

        return '# A configuration of plait: plait.load("plait.toml")\n' + to_text(self, defaults=defaults)

    def _check(self) -> None:
        labels = [executor.label for executor in self.executors]
        for executor in self.executors:
            label = executor.label
            if not isinstance(label, str) or not label:
                raise ConfigurationError(f"{type(executor).__name__}(label={label!r}): expected a name")
            if labels.count(label) > 1:
                raise ConfigurationError(
                    f"Config(executors=…): expected labels that differ ({label} is there more than once); say label=… of an executor"
                )
        _expect(self.exit_mode in EXIT_MODES, "exit_mode", self.exit_mode, f"one of {', '.join(EXIT_MODES)}")
        _expect(
            self.strategy in STRATEGIES if isinstance(self.strategy, str) else _is_policy(self.strategy),
            "strategy",
            self.strategy,
            f"one of {', '.join(STRATEGIES)}, or a policy, which has decide(view)",
        )
        _expect(_is_number(self.retries) and self.retries >= 0, "retries", self.retries, "a number, 0 or more")
        _expect(
            _is_whole(self.max_losses) and self.max_losses >= 0,
            "max_losses",
            self.max_losses,
            "a whole number, 0 or more",
        )
        pending = self.max_pending
        _expect(
            pending is None or (_is_whole(pending) and pending > 0),
            "max_pending",
            pending,
            "a whole number from 1, or None",
        )
        threads = self.internal_tasks_max_threads
        _expect(_is_whole(threads) and threads > 0, "internal_tasks_max_threads", threads, "a whole number from 1")
        _expect(
            _is_number(self.strategy_period) and self.strategy_period > 0,
            "strategy_period",
            self.strategy_period,
            "seconds, more than 0",
        )
        _expect(
            _is_number(self.max_idletime) and self.max_idletime >= 0,
            "max_idletime",
            self.max_idletime,
            "seconds, 0 or more",
        )
        _expect(
            _is_whole(self.usage_tracking) and 0 <= self.usage_tracking <= 3,
            "usage_tracking",
            self.usage_tracking,
            "a level from 0 to 3",
        )
        _expect(
            self.monitoring is None,
            "monitoring",
            self.monitoring,
            "None: the run's journal is read with `plait explain` and `plait report`",
        )
        for name in ("retry_handler", "std_autopath"):
            value = getattr(self, name)
            _expect(value is None or callable(value), name, value, "a function or None")
        _expect(
            self.project_name is None or isinstance(self.project_name, str),
            "project_name",
            self.project_name,
            "text or None",
        )
        for name in ("garbage_collect",):
            _expect(isinstance(getattr(self, name), bool), name, getattr(self, name), "True or False")
        _expect(
            isinstance(self.initialize_logging, bool), "initialize_logging", self.initialize_logging, "True or False"
        )
        _expect(
            self.progress is None or isinstance(self.progress, bool), "progress", self.progress, "True, False or None"
        )
        _expect(
            self.memoizer is None or isinstance(self.memoizer, Memoizer),
            "memoizer",
            self.memoizer,
            "a plait.Memoizer or None",
        )
        resolver = self.dependency_resolver
        has_both = hasattr(resolver, "traverse_to_gather") and hasattr(resolver, "traverse_to_unwrap")
        _expect(has_both, "dependency_resolver", resolver, "a DependencyResolver or None")

    def __eq__(self, other: object) -> bool:
        """Whether the two say the same, executors, providers and launchers included."""
        if not isinstance(other, Config):
            return NotImplemented
        from plait.configfile.writing import alike

        return self is other or alike(self, other)

    def __hash__(self) -> int:
        return hash(tuple(executor.label for executor in self.executors))

    def __repr__(self) -> str:
        fields = [f"{name}={value!r}" for name, value in vars(self).items() if name != "_given"]
        line = f"Config({', '.join(fields)})"
        return line if len(line) <= 80 else "Config(\n    " + ",\n    ".join(fields) + "\n)"


def _executors(executors: Iterable[Executor] | None) -> tuple[Executor, ...]:
    try:
        if isinstance(executors, str):
            raise TypeError  # noqa: TRY301 - its letters are meant least of all
        given: tuple[Any, ...] = tuple(executors or ())
    except TypeError:
        raise ConfigurationError(
            f"Config(executors={executors!r}): expected a list of executors, such as [ProcessPoolExecutor()]"
        ) from None
    for executor in given:
        if not isinstance(executor, Executor):
            hint = "; call it: write ProcessPoolExecutor() with parentheses" if isinstance(executor, type) else ""
            raise ConfigurationError(f"Config(executors=[… {executor!r} …]): expected executors{hint}")
    return given or (ProcessPoolExecutor(),)


def _is_text(source: str | os.PathLike[str]) -> bool:
    return isinstance(source, str) and ("\n" in source or "=" in source)


def _expect(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ConfigurationError(f"Config({name}={value!r}): expected {expected}")


def _is_policy(value: object) -> bool:
    return not isinstance(value, type) and callable(getattr(value, "decide", None))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
