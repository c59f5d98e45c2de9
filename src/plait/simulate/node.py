"""A simulated node: the real pool core, with workers that count instead of computing, and a manager's part of the protocol.

A worker runs what it holds one after another. Short tasks that it would report together (`limits.FLUSH_S`) end in one event; a longer one has an event of its own.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any, Final

from plait.executors.capacity import Capacity
from plait.executors.htex import messages as m
from plait.executors.pool.core import PoolCore, WorkerState
from plait.limits import FLUSH_S, RETRACT_S
from plait.model.resources import Resources
from plait.model.task import LAUNCHED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plait.executors.htex.messages import Message, OutcomeItem
    from plait.simulate.clock import Clock
    from plait.simulate.interchange import SimInterchange
    from plait.simulate.machine import Machine
    from plait.simulate.workload import Load

#: Bytes of a frame beside its tasks, and of each task or outcome beside its payload.
FRAME_BYTES: Final = 64
ITEM_BYTES: Final = 24
_REGISTER_BYTES: Final = 400
_SIMULATED: Final = "simulated"
_VERSION: Final = platform.python_version()


class SimApp:
    """What all simulated tasks have in common, for the pool core."""

    blob = None
    kind = "python"
    resources: Resources | None = None
    walltime_s: float | None = None


class Details:
    """A task that runs alone on a worker: what it needs beside was counted by the interchange."""

    resources: Resources | None = Resources(priority=0.0)

    def __init__(self, walltime_s: float | None) -> None:
        self.walltime_s = walltime_s


class SimTask:
    """A task on a node."""

    __slots__ = ("app", "attempt", "details", "id", "payload", "state")

    def __init__(self, number: int, attempt: int, payload: Load, details: Details | None) -> None:
        self.id = number
        self.attempt = attempt
        self.payload = payload
        self.details = details
        self.state = LAUNCHED
        self.app = _APP


_APP: Final = SimApp()
#: (sequence number, task, when it began, when it ended, how)
_Run = tuple[int, SimTask, float, float, int]


class Totals:
    """What all nodes count together.

    Attributes:
        running: workers with a task.
        wasted_core_s: seconds of cores of attempts that were lost with their node.
        lost_attempts: attempts that had begun and were lost.
    """

    __slots__ = ("lost_attempts", "running", "wasted_core_s")

    def __init__(self) -> None:
        self.running = 0
        self.wasted_core_s = 0.0
        self.lost_attempts = 0


class Node:
    """One node of a block.

    Args:
        name: of its manager.
        block: its block.
        hostname: of the node.
        machine: what it is like.
        clock: the time.
        interchange: whom it talks to.
        totals: what it counts into.
        ends_s: when its block will end; None for never.
        on_end: called when it is no more.
    """

    __slots__ = (
        "alive", "block", "bursts", "clock", "core", "draining", "ends_s", "gather_until_s", "has", "hostname", "interchange", "link_free_s", "machine", "name", "on_end", "outbox",
        "outbox_bytes", "ran_upto", "registered", "retracting", "sending", "seq", "totals",
    )  # fmt: skip

    def __init__(
        self, name: str, block: str, hostname: str, machine: Machine, clock: Clock, interchange: SimInterchange, totals: Totals, ends_s: float | None,
        on_end: Callable[[Node, float], None],
    ) -> None:  # fmt: skip
        self.name = name
        self.block = block
        self.hostname = hostname
        self.machine = machine
        self.clock = clock
        self.interchange = interchange
        self.totals = totals
        self.ends_s = ends_s
        self.on_end = on_end
        self.alive = True
        self.draining = False
        self.core = PoolCore(Capacity(machine.workers))
        self.bursts: dict[int, list[_Run]] = {}  # what each busy worker runs
        self.ran_upto = [0] * (machine.workers + 1)  # the last sequence number that each worker began
        self.has = 0  # tasks, wherever they are
        self.outbox: list[OutcomeItem] = []
        self.outbox_bytes = 0
        self.seq = 0
        self.registered = 0
        self.sending = False
        self.gather_until_s = 0.0
        self.link_free_s = 0.0
        self.retracting = False

    def start(self, now_s: float, _: Any = None) -> None:
        """It is up: its manager registers."""
        if not self.alive:
            return
        machine = self.machine
        for number in range(1, machine.workers + 1):
            self.core.ready(self.core.add_worker(number), number, now_s)
        self._register(now_s)
        self.clock.at(now_s + machine.heartbeat_period_s, self.beat)
        if self.ends_s is not None and machine.drain_s > 0:
            self.clock.at(max(now_s, self.ends_s - machine.drain_s), self._drains_itself)

    def _register(self, now_s: float) -> None:
        machine = self.machine
        core = self.core
        left_s = None if self.ends_s is None else self.ends_s - now_s
        self.registered += 1
        tasks: list[Any] = [*core.queue, *(entry[3] for entry in core.special)]
        tasks += [task for worker in core.workers.values() for task, _ in worker.held.values()]
        message = m.Register(
            self.name, self.block, self.hostname, 1, _SIMULATED, m.PROTOCOL, _SIMULATED, _VERSION, machine.workers, machine.node_cores,
            machine.memory_bytes, machine.disk_bytes, [str(number) for number in range(machine.gpus)], left_s, machine.prefetch,
            draining=self.draining, holds=[(task.id, task.attempt) for task in tasks], finished=[(item[0], item[1]) for item in self.outbox], nth=self.registered,
        )  # fmt: skip
        self.post(message, _REGISTER_BYTES + 8 * len(tasks), now_s)

    def post(self, message: Message, size_bytes: int, now_s: float) -> None:
        """Sends to the interchange: one message after another over the node's link."""
        begin_s = self.link_free_s if self.link_free_s > now_s else now_s  # noqa: FURB136 - a call costs, and this runs for every message
        machine = self.machine
        takes_s = size_bytes / machine.bandwidth_bytes_s
        self.link_free_s = begin_s + takes_s
        interchange = self.interchange
        # All nodes share the interchange's link, through which a message flows while it comes.
        interchange.incoming_s = arrival_s = max(interchange.incoming_s, begin_s) + takes_s
        self.clock.at(arrival_s + machine.latency_s, interchange.arrive, (self, message, size_bytes))

    def beat(self, now_s: float, _: Any) -> None:
        """Says that it is there."""
        if self.alive:
            self.post(m.Heartbeat(now_s), FRAME_BYTES, now_s)
            self.clock.at(now_s + self.machine.heartbeat_period_s, self.beat)

    # ------------------------------------------------------------------ from the interchange
    def take(self, now_s: float, items: Sequence[Any]) -> None:
        """Tasks arrive."""
        if not self.alive:
            return
        core = self.core
        queue = core.queue
        self.has += len(items)
        for number, attempt, _, load, _, grant in items:
            if grant is None:
                queue.append(SimTask(number, attempt, load, None))
            else:
                core.add_special(SimTask(number, attempt, load, Details(grant.walltime_s)))
        if self.draining:
            self._give_back(now_s)
        else:
            self.fill(now_s)

    def told(self, now_s: float, message: Any) -> None:
        """Anything else arrives."""
        if not self.alive:
            return
        kind = type(message)
        if kind is m.Recall:
            self._recall(message.count, now_s)
        elif kind is m.Drain:
            self.drain(now_s)
        elif kind is m.WhoAreYou:
            self._register(now_s)
        elif kind in {m.Stop, m.Refused, m.DeclaredLost}:
            self.end(now_s)

    def _recall(self, count: int, now_s: float) -> None:
        core = self.core
        taken = core.unqueue(count)
        for worker in core.workers.values():
            if len(taken) >= count:
                break
            waiting = core.unstarted(worker, self.ran_upto[worker.number])[-(count - len(taken)) :]
            if waiting:
                taken.extend(core.withdraw(worker, waiting[0], worker.sequence))
        self._return(taken, now_s)

    def _return(self, tasks: Sequence[Any], now_s: float) -> None:
        self.has -= len(tasks)
        items = [(task.id, task.attempt) for task in tasks]
        self.post(m.Returned(items), FRAME_BYTES + 8 * len(items), now_s)

    def _drains_itself(self, now_s: float, _: Any) -> None:
        if self.alive and not self.draining:
            self.post(m.Draining("its walltime is nearly over"), FRAME_BYTES, now_s)
            self.drain(now_s)

    def drain(self, now_s: float) -> None:
        """Finishes what runs and gives the rest back."""
        self.draining = True
        self.core.paused = True
        self._give_back(now_s)

    def _give_back(self, now_s: float) -> None:
        core = self.core
        tasks = core.unqueue(core.queued)
        for worker in core.workers.values():
            waiting = core.unstarted(worker, self.ran_upto[worker.number])
            if waiting:
                tasks.extend(core.withdraw(worker, waiting[0], worker.sequence))
        if tasks:
            self._return(tasks, now_s)

    # ------------------------------------------------------------------ workers
    def fill(self, now_s: float) -> None:
        """Gives workers what the core says."""
        core = self.core
        for worker, _ in core.fill(now_s):
            if worker.number not in self.bursts:
                self.totals.running += 1
                self._begin(worker, now_s)
        if self.has > len(self.bursts) and core.idle and not self.retracting and core.has_waiting_behind():
            self.retracting = True
            self.clock.at(now_s + RETRACT_S, self._retract)

    def _begin(self, worker: WorkerState, now_s: float) -> None:
        """The worker begins the next task that it holds, and those short ones that it will report with it."""
        overhead_s = self.machine.costs.worker_task_s
        runs: list[_Run] = []
        time_s = now_s
        task: Any
        for sequence, (task, attempt) in worker.held.items():
            load = task.payload
            run_s = load.duration_s
            status = m.DONE
            if runs and (time_s - now_s >= FLUSH_S or run_s > FLUSH_S):
                break
            if load.fail_part and load.fails(task.id, attempt):
                status = m.RAISED
            if task.details is not None and task.details.walltime_s is not None and run_s > task.details.walltime_s:
                run_s, status = task.details.walltime_s, m.TIMED_OUT
            start_s = time_s + overhead_s
            time_s = start_s + run_s
            runs.append((sequence, task, start_s, time_s, status))
        self.ran_upto[worker.number] = runs[-1][0]
        self.bursts[worker.number] = runs
        self.clock.at(time_s, self._ran, worker)

    def _ran(self, now_s: float, worker: WorkerState) -> None:
        """The worker reports."""
        if not self.alive:
            return
        number = worker.number
        runs = self.bursts[number]
        core = self.core
        held = worker.held
        outbox = self.outbox
        busy_s = 0.0
        for sequence, task, start_s, stop_s, status in runs:
            del held[sequence]
            outbox.append((task.id, task.attempt, status, b"", start_s, stop_s, number))
            self.outbox_bytes += task.payload.output_bytes + ITEM_BYTES
            busy_s += stop_s - start_s
        self.has -= len(runs)
        core.heard(worker, now_s, len(runs), busy_s)
        if held:
            self._begin(worker, now_s)
        else:
            del self.bursts[number]
            self.totals.running -= 1
        if self.has > len(self.bursts):
            self.fill(now_s)
        if not self.sending:
            if now_s >= self.gather_until_s:
                self._send(now_s, None)
            else:
                self.sending = True
                self.clock.at(self.gather_until_s, self._send)

    def _send(self, now_s: float, _: Any) -> None:
        self.sending = False
        if self.alive:
            self.seq += 1
            self.gather_until_s = now_s + self.machine.costs.gather_s
            outbox, self.outbox = self.outbox, []
            size_bytes, self.outbox_bytes = self.outbox_bytes + FRAME_BYTES, 0
            self.post(m.Outcomes(self.seq, outbox), size_bytes, now_s)

    def _retract(self, now_s: float, _: Any) -> None:
        """What waits behind long tasks goes to workers that have nothing to do."""
        self.retracting = False
        core = self.core
        if not self.alive or not core.has_waiting_behind():
            return
        for worker in core.stuck(now_s):
            waiting = core.unstarted(worker, self.ran_upto[worker.number])
            if waiting:
                core.take_back(worker, waiting[0], worker.sequence)
        self.fill(now_s)

    # ------------------------------------------------------------------ the end
    def leave(self, now_s: float, reason: str) -> None:
        """Its block ends: it has the time to say so, and no more."""
        if self.alive:
            self.post(m.Leaving(reason), FRAME_BYTES, now_s)
            self.end(now_s)

    def end(self, now_s: float, _: Any = None) -> None:
        """It is no more, in whatever way; what it ran is lost."""
        if not self.alive:
            return
        self.alive = False
        totals = self.totals
        totals.running -= len(self.bursts)
        for runs in self.bursts.values():
            for _, task, start_s, stop_s, _ in runs:
                if start_s <= now_s:
                    totals.lost_attempts += 1
                    cores = task.payload.cores or self.machine.worker_cores
                    totals.wasted_core_s += (min(stop_s, now_s) - start_s) * cores
        self.bursts.clear()
        self.on_end(self, now_s)
