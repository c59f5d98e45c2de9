"""`HighThroughputExecutor`: pilot jobs. Blocks of nodes from a provider, a manager on each node, tasks of any shape.

```
driver process                                                  this or other machines
┌──────────────────────────────────────┐    ┌───────────────┐    ┌─────────────────────────┐
│ HighThroughputExecutor               │    │ interchange   │    │ manager (one per node)  │
│   DriverLink ── I/O thread ──────────┼────┼─▶          ◀──┼────┼── a pool of workers     │
│   BlockKeeper ── its thread ─▶ provider ─ submits ─────────┼───▶│                         │
│   BlockLaunch: keys, files, commands │    └───────────────┘    └─────────────────────────┘
└──────────────────────────────────────┘
```
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from plait.errors import BadStateException, ConfigurationError, ExecutorError, SerializationError, text_of
from plait.executors.htex import options
from plait.executors.htex.addresses import is_loopback
from plait.executors.htex.child import find_command
from plait.executors.htex.driver import DriverLink
from plait.executors.htex.hearing import Hooks
from plait.executors.htex.inspection import Inspection
from plait.executors.htex.launch import DEFAULT_COMMAND, BlockLaunch, check_template
from plait.executors.htex.messages import Allow, DrainBlock
from plait.executors.htex.near import door_in
from plait.executors.htex.telling import interchange_settings, manager_settings, template_values
from plait.executors.htex.where import choose_addresses
from plait.executors.htex.wire import MAX_PAYLOAD_BYTES
from plait.executors.pool.prepare import prepare
from plait.limits import BIG_BYTES
from plait.model.units import format_bytes, parse_bytes
from plait.serialize import FunctionBlob, dump_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plait.executors.base import ExecutorContext
    from plait.executors.blocks import BlockKeeper
    from plait.executors.htex.messages import ManagerGone, ManagerUp
    from plait.executors.htex.settings import InterchangeSettings
    from plait.model.task import AppSpec, Task
    from plait.providers.base import ExecutionProvider

_logger = logging.getLogger("plait")

#: Parameters of other libraries' pilot executors that nothing here depends on.
_NEEDLESS: Final = {
    "loopback_address": ("127.0.0.1", "driver and interchange talk over a pair of sockets without an address"),
    "interchange_port_range": ((55000, 56000), "the driver listens on no port"),
    "poll_period": (10, "nothing polls at intervals"),
}


class HighThroughputExecutor(Inspection):
    """Runs tasks on nodes that a provider obtains in blocks.

    Most people need three parameters: ``label``, ``provider`` and ``max_workers_per_node``.

    Args:
        label: name of the executor.
        provider: where blocks come from; None for this machine (`plait.providers.LocalProvider`).

        max_workers_per_node: tasks that run at once on a node, at most; None for what cores, memory and accelerators allow.
        cores_per_worker: cores of a node for each worker; less than 1 for more workers than cores.
        mem_per_worker: memory for each worker in GiB; None not to count memory.
        available_accelerators: accelerators of a node, each bound to a worker: their number, or their names.
        cpu_affinity: how workers are bound to cores: ``"none"``, ``"block"``, ``"block-reverse"``, ``"alternating"``, or the cores of each
            worker as ``"list:0-3:4-7"``.
        prefetch_capacity: tasks that a node may hold beyond those that it runs. Short tasks are sent ahead anyhow, as far as that pays.
        manager_selector: placement policy: which node gets a task. None for the least busy; where blocks come and go and the strategy gives
            them back one by one (not ``"none"`` or ``"simple"``), block by block, so that the last ones empty when the tail of a run begins.
        mpi_launcher: what ``$PLAIT_MPI_PREFIX`` of tasks over whole nodes begins with: ``"mpiexec"`` (MPICH and its relatives), ``"mpirun"``
            (Open MPI), ``"srun"`` or ``"aprun"``.

        address: address, or name, of this machine to listen on, as workers see it; None for loopback when the blocks are on this machine, else
            for the address of the route to others.
        worker_port: the port to listen on; None for one of the range.
        worker_port_range: first port, and the one after the last.
        address_probe_timeout: seconds in which the address must answer a worker that dials it; None for 30.
        encrypted: whether the links to the nodes are encrypted. Only loopback goes without.

        heartbeat_period: seconds between signs of life of the managers.
        heartbeat_threshold: seconds of silence after which a manager is taken for lost, and its tasks are run elsewhere.
        drain_period: seconds after which a manager takes no more tasks and ends when it has done what it has; None for never.
        block_error_handler: when to give up because blocks fail: True for the default, False for never, or a function of the executor and the
            states of its blocks.
        block_start_timeout: seconds from the start of a block's job to its first manager; then the block has failed.

        launch_cmd: template of the command of a block; None for plait's. It may name ``{block_id}``, ``{config}`` (the file that tells
            the manager whom to serve, needed), ``{python}`` and parameters of this class.
        interchange_launch_cmd: words of a command that starts the interchange; the number of a descriptor is appended. None for plait's.
        worker_logdir_root: folder for logs of managers and workers, which they can reach; None for the run's folder.
        worker_debug: whether interchange and managers log in detail.
        working_dir: folder on the nodes for files that are staged.
        storage_access: how files are staged.
        max_result_size: larger results are refused, such as ``"2GB"``; None for no limit.

        initializer: called once in each worker before its first task, with ``initargs``.
        initargs: its arguments.
        max_tasks_per_worker: a worker is replaced after so many; None for never.
        env: environment variables to set in workers, or to remove where the value is None.

        loopback_address, interchange_port_range, poll_period, remote_monitoring_radio: accepted for those who move over; nothing depends on them.

    Raises:
        ConfigurationError: a value cannot work.
    """

    restarts = True
    #: Whether one manager speaks for all nodes of a block, as an `MPIExecutor`'s does.
    gives_nodes = False

    label: str
    provider: ExecutionProvider
    max_workers_per_node: int | None
    cores_per_worker: float
    mem_per_worker: float | None
    cpu_affinity: str
    available_accelerators: list[str]
    prefetch_capacity: int
    manager_selector: Any
    mpi_launcher: str
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    max_tasks_per_worker: int | None
    env: dict[str, str | None]
    address: Any
    worker_port: int | None
    worker_port_range: tuple[int, int]
    address_probe_timeout: float | None
    encrypted: bool
    heartbeat_period: float
    heartbeat_threshold: float
    drain_period: float | None
    block_error_handler: bool | Callable[..., Any]
    block_start_timeout: float
    worker_logdir_root: Any
    worker_debug: bool
    working_dir: Any
    storage_access: Sequence[Any] | None
    max_result_size: float | str | None

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
        manager_selector: Any = None,
        block_error_handler: bool | Callable[..., Any] = True,
        encrypted: bool = True,
        remote_monitoring_radio: Any = None,
        *,
        block_start_timeout: float = 300.0,
        max_result_size: float | str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Sequence[Any] = (),
        max_tasks_per_worker: int | None = None,
        env: Mapping[str, str | None] | None = None,
        mpi_launcher: str = "mpiexec",
    ) -> None:
        vars(self).update(
            label=label, provider=provider, max_workers_per_node=max_workers_per_node, cores_per_worker=cores_per_worker, mem_per_worker=mem_per_worker,
            cpu_affinity=cpu_affinity, available_accelerators=available_accelerators, prefetch_capacity=prefetch_capacity, manager_selector=manager_selector,
            mpi_launcher=mpi_launcher, initializer=initializer, initargs=initargs, max_tasks_per_worker=max_tasks_per_worker, env=env, address=address,
            worker_port=worker_port, worker_port_range=worker_port_range or (54000, 55000), address_probe_timeout=address_probe_timeout,
            encrypted=encrypted, heartbeat_period=heartbeat_period, heartbeat_threshold=heartbeat_threshold, drain_period=drain_period,
            block_error_handler=block_error_handler, block_start_timeout=block_start_timeout, worker_logdir_root=worker_logdir_root,
            worker_debug=worker_debug, working_dir=working_dir, storage_access=storage_access, max_result_size=max_result_size,
        )  # fmt: skip
        self.launch_cmd = DEFAULT_COMMAND if launch_cmd is None else launch_cmd
        self.interchange_launch_cmd = options.words("interchange_launch_cmd", interchange_launch_cmd)
        # accepted
        self.loopback_address = loopback_address
        self.interchange_port_range = interchange_port_range
        self.poll_period = poll_period
        self.remote_monitoring_radio = remote_monitoring_radio
        self._settle()
        for name, (default, why) in _NEEDLESS.items():
            if getattr(self, name) not in (default, None):
                _logger.warning("HighThroughputExecutor(%s=%r): accepted, but %s", name, getattr(self, name), why)

        self._context: ExecutorContext | None = None
        self._link: DriverLink | None = None
        self._keeper: BlockKeeper | None = None
        self._launch: BlockLaunch | None = None
        self._life = threading.Lock()
        self._ending: tuple[DriverLink | None, BlockKeeper | None, BlockLaunch | None] | None = None
        self._server_public = ""
        self._near = ("", "")  # the socket for managers on this host, and the secret of their tokens
        self._error: Exception | None = None  # what ended the executor before its time
        self._seen_blocks: list[str] = []

    def _settle(self) -> None:
        """Checks what it was told, and brings it into one form: when it is made, and before each run, because programs assign it too."""
        self.provider = _provider(self.provider)
        options.settle(self)
        self._max_result_bytes = _max_result_bytes(self.max_result_size)
        self._addresses = choose_addresses(self.provider, self.address)
        self._keep_private()
        handler = self.block_error_handler
        if not isinstance(handler, bool) and not callable(handler):
            raise options.wrong("block_error_handler", handler, "True, False, or a function")
        if words := self._interchange_words():
            find_command(words)
        self._check_launch_cmd()

    def _keep_private(self) -> None:
        """Refuses to send anything in the clear beyond this machine."""
        if not self.encrypted and self.provider.tunnels:
            raise ConfigurationError(
                f"HighThroughputExecutor(encrypted=False): {self.provider.label} brings its port to other machines, where others may dial it; "
                "leave encrypted=True"
            )
        if not self.encrypted and not self._is_private():
            raise ConfigurationError(
                f"HighThroughputExecutor(encrypted=False): it would listen on {', '.join(self._addresses)}, which other machines reach; "
                "without encryption only a loopback address will do (address='127.0.0.1'), else leave encrypted=True"
            )

    def _is_private(self) -> bool:
        """Whether only this machine reaches the links."""
        return all(map(is_loopback, self._addresses))

    def _interchange_words(self) -> list[str]:
        """What starts the interchange; none for plait's own."""
        return self.interchange_launch_cmd

    def _check_launch_cmd(self) -> None:
        check_template(self.launch_cmd, self._template_values())

    def _template_values(self) -> dict[str, Any]:
        return template_values(self)

    # ------------------------------------------------------------------ life
    def start(self, context: ExecutorContext) -> None:
        """Starts the interchange, and with it, as soon as it listens, the first blocks. Waits for nothing."""
        if sys.platform == "win32":
            raise ConfigurationError("HighThroughputExecutor needs Unix; use ThreadPoolExecutor on Windows")
        self._settle()
        self._context = context
        self._error = None
        self._seen_blocks = []
        self._expected = self._judged_by = None
        self._link = DriverLink(
            self._interchange_settings, self._interchange_words(), self.label, context, _Hooks(self)
        )

    def shutdown(self, timeout_s: float) -> None:
        """Ends the managers, the blocks and the interchange."""
        with self._life:
            if self._link is not None:
                # a call that a Ctrl-C interrupts can be made again
                self._ending = (self._link, self._keeper, self._launch)
                self._link = self._keeper = self._launch = None
        if self._ending is None:
            return
        deadline_s = time.monotonic() + timeout_s
        link, keeper, launch = self._ending
        if keeper is not None:
            keeper.give_up("the executor is shut down")
        if link is not None:
            link.command("shutdown")  # managers leave by themselves while their jobs are cancelled
        if keeper is not None:
            keeper.shutdown(max(0.05, 0.8 * timeout_s))
            self._close_provider()
        if link is not None:
            link.shutdown(max(0.05, deadline_s - time.monotonic()))
        if launch is not None:
            launch.close()
        self._ending = None

    def _close_provider(self) -> None:
        try:
            self.provider.close()
        except Exception:  # a plug-in's: what else is to be ended must not stay because of it
            _logger.exception("executor %s: the provider %s could not be closed", self.label, self.provider.label)

    def _interchange_settings(self) -> InterchangeSettings:
        """Called by the link's thread: loading ZeroMQ for the keys takes a while."""
        keys = ("", "")
        if self.encrypted:
            from plait.executors.htex.link import new_keys

            keys = new_keys()
        self._server_public = keys[0]
        log_dir = self._log_dir()
        strategy = self._context.strategy if self._context is not None else "none"
        self._near = door_in(log_dir) if self.provider.shares_files else ("", "")
        return interchange_settings(self, self._addresses, keys, log_dir, self._max_result_bytes, self._near, strategy)

    def _log_dir(self) -> str:
        context = self._context
        return context.log_dir(self.label) if context is not None and context.log_dir is not None else ""

    # ------------------------------------------------------------------ what the link tells, on its thread
    def _listening(self, addresses: list[str], port: int) -> None:
        from plait.providers.base import ExecutionProvider as Port

        if getattr(type(self.provider), "route", Port.route) is Port.route:
            self._begin(addresses, port)
            return
        # a log-in may take as long as a person needs for it, and neither the link nor a shutdown may wait for that
        route = threading.Thread(
            target=self._find_route, args=(addresses, port), name=f"plait-route-{self.label}", daemon=True
        )
        route.start()

    def _find_route(self, addresses: list[str], port: int) -> None:
        try:
            addresses, port = self.provider.route(addresses, port)
        except Exception as error:  # noqa: BLE001 - plug-ins and the world: without a way back nothing can run, and every task says why
            self._blocks_failed(error)
            return
        if not self._begin(addresses, port):
            self._close_provider()  # the executor was shut down meanwhile

    def _begin(self, addresses: list[str], port: int) -> bool:
        """Begins with blocks, which reach the interchange there; False when it was shut down."""
        with self._life:  # a shutdown comes before all this, or after it
            link, context = self._link, self._context
            if link is None or context is None:
                return False
            try:
                self._begin_blocks(link, context, addresses, port)
            except Exception as error:  # noqa: BLE001 - folders and plug-ins: without blocks nothing can run, and every task says why
                self._blocks_failed(error)
        return True

    def _begin_blocks(self, link: DriverLink, context: ExecutorContext, addresses: list[str], port: int) -> None:
        from plait.executors.blocks import BlockKeeper

        make_keys: Callable[[], tuple[str, str]] | None = None
        if self.encrypted:
            from plait.executors.htex.link import new_keys

            make_keys = new_keys
        log_dir = self._log_dir()
        here = self.provider.shares_files
        self._launch = BlockLaunch(
            manager_settings(self, addresses, port, self._server_public, log_dir, self._near[0]),
            os.path.join(log_dir, "blocks") if log_dir else "",
            self.launch_cmd,
            self._template_values(),
            make_keys,
            lambda block, key: link.command("tell", Allow(block, key)),
            embed=not here,
            python=sys.executable if here else self.provider.python or "python3",
            near_secret=self._near[1],
        )
        self._keeper = BlockKeeper(
            self.provider,
            self.label,
            self._launch.command,
            self._launch.ended,
            lambda block, reason: link.command("tell", DrainBlock(block, reason)),
            self._load,
            self._blocks_failed,
            context.emit,
            context.log_dir("submit_scripts") if context.log_dir is not None else None,
            context.strategy,
            context.max_idletime_s,
            context.strategy_period_s,
            self.block_start_timeout,
            self.block_error_handler,
            owner=self,
            over=lambda block, reason: link.command("tell", DrainBlock(block, reason, over=True)),
            run_id=self.run_id or "",
            folder=log_dir or None,
            managers=1 if self.gives_nodes else None,
        )
        self._keeper.start()

    def _manager_up(self, manager: ManagerUp) -> None:
        if manager.block not in self._seen_blocks:
            self._seen_blocks.append(manager.block)
        if self._keeper is not None:
            self._keeper.manager_up(manager.block, manager.workers, manager.manager)
        if self._link is not None and self._link.offers.wishes.of:
            self._refuse_those_that_wait(self._link)

    def _manager_gone(self, manager: ManagerGone) -> None:
        if self._keeper is not None:
            how = f"{manager.how}: {manager.reason}" if manager.reason else manager.how
            self._keeper.manager_gone(manager.block, how, manager.manager)

    def _pressed(self) -> None:
        if self._keeper is not None:
            self._keeper.wake()

    def _link_broken(self, error: ExecutorError) -> None:
        self._error = self._error or error
        if self._keeper is not None:
            self._keeper.give_up(str(error))

    def _blocks_failed(self, error: Exception) -> None:
        """Called by the keeper: its blocks fail, and no more are requested."""
        self._error = self._error or error
        if self._link is not None:
            broken = (
                error
                if isinstance(error, ExecutorError)
                else BadStateException(self, text_of(error) or type(error).__name__)
            )
            broken.__cause__ = error if broken is not error else None
            self._link.command("break", broken)

    # ------------------------------------------------------------------ tasks
    def submit(self, task: Task) -> None:
        """Takes a task."""
        link = self._running()
        prepare(task)
        _check_function(task.app)
        link.submit(task)

    def submit_simple(self, task: Task) -> None:
        """Takes a task with plain arguments: the path of most tasks, written out."""
        link = self._link
        if link is None or link.broken is not None:
            link = self._running()
        app = task.app
        blob = app.blob
        if blob is None or not (blob.is_fixed or blob.is_current()):
            app.blob = FunctionBlob(app.func)
            _check_function(app)
        payload = dump_plain((task.args, task.kwargs))
        if len(payload) < BIG_BYTES:
            task.payload = payload
        else:
            prepare(task)
        link.offers.queue.append(task)
        if link.sleeping:
            link.nudge()

    def submit_many(self, tasks: Sequence[Task]) -> list[tuple[Task, Exception]]:
        """Takes many such tasks of one app."""
        if not tasks:
            return []
        try:
            link = self._running()
            app = tasks[0].app
            if app.blob is None or not (app.blob.is_fixed or app.blob.is_current()):
                app.blob = FunctionBlob(app.func)
                _check_function(app)
        except Exception as error:  # noqa: BLE001 - whatever stops the app stops each of its tasks
            return [(task, error) for task in tasks]
        for task in tasks:
            task.payload = payload = dump_plain((task.args, task.kwargs))
            if len(payload) >= BIG_BYTES:
                task.payload = None
                prepare(task)
        link.offers.queue.extend(tasks)
        if link.sleeping:
            link.wake()
        return []

    def cancel(self, task: Task, attempt: int) -> bool:
        """Ends the attempt, wherever it is. One that was not offered yet is dropped when its turn comes."""
        if self._link is not None:
            self._link.command("cancel", task, attempt)
        return True


class _Hooks(Hooks):
    """What the link tells the executor."""

    def __init__(self, executor: HighThroughputExecutor) -> None:
        self._executor = executor

    def starting(self) -> None:
        import plait.executors.blocks  # noqa: F401 - loaded now, it need not be when the interchange listens

    def listening(self, addresses: list[str], port: int) -> None:
        self._executor._listening(addresses, port)  # noqa: SLF001 - one piece with it

    def manager_up(self, manager: ManagerUp) -> None:
        self._executor._manager_up(manager)  # noqa: SLF001

    def manager_gone(self, manager: ManagerGone) -> None:
        self._executor._manager_gone(manager)  # noqa: SLF001

    def pressed(self) -> None:
        self._executor._pressed()  # noqa: SLF001

    def broken(self, error: ExecutorError) -> None:
        self._executor._link_broken(error)  # noqa: SLF001


def _provider(provider: Any) -> ExecutionProvider:
    from plait.providers import LocalProvider
    from plait.providers.base import ExecutionProvider as Port

    if provider is None:
        return LocalProvider()
    if not isinstance(provider, Port):
        hint = "; call it: write its name with parentheses" if isinstance(provider, type) else ""
        raise options.wrong(
            "provider", provider, f"a provider of blocks, such as plait.providers.LocalProvider(){hint}"
        )
    return provider


def _max_result_bytes(value: float | str | None) -> int:
    if value is None:
        return 0
    try:
        return max(1, parse_bytes(value, "max_result_size"))
    except ValueError as error:
        raise ConfigurationError(f"HighThroughputExecutor: {error}, or None for no limit") from None


def _check_function(app: AppSpec) -> None:
    """Refuses a function that is larger than a message may be."""
    if len(app.blob.data) > MAX_PAYLOAD_BYTES:
        raise SerializationError(
            f"function {app.name}",
            f"with what it refers to it has {format_bytes(len(app.blob.data))}, more than {format_bytes(MAX_PAYLOAD_BYTES)}; "
            "pass large objects as arguments",
        )
