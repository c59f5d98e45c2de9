"""A simulation from beginning to end.

    source ─▶ driver ◀─▶ interchange: the real core ◀── links ──▶ nodes: the real pool core, workers that count
                │                                                  ▲
                └──▶ the real block core and scaling policy ──▶ batch system

All of it happens on one clock (`clock`), in one thread, in an order that only the seed decides.
"""

from __future__ import annotations

import gc
import math
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait.executors.htex import messages as m
from plait.scaling.explain import explain
from plait.scaling.throttle import HOUR_S
from plait.simulate.batch import Blocks
from plait.simulate.clock import Clock
from plait.simulate.driver import Driver
from plait.simulate.interchange import SimInterchange
from plait.simulate.result import Kind, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.simulate.machine import Machine
    from plait.simulate.workload import Workload

#: Seconds beyond what losses and new blocks may take, without anything that runs or comes, after which a run is taken to be stuck.
_STUCK_S: Final = 600.0


class Simulation:
    """One run.

    Args:
        workload: what there is to do.
        machine: where.
        policy: of placing; None for the interchange's own.
        policy_name: as shown to people.
        seed: of all that is random.
        progress: called now and then, with what is known so far.
    """

    def __init__(
        self, workload: Workload, machine: Machine, policy: Any = None, policy_name: str = "default", seed: int = 0,
        progress: Callable[[Result], None] | None = None,
    ) -> None:  # fmt: skip
        self.clock = Clock()
        self.source = source = workload.source(seed)
        self.result = Result(workload.name, policy_name, seed, machine.nodes, machine.workers, source.total)
        self.result.kinds = [Kind(name) for name in source.kinds]
        self.interchange = SimInterchange(machine, self.clock, policy)
        self.driver = Driver(source, machine, self.clock, self.interchange, self.result, self._finished)
        self.interchange.driver = self.driver
        self.blocks = Blocks(machine, self.clock, self.interchange, self.driver, self.result, seed)
        self.driver.blocks = self.blocks
        self._machine = machine
        self._progress = progress
        self._moved: Any = None  # what told that something happens, when it last changed
        self._moved_s = self._looked_s = 0.0
        self._idle_s = 0.0  # for which workers were connected, or nothing was waited for, and nothing happened
        self._wait_area = 0.0
        self._sampled_s = 0.0
        self._was_waiting = 0
        self.clock.at(0.0, self._sample)

    def run(self) -> Result:
        """Lets it happen."""
        began_s = time.perf_counter()
        collects = gc.isenabled()
        gc.disable()  # nothing here is cyclic, and looking for it among millions of records takes most of the time
        try:
            self.clock.run()
        finally:
            if collects:
                gc.enable()
        self._close()
        self.result.took_s = time.perf_counter() - began_s
        return self.result

    def _finished(self, now_s: float) -> None:
        self.result.makespan_s = now_s
        self.clock.stopped = True

    def _close(self) -> None:
        result = self.result
        if not self.clock.stopped:
            result.makespan_s = self.clock.now_s
        end_s = result.makespan_s
        self._count(end_s)
        self.blocks.finish(end_s)
        totals = self.blocks.totals
        result.skipped = self.source.skipped
        result.unfinished = self.driver.unfinished
        result.lost_attempts = totals.lost_attempts
        result.wasted_core_s += totals.wasted_core_s
        result.attempts += totals.lost_attempts
        result.mean_wait_s = self._wait_area / max(1, result.tasks)
        result.sent_bytes = self.interchange.sent_bytes
        result.received_bytes = self.interchange.received_bytes
        result.events = self.clock.events
        if end_s > 0:
            result.interchange_busy = self.interchange.busy_s / end_s
            result.driver_busy = self.driver.busy_s / end_s

    # ------------------------------------------------------------------ history
    def _sample(self, now_s: float, _: Any) -> None:
        self._count(now_s)
        running = self.blocks.totals.running
        if self._progress is not None:
            self._progress(self.result)
        if self._is_stuck(running, now_s):
            self._say_stuck(now_s)
            return
        self.clock.at(now_s + self.result.history.step_s, self._sample)

    def _count(self, now_s: float) -> None:
        """Takes note of how things are."""
        waiting = self.source.waiting(now_s) + len(self.driver.live) - self.blocks.totals.running
        waiting = max(0, waiting)
        self._wait_area += (now_s - self._sampled_s) * (waiting + self._was_waiting) / 2
        self._sampled_s, self._was_waiting = now_s, waiting
        result = self.result
        result.most_waiting = max(result.most_waiting, waiting)
        result.history.add(now_s, waiting, self.blocks.totals.running, self.blocks.workers, self.blocks.allocated)

    # ------------------------------------------------------------------ an end that does not come
    def _is_stuck(self, running: int, now_s: float) -> bool:
        """Whether nothing happens any more that could bring a task to its end. Blocks that come and go do not."""
        result, blocks, machine = self.result, self.blocks, self._machine
        moved = (result.attempts, result.done, result.failed)
        if running or moved != self._moved or self.source.next_s(now_s) is not None:
            self._moved, self._idle_s = moved, 0.0
            self._moved_s = now_s
        elif blocks.workers or not blocks.waiting:
            self._idle_s += now_s - self._looked_s
        self._looked_s = now_s
        capped_s = HOUR_S if getattr(machine.strategy, "max_submissions_per_hour", None) else 0.0
        idle_s = machine.max_idletime_s if machine.max_idletime_s < math.inf else 0.0
        starts_s = machine.start.at(0.999)
        patience_s = _STUCK_S + 2 * machine.heartbeat_threshold_s + idle_s + capped_s + starts_s
        return self._idle_s > patience_s + (machine.walltime_s or 0.0)

    def _say_stuck(self, now_s: float) -> None:
        core = self.interchange.core
        core.out.clear()
        core.from_driver(m.Query(0, "queue"), b"", now_s)
        answer = next((payload for _, message, payload in core.out if isinstance(message, m.Answer)), b"{}")
        waiting = msgspec.json.decode(answer).get("waiting", [])
        reasons = "; ".join(
            f"{group['tasks']:,} of the tasks wait for {group['asks']}: {group['why']}" for group in waiting[:3]
        )
        blocks = f"blocks: {explain(self.blocks.core, now_s)}"
        self.result.stuck = (
            f"nothing happened any more; {reasons}; {blocks}" if reasons else f"nothing happened any more; {blocks}"
        )
        self._finished(self._moved_s)
