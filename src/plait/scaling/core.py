"""What is known of an executor's blocks, and what is to be done about them. Pure: facts and the time in, actions and events out.

A block is one job of the provider. Its life:

    requested ─▶ queued ─▶ runs ─▶ up (a manager has connected) ─▶ leaving (drained, then cancelled) ─▶ ended
                   └─────────┴──────┴────── ended: by itself, by its walltime, by us because no manager came ──────▶

The queue is believed about jobs, the managers about tasks: a job that is gone is not counted even while its managers still talk, and they are
told to drain; a job whose managers are all gone takes no tasks even while the queue calls it running, and is cancelled if none comes back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from plait.model.events import BLOCK_ENDED, BLOCK_REQUESTED, BLOCK_STATUS, BLOCK_UP, BLOCKS_SCALED
from plait.model.jobs import FAILED_STATES, JobState, JobStatus
from plait.model.units import format_duration
from plait.scaling.policy import BlockView, Decision, Limits, Load, ScalingPolicy, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plait.model.events import EventTuple

#: Seconds for which a job may go on after its managers have left by themselves.
LINGER_S: Final = 5.0
#: Seconds before the first block after a failed one, doubled with each further failure in a row, and the longest such pause.
BACKOFF_S: Final = (1.0, 60.0)
#: Seconds for which a block must have been up for its failure not to count as one more in a row.
STABLE_S: Final = 60.0
#: Seconds after which a job is cancelled again when the provider did not accept it.
RECANCEL_S: Final = 5.0
#: Blocks that a sentence names.
_SHOWN: Final = 3
#: Ended blocks that are remembered.
REMEMBERED: Final = 1000


# ------------------------------------------------------------------ actions
@dataclass(frozen=True)
class Request:
    """Begin a job for this block."""

    block: str


@dataclass(frozen=True)
class Cancel:
    """End the jobs of these blocks."""

    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Drain:
    """The block's managers are to finish what they run and take nothing new."""

    block: str
    reason: str


@dataclass(frozen=True)
class Gone:
    """The block is over, and nothing of it is connected."""

    block: str


Action = Request | Cancel | Drain | Gone


@dataclass
class Block:
    """One block."""

    id: str
    requested_s: float
    status: JobStatus = JobStatus(JobState.PENDING, "is being requested")
    job_id: str = ""
    since_s: float = 0.0  # when the state changed last
    running_s: float | None = None  # when its job was first seen running
    up_s: float | None = None  # when its first manager connected
    managers: dict[str, int] = field(default_factory=dict)  # connected ones, with their workers
    workers: int = 0  # the most that it has had
    deserted_s: float | None = None  # since when none of its managers is connected, though some were
    leaving: str = ""  # why it takes no more tasks
    drain_by_s: float | None = None  # when it is cancelled, drained or not
    verdict: JobStatus | None = None  # how it ends when its job ends because of us
    cancel_s: float | None = None  # when its job was cancelled, or is to be

    @property
    def takes_tasks(self) -> bool:
        """Whether it counts for the work that is to be done."""
        return not self.leaving and self.deserted_s is None


class BlockCore:
    """The blocks of one executor.

    Attributes:
        out: what is to be done, in order; taken and cleared by the caller.
        events: what happened, likewise.
        live: blocks whose jobs have not ended.
        ended: how others ended, in that order.
        reason: the last decision, as a sentence.
    """

    def __init__(
        self, label: str, limits: Limits, policy: ScalingPolicy, *, max_idletime_s: float, period_s: float,
        start_timeout_s: float, drain_timeout_s: float,
    ) -> None:  # fmt: skip
        self.label = label
        self.limits = limits
        self.policy = policy
        self.max_idletime_s = max_idletime_s
        self.period_s = period_s
        self.start_timeout_s = start_timeout_s
        self.drain_timeout_s = drain_timeout_s
        self.out: list[Action] = []
        self.events: list[EventTuple] = []
        self.live: dict[str, Block] = {}
        self.ended: dict[str, JobStatus] = {}
        self.reason = "nothing was decided yet"
        self.failures = 0  # failed blocks in a row
        self._waits: dict[str, dict[str, int]] = {}  # ended blocks that managers still speak for
        self._order: deque[str] = deque()  # of `ended`
        self._count = 0
        self._base = 0  # blocks at the start, and what people added or took away
        self._decide_s = 0.0
        self._not_before_s = 0.0  # no block is requested before this time
        self._no_tasks_since_s: float | None = None
        self._block_workers: int | None = None
        self._stopped = ""

    # ------------------------------------------------------------------ commands
    def start(self, now_s: float) -> None:
        """Requests the first blocks."""
        first = min(max(self.limits.init_blocks, self.limits.min_blocks), self.limits.max_blocks)
        self._decide_s = now_s + self.period_s
        self._base = first
        if first:
            self._scale(
                Decision(add=first, why=f"requests {first} block{'s' if first > 1 else ''} to begin with"), now_s
            )

    def scale_out(self, count: int, now_s: float) -> list[str]:
        """Requests blocks because somebody said so; no more than there may be."""
        count = min(count, self.limits.max_blocks - len(self.live))
        if count <= 0 or self._stopped:
            return []
        self._base += count
        return self._scale(
            Decision(add=count, why=f"requests {count} block{'s' if count > 1 else ''}, as it was told to"), now_s
        )

    def scale_in(
        self, blocks: int | Iterable[str], max_idletime_s: float | None, load: Load, now_s: float
    ) -> list[str]:
        """Gives back blocks because somebody said so: named ones, or some, idle ones first.

        Args:
            blocks: their names, or how many.
            max_idletime_s: only blocks without tasks for this long; None for any.
            load: what there is to do.
            now_s: the time.
        """
        able = [block for block in self.live.values() if not block.leaving]
        if max_idletime_s is not None:
            able = [b for b in able if not b.managers or load.idle_s.get(b.id, -1.0) >= max_idletime_s]
        if isinstance(blocks, int):
            able.sort(key=lambda b: (bool(b.managers), -load.idle_s.get(b.id, -1.0)))
            able = able[: max(0, blocks)]
        else:
            named = set(blocks)
            able = [block for block in able if block.id in named]
        self._base = max(0, self._base - len(able))
        if able:
            names = tuple(block.id for block in able)
            self._scale(
                Decision(
                    remove=names,
                    why=f"gives back block{'s' if len(names) > 1 else ''} {', '.join(names)}, as it was told to",
                ),
                now_s,
            )
        return [block.id for block in able]

    def give_up(self, why: str) -> None:
        """No more blocks are requested. Those that are up go on."""
        self._stopped = self._stopped or why
        self.reason = f"requests no more blocks: {why}"

    def stop(self, now_s: float) -> None:
        """Everything is cancelled, queued blocks included."""
        self._stopped = "the executor is shut down"
        for block in list(self.live.values()):
            block.leaving = block.leaving or self._stopped
            self._cancel(block, JobStatus(JobState.SCALED_IN, self._stopped), now_s)
        self._flush_cancels(now_s)

    # ------------------------------------------------------------------ facts from the provider
    def may_submit(self, block: str) -> bool:
        """Whether the block's job is still wanted; asked right before it is begun."""
        return block in self.live and self.live[block].verdict is None

    def submitted(self, name: str, job_id: str, now_s: float) -> None:
        """The job of a block was begun."""
        block = self.live[name]
        block.job_id = job_id
        self._change(block, JobStatus(JobState.PENDING), now_s)

    def refused(self, name: str, reason: str, now_s: float) -> None:
        """The job of a block could not be begun."""
        block = self.live[name]
        self._end(block, block.verdict or JobStatus(JobState.FAILED, reason), now_s)

    def polled(self, statuses: Mapping[str, JobStatus], now_s: float) -> None:
        """The provider said how jobs are."""
        for name, status in statuses.items():
            block = self.live.get(name)
            if block is None:
                continue
            if status.state == JobState.UNKNOWN:  # not the same as ended: what was known stays
                if block.status.message != status.message:
                    block.status = replace(block.status, message=status.message)
                continue
            if status.terminal:
                self._end(block, status, now_s)
                continue
            if status.state == JobState.RUNNING and block.running_s is None:
                block.running_s = now_s
            if status.state != block.status.state:
                self._change(block, status, now_s)
            else:
                block.status = status

    def cancelled(self, answers: Mapping[str, bool], now_s: float) -> None:
        """What the provider said to `Cancel`. Jobs that it did not end are cancelled again."""
        for name, accepted in answers.items():
            block = self.live.get(name)
            if block is not None:
                block.cancel_s = None if accepted else now_s + RECANCEL_S

    # ------------------------------------------------------------------ facts from managers
    def manager_up(self, name: str, manager: str, workers: int, now_s: float) -> None:
        """A manager of the block connected."""
        block = self.live.get(name)
        if block is None:
            if name in self.ended:  # its job is over, says the queue
                self._waits.setdefault(name, {})[manager] = workers
                self.out.append(Drain(name, "the batch system says that its job is over"))
            return
        block.managers[manager] = workers
        block.deserted_s = None
        block.workers = max(block.workers, sum(block.managers.values()))
        if block.up_s is None:
            block.up_s = now_s
            self.events.append((BLOCK_UP, now_s, self.label, block.id, now_s - block.requested_s))
            self._not_before_s = 0.0
        if block.leaving:
            self.out.append(Drain(name, block.leaving))
        self._decide_s = min(self._decide_s, now_s)

    def manager_gone(self, name: str, manager: str, how: str, now_s: float) -> None:
        """A manager of the block is no more: ``drained``, ``left``, ``lost``, ``refused``, perhaps with the reason behind it."""
        block = self.live.get(name)
        if block is None:
            waits = self._waits.get(name)
            if waits is not None:
                waits.pop(manager, None)
                if not waits:
                    del self._waits[name]
                    self.out.append(Gone(name))
            return
        block.managers.pop(manager, None)
        if block.managers:
            return
        if how.startswith("refused"):
            self._cancel(block, JobStatus(JobState.FAILED, f"its manager was {how}"), now_s)
        elif block.drain_by_s is not None:  # we asked for it
            self._cancel(block, JobStatus(JobState.SCALED_IN, block.leaving), now_s)
        elif how.startswith("lost"):
            block.deserted_s = now_s
        else:  # it says that its time is over: the job follows by itself
            block.leaving = block.leaving or f"its managers have {how}"
            block.deserted_s = now_s
        self._decide_s = min(self._decide_s, now_s)

    # ------------------------------------------------------------------ time
    def tick(self, load: Load, now_s: float) -> None:
        """What is due."""
        if load.tasks:
            self._no_tasks_since_s = None
        elif self._no_tasks_since_s is None:
            self._no_tasks_since_s = now_s
        for block in list(self.live.values()):
            self._check_times(block, now_s)
        self._flush_cancels(now_s)
        if now_s >= self._decide_s and not self._stopped:
            self._decide_s = now_s + self.period_s
            self._decide(load, now_s)
            self._flush_cancels(now_s)

    def hurry(self, now_s: float) -> None:
        """Something changed: the next tick decides."""
        self._decide_s = min(self._decide_s, now_s)

    def next_s(self) -> float:
        """When the next tick is due, unless something happens before."""
        times = [self._decide_s] if not self._stopped else []
        for block in self.live.values():
            times += [when for when in (block.drain_by_s, block.cancel_s) if when is not None and block.job_id]
            if block.running_s is not None and block.up_s is None and block.verdict is None:
                times.append(block.running_s + self.start_timeout_s)
            if block.deserted_s is not None and block.verdict is None:
                times.append(block.deserted_s + (LINGER_S if block.leaving else self.start_timeout_s))
        return min(times, default=float("inf"))

    def _check_times(self, block: Block, now_s: float) -> None:
        if block.verdict is not None:
            return
        timeout_s = self.start_timeout_s
        if block.drain_by_s is not None and now_s >= block.drain_by_s:
            self._cancel(block, JobStatus(JobState.SCALED_IN, f"{block.leaving}; it was not drained in time"), now_s)
        elif block.running_s is not None and block.up_s is None and now_s - block.running_s >= timeout_s:
            text = f"its job has run for {format_duration(now_s - block.running_s)} and no manager has connected"
            self._cancel(block, JobStatus(JobState.FAILED, text), now_s)
        elif block.deserted_s is not None:
            gone_s = now_s - block.deserted_s
            if block.leaving and gone_s >= LINGER_S:
                self._cancel(
                    block, JobStatus(JobState.COMPLETED, f"{block.leaving}; its job did not end by itself"), now_s
                )
            elif not block.leaving and gone_s >= timeout_s:
                text = f"its managers were lost and none came back for {format_duration(gone_s)}, while its job runs"
                self._cancel(block, JobStatus(JobState.FAILED, text), now_s)

    def _decide(self, load: Load, now_s: float) -> None:
        view = self.view(load, now_s)
        decision = self.policy.decide(view)
        add = min(decision.add, view.room)
        remove = tuple(name for name in decision.remove if name in self.live and not self.live[name].leaving)
        self.reason = decision.why
        if add > 0 and now_s < self._not_before_s:
            self.reason = (
                f"{decision.why}; but waits {format_duration(self._not_before_s - now_s)} with that, because the last "
                f"{'block' if self.failures == 1 else f'{self.failures} blocks'} failed"
            )
            self._decide_s = min(self._decide_s, self._not_before_s)
            add = 0
        if add > 0 or remove:
            self._scale(Decision(max(add, 0), remove, decision.why), now_s)

    def view(self, load: Load, now_s: float) -> View:
        """What the policy sees."""
        blocks = [
            BlockView(
                block.id,
                sum(block.managers.values()) if block.managers else None,
                not block.takes_tasks,
                load.idle_s.get(block.id) if block.managers else None,
            )
            for block in self.live.values()
        ]
        guess = load.workers_per_node
        known = self._block_workers or (guess * self.limits.nodes_per_block if guess else None)
        quiet_s = 0.0 if self._no_tasks_since_s is None else now_s - self._no_tasks_since_s
        return View(blocks, load.tasks, quiet_s, known, self.limits, self.max_idletime_s, self._base)

    # ------------------------------------------------------------------ parts
    def _scale(self, decision: Decision, now_s: float) -> list[str]:
        self.reason = decision.why
        names = [str(self._count + i) for i in range(decision.add)]
        self.events.append((BLOCKS_SCALED, now_s, self.label, names, list(decision.remove), decision.why))
        for name in names:
            self._count += 1
            self.live[name] = Block(name, now_s, since_s=now_s)
            self.events.append((BLOCK_REQUESTED, now_s, self.label, name))
            self.out.append(Request(name))
        for name in decision.remove:
            block = self.live[name]
            block.leaving = decision.why
            self.out.append(Drain(name, decision.why))  # one that is not up yet, too: it may come up at this moment
            if block.managers:
                block.drain_by_s = now_s + self.drain_timeout_s
            else:
                self._cancel(block, JobStatus(JobState.SCALED_IN, decision.why), now_s)
        return names

    def _cancel(self, block: Block, verdict: JobStatus, now_s: float) -> None:
        """Has the job ended; the block then ends with this verdict, whatever the provider calls it."""
        if block.verdict is None:
            block.verdict = verdict
            block.cancel_s = now_s
            block.leaving = block.leaving or verdict.message or "cancelled"

    def _flush_cancels(self, now_s: float) -> None:
        """Cancels what is due in one action. A job that is just being begun is cancelled once it has an id."""
        due = [b for b in self.live.values() if b.cancel_s is not None and now_s >= b.cancel_s and b.job_id]
        for block in due:
            block.cancel_s = None
        if due:
            self.out.append(Cancel(tuple(block.id for block in due)))

    def _change(self, block: Block, status: JobStatus, now_s: float) -> None:
        block.status = status
        block.since_s = now_s
        self.events.append(
            (BLOCK_STATUS, now_s, self.label, block.id, block.job_id, int(status.state), status.message or "")
        )

    def _end(self, block: Block, status: JobStatus, now_s: float) -> None:
        final = replace(_final(block, status), came_up=block.up_s is not None)
        del self.live[block.id]
        self._order.append(block.id)
        self.ended[block.id] = final
        while len(self._order) > REMEMBERED:
            del self.ended[self._order.popleft()]
        if block.workers and block.up_s is not None:
            self._block_workers = block.workers
        if final.state not in FAILED_STATES or (block.up_s is not None and now_s - block.up_s >= STABLE_S):
            self.failures = 0
        if final.state in FAILED_STATES:
            self.failures += 1
            pause_s = min(BACKOFF_S[1], BACKOFF_S[0] * 2.0 ** (self.failures - 1))
            self._not_before_s = now_s + pause_s
        self.events.append(
            (
                BLOCK_ENDED,
                now_s,
                self.label,
                block.id,
                block.job_id,
                int(final.state),
                final.message or "",
                final.exit_code,
            )
        )
        if block.managers:
            self._waits[block.id] = block.managers
            self.out.append(Drain(block.id, "the batch system says that its job is over"))
        else:
            self.out.append(Gone(block.id))
        self._decide_s = min(self._decide_s, now_s)

    # ------------------------------------------------------------------ looking
    def statuses(self) -> dict[str, JobStatus]:
        """All blocks: the ended ones in the order in which they ended, then the others."""
        return {**self.ended, **{block.id: block.status for block in self.live.values()}}

    @property
    def any_is_up(self) -> bool:
        """Whether a block can run tasks."""
        return any(block.managers for block in self.live.values())

    def retry_cancels(self, now_s: float) -> None:
        """Cancels again what was not accepted, without waiting."""
        for block in self.live.values():
            if block.cancel_s is not None:
                block.cancel_s = now_s
        self._flush_cancels(now_s)

    def explain(self, now_s: float) -> str:
        """Where the blocks stand, as one or two sentences without the last full stop."""
        limits = self.limits
        parts = [_describe(block, now_s, self.start_timeout_s) for block in self.live.values()]
        text = f"{len(parts)} of at most {limits.max_blocks} block{'s' if limits.max_blocks != 1 else ''}"
        if parts:
            more = f", and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
            text += f": {', '.join(parts[:_SHOWN])}{more}"
        failed = [(name, status) for name, status in self.ended.items() if status.state in FAILED_STATES]
        if failed:
            name, status = failed[-1]
            text += f"; {len(failed)} failed, the last of them block {name}: {status}"
        return f"{text}; {self.reason}"

    def finish(self, now_s: float) -> None:
        """After `stop`: jobs whose cancelling was accepted are taken to be over; a batch system may take its time."""
        for block in list(self.live.values()):
            if block.verdict is not None and (block.cancel_s is None or not block.job_id):
                block.managers.clear()
                self._end(block, block.verdict, now_s)

    def check(self) -> None:
        """Raises AssertionError when something cannot be."""
        assert len(self.live) <= self.limits.max_blocks, (len(self.live), self.limits)
        assert not self.live.keys() & self.ended.keys()
        assert set(self._order) == self.ended.keys()
        for block in self.live.values():
            assert not block.status.terminal, block
            assert block.drain_by_s is None or block.leaving, block
            assert not (block.managers and block.deserted_s is not None), block


def _final(block: Block, status: JobStatus) -> JobStatus:
    """How a block ended, when its job did so."""
    if block.verdict is not None:
        return replace(status, state=block.verdict.state, message=block.verdict.message)
    if block.up_s is None and status.state in {JobState.COMPLETED, JobState.MISSING}:
        code = f" with exit code {status.exit_code}" if status.exit_code is not None else ""
        told = f" ({status.message})" if status.message else ""
        return replace(status, state=JobState.MISSING, message=f"its job ended{code} before a manager connected{told}")
    return status


def _describe(block: Block, now_s: float, start_timeout_s: float) -> str:
    name = f"block {block.id}"
    if block.verdict is not None or block.leaving:
        return f"{name} is being given back"
    if block.managers:
        workers = sum(block.managers.values())
        return f"{name} is up with {workers} worker{'s' if workers != 1 else ''}"
    if block.deserted_s is not None:
        return f"{name} has lost its managers {format_duration(now_s - block.deserted_s)} ago"
    if block.running_s is not None:
        since = format_duration(now_s - block.running_s)
        return f"{name} runs since {since} and its manager has not connected yet (it may take {format_duration(start_timeout_s)})"
    since = format_duration(now_s - block.since_s)
    job = f" as job {block.job_id}" if block.job_id else ""
    told = f" ({block.status.message})" if block.status.message and block.job_id else ""
    state = {JobState.PENDING: "is queued", JobState.HELD: "is held by the batch system"}.get(
        block.status.state, "is in an unknown state"
    )
    return f"{name} {state if block.job_id else 'is being requested'}{job} since {since}{told}"


def jobs_of(blocks: Iterable[Block]) -> tuple[list[str], list[str]]:
    """Names and jobs of the blocks that have jobs."""
    pairs = [(block.id, block.job_id) for block in blocks if block.job_id]
    return [name for name, _ in pairs], [job for _, job in pairs]


__all__ = ["Action", "Block", "BlockCore", "Cancel", "Drain", "Gone", "Request", "jobs_of"]
