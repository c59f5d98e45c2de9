"""Beginning jobs: together where the provider can do that, gently where it refuses, and without anybody having to wait for it.

```
BlockKeeper's thread ── request ──▶ queue ──▶ turn(): provider.submit or submit_many ──▶ begun(block, id or reason)
      │                                         │
      │                                         ├── in a thread of its own, when the provider takes calls from two threads (`concurrent`)
      └── status, cancel of other blocks ◀──────┴── else in the keeper's, one call between two looks at the other blocks
```

After a refusal the next try waits 1, 2, 4 … 60 s, and is one job alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from plait.errors import text_of
from plait.providers.base import ExecutionProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plait.executors.jobs_file import JobsFile

_logger: Final = logging.getLogger("plait")

#: Jobs that are begun with one call at most.
TOGETHER: Final = 64
#: Seconds before the next try after a refusal, doubled with each further one in a row, and the longest such pause.
PAUSE_S: Final = (1.0, 60.0)


class Submitter:
    """Begins the jobs of blocks.

    Args:
        provider: where.
        label: of the executor.
        prefix: of the names of jobs: ``plait.<run>.<label>``.
        launch: makes the command of a block; what it raises is a failed block.
        wanted: whether a block is still wanted, asked right before its job is begun.
        begun: told what became of each: block, id (as text) or nothing, what the provider gave as the id, and the reason when there is none.
        jobs: where it is written down; None for nowhere.

    Attributes:
        concurrent: whether it has a thread of its own.
        under_way: blocks whose jobs are being begun at this moment.
    """

    def __init__(
        self, provider: ExecutionProvider, label: str, prefix: str, launch: Callable[[str], str], wanted: Callable[[str], bool],
        begun: Callable[[str, str, Any, str], None], jobs: JobsFile | None = None,
    ) -> None:  # fmt: skip
        self.concurrent = bool(getattr(provider, "concurrent", False))
        self.under_way: set[str] = set()
        self._provider = provider
        self._label = label
        self._prefix = prefix
        self._launch = launch
        self._wanted = wanted
        self._begun = begun
        self._jobs = jobs
        self._together = (
            getattr(type(provider), "submit_many", ExecutionProvider.submit_many) is not ExecutionProvider.submit_many
        )
        self._queue: deque[str] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._failures = 0  # in a row
        self._not_before_s = float("-inf")
        self._thread: threading.Thread | None = None

    def name_of(self, block: str) -> str:
        """The name of a block's job."""
        return f"{self._prefix}.block-{block}"

    def start(self) -> None:
        """Starts its thread, if it is to have one."""
        if self.concurrent:
            self._thread = threading.Thread(target=self._run, name=f"plait-submits-{self._label}", daemon=True)
            self._thread.start()

    def request(self, block: str) -> None:
        """The job of a block is to be begun."""
        with self._changed:
            self._queue.append(block)
            self._changed.notify()

    def stop(self) -> list[str]:
        """Begins no more; the blocks whose turn had not come."""
        with self._changed:
            self._stopping = True
            left = list(self._queue)
            self._queue.clear()
            self._changed.notify()
        return left

    def join(self, timeout_s: float) -> None:
        """Waits for its thread."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def due_s(self) -> float:
        """When `turn` has something to do; never, where a thread does it."""
        return float("inf") if self.concurrent or not self._queue else self._not_before_s

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopping:
                    pause_s = self._not_before_s - time.monotonic() if self._queue else 3600.0
                    if pause_s <= 0:
                        break
                    self._changed.wait(pause_s)
                if self._stopping:
                    return
            try:
                self.turn()
            except Exception:  # the thread's boundary: what is to be submitted next may fare better
                _logger.exception("executor %s: beginning jobs failed", self._label)

    # ------------------------------------------------------------------ a turn
    def turn(self) -> bool:
        """Begins what may be begun with one call. Whether there was anything to do."""
        if time.monotonic() < self._not_before_s:
            return False
        blocks = self._take()
        if not blocks:
            return False
        commands = [(block, command) for block in blocks if (command := self._command(block)) is not None]
        if commands:
            self._submit(commands)
        return True

    def _take(self) -> list[str]:
        most = TOGETHER if self._together and not self._failures else 1
        with self._changed:
            taken: list[str] = []
            while self._queue and len(taken) < most:
                block = self._queue.popleft()
                self.under_way.add(block)
                taken.append(block)
        wanted = []
        for block in taken:
            if self._wanted(block):
                wanted.append(block)
            else:
                self.under_way.discard(block)
        return wanted

    def _command(self, block: str) -> str | None:
        try:
            return self._launch(block)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - folders, keys, users' templates: this block's end
            self._say(block, "", None, f"could not be begun: {type(error).__name__}: {text_of(error)}")
            return None

    def _submit(self, commands: Sequence[tuple[str, str]]) -> None:
        requests = [(command, 1, self.name_of(block)) for block, command in commands]
        if self._jobs is not None:
            for block, _ in commands:
                self._jobs.requested(block, self.name_of(block), self._ticket("", self.name_of(block)))
        answers: Sequence[Any]
        try:
            if len(requests) > 1:
                answers = self._provider.submit_many(requests)
                if len(answers) != len(requests):
                    raise TypeError(f"expected {len(requests)} answers, not {answers!r}")  # noqa: TRY301 - as other failures
            else:
                answers = [self._provider.submit(*requests[0])]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - plug-ins, which may call sys.exit(), and the world: blocks that could not be begun
            answers = [error] * len(requests)
        for (block, _), answer in zip(commands, answers, strict=True):
            if isinstance(answer, BaseException):
                self._failed(block, f"could not be begun: {type(answer).__name__}: {text_of(answer)}")
            elif not answer:
                self._failed(block, f"the provider {self._provider.label} did not say why it begins no job")
            else:
                self._failures, self._not_before_s = 0, float("-inf")
                job_id = str(answer)
                if self._jobs is not None:
                    name = self.name_of(block)
                    self._jobs.submitted(block, name, job_id, self._ticket(job_id, name))
                self._say(block, job_id, answer, "")

    def _failed(self, block: str, reason: str) -> None:
        self._failures += 1
        self._not_before_s = time.monotonic() + min(PAUSE_S[1], PAUSE_S[0] * 2.0 ** min(self._failures - 1, 10))
        self._say(block, "", None, reason)

    def _say(self, block: str, job_id: str, given: Any, reason: str) -> None:
        if reason:
            _logger.warning("executor %s: block %s: %s", self._label, block, reason)
        try:
            self._begun(block, job_id, given, reason)
        finally:
            self.under_way.discard(block)

    def _ticket(self, job_id: str, name: str) -> dict[str, str] | None:
        try:
            ticket = self._provider.ticket(job_id, name)
            # as readers take it: what is no text could perhaps not be written down, with the job already begun
            return None if ticket is None else {str(key): str(value) for key, value in ticket.items()}
        except Exception:  # a plug-in's: the job is worth more than its ticket
            _logger.exception("executor %s: the provider %s makes no ticket", self._label, self._provider.label)
            return None
