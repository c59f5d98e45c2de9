"""The kernel of this process: load, look up, forget."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from plait.config import Config
from plait.errors import ConfigurationError, NoDataFlowKernelError
from plait.kernel.kernel import DataFlowKernel
from plait.model.task import FINAL_STATES

if TYPE_CHECKING:
    from collections.abc import Callable

_lock = threading.RLock()


class DataFlowKernelLoader:
    """Keeps the kernel that apps use when they were not given one."""

    _kernel: DataFlowKernel | None = None
    _automatic = False
    #: Whether calling an app with nothing loaded loads the default.
    auto_load = True
    #: Makes the configuration where a program says none; None for the usual defaults.
    default: Callable[[], Config] | None = None
    #: Why a program may say none of its own; empty when it may.
    only_default = ""

    @classmethod
    def load(
        cls,
        config: Config | str | os.PathLike[str] | None = None,
        make: Callable[[Any], DataFlowKernel] | None = None,
    ) -> DataFlowKernel:
        """Starts a run and makes it the one that apps use.

        Args:
            config: how it is to be done, or the path of a file that says so; None for the defaults.
            make: makes the kernel of the configuration, where it is a kernel of one's own, with a configuration of one's own.

        Raises:
            ConfigurationError: another run is loaded, or the configuration cannot work.
        """
        if make is None and config is not None:
            cls.check_own()
        if isinstance(config, (str, os.PathLike)) and make is None:
            config = Config.from_toml(config)
        if make is None and config is not None and not isinstance(config, Config):
            raise ConfigurationError(
                f"plait.load({config!r}): expected a plait.Config, the path of a configuration file, or nothing"
            )
        with _lock:
            current = cls.current()
            if current is not None:
                if not (cls._automatic and _is_idle(current)):
                    started = (
                        " (it was loaded by the first call of an app, and has unfinished tasks)"
                        if cls._automatic
                        else ""
                    )
                    raise ConfigurationError(
                        f"Config has already been loaded{started}: end that run with `with plait.load(...)` or plait.dfk().cleanup() first"
                    )
                current.cleanup()
            cls._automatic = False
            return cls._start(config or cls.make_default()) if make is None else cls._start(config, make)

    @classmethod
    def check_own(cls) -> None:
        """Called where a program brings a configuration of its own.

        Raises:
            ConfigurationError: it may not.
        """
        if cls.only_default:
            raise ConfigurationError(cls.only_default)

    @classmethod
    def make_default(cls) -> Config:
        """The configuration for programs that say none."""
        return Config() if cls.default is None else cls.default()

    @classmethod
    def _start(cls, config: Any, make: Callable[[Any], DataFlowKernel] = DataFlowKernel) -> DataFlowKernel:
        kernel = make(config)
        kernel.on_cleanup.append(lambda: cls._forget(kernel))
        cls._kernel = kernel
        return kernel

    @classmethod
    def _forget(cls, kernel: DataFlowKernel) -> None:
        with _lock:
            if cls._kernel is kernel:
                cls._kernel = None

    @classmethod
    def current(cls) -> DataFlowKernel | None:
        """The loaded kernel, None for none. A process that was forked from the one that loaded it has none."""
        kernel = cls._kernel
        if kernel is not None and kernel._pid != os.getpid():  # noqa: SLF001 - loaded by another process
            cls._kernel = kernel = None
        return kernel

    @classmethod
    def for_call(cls) -> DataFlowKernel:
        """The kernel for an app's call; loads the default when there is none.

        Raises:
            NoDataFlowKernelError: on a worker, where there is none and none is to be.
        """
        kernel = cls._kernel
        if kernel is not None:
            return kernel
        if "PLAIT_WORKER" in os.environ:
            raise NoDataFlowKernelError(
                "an app was called inside a task that runs in a worker process, where tasks cannot be submitted. "
                "Return the calls from a join_app, or run this task on ThreadPoolExecutor"
            )
        if not cls.auto_load:
            raise NoDataFlowKernelError("Must first load config")
        with _lock:
            if cls._kernel is None:
                cls._start(cls.make_default())
                cls._automatic = True
            assert cls._kernel is not None  # noqa: S101 - just set
            return cls._kernel

    @classmethod
    def dfk(cls) -> DataFlowKernel:
        """The loaded kernel.

        Raises:
            NoDataFlowKernelError: there is none.
        """
        kernel = cls.current()
        if kernel is None:
            raise NoDataFlowKernelError("Must first load config")
        return kernel

    @classmethod
    def clear(cls) -> None:
        """Forgets the loaded kernel without ending its run."""
        with _lock:
            cls._kernel = None
            cls._automatic = False

    @classmethod
    def wait_for_current_tasks(cls) -> None:
        """Waits for the tasks of the loaded kernel.

        Raises:
            NoDataFlowKernelError: there is none.
        """
        cls.dfk().wait_for_current_tasks()


def _is_idle(kernel: DataFlowKernel) -> bool:
    return all(record["status"] in FINAL_STATES for record in kernel.tasks.values())


def current_kernel() -> Any:
    """The loaded kernel, None for none."""
    return DataFlowKernelLoader.current()


def _in_forked_child() -> None:
    """A thread that is not here may hold the lock, and a load takes seconds."""
    global _lock  # noqa: PLW0603 - it is this process's
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
