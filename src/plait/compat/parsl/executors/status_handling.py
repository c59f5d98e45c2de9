"""``parsl.executors.status_handling``: ports for executors that users write and whose workers come in blocks."""

from __future__ import annotations

import threading
import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final, cast

from plait.compat.parsl.executors.base import ParslExecutor
from plait.compat.parsl.jobs.error_handlers import as_function
from plait.errors import BadStateException, ScalingFailed
from plait.executors.blocks import BlockKeeper, Load
from plait.model.jobs import JobState, JobStatus
from plait.providers.base import ExecutionProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from plait.executors.base import ExecutorContext

    BlockErrorHandler = Callable[["BlockProviderExecutor", Mapping[str, JobStatus]], None]

__all__ = ["BlockProviderExecutor", "NoStatusHandlingExecutor"]

#: Seconds that a block of a plug-in may take, of which nothing more can be known than that its job runs.
NEVER_S: Final = 1e9


class BlockProviderExecutor(ParslExecutor):
    """An executor whose workers are started by the jobs of a provider.

    A plug-in says what a block runs (`_get_launch_command`), how many tasks it has (`outstanding`) and how many workers a node has
    (`workers_per_node`), and keeps the futures of its tasks in `tasks`. plait obtains blocks for it as ``Config.strategy`` says.
    """

    def __init__(
        self, *, provider: ExecutionProvider | None, block_error_handler: bool | BlockErrorHandler = True
    ) -> None:
        super().__init__()
        self._provider = provider
        self.block_error_handler = as_function(block_error_handler)
        self._tasks: dict[Any, Future[Any]] = {}
        self._keeper: BlockKeeper | None = None
        self._up: set[str] = set()  # blocks whose jobs were seen running
        self._exception: Exception | None = None
        self._state_lock = threading.Lock()

    # ------------------------------------------------------------------ what a plug-in says
    @abstractmethod
    def outstanding(self) -> int:
        """Tasks that have not ended."""

    @property
    @abstractmethod
    def workers_per_node(self) -> int | float:
        """Tasks that a node runs at once."""

    def _get_launch_command(self, block_id: str) -> str:
        """The command that a block runs on each of its nodes."""
        raise NotImplementedError(
            f"{type(self).__name__} has a provider, so it must define _get_launch_command(block_id)"
        )

    # ------------------------------------------------------------------ what it is told
    @property
    def provider(self) -> ExecutionProvider | None:
        return self._provider

    @property
    def tasks(self) -> dict[Any, Future[Any]]:
        """Futures of the tasks that have not ended, by whatever the plug-in names them."""
        return self._tasks

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two looks at the blocks; 0 when there are none."""
        return 0 if self._provider is None else self._provider.status_polling_interval

    def status(self) -> dict[str, JobStatus]:
        """How each block is."""
        return {} if self._keeper is None else self._keeper.status()

    @property
    def status_facade(self) -> dict[str, JobStatus]:
        """How each block is."""
        return self.status()

    def poll_facade(self) -> None:
        """Has the blocks looked at soon; they are looked at without it."""
        if self._keeper is not None:
            self._keeper.wake()

    @property
    def blocks_to_job_id(self) -> dict[str, str]:
        """The jobs of the blocks that have not ended."""
        return {} if self._keeper is None else self._keeper.blocks_to_job_id

    @property
    def job_ids_to_block(self) -> dict[str, str]:
        """The blocks of the jobs that have not ended."""
        return {job: block for block, job in self.blocks_to_job_id.items()}

    # ------------------------------------------------------------------ more blocks, fewer blocks
    def scale_out_facade(self, n: int) -> list[str]:
        """Requests blocks; their names."""
        return self._blocks().scale_out(n)

    def scale_in(self, blocks: int) -> list[str]:
        """Gives back blocks; their names."""
        return self._blocks().scale_in(blocks)

    def scale_in_facade(self, n: int, max_idletime: float | None = None) -> list[str]:
        """Gives back blocks, only those that have been idle for so many seconds where that is known; their names."""
        return self.scale_in(n) if max_idletime is None else self._blocks().scale_in(n, max_idletime)

    def scale_as(self, strategy: str, max_idletime: float, period_s: float) -> None:
        """Decides by this policy of plait's from now on; for strategies (`parsl.jobs.strategy`)."""
        self._blocks().scale_as(strategy, max_idletime, period_s)

    def _blocks(self) -> BlockKeeper:
        if self._keeper is None:
            raise ScalingFailed(self, "it has no blocks: it has no provider, or was not started")
        return self._keeper

    # ------------------------------------------------------------------ failure
    @property
    def bad_state_is_set(self) -> bool:
        """Whether the executor was given up."""
        return self._exception is not None

    @property
    def executor_exception(self) -> Exception | None:  # type: ignore[override]
        """Why it was given up."""
        return self._exception

    def set_bad_state_and_fail_all(self, exception: Exception) -> None:
        """Gives the executor up: its tasks fail with `BadStateException`, later ones with this exception."""
        with self._state_lock:
            if self._exception is not None:
                return
            self._exception = exception
        if self._keeper is not None:
            self._keeper.give_up(str(exception))
        for future in list(self.tasks.values()):
            if not future.done():
                future.set_exception(BadStateException(self, str(exception)))

    def handle_errors(self, status: Mapping[str, JobStatus]) -> None:
        """Asks the handler for errors of blocks, which plait does without it."""
        self.block_error_handler(self, status)

    # ------------------------------------------------------------------ for plait
    def begin_blocks(self, context: ExecutorContext) -> None:
        """Begins to keep blocks; called once the executor was started."""
        if self._provider is None:
            return
        self._keeper = BlockKeeper(
            cast("ExecutionProvider", _Watched(self._provider, self)),
            self.label,
            self._get_launch_command,
            self._up.discard,
            self._drain,
            self._load,
            self.set_bad_state_and_fail_all,
            context.emit,
            context.log_dir("submit_scripts") if context.log_dir is not None else None,
            context.strategy,
            context.max_idletime_s,
            context.strategy_period_s,
            NEVER_S,
            self.block_error_handler,
            owner=self,
        )
        self._keeper.start()

    def end_blocks(self, timeout_s: float) -> None:
        """Ends all blocks."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.shutdown(timeout_s)

    def block_is_up(self, block: str) -> None:
        """Its job was seen running. plait does not know the workers of a plug-in, and takes that for them."""
        if block not in self._up and self._keeper is not None and self._provider is not None:
            self._up.add(block)
            self._keeper.manager_up(block, max(1, int(min(self._workers(), 1e6))) * self._provider.nodes_per_block)

    def _drain(self, block: str, reason: str) -> None:  # noqa: ARG002 - the workers of a plug-in cannot be told
        if self._keeper is not None:
            self._keeper.manager_gone(block, "drained")

    def _workers(self) -> float:
        return self.workers_per_node or 1

    def _load(self) -> Load:
        tasks: Any = self.outstanding  # a property in plug-ins that were written long ago
        count = tasks() if callable(tasks) else tasks
        return Load(int(count), int(min(self._workers(), 1e6)))


class NoStatusHandlingExecutor(ParslExecutor):
    """An executor without blocks: what such plug-ins derived from, before upstream removed it. `ParslExecutor` is enough."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        warnings.warn(
            f"{cls.__name__}: upstream has removed NoStatusHandlingExecutor; derive from parsl.executors.base.ParslExecutor",
            FutureWarning,
            stacklevel=2,
        )

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[Any, Future[Any]] = {}

    tasks = BlockProviderExecutor.tasks
    bad_state_is_set = False
    executor_exception: Exception | None = None
    scaling_enabled = False
    status_polling_interval = 0
    provider = None

    def status(self) -> dict[str, JobStatus]:
        return {}

    def handle_errors(self, *_: Any) -> None:
        """There are no blocks that could fail."""

    def set_bad_state_and_fail_all(self, exception: Exception) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no blocks") from exception


class _Watched:
    """A provider whose answers tell when the jobs of a plug-in's blocks run."""

    submit_many = (
        ExecutionProvider.submit_many
    )  # plait looks for it at the class: jobs of plug-ins are begun one by one

    def __init__(self, provider: ExecutionProvider, executor: BlockProviderExecutor) -> None:
        self.__dict__.update(_provider=provider, _executor=executor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._provider, name, value)

    def status(self, job_ids: Sequence[str]) -> list[JobStatus]:
        statuses = list(self._provider.status(job_ids))
        names = self._executor.job_ids_to_block
        for job, status in zip(job_ids, statuses, strict=False):
            if status.state in {JobState.RUNNING, JobState.COMPLETED} and str(job) in names:
                self._executor.block_is_up(names[str(job)])
        return statuses
