"""``parsl.executors.high_throughput.executor``: plait's pilot jobs with upstream's parameters and methods."""

from __future__ import annotations

import functools
import logging
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait.clock import SystemClock
from plait.compat.parsl.executors.base import ParslExecutor
from plait.compat.parsl.executors.high_throughput.command import interchange_command, launch_command, template_words
from plait.compat.parsl.executors.high_throughput.direct import DirectTasks, deliver_to_nobody, run_payload
from plait.compat.parsl.executors.high_throughput.manager_selector import RandomManagerSelector, as_policy
from plait.compat.parsl.executors.high_throughput.parameters import check_needless, encryption, read_removed
from plait.compat.parsl.executors.status_handling import BlockProviderExecutor
from plait.compat.parsl.jobs.error_handlers import as_function
from plait.compat.parsl.utils import RepresentationMixin
from plait.executors.base import ExecutorContext
from plait.executors.htex import options
from plait.executors.htex.executor import HighThroughputExecutor as _HighThroughputExecutor
from plait.executors.htex.launch import check_template
from plait.model.task import Task
from plait.serialize import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from typing_extensions import Self

    from plait.compat.parsl.executors.high_throughput.manager_selector import ManagerSelector
    from plait.executors.blocks import BlockKeeper
    from plait.executors.htex.settings import InterchangeSettings
    from plait.model.jobs import JobStatus
    from plait.providers.base import ExecutionProvider

__all__ = ["HighThroughputExecutor"]

_logger = logging.getLogger("parsl")

#: Seconds between two looks whether the interchange is up or never will be.
_LOOK_S: Final = 0.1


class Count(int):
    """A number that may also be called, because ``outstanding`` was an attribute before it became a method."""

    def __call__(self) -> int:
        return int(self)


class Blocks(dict[str, "JobStatus"]):
    """How each block is, as upstream's ``status()`` has it, with the numbers that plait asks an executor for."""

    workers = 0
    running = 0
    queued = 0


@ParslExecutor.register
@BlockProviderExecutor.register
class HighThroughputExecutor(_HighThroughputExecutor, RepresentationMixin):
    """Runs tasks on nodes that a provider obtains in blocks."""

    __repr__ = RepresentationMixin.__repr__

    log_config: Any = None
    monitoring_messages: Any = None
    enable_mpi_mode = False

    def __init__(
        self,
        label: str = "HighThroughputExecutor",
        provider: ExecutionProvider | None = None,
        launch_cmd: str | None = None,
        interchange_launch_cmd: Sequence[str] | None = None,
        address: str | None = None,
        loopback_address: str = "127.0.0.1",
        worker_port: int | None = None,
        worker_port_range: tuple[int, int] | None = (54000, 55000),
        interchange_port_range: tuple[int, int] | None = (55000, 56000),
        storage_access: Sequence[Any] | None = None,
        working_dir: str | None = None,
        worker_debug: bool = False,
        cores_per_worker: float = 1.0,
        mem_per_worker: float | None = None,
        max_workers_per_node: float | None = None,
        cpu_affinity: str = "none",
        available_accelerators: int | Sequence[str] = (),
        prefetch_capacity: int = 0,
        heartbeat_threshold: float = 120,
        heartbeat_period: float = 30,
        drain_period: float | None = None,
        poll_period: int = 10,
        address_probe_timeout: float | None = None,
        worker_logdir_root: str | None = None,
        manager_selector: ManagerSelector | None = None,
        block_error_handler: bool | Callable[..., Any] = True,
        encrypted: bool = True,
        remote_monitoring_radio: Any = None,
        **removed: Any,
    ) -> None:
        given = {
            "loopback_address": loopback_address,
            "interchange_port_range": interchange_port_range,
            "poll_period": poll_period,
            "remote_monitoring_radio": remote_monitoring_radio,
        }
        max_workers_per_node = read_removed(removed, max_workers_per_node)
        check_needless(given)
        if provider is None:
            from plait.compat.parsl.providers import LocalProvider

            provider = LocalProvider()
        super().__init__(
            label,
            provider,
            launch_cmd,
            interchange_launch_cmd,
            address,
            worker_port=worker_port,
            worker_port_range=worker_port_range,
            storage_access=storage_access,
            working_dir=working_dir,
            worker_debug=worker_debug,
            cores_per_worker=cores_per_worker,
            mem_per_worker=mem_per_worker,
            max_workers_per_node=max_workers_per_node,
            cpu_affinity=cpu_affinity,
            available_accelerators=available_accelerators,
            prefetch_capacity=prefetch_capacity,
            heartbeat_threshold=heartbeat_threshold,
            heartbeat_period=heartbeat_period,
            drain_period=drain_period,
            address_probe_timeout=address_probe_timeout,
            worker_logdir_root=worker_logdir_root,
            manager_selector=RandomManagerSelector() if manager_selector is None else manager_selector,
            block_error_handler=as_function(block_error_handler),
            encrypted=encrypted,
            mpi_launcher=removed.get("mpi_launcher", "mpiexec"),
        )
        vars(self).update(given)
        self._run_dir: str | Callable[[], str] = "."
        self._direct = DirectTasks(self.cancel)
        self._listens = threading.Event()

    # ------------------------------------------------------------------ parameters that mean something else here
    @property
    def launch_cmd(self) -> str:
        """Template of the command of a block."""
        return self._launch_cmd

    @launch_cmd.setter
    def launch_cmd(self, value: str) -> None:
        self._launch_cmd = launch_command(value)

    @property
    def interchange_launch_cmd(self) -> list[str]:
        """Words of the command that starts the interchange. ``interchange.py`` stands for plait's own."""
        return self._interchange_launch_cmd

    @interchange_launch_cmd.setter
    def interchange_launch_cmd(self, value: Sequence[str] | None) -> None:
        self._interchange_launch_cmd = options.words("interchange_launch_cmd", value or ["interchange.py"])

    def _interchange_words(self) -> list[str]:
        return interchange_command(self.interchange_launch_cmd)

    def _keep_private(self) -> None:
        self.encrypted = encryption(self.encrypted, self._addresses)
        super()._keep_private()

    def _check_launch_cmd(self) -> None:
        check_template(self.launch_cmd, self._template_values(), must_tell=False)
        if "{config}" not in self.launch_cmd:
            _logger.warning(
                "launch_cmd=%r: it starts no manager: expected process_worker_pool.py in it, or {config} for a program that starts plait's",
                self.launch_cmd,
            )

    def _template_values(self) -> dict[str, Any]:
        return {**template_words(self), **super()._template_values()}

    def _interchange_settings(self) -> InterchangeSettings:
        settings = super()._interchange_settings()
        return msgspec.structs.replace(settings, policy=dumps(as_policy(self.manager_selector)))

    # ------------------------------------------------------------------ life
    def start(self, context: ExecutorContext | None = None) -> None:
        """Begins to work; without a kernel when it is called without one."""
        if context is None:
            context = ExecutorContext(deliver_to_nobody, None, self._log_folder, SystemClock(), "none")
        self._listens.clear()
        super().start(replace(context, deliver=functools.partial(self._direct.deliver, context.deliver)))

    def shutdown(self, timeout: float = 10.0) -> None:
        """Ends everything that it started."""
        super().shutdown(timeout)
        self._direct.give_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def monitor_resources(self) -> bool:
        return True

    @property
    def run_dir(self) -> str:
        """The folder of the run."""
        return self._run_dir if isinstance(self._run_dir, str) else self._run_dir()

    @run_dir.setter
    def run_dir(self, value: str | Callable[[], str]) -> None:
        self._run_dir = value

    @property
    def logdir(self) -> str:
        """The folder of its logs."""
        return os.path.join(self.run_dir, self.label)

    @property
    def worker_logdir(self) -> str:
        """The folder of its managers' and workers' logs."""
        return self.logdir if self.worker_logdir_root is None else os.path.join(self.worker_logdir_root, self.label)

    def _log_folder(self, label: str) -> str:
        path = os.path.abspath(os.path.join(self.run_dir, label))
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    # ------------------------------------------------------------------ tasks
    def submit(  # type: ignore[override]
        self, func: Any, resource_specification: Mapping[str, Any] | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Runs ``func(*args, **kwargs)`` and returns a future; a kernel gives it whole tasks."""
        if isinstance(func, Task):
            self._check_state()
            return super().submit(func)
        return self._direct.begin(self._submit_direct, func, resource_specification or {}, args, kwargs)

    submit_of_parsl = submit  # to see whether a subclass overrides it

    def submit_simple(self, task: Task) -> None:
        """Takes a task of a kernel."""
        self._check_state()
        super().submit_simple(task)

    def submit_many(self, tasks: Sequence[Task]) -> list[tuple[Task, Exception]]:
        """Takes tasks of a kernel."""
        if self._error is not None:
            return [(task, self._error) for task in tasks]
        return super().submit_many(tasks)

    def _check_state(self) -> None:
        """What was given up takes nothing more, and says why in the words of who gave it up."""
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _submit_direct(self, task: Task) -> None:
        self._check_state()
        if task.app.resources is not None:
            self.check(task.app.resources)
        super().submit(task)

    def submit_payload(self, context: Mapping[str, Any], buffer: bytes) -> Future[Any]:
        """Does the call that `parsl.serialize.pack_apply_message` made bytes of.

        Args:
            context: ``resource_spec``: what it asks for; ``task_executor``: ``f``, the dotted name of a function that is given the bytes instead
                of `execute_task`, with its further arguments ``a`` and ``k``.
            buffer: the bytes.
        """
        runner = context.get("task_executor") or {}
        name = runner.get("f", "parsl.executors.execute_task.execute_task")
        future: Future[Any] = self.submit(
            run_payload,
            context.get("resource_spec") or {},
            name,
            buffer,
            tuple(runner.get("a", ())),
            dict(runner.get("k", {})),
        )
        return future

    # ------------------------------------------------------------------ looking
    @property
    def outstanding(self) -> Count:
        """Tasks that were given to it and have not ended; the number itself, or called."""
        return Count(super().outstanding)

    @property
    def tasks(self) -> dict[int, Any]:
        """Futures of the tasks that were given to it and have not ended, by number."""
        return {number: self._direct.future(task) for number, task in super().tasks.items()}

    @property
    def workers_per_node(self) -> int:
        """Workers of a node; 1 while nobody knows."""
        return super().workers_per_node or 1

    def status(self) -> Blocks:  # type: ignore[override]
        """How each block is."""
        numbers = super().status()
        found = Blocks(self.block_status())
        found.workers, found.running, found.queued = numbers.workers, numbers.running, numbers.queued
        return found

    @property
    def status_facade(self) -> dict[str, JobStatus]:
        """How each block is."""
        return self.block_status()

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two looks at the blocks."""
        return self.provider.status_polling_interval

    def connected_managers_packages(self) -> dict[str, dict[str, str]]:
        """For each connected manager the versions that it reports: of plait and of Python, not of other packages."""
        return {
            manager["manager"]: {"plait": manager.get("parsl_version", ""), "python": manager.get("python_version", "")}
            for manager in self.connected_managers()
        }

    # ------------------------------------------------------------------ blocks
    @property
    def blocks_to_job_id(self) -> dict[str, str]:
        """The jobs of the blocks that have not ended."""
        return {} if self._keeper is None else self._keeper.blocks_to_job_id

    @property
    def job_ids_to_block(self) -> dict[str, str]:
        """The blocks of the jobs that have not ended."""
        return {job: block for block, job in self.blocks_to_job_id.items()}

    def scale_out_facade(self, n: int) -> list[str]:
        """Requests blocks; their names."""
        return self.scale_out(n)

    def scale_in_facade(self, n: int, max_idletime: float | None = None) -> list[str]:
        """Gives back blocks; their names."""
        return self.scale_in(n, max_idletime)

    def begin_blocks(self, context: ExecutorContext) -> None:
        """Scales as this says from now on; for one that was started without a kernel."""
        self.scale_as(context.strategy, context.max_idletime_s, context.strategy_period_s)

    def scale_as(self, strategy: Any, max_idletime: float, period_s: float) -> None:
        """Decides by this policy of plait's from now on; for strategies (`parsl.jobs.strategy`)."""
        self._blocks().scale_as(strategy, max_idletime, period_s)

    def end_blocks(self, timeout_s: float) -> None:
        """It ends its blocks itself."""

    def _listening(self, addresses: list[str], port: int) -> None:
        super()._listening(addresses, port)
        self._listens.set()

    def _blocks(self) -> BlockKeeper:
        while not self._listens.wait(_LOOK_S):  # upstream's `start` returns when that is so
            self._running()
        return super()._blocks()

    def poll_facade(self) -> None:
        """Has the blocks looked at soon; they are looked at without it."""
        self._pressed()

    def handle_errors(self, status: Mapping[str, JobStatus]) -> None:
        """Asks the handler for errors of blocks, which plait does without it."""
        as_function(self.block_error_handler)(self, status)
