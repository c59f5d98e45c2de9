"""What is known of an executor's blocks, and what is to be done about them. Pure: facts and the time in, actions and events out.

A block is one job of the provider. Its life:

    requested ─▶ queued ─▶ runs ─▶ up (a manager has connected) ─▶ leaving (drained, then cancelled) ─▶ ended
                   └─────────┴──────┴────── ended: by itself, by its walltime, by us because no manager came ──────▶

The queue is believed about jobs, the managers about tasks: a job that is gone is not counted even while its managers still talk, and they are
told to drain; a job whose managers are all gone takes no tasks even while the queue calls it running, and is cancelled if none comes back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from plait.model.events import BLOCK_ENDED, BLOCK_REQUESTED, BLOCK_STATUS, BLOCK_UP, BLOCKS_SCALED
from plait.model.jobs import FAILED_STATES, NEVER_STARTED, JobState, JobStatus
from plait.scaling.block import ENDING_S, LINGER_S, Action, Block, Cancel, Drain, Gone, Request
from plait.scaling.throttle import HOUR_S, Throttle
from plait.scaling.view import BlockView, Decision, View, blocks_text, workers_wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plait.model.events import EventTuple
    from plait.scaling.policy import ScalingPolicy
    from plait.scaling.view import Limits, Load

#: Seconds after which a job is cancelled again when the provider did not accept it, and when it did and the job goes on.
RECANCEL_S: Final = (5.0, 60.0)
JOB_OVER: Final = "the batch system says that its job is over"
#: Ended blocks that are remembered.
REMEMBERED: Final = 1000
#: Blocks that must have come up before it is known how long after their beginning they do, and the last ones that are looked at.
_FRESH_FEW: Final = 2
_FRESH_MANY: Final = 16


class BlockCore:
    """The blocks of one executor.

    Args:
        label: of the executor.
        limits: the provider's.
        policy: how many blocks there should be.
        max_idletime_s: when idle blocks may be given back.
        period_s: seconds between two decisions when nothing happens.
        start_timeout_s: seconds in which a manager must connect once the block's job runs, and come back once all were lost.
        drain_timeout_s: seconds that a block that is given back has for its running tasks.

    Attributes:
        out: what is to be done, in order; taken and cleared by the caller.
        events: what happened, likewise.
        live: blocks whose jobs have not ended.
        ended: how others ended, in that order; the oldest are forgotten.
        ended_count: how many have ended.
        reason: the last decision, as a sentence without its full stop.
        throttle: when more may be requested.
    """

    def __init__(
        self, label: str, limits: Limits, policy: ScalingPolicy, *, max_idletime_s: float = 120.0, period_s: float = 5.0,
        start_timeout_s: float = 300.0, drain_timeout_s: float = 60.0,
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
        self.ended_count = 0
        self.reason = "nothing was decided yet"
        self.throttle = Throttle()
        self._speaking: dict[str, set[str]] = {}  # managers that still speak for blocks whose jobs have ended
        self._count = 0  # of blocks ever requested
        self._base = 0  # blocks at the start, and what people added or took away since
        self._decide_s = float("inf")
        self._decided_s = float("-inf")
        self._no_tasks_since_s: float | None = None
        self._block_workers: int | None = None  # of a block that was up
        self._fresh: deque[tuple[float, float]] = deque(
            maxlen=_FRESH_MANY
        )  # blocks that came up: when, and how long each was to last then
        self._memory: tuple[object, dict[str, Any]] = (policy, {})  # of the policy
        self._held_back = ""  # why the last decision was not followed
        self._given_up = ""

    # ------------------------------------------------------------------ commands
    def start(self, now_s: float) -> None:
        """Requests the first blocks."""
        self._decide_s = now_s + self.period_s
        self._base = first = min(max(self.limits.init_blocks, self.limits.min_blocks), self.limits.max_blocks)
        first = self._at_most(first, now_s)
        if first:
            self._scale(Decision(add=first, why=f"requests {blocks_text(first)} to begin with"), now_s)

    def scale_out(self, count: int, now_s: float) -> list[str]:
        """Requests blocks because somebody said so, no more than there may be; their names."""
        count = self._at_most(min(count, self.limits.max_blocks - len(self.live)), now_s)
        if count <= 0 or self._given_up:
            return []
        self._base += count
        return self._scale(Decision(add=count, why=f"requests {blocks_text(count)}, as it was told to"), now_s)

    def scale_in(
        self, blocks: int | Iterable[str], max_idletime_s: float | None, load: Load, now_s: float
    ) -> list[str]:
        """Gives back blocks because somebody said so: named ones, or some, idle ones first.

        Args:
            blocks: their names, or how many.
            max_idletime_s: only blocks without tasks for this long; None for any.
            load: what there is to do.
            now_s: the time.

        Returns:
            The names of those that are given back.
        """
        able = [block for block in self.live.values() if not block.leaving]
        if max_idletime_s is not None:
            able = [b for b in able if not b.managers or load.idle_s.get(b.id, -1.0) >= max_idletime_s]
        if isinstance(blocks, int):
            able.sort(key=lambda block: (bool(block.managers), -load.idle_s.get(block.id, -1.0)))
            able = able[: max(0, blocks)]
        else:
            named = set(blocks)
            able = [block for block in able if block.id in named]
        names = tuple(block.id for block in able)
        self._base = max(0, self._base - len(names))
        if names:
            self._scale(Decision(remove=names, why=f"gives back {blocks_text(len(names))}, as it was told to"), now_s)
        return list(names)

    def give_up(self, why: str) -> None:
        """No more blocks are requested. Those that are there go on."""
        if not self._given_up:
            self._given_up = why
            self.reason = f"requests no more blocks: {why}"

    def stop(self, now_s: float) -> None:
        """Everything is cancelled, queued blocks included."""
        self._given_up = self.reason = "the executor is shut down"
        for block in list(self.live.values()):
            self._cancel(block, JobStatus(JobState.SCALED_IN, self._given_up), now_s)
            block.cancel_s = None if block.cancel_accepted else now_s
        self._flush_cancels(now_s)

    def finish(self, now_s: float) -> bool:
        """After `stop`: blocks whose cancelling was accepted are taken to be over, because batch systems take their time. Whether all are."""
        for block in list(self.live.values()):
            if block.cancel_accepted:
                block.managers.clear()
                self._end(block, block.verdict or block.status, now_s)
            elif block.cancel_s is not None:
                block.cancel_s = now_s  # again, at once
        self._flush_cancels(now_s)
        return not self.live

    # ------------------------------------------------------------------ facts from the provider
    def may_submit(self, name: str, now_s: float) -> bool:
        """Whether the block's job is still wanted, asked right before it is begun; when it is not, the block is over."""
        block = self.live.get(name)
        if block is not None and (block.verdict is not None or self._given_up):
            unwanted = JobStatus(JobState.CANCELLED, f"no more blocks are requested: {self._given_up}")
            self._end(block, block.verdict or unwanted, now_s)
            return False
        return block is not None

    def submitted(self, name: str, job_id: str, now_s: float) -> None:
        """The job of a block was begun."""
        block = self.live[name]
        block.job_id = job_id
        self.throttle.accepted()
        self._change(block, JobStatus(JobState.PENDING), now_s)

    def refused(self, name: str, reason: str, now_s: float, *, is_away: bool = False) -> None:
        """The job of a block could not be begun.

        A provider that does not answer otherwise either, or has taken jobs before, is taken to be away, or full, for the time being: no fault of the
        block's, which is requested again after a pause. When that lasts for long and nothing else is there, it is a failure.

        Args:
            name: of the block.
            reason: what was said.
            now_s: the time.
            is_away: whether the provider does not answer other questions.
        """
        block = self.live[name]
        if self.throttle.refused(reason, now_s, is_away=is_away, is_alone=len(self.live) == 1):
            self._end(block, JobStatus(JobState.CANCELLED, f"{reason}; it is tried again later"), now_s, badly=True)
        else:
            self._end(block, JobStatus(JobState.FAILED, reason), now_s)

    def polled(self, statuses: Mapping[str, JobStatus], now_s: float) -> None:
        """The provider said how jobs are."""
        for name, status in statuses.items():
            block = self.live.get(name)
            if block is None:
                continue
            block.unsure = status.state == JobState.UNKNOWN
            if status.terminal:
                self._end(block, status, now_s)
            elif status.state == JobState.UNKNOWN:  # not the same as ended: what was known stays
                block.status = replace(block.status, message=status.message)
                self._tell(block, now_s)
            else:
                if status.state == JobState.RUNNING and block.running_s is None:
                    block.running_s = now_s
                if status.state != block.status.state:
                    self._change(block, status, now_s)
                block.status = status
                self._tell(block, now_s)
                if status.state in {JobState.PENDING, JobState.HELD} and not block.managers:
                    block.wait_again()

    def cancelled(self, answers: Mapping[str, bool], now_s: float) -> None:
        """What the provider said to `Cancel`. Jobs that go on all the same are cancelled again."""
        for name, accepted in answers.items():
            block = self.live.get(name)
            if block is not None:
                block.cancel_accepted = block.cancel_accepted or accepted
                block.cancel_s = now_s + RECANCEL_S[block.cancel_accepted]

    # ------------------------------------------------------------------ facts from managers
    def manager_up(self, name: str, manager: str, workers: int, now_s: float) -> None:
        """A manager of the block connected."""
        block = self.live.get(name)
        if block is None:
            if name in self.ended:  # its job is over, says the queue
                self._speaking.setdefault(name, set()).add(manager)
                self.out.append(Drain(name, JOB_OVER, over=True))
            return
        block.managers[manager or f"#{len(block.managers)}"] = workers
        block.workers = max(block.workers, block.connected)
        block.deserted_s = None
        if block.up_s is None:
            block.up_s = now_s
            self.throttle.came_up(now_s)
            left_s = self._left_s(block, now_s)
            if left_s is not None:
                self._fresh.append((now_s, left_s))
            self.events.append((BLOCK_UP, now_s, self.label, block.id, now_s - block.requested_s))
        if block.leaving:
            self.out.append(Drain(name, block.leaving))
        self.hurry(now_s)

    def manager_gone(self, name: str, manager: str, how: str, now_s: float) -> None:
        """A manager of the block is no more: ``drained``, ``left``, ``lost``, ``refused``, perhaps with the reason behind a colon."""
        block = self.live.get(name)
        if block is None:
            speaking = self._speaking.get(name, set())
            speaking.discard(manager)
            if not speaking and self._speaking.pop(name, None) is not None:
                self.out.append(Gone(name))
            return
        if manager or not block.managers:
            block.managers.pop(manager, None)
        else:  # any of them: they have no names
            block.managers.popitem()
        if block.managers or block.verdict is not None:
            return
        if how.startswith("refused"):
            self._cancel(block, JobStatus(JobState.FAILED, f"its manager was {how}"), now_s)
        elif how.startswith(f"left: {NEVER_STARTED}"):
            block.never_came_up()
            self._cancel(block, JobStatus(JobState.FAILED, f"its manager {how}"), now_s)
        elif block.drain_by_s is not None:  # what was waited for
            self._cancel(block, JobStatus(JobState.SCALED_IN, block.leaving), now_s)
        elif block.up_s is not None:
            block.deserted_s = now_s
            if not how.startswith("lost"):  # they say that their time is over: the job follows by itself
                block.leaving = block.leaving or f"its managers have {how}"
                block.linger_s = LINGER_S if how.startswith("drained") else ENDING_S
        self.hurry(now_s)

    # ------------------------------------------------------------------ time
    def tick(self, load: Load, now_s: float) -> None:
        """Does what is due."""
        if load.tasks:
            self._no_tasks_since_s = None
        elif self._no_tasks_since_s is None:
            self._no_tasks_since_s = now_s
        for block in list(self.live.values()):
            deadline = block.deadline(self.start_timeout_s)
            if deadline is not None and now_s >= deadline[0]:
                self._cancel(block, deadline[1], now_s)
        if now_s >= self._decide_s and not self._given_up:
            self._decided_s = now_s
            self._decide_s = now_s + self.period_s
            self._decide(load, now_s)
        self._flush_cancels(now_s)

    def hurry(self, now_s: float) -> None:
        """Something changed: the next tick decides; but not one tick after the other."""
        self._decide_s = min(self._decide_s, max(now_s, self._decided_s + min(0.1, self.period_s)))

    def next_s(self) -> float:
        """When the next tick is due, unless something happens before."""
        times = [float("inf") if self._given_up else self._decide_s]
        for block in self.live.values():
            deadline = block.deadline(self.start_timeout_s)
            if deadline is not None:
                times.append(deadline[0])
            if block.cancel_s is not None and block.job_id:
                times.append(block.cancel_s)
        return min(times)

    def _decide(self, load: Load, now_s: float) -> None:
        view = self.view(load, now_s)
        decision = self.policy.decide(view)
        add = min(decision.add, view.room)
        remove = tuple(name for name in decision.remove if name in self.live and not self.live[name].leaving)
        allowed = self.throttle.allow(add, self._cap, now_s)
        add = allowed.add
        self.reason = why = f"{decision.why}; but {allowed.why}" if allowed.kind else decision.why
        self._decide_s = min(self._decide_s, allowed.until_s)
        if allowed.kind not in {"", self._held_back} and not (add > 0 or remove):  # else what is done says it
            self.events.append((BLOCKS_SCALED, now_s, self.label, [], [], why))
        self._held_back = allowed.kind
        if add > 0 or remove:
            self._scale(Decision(add, remove, why, decision.drain_s), now_s)

    @property
    def _cap(self) -> int | None:
        """Blocks that may be requested within an hour, if the policy says so."""
        cap: int | None = getattr(self.policy, "max_submissions_per_hour", None)
        return cap

    def _at_most(self, count: int, now_s: float) -> int:
        """So many blocks, or as many as may still be requested within this hour."""
        room = self.throttle.room(self._cap, now_s)
        return count if room is None else min(count, room)

    def _left_s(self, block: Block, now_s: float) -> float | None:
        """How long a block will last, as far as the provider's walltime says."""
        if self.limits.walltime_s is None:
            return None
        begins = [moment_s for moment_s in (block.running_s, block.up_s) if moment_s is not None]
        return max(0.0, self.limits.walltime_s - (now_s - min(begins) if begins else 0.0))

    def _fresh_s(self, now_s: float) -> float | None:
        """How long a block lasts from its first manager on: as the best of those that came up within the last hour.

        One alone may have been held up, and what was so then is not so for ever: nothing is concluded from that, or tasks would wait that another could run.
        """
        lately = [left_s for up_s, left_s in self._fresh if now_s - up_s < HOUR_S]
        return max(lately) if len(lately) >= _FRESH_FEW else None

    def view(self, load: Load, now_s: float) -> View:
        """What the policy sees."""
        nodes = self.limits.nodes_per_block
        blocks = [
            BlockView(
                block.id,
                block.size(self.limits.managers or nodes, now_s) or None,
                not block.takes_tasks,
                load.idle_s.get(block.id) if block.managers else None,
                min(load.used.get(block.id, 0.0), float(nodes)) if block.managers else 0.0,
                self._left_s(block, now_s),
                block.note,
                block.running_s is not None,
            )
            for block in self.live.values()
        ]
        known = max((block.workers or 0 for block in blocks), default=0) or self._block_workers
        if not known and load.workers_per_node:
            known = max(1, round(load.workers_per_node * nodes))
        quiet_s = 0.0 if self._no_tasks_since_s is None or load.tasks else now_s - self._no_tasks_since_s
        if self._memory[0] is not self.policy:
            self._memory = (self.policy, {})
        wanted = workers_wanted(load.tasks, load.wants, load.node) if load.wanted is None else load.wanted
        return View(
            blocks, load.tasks, wanted, quiet_s, known or None, self.limits, self.max_idletime_s, self._base, now_s, load.waiting, load.wants,
            load.node, self._fresh_s(now_s), self._memory[1],
        )  # fmt: skip

    # ------------------------------------------------------------------ parts
    def _scale(self, decision: Decision, now_s: float) -> list[str]:
        """Does what was decided; names of the new blocks."""
        self.reason = decision.why
        names = [str(self._count + number) for number in range(decision.add)]
        self._count += len(names)
        self.events.append((BLOCKS_SCALED, now_s, self.label, names, list(decision.remove), decision.why))
        for name in names:
            self.live[name] = Block(name, now_s, since_s=now_s)
            self.throttle.requested(now_s)
            self.events.append((BLOCK_REQUESTED, now_s, self.label, name))
            self.out.append(Request(name))
        for name in decision.remove:
            block = self.live[name]
            block.leaving = decision.why
            self.out.append(Drain(name, decision.why))  # one that is not up yet, too: it may come up at this moment
            if block.managers:
                block.drain_by_s = now_s + (self.drain_timeout_s if decision.drain_s is None else decision.drain_s)
            else:
                self._cancel(block, JobStatus(JobState.SCALED_IN, decision.why), now_s)
        self._flush_cancels(now_s)
        return names

    def _cancel(self, block: Block, verdict: JobStatus, now_s: float) -> None:
        """Has the job ended; the block then ends with this verdict, whatever the provider calls it."""
        if block.verdict is None:
            block.verdict = verdict
            block.cancel_s = now_s
            block.leaving = block.leaving or verdict.message or "it is cancelled"

    def _flush_cancels(self, now_s: float) -> None:
        """Cancels what is due in one action. A job that is just being begun is cancelled once it has an id."""
        due = [b for b in self.live.values() if b.cancel_s is not None and now_s >= b.cancel_s and b.job_id]
        for block in due:
            block.cancel_s = None  # `cancelled` says how it goes on
        if due:
            self.out.append(Cancel(tuple(block.id for block in due)))

    def _change(self, block: Block, status: JobStatus, now_s: float) -> None:
        block.status = status
        block.since_s = now_s
        block.told = None
        self._tell(block, now_s)

    def _tell(self, block: Block, now_s: float) -> None:
        """An event where there is news of a job: its state, or why it waits."""
        status, message = block.status, block.status.message or ""
        if message != block.told:
            block.told = message
            event = (BLOCK_STATUS, now_s, self.label, block.id, block.job_id, int(status.state), message)
            self.events.append(event)

    def _end(self, block: Block, status: JobStatus, now_s: float, *, badly: bool = False) -> None:
        final = block.final(status)
        del self.live[block.id]
        self.ended[block.id] = final
        self.ended_count += 1
        if len(self.ended) > REMEMBERED:
            del self.ended[next(iter(self.ended))]
        self._block_workers = block.workers or self._block_workers
        up_for_s = None if block.up_s is None else now_s - block.up_s
        self.throttle.ended(now_s, badly=badly or final.state in FAILED_STATES, up_for_s=up_for_s)
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
            self._speaking[block.id] = set(block.managers)
            self.out.append(Drain(block.id, JOB_OVER, over=True))
        else:
            self.out.append(Gone(block.id))
        self.hurry(now_s)

    # ------------------------------------------------------------------ looking
    def statuses(self) -> dict[str, JobStatus]:
        """All blocks: the ended ones in the order in which they ended, then the others."""
        alive = {block.id: replace(block.status, came_up=block.came_up) for block in self.live.values()}
        return {**self.ended, **alive}
