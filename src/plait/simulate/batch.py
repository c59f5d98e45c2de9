"""The simulated batch system: blocks wait in its queue, get nodes, and lose them. The real block core and scaling policy say how many are wanted."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Any, Final

from plait.model.jobs import JobState, JobStatus
from plait.scaling.block import Cancel, Drain, Request
from plait.scaling.core import BlockCore
from plait.scaling.policy import policy_of
from plait.scaling.view import Limits, Load, NodeSize
from plait.simulate.draws import key_of, uniform
from plait.simulate.driver import shape_of
from plait.simulate.node import Node, Totals

if TYPE_CHECKING:
    from plait.simulate.clock import Clock
    from plait.simulate.driver import Driver
    from plait.simulate.interchange import SimInterchange
    from plait.simulate.machine import Machine
    from plait.simulate.result import Result

#: Seconds between two decisions: as a rule, and at least.
_PERIOD_S: Final = 5.0
_LEAST_S: Final = 0.05
_START_TIMEOUT_S: Final = 300.0
_DRAIN_TIMEOUT_S: Final = 60.0


class Job:
    """A block's job.

    Attributes:
        name: of the block.
        asked_s: when it was requested.
        begun_s: when it got its nodes; None while it waits.
        nodes: that it has, by their numbers.
        up: of these, those that work.
        lost: whether one of them failed.
    """

    __slots__ = ("asked_s", "begun_s", "lost", "name", "nodes", "up")

    def __init__(self, name: str, asked_s: float) -> None:
        self.name = name
        self.asked_s = asked_s
        self.begun_s: float | None = None
        self.nodes: dict[int, Node] = {}
        self.up = 0
        self.lost = False


class Blocks:
    """The blocks of a simulation.

    Attributes:
        core: the real one.
        totals: of all nodes.
        allocated: nodes that blocks have now.
        waiting: blocks that wait in the queue.
        workers: of connected managers.
    """

    def __init__(
        self, machine: Machine, clock: Clock, interchange: SimInterchange, driver: Driver, result: Result, seed: int
    ) -> None:  # fmt: skip
        most = machine.max_blocks
        first = most if machine.init_blocks is None else min(machine.init_blocks, most)
        limits = Limits(
            first, min(machine.min_blocks, most), most, machine.block_nodes, machine.parallelism, machine.walltime_s
        )
        self._node = NodeSize(machine.workers, machine.node_cores, machine.memory_bytes, float(machine.gpus))
        self.core = BlockCore(
            "simulated", limits, policy_of(machine.strategy), max_idletime_s=machine.max_idletime_s, period_s=_PERIOD_S,
            start_timeout_s=_START_TIMEOUT_S + machine.start.at(0.999), drain_timeout_s=_DRAIN_TIMEOUT_S,
        )  # fmt: skip
        self.totals = Totals()
        self.allocated = 0
        self.waiting = 0
        self.workers = 0
        self._machine = machine
        self._clock = clock
        self._interchange = interchange
        self._driver = driver
        self._result = result
        self._jobs: dict[str, Job] = {}
        self._free = list(range(machine.nodes))  # heap of numbers of nodes
        self._in_use: dict[int, tuple[Job, Node]] = {}
        self._connected: dict[str, tuple[str, int]] = {}  # manager: block and workers
        self._idle_since: dict[str, float] = {}
        self._due_s = float("inf")
        self._waited_s = 0.0
        self._begun = 0
        self._wait_key, self._start_key, self._fail_key = (key_of(seed, what) for what in ("queue", "start", "failure"))
        for failure in machine.failures:
            clock.at(failure.at_s, self._fails, failure.node)
        clock.at(0.0, self._start)

    # ------------------------------------------------------------------ the shell of the block core
    def _start(self, now_s: float, _: Any) -> None:
        self.core.start(now_s)
        self._act(now_s)

    def manager_up(self, block: str, manager: str, workers: int, now_s: float) -> None:
        """A manager registered."""
        if manager not in self._connected:
            self._connected[manager] = (block, workers)
            self.workers += workers
        self.core.manager_up(block, manager, workers, now_s)
        self._wake(now_s)

    def manager_gone(self, block: str, manager: str, how: str, now_s: float) -> None:
        """A manager is no more."""
        _, workers = self._connected.pop(manager, ("", 0))
        self.workers -= workers
        self.core.manager_gone(block, manager, how, now_s)
        self._wake(now_s)

    def _wake(self, now_s: float) -> None:
        """Has a tick come soon: together for all that happens at about this time, since each looks at all blocks."""
        due_s = now_s + _LEAST_S
        if due_s < self._due_s:
            self._due_s = due_s
            self._clock.at(due_s, self._tick)

    def _tick(self, now_s: float, _: Any) -> None:
        if now_s < self._due_s:
            return  # another one came before
        self._due_s = float("inf")
        self.core.tick(self._load(now_s), now_s)
        self._act(now_s)

    def _act(self, now_s: float) -> None:
        core = self.core
        while core.out or core.events:
            actions, core.out = core.out, []
            core.events.clear()
            for action in actions:
                if isinstance(action, Request):
                    self._request(action.block, now_s)
                elif isinstance(action, Cancel):
                    core.cancelled(dict.fromkeys(action.blocks, True), now_s)
                    for block in action.blocks:
                        if block in self._jobs:
                            self._end(self._jobs[block], JobState.CANCELLED, "was cancelled", now_s)
                elif isinstance(action, Drain):
                    self._driver.drain_block(action.block, action.reason, now_s, over=action.over)
        due_s = max(core.next_s(), now_s + _LEAST_S)
        if due_s < self._due_s:
            self._due_s = due_s
            self._clock.at(due_s, self._tick)

    def _load(self, now_s: float) -> Load:
        busy: set[str] = {manager.block for manager in self._interchange.core.managers.values() if manager.held}
        since = self._idle_since
        for block in {block for block, _ in self._connected.values()}:
            if block in busy:
                since.pop(block, None)
            else:
                since.setdefault(block, now_s)
        idle_s = {block: now_s - since_s for block, since_s in since.items() if block in self.core.live}
        driver, machine = self._driver, self._machine
        outstanding, wants = driver.outstanding(now_s), driver.wants()
        used: dict[str, float] = {}
        shares: dict[
            int, float
        ] = {}  # of a node, by what is asked for: few objects, which all tasks of a bag have in common
        for manager in self._interchange.core.managers.values():
            part = (len(manager.held) - len(manager.granted)) / machine.workers
            for granted in manager.granted.values():
                share = shares.get(id(granted.ask))
                if share is None:
                    share = shares[id(granted.ask)] = self._node.share(shape_of(granted.ask))
                part += share
            used[manager.block] = used.get(manager.block, 0.0) + min(1.0, part)
        waiting = outstanding - len(driver.live) + len(driver.unplaced)
        return Load(outstanding, machine.workers, idle_s, waiting=waiting, wants=wants, node=self._node, used=used)

    # ------------------------------------------------------------------ the batch system
    def _request(self, name: str, now_s: float) -> None:
        if not self.core.may_submit(name, now_s):
            self.core.refused(name, "is not wanted any more", now_s)
            return
        job = self._jobs[name] = Job(name, now_s)
        self.waiting += 1
        self._result.blocks += 1
        self.core.submitted(name, f"{name}.simulated", now_s)
        wait_s = self._machine.queue_wait.at(uniform(self._wait_key, int(name)))
        self._clock.at(now_s + wait_s, self._begins, job)

    def _begins(self, now_s: float, job: Job) -> None:
        if job.name not in self._jobs:
            return
        machine = self._machine
        count = machine.block_nodes
        if len(self._free) < count:  # the nodes of one that has just ended are not there yet
            self._clock.at(now_s + 1.0, self._begins, job)
            return
        self.waiting -= 1
        self._waited_s += now_s - job.asked_s
        self._begun += 1
        job.begun_s = now_s
        self.allocated += count
        ends_s = None if machine.walltime_s is None else now_s + machine.walltime_s
        for index in range(count):
            number = heapq.heappop(self._free)
            place = int(job.name) * count + index
            node = Node(
                f"{job.name}.{index}",
                job.name,
                f"node{number}",
                machine,
                self._clock,
                self._interchange,
                self.totals,
                ends_s,
                self._node_ended,
            )
            job.nodes[number] = node
            self._in_use[number] = (job, node)
            self._clock.at(now_s + machine.start.at(uniform(self._start_key, place)), node.start)
            if machine.failures_per_s:
                life_s = -math.log(uniform(self._fail_key, place)) / machine.failures_per_s
                self._clock.at(now_s + life_s, self._fails_alone, node)
        job.up = count
        if ends_s is not None:
            self._clock.at(ends_s, self._expires, job)
        self.core.polled({job.name: JobStatus(JobState.RUNNING)}, now_s)
        self._act(now_s)

    def _fails(self, now_s: float, number: int) -> None:
        job_node = self._in_use.get(number)
        if job_node is not None:
            self._fails_alone(now_s, job_node[1])

    def _fails_alone(self, now_s: float, node: Node) -> None:
        if node.alive:
            self._result.nodes_lost += 1
            self._jobs[node.block].lost = True
            node.end(now_s)

    def _node_ended(self, node: Node, now_s: float) -> None:
        job = self._jobs.get(node.block)
        if job is not None:
            job.up -= 1
            if not job.up:  # its script has ended everywhere
                self._clock.at(now_s, self._deserted, job)

    def _deserted(self, now_s: float, job: Job) -> None:
        if job.name in self._jobs:
            state, text = (JobState.FAILED, "its nodes failed") if job.lost else (JobState.COMPLETED, "has ended")
            self._end(job, state, text, now_s)
            self._act(now_s)

    def _expires(self, now_s: float, job: Job) -> None:
        if job.name in self._jobs:
            self._result.blocks_expired += 1
            self._end(job, JobState.TIMEOUT, "its walltime is over", now_s)
            self._act(now_s)

    def _end(self, job: Job, state: JobState, text: str, now_s: float) -> None:
        """The job ends, and its nodes are others'."""
        del self._jobs[job.name]
        self._idle_since.pop(job.name, None)
        for number, node in job.nodes.items():
            node.leave(now_s, text)
            heapq.heappush(self._free, number)
            del self._in_use[number]
        if job.begun_s is None:
            self.waiting -= 1
        else:
            self.allocated -= len(job.nodes)
            self._count(job, now_s)
        self.core.polled({job.name: JobStatus(state, text)}, now_s)

    def _count(self, job: Job, now_s: float) -> None:
        if job.begun_s is not None:
            self._result.allocated_core_s += (now_s - job.begun_s) * len(job.nodes) * self._machine.node_cores

    def finish(self, now_s: float) -> None:
        """The run is over: what blocks have had until now is counted."""
        for job in self._jobs.values():
            self._count(job, now_s)
        for _, node in self._in_use.values():
            node.end(now_s)
        self._result.block_wait_s = self._waited_s / self._begun if self._begun else 0.0
