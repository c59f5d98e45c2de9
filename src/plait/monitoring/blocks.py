"""Blocks of a run, from its journal: when each was wanted, when it came, what it had, how it ended; and who decided that there be more or fewer."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plait.model.events import (
    BlockEnded,
    BlockRequested,
    BlocksScaled,
    BlockStatus,
    BlockUp,
    InterchangeLost,
    ManagerEnded,
    ManagerStarted,
)
from plait.model.jobs import FAILED_STATES, TERMINAL_STATES, JobState
from plait.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

#: Rows of the report's tables.
_ROWS: Final = 100
#: Blocks that a sentence names.
_SHOWN: Final = 3


@dataclass
class ManagerHistory:
    """What the journal says of one manager."""

    name: str
    hostname: str
    workers: int
    start_s: float
    end_s: float = 0.0
    how: str = ""
    cores: float = 0.0

    @property
    def share(self) -> float:
        """Cores that a task has which asks for none."""
        return self.cores / self.workers if self.cores and self.workers else 1.0


@dataclass
class BlockHistory:
    """What the journal says of one block.

    Attributes:
        executor: label.
        id: its name.
        requested_s: when it was wanted.
        job_id: of its job, once there was one.
        state: the last known.
        state_s: when that began.
        message: what was said about it.
        exit_code: of its job.
        running_s: since when its job runs, as far as that was seen; 0 while it does not.
        ran_s: seconds for which it ran before it went back into the queue, or was suspended.
        up_s: when its first manager connected; 0 for never.
        end_s: when it ended; 0 for not yet.
        managers: by name.
    """

    executor: str
    id: str
    requested_s: float = 0.0
    job_id: str = ""
    state: JobState = JobState.PENDING
    state_s: float = 0.0
    message: str = ""
    exit_code: int | None = None
    running_s: float = 0.0
    ran_s: float = 0.0
    up_s: float = 0.0
    end_s: float = 0.0
    managers: dict[str, ManagerHistory] = field(default_factory=dict)

    @property
    def connected(self) -> list[ManagerHistory]:
        """Managers that have not gone."""
        return [manager for manager in self.managers.values() if not manager.end_s]

    @property
    def has_ended(self) -> bool:
        """Whether its job is over."""
        return self.state in TERMINAL_STATES

    @property
    def workers(self) -> int:
        """Workers of all managers that it had."""
        return sum(manager.workers for manager in self.managers.values())

    @property
    def cores(self) -> float:
        """The most cores that its managers had at one time; 0 when none ever came."""
        moves = []
        for manager in self.managers.values():
            cores = manager.cores or float(manager.workers)
            moves += [(manager.start_s, cores), (manager.end_s or float("inf"), -cores)]
        now = most = 0.0
        for _, change in sorted(moves):
            now += change
            most = max(most, now)
        return most

    def allocated_s(self, now_s: float) -> float:
        """Seconds for which it had its nodes, until now."""
        return self.ran_s + (max(0.0, (self.end_s or now_s) - self.running_s) if self.running_s else 0.0)


@dataclass
class Blocks:
    """The blocks of a run.

    Attributes:
        blocks: by executor and name.
        decisions: each time that it was decided to have more or fewer.
        interchanges: each time that an interchange ended before its time.
    """

    blocks: dict[tuple[str, str], BlockHistory] = field(default_factory=dict)
    decisions: list[BlocksScaled] = field(default_factory=list)
    interchanges: list[InterchangeLost] = field(default_factory=list)
    _managers: dict[tuple[str, str], ManagerHistory] = field(default_factory=dict)

    def steps(self) -> dict[type, Callable[[Any], None]]:
        """What to do with each kind of event."""
        return {
            BlockRequested: self._requested,
            BlockStatus: self._status,
            BlockUp: self._up,
            BlockEnded: self._ended,
            BlocksScaled: self.decisions.append,
            ManagerStarted: self._manager_started,
            ManagerEnded: self._manager_ended,
            InterchangeLost: self.interchanges.append,
        }

    def block(self, executor: str, name: str) -> BlockHistory:
        """The block of that name; one without a past when the journal lost it."""
        return self.blocks.setdefault((executor, name), BlockHistory(executor, name))

    def _requested(self, event: BlockRequested) -> None:
        block = self.block(event.executor, event.block)
        block.requested_s = block.state_s = event.t_s

    def _status(self, event: BlockStatus) -> None:
        block = self.block(event.executor, event.block)
        state = _state(event.state)
        if state != block.state or not block.job_id:
            block.state_s = event.t_s
        block.job_id, block.message, block.state = event.job_id, event.message, state
        if block.state == JobState.RUNNING:
            block.running_s = block.running_s or event.t_s
        elif block.state == JobState.HELD or not block.connected:  # a queue may be slower than the managers
            block.ran_s, block.running_s = block.allocated_s(event.t_s), 0.0

    def _up(self, event: BlockUp) -> None:
        block = self.block(event.executor, event.block)
        block.up_s = block.up_s or event.t_s
        block.running_s = block.running_s or event.t_s

    def _ended(self, event: BlockEnded) -> None:
        block = self.block(event.executor, event.block)
        block.job_id, block.message, block.exit_code = event.job_id, event.message, event.exit_code
        block.state, block.state_s, block.end_s = _state(event.state), event.t_s, event.t_s

    def _manager_started(self, event: ManagerStarted) -> None:
        block = self.block(event.executor, event.block)
        manager = ManagerHistory(event.manager, event.hostname, event.workers, event.t_s, cores=event.cores)
        block.managers[event.manager] = self._managers[event.executor, event.manager] = manager

    def _manager_ended(self, event: ManagerEnded) -> None:
        manager = self._managers.get((event.executor, event.manager))
        if manager is not None:
            manager.end_s, manager.how = event.t_s, f"{event.how}: {event.reason}" if event.reason else event.how

    def share(self, executor: str, manager: str) -> float:
        """Cores of a manager's node that a task has which asks for none."""
        known = self._managers.get((executor, manager))
        return 1.0 if known is None else known.share

    def allocated_core_s(self, now_s: float) -> dict[str, float]:
        """For each executor the seconds of cores that its blocks have had, until now. A block of which no manager came is taken to be like the others."""
        core_s: dict[str, float] = {}
        most: dict[str, float] = {}
        for block in self.blocks.values():
            most[block.executor] = max(most.get(block.executor, 0.0), block.cores)
        for block in self.blocks.values():
            cores = block.cores or most[block.executor]
            core_s[block.executor] = core_s.get(block.executor, 0.0) + block.allocated_s(now_s) * cores
        return core_s

    # ------------------------------------------------------------------ sentences
    def sentence_on(self, executor: str, manager: str) -> str:
        """``manager m1 on node7 (block 0 of executor 'htex')``; without the rest when the journal lost its beginning."""
        for (label, name), block in self.blocks.items():
            known = block.managers.get(manager) if label == executor else None
            if known is not None:
                return f"manager {manager} on {known.hostname} (block {name} of executor {executor!r})"
        return f"manager {manager} of executor {executor!r}"

    def explain(self, now_s: float) -> list[str]:
        """Where the blocks of each executor stand, what failed, and what was decided last."""
        lines = []
        for executor in dict.fromkeys(name for name, _ in self.blocks):
            blocks = [block for block in self.blocks.values() if block.executor == executor]
            lines.append(f"executor {executor!r}: {_standing(blocks, now_s)}{self._last_decision(executor, now_s)}")
            failed = [block for block in blocks if block.state in FAILED_STATES]
            if failed:
                last = failed[-1]
                count = f"{len(failed)} blocks of it failed, the last" if len(failed) > 1 else "one block of it failed"
                lines.append(f"executor {executor!r}: {count}: block {last.id}, {_end(last)}")
        for event in self.interchanges[-_SHOWN:]:
            ago = format_duration(max(0.0, now_s - event.t_s))
            lines.append(f"executor {event.executor!r}: its interchange ended {ago} ago: {event.reason}")
        return lines

    def _last_decision(self, executor: str, now_s: float) -> str:
        last = next((event for event in reversed(self.decisions) if event.executor == executor), None)
        if last is None:
            return ""
        return f"; {format_duration(max(0.0, now_s - last.t_s))} ago it was decided: {last.why}"

    # ------------------------------------------------------------------ the report
    def render(self, zero_s: float, now_s: float) -> str:
        """Tables for the report; empty when there were no blocks."""
        if not self.blocks:
            return ""
        names = ("block", "job", "requested after", "came up after", "nodes", "workers", "was up for", "end", "reason")
        head = "".join(f"<th>{name}</th>" for name in names)
        blocks = list(self.blocks.values())
        rows = "".join(_row(block, zero_s, now_s) for block in blocks[:_ROWS])
        more = f"<p class='note'>{len(blocks) - _ROWS} more blocks are not shown.</p>" if len(blocks) > _ROWS else ""
        table = f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}"
        return table + self._decisions(zero_s)

    def _decisions(self, zero_s: float) -> str:
        items = "".join(
            f"<li>after {format_duration(event.t_s - zero_s)}, {html.escape(event.executor)}: {html.escape(event.why)}</li>"
            for event in self.decisions[-_ROWS:]
        )
        return f"<details><summary>{len(self.decisions)} decisions</summary><ul>{items}</ul></details>" if items else ""


def _state(number: int) -> JobState:
    """A later version may know more states."""
    try:
        return JobState(number)
    except ValueError:
        return JobState.UNKNOWN


def _standing(blocks: list[BlockHistory], now_s: float) -> str:
    """``2 blocks are up with 8 workers, block 2 is queued as job 77 since 3 s``."""
    alive = [block for block in blocks if not block.has_ended]
    up = [block for block in alive if block.connected]
    waiting = [block for block in alive if not block.connected]
    parts = []
    if up:
        workers = sum(manager.workers for block in up for manager in block.connected)
        verb = "block is" if len(up) == 1 else "blocks are"
        parts.append(f"{len(up)} {verb} up with {workers} worker{'s' if workers != 1 else ''}")
    for block in waiting[:_SHOWN]:
        job = f" as job {block.job_id}" if block.job_id else ""
        told = f" ({block.message})" if block.message else ""
        what = {JobState.RUNNING: "runs without a manager", JobState.HELD: "is held"}.get(block.state, "is queued")
        parts.append(f"block {block.id} {what}{job} since {format_duration(max(0.0, now_s - block.state_s))}{told}")
    if len(waiting) > _SHOWN:
        parts.append(f"{len(waiting) - _SHOWN} more are not up yet")
    return ", ".join(parts) if parts else "no block is there"


def _end(block: BlockHistory) -> str:
    code = f", exit code {block.exit_code}" if block.exit_code is not None else ""
    return f"{block.state.name}{code}" + (f": {block.message}" if block.message else "")


def _row(block: BlockHistory, zero_s: float, now_s: float) -> str:
    hosts = len({manager.hostname for manager in block.managers.values()})
    cells = [
        f"{block.executor}, block {block.id}",
        block.job_id,
        format_duration(max(0.0, block.requested_s - zero_s)) if block.requested_s else "",
        format_duration(max(0.0, block.up_s - block.requested_s)) if block.up_s else "",
        str(hosts or ""),
        str(block.workers or ""),
        format_duration(max(0.0, (block.end_s or now_s) - block.up_s)) if block.up_s else "",
        block.state.name + (f" {block.exit_code}" if block.exit_code is not None else ""),
        block.message,
    ]
    texts = [html.escape(cell) for cell in cells]
    if block.state in FAILED_STATES:
        texts[7] = f"<b class='bad'>{texts[7]}</b>"
    return "<tr><td>" + "</td><td>".join(texts) + "</td></tr>"
