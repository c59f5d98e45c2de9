"""Blocks of an executor: one thread between its provider and the core that decides, and one that begins jobs where the provider allows that.

```
executor ──commands, managers──▶ BlockKeeper ── lock ──▶ scaling/core.py (pure)
                                    │ thread
                                    ├── provider.status, cancel             may take seconds: never with the lock held
                                    ├── gone, drain, broken, load           the executor's callbacks: likewise
                                    ├── jobs_file.py ──▶ jobs.jsonl         for those who look for jobs of a driver that was killed
                                    └── submitting.py ─▶ launch, provider.submit, submit_many      in a thread of its own if the provider
                                                                                                   takes calls from two (`concurrent`)
```
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from plait._util.dirs import remove_busy_dir
from plait.errors import ExecutorError, text_of
from plait.executors.jobs_file import JobsFile
from plait.executors.polling import Poller
from plait.executors.submitting import Submitter
from plait.model.events import BLOCK_ENDED
from plait.model.jobs import JobState
from plait.model.units import parse_duration
from plait.scaling.block import Cancel, Drain, Gone, Request, jobs_of
from plait.scaling.check import check
from plait.scaling.core import BlockCore
from plait.scaling.error_handlers import handler_of
from plait.scaling.explain import explain
from plait.scaling.policy import policy_of
from plait.scaling.view import Limits, Load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from plait.model.events import EventTuple
    from plait.model.jobs import JobStatus
    from plait.providers.base import ExecutionProvider
    from plait.scaling.error_handlers import BlockErrorHandler
    from plait.scaling.policy import ScalingPolicy

__all__ = ["BlockKeeper", "Load"]

_logger: Final = logging.getLogger("plait")

_VALIDATE: Final = os.environ.get("PLAIT_VALIDATE") == "1"
#: Seconds between two attempts to cancel what is left at the end.
_STOP_RETRY_S: Final = 0.2
#: Jobs that are cancelled with one call; between two calls the time is looked at, and other blocks have their turn.
_CANCEL_TOGETHER: Final = 100
#: Characters of the run's id that names of jobs have.
RUN_ID_CHARS: Final = 8


class BlockKeeper:
    """Keeps as many blocks as there should be.

    Args:
        provider: where blocks come from.
        label: of the executor.
        launch: makes the command of a block's managers; what it raises is a failed block.
        gone: told when a block is over and nothing of it is connected.
        drain: has a block's managers finish and take nothing new; called with the block and the reason, perhaps more than once.
        load: what there is to do.
        broken: told once when scaling stops because of failed blocks.
        emit: takes events; None when nobody listens.
        script_dir: folder for the provider's scripts; None for a temporary one.
        strategy: a name of `Config.strategy`, or a policy.
        max_idletime_s: when idle blocks may be given back.
        period_s: seconds between two decisions when nothing happens.
        start_timeout_s: seconds in which a manager must connect once the block's job runs.
        error_handler: True, False or a function (`scaling.error_handlers`).
        drain_timeout_s: seconds that a block that is given back has for its running tasks.
        owner: what error handlers get as the executor; this object when None.
        over: called instead of ``drain`` when the block's job has ended while managers are connected, which are most likely dead.
        run_id: of the run; its beginning is part of the names of jobs, so that they can be found.
        folder: where ``jobs.jsonl`` is kept; None for nowhere.
        managers: of a block; None for one on each node.
    """

    def __init__(
        self, provider: ExecutionProvider, label: str, launch: Callable[[str], str], gone: Callable[[str], None],
        drain: Callable[[str, str], None], load: Callable[[], Load], broken: Callable[[Exception], None],
        emit: Callable[[EventTuple], None] | None = None, script_dir: str | None = None,
        strategy: str | ScalingPolicy | None = "simple", max_idletime_s: float = 120.0, period_s: float = 5.0,
        start_timeout_s: float = 300.0, error_handler: bool | BlockErrorHandler = True, *,
        drain_timeout_s: float = 60.0, owner: Any = None, over: Callable[[str, str], None] | None = None, run_id: str = "", folder: str | None = None, managers: int | None = None,
    ) -> None:  # fmt: skip
        self.provider = provider
        self.label = label
        self._launch = launch
        self._gone = gone
        self._drain = drain
        self._over = drain if over is None else over
        self._load = load
        self._broken = broken
        self._emit = emit
        self._script_dir = script_dir
        self._handler = handler_of(error_handler)
        self._period_s = period_s
        self._owner = self if owner is None else owner
        limits = Limits(
            provider.init_blocks,
            provider.min_blocks,
            provider.max_blocks,
            provider.nodes_per_block,
            provider.parallelism,
            walltime_of(provider),
            managers,
        )
        self._core = BlockCore(
            label, limits, policy_of(strategy), max_idletime_s=max_idletime_s, period_s=period_s,
            start_timeout_s=start_timeout_s, drain_timeout_s=drain_timeout_s,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._thread_ended = threading.Event()  # Thread.join, interrupted, takes one that runs for one that has ended
        self._news = False  # something happened that the thread has not seen
        self._stopping = False
        self._ended = False  # nothing is cancelled any more
        self._alone = False  # the shutdown did not wait for the thread
        self._deadline_s = float("inf")  # of the shutdown
        self._cancels: deque[tuple[str, ...]] = deque()  # blocks that are to be cancelled with one call
        self._given: dict[str, Any] = {}  # ids of jobs that are no text
        self._poller = Poller(provider, label)
        self._folder = folder
        self._jobs: JobsFile | None = None
        self._head = {"label": label, "provider": provider.label, "run_id": run_id}
        self._prefix = ".".join(part for part in ("plait", run_id[:RUN_ID_CHARS], label) if part)
        self._submitter: Submitter | None = None
        self._handled = 0  # blocks that had ended when the error handler was last asked
        self._handle_s = 0.0
        self._error: Exception | None = None
        self._temporary: str | None = None
        self._had_script_dir: str | None = None

    # ------------------------------------------------------------------ life
    def start(self) -> None:
        """Begins; the first blocks are requested at once, by the keeper's thread."""
        self._had_script_dir = self.provider.script_dir
        if self._script_dir is None:
            self._script_dir = self._temporary = tempfile.mkdtemp(prefix="plait-jobs-")
        self.provider.script_dir = self._script_dir
        os.makedirs(self._script_dir, exist_ok=True)
        if self._folder is not None:
            self._jobs = JobsFile(self._folder, self._head)
        self._submitter = Submitter(
            self.provider, self.label, self._prefix, self._launch, self._is_wanted, self._begun, self._jobs
        )
        self._core.start(time.monotonic())
        self._submitter.start()
        self._thread = threading.Thread(target=self._run, name=f"plait-blocks-{self.label}", daemon=True)
        self._thread.start()

    def shutdown(self, timeout_s: float) -> None:
        """Ends all blocks, queued ones included, within the time. May be called more than once."""
        with self._lock:
            self._stopping = True
            self._deadline_s = time.monotonic() + 0.9 * timeout_s  # the rest is for the thread to end
            self._wake()
            thread = self._thread
        if thread is None:
            return
        self._thread_ended.wait(timeout_s)
        with self._lock:
            self._alone = not self._thread_ended.is_set()
        if self._alone:
            self._say_what_is_left("the provider has not answered")
            return
        thread.join(1.0)
        self._thread = None
        if self._submitter is not None and not self._submitter.under_way:
            self._submitter.join(timeout_s)
        self._tidy()

    def _tidy(self) -> None:
        """Leaves no file, and the provider as it was: a configuration may serve another run."""
        if self.provider.script_dir == self._script_dir:
            self.provider.script_dir = self._had_script_dir
        if self._temporary is not None:
            remove_busy_dir(self._temporary)
            self._temporary = self._script_dir = None

    # ------------------------------------------------------------------ facts
    def manager_up(self, block: str, workers: int, manager: str = "") -> None:
        """A manager of the block connected.

        Args:
            block: its block.
            workers: tasks that it can run at once.
            manager: its name, where blocks may have several.
        """
        with self._lock:
            self._core.manager_up(block, manager, workers, time.monotonic())
            self._wake()

    def manager_gone(self, block: str, how: str, manager: str = "") -> None:
        """A manager of the block is no more.

        Args:
            block: its block.
            how: ``lost``, ``drained``, ``left`` or ``refused``; the reason may follow behind a colon.
            manager: its name, where blocks may have several.
        """
        with self._lock:
            self._core.manager_gone(block, manager, how, time.monotonic())
            self._poller.hasten()  # most often its job has ended
            self._wake()

    def wake(self) -> None:
        """There is new work, or less: decide now instead of at the end of the period."""
        with self._lock:
            self._core.hurry(time.monotonic())
            self._wake()

    # ------------------------------------------------------------------ commands
    def scale_out(self, blocks: int = 1) -> list[str]:
        """Requests more blocks, as far as there may be more; their names.

        Raises:
            ValueError: it is no number of blocks.
        """
        _check_count("scale_out", blocks, "a whole number from 0")
        with self._lock:
            names = self._core.scale_out(blocks, time.monotonic())
            self._wake()
        return names

    def scale_in(self, blocks: int | Iterable[str], max_idletime_s: float | None = None) -> list[str]:
        """Gives back blocks: drained, then cancelled.

        Args:
            blocks: names of blocks, or how many; of those that may be given back, the ones that have been idle longest come first.
            max_idletime_s: only blocks that have been without tasks for so long; None for any.

        Returns:
            The names of those that are being given back.

        Raises:
            ValueError: it is neither a number nor names.
        """
        if isinstance(blocks, str):
            blocks = [blocks]
        elif not hasattr(blocks, "__iter__"):
            _check_count("scale_in", blocks, "a whole number from 0, or names of blocks")
        load = self._load()
        with self._lock:
            names = self._core.scale_in(blocks, max_idletime_s, load, time.monotonic())
            self._wake()
        return names

    def scale_as(self, strategy: str | ScalingPolicy | None, max_idletime_s: float, period_s: float) -> None:
        """Decides by this from now on."""
        with self._lock:
            self._core.policy = policy_of(strategy)
            self._core.max_idletime_s, self._core.period_s = max_idletime_s, period_s
            self._period_s = period_s
            self._core.hurry(time.monotonic())
            self._wake()

    def give_up(self, why: str) -> None:
        """No more blocks are requested."""
        with self._lock:
            self._core.give_up(why)

    def set_bad_state_and_fail_all(self, error: Exception) -> None:
        """What error handlers call on the executor: scaling stops with this exception."""
        with self._lock:
            first, self._error = self._error is None, self._error or error
            told = text_of(error).partition("\n")[0]  # perhaps nothing, as of an assertion
            self._core.give_up(": ".join(part for part in (type(error).__name__, told) if part))
        if first:
            self._broken(error)

    # ------------------------------------------------------------------ looking
    def status(self) -> dict[str, JobStatus]:
        """How each block is: ended ones in the order in which they ended, then the others."""
        with self._lock:
            return self._core.statuses()

    @property
    def blocks_to_job_id(self) -> dict[str, str]:
        """Jobs of the blocks that have not ended."""
        with self._lock:
            return {block.id: block.job_id for block in self._core.live.values() if block.job_id}

    def explain(self) -> str:
        """Where the blocks stand, in a sentence."""
        with self._lock:
            return explain(self._core, time.monotonic())

    # ------------------------------------------------------------------ the thread
    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
            self._stop()
        except (
            Exception,
            SystemExit,
        ) as error:  # the thread's boundary: an executor without it would wait for blocks for ever
            _logger.exception("executor %s: the thread that keeps its blocks failed", self.label)
            self.set_bad_state_and_fail_all(
                error
                if isinstance(error, Exception)
                else ExecutorError(self.label, f"its strategy called sys.exit({error})")
            )
            self._stop()
        finally:
            with self._lock:
                self._thread_ended.set()
                alone = self._alone
            if alone:
                self._tidy()

    def _turn(self) -> None:
        load = self._load()
        with self._lock:
            self._news = False
            self._core.tick(load, time.monotonic())
        self._act()
        self._cancel_some()
        if self._submitter is not None and not self._submitter.concurrent:
            self._submitter.turn()
        self._poll_if_due()
        self._act()
        self._handle_errors()
        with self._lock:
            if self._news or self._cancels or self._core.out or self._stopping:
                return
            submit_s = self._submitter.due_s() if self._submitter is not None else float("inf")
            due_s = min(self._core.next_s(), self._next_poll_s(), self._handle_s, submit_s) - time.monotonic()
            if due_s > 0:
                self._changed.wait(min(due_s, 3600.0))

    def _wake(self) -> None:
        self._news = True
        self._changed.notify()

    def _act(self) -> None:
        """Does what the core wants; submitting waits for its turn, because each may take seconds."""
        with self._lock:
            actions, self._core.out = self._core.out, []
            events, self._core.events = self._core.events, []
            if _VALIDATE:
                check(self._core)
        for event in events:
            if self._emit is not None:
                self._emit(event)
            if self._jobs is not None and event[0] == BLOCK_ENDED:
                self._jobs.ended(event[3], event[4], JobState(event[5]), event[6])
        for action in actions:
            if isinstance(action, Request):
                if self._submitter is not None:
                    self._submitter.request(action.block)
            elif isinstance(action, Cancel):
                for first in range(0, len(action.blocks), _CANCEL_TOGETHER):
                    self._cancels.append(action.blocks[first : first + _CANCEL_TOGETHER])
            elif isinstance(action, Drain):
                self._tell(self._over if action.over else self._drain, action.block, action.reason)
            elif isinstance(action, Gone):
                self._tell(self._gone, action.block)

    def _tell(self, tell: Callable[..., None], *what: str) -> None:
        """Calls the executor back. What it cannot do for one block must not stop the others."""
        try:
            tell(*what)
        except Exception:
            _logger.exception("executor %s could not take note of block %s", self.label, what[0])

    # ------------------------------------------------------------------ beginning and ending jobs
    def _is_wanted(self, name: str) -> bool:
        with self._lock:
            return self._core.may_submit(name, time.monotonic())

    def _begun(self, name: str, job_id: str, given: Any, reason: str) -> None:
        """What became of a submission: told by the thread that made it."""
        late = False
        with self._lock:
            if job_id:
                if given != job_id:
                    self._given[job_id] = given
                late = self._ended or name not in self._core.live  # the end did not wait for it
                if not late:
                    self._core.submitted(name, job_id, time.monotonic())
                    self._poller.hasten()
            elif name in self._core.live:
                self._core.refused(name, reason, time.monotonic(), is_away=self._poller.failures > 0)
            self._wake()
        if late:
            _logger.warning("executor %s: job %s was begun when it was too late; it is cancelled", self.label, job_id)
            try:
                self.provider.cancel(self._as_given([job_id]))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - plug-ins and the world: it is in jobs.jsonl
                _logger.warning("executor %s: job %s could not be cancelled: %s", self.label, job_id, text_of(error))

    def _cancel_some(self) -> None:
        """Cancels what one call can."""
        if self._cancels:
            self._cancel(self._cancels.popleft())

    def _cancel(self, names: Sequence[str]) -> None:
        with self._lock:
            names, jobs = jobs_of(self._core.live[name] for name in names if name in self._core.live)
        if not jobs:
            return
        try:
            answers = [bool(answer) for answer in self.provider.cancel(self._as_given(jobs))]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - plug-ins, which may call sys.exit(), and the world: asked again later
            _logger.warning(
                "executor %s: jobs %s could not be cancelled: %s", self.label, ", ".join(jobs), text_of(error)
            )
            answers = []
        answers += [False] * (len(jobs) - len(answers))
        with self._lock:
            self._core.cancelled(dict(zip(names, answers, strict=False)), time.monotonic())
            self._poller.hasten()

    def _as_given(self, jobs: Sequence[str]) -> list[str]:
        """The ids as the provider gave them: plug-ins of other libraries may use numbers."""
        return [self._given.get(job, job) for job in jobs]

    def _poll_if_due(self) -> None:
        with self._lock:
            if time.monotonic() < self._next_poll_s():
                return
            names, jobs = jobs_of(self._core.live.values())
        statuses = self._poller.ask(self._as_given(jobs))
        if statuses is not None:
            with self._lock:
                self._core.polled(dict(zip(names, statuses, strict=True)), time.monotonic())

    def _next_poll_s(self) -> float:
        has_jobs = any(block.job_id for block in self._core.live.values())
        return self._poller.due_s() if has_jobs else float("inf")

    # ------------------------------------------------------------------ failures
    def _handle_errors(self) -> None:
        """Asks the error handler when blocks ended, and once a period."""
        now_s = time.monotonic()
        with self._lock:
            ended = self._core.ended_count
            if self._error is not None or self._stopping or (ended == self._handled and now_s < self._handle_s):
                if self._error is not None:
                    self._handle_s = float("inf")
                return
            self._handled = ended
            self._handle_s = now_s + self._period_s
            statuses = self._core.statuses()
        try:
            error = self._handler(self._owner, statuses)
        except (Exception, SystemExit):  # the user's code; blocks go on without it
            _logger.exception("executor %s: its block_error_handler raised", self.label)
            return
        if isinstance(error, Exception):
            self.set_bad_state_and_fail_all(error)

    # ------------------------------------------------------------------ the end
    def _stop(self) -> None:
        """Cancels everything, queued blocks too, again and again until the provider has accepted it or the time is over."""
        under_way: set[str] = set()
        if self._submitter is not None:
            self._submitter.stop()
            under_way = self._submitter.under_way
        with self._lock:
            self._core.stop(time.monotonic())
            for block in [block for block in self._core.live.values() if not block.job_id]:
                if block.id not in under_way:
                    self._core.may_submit(block.id, time.monotonic())
        while True:
            self._act()
            while self._cancels and time.monotonic() < self._deadline_s:
                self._cancel_some()
            with self._lock:
                done = self._core.finish(time.monotonic())
                left_s = self._deadline_s - time.monotonic()
                if not done and left_s > 0:
                    self._changed.wait(min(_STOP_RETRY_S, left_s))
            if done or left_s <= 0:
                break
        self._act()
        with self._lock:
            self._ended = True
        if not done:
            self._say_what_is_left("the provider did not accept their cancelling")

    def _say_what_is_left(self, why: str) -> None:
        with self._lock:
            left = [
                f"{block.job_id or f'one that is being begun as {self._prefix}.block-{block.id}'} (block {block.id})"
                for block in self._core.live.values()
                if not block.cancel_accepted
            ]
        if left:
            _logger.error(
                "executor %s: these jobs of provider %s may be left, because %s: %s. Please end them yourself, or with `plait blocks --cancel`.",
                self.label, self.provider.label, why, ", ".join(left),
            )  # fmt: skip


def walltime_of(provider: ExecutionProvider) -> float | None:
    """How long its blocks last; None when it does not say."""
    known: Any = getattr(provider, "walltime_s", None) or getattr(provider, "walltime", None)
    try:
        return parse_duration(known) or None if known else None
    except ValueError:
        return None


def _check_count(method: str, blocks: object, expected: str) -> None:
    if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks < 0:
        raise ValueError(f"{method}(blocks={blocks!r}): expected {expected}")
