"""Looking at a pilot-job executor and telling it things, while it runs: its nodes, its blocks, where a task stands and what can be had."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from plait.errors import ExecutorError, InvalidResourceSpecification
from plait.executors.base import Executor, ExecutorStatus
from plait.executors.blocks import walltime_of
from plait.executors.capacity import Capacity
from plait.executors.htex.answers import describe
from plait.executors.htex.expected import GIB, expected_node
from plait.executors.htex.messages import DrainBlock, Hold
from plait.executors.htex.offers import ask_of
from plait.executors.htex.shapes import check_gang
from plait.executors.htex.where import stays_here
from plait.executors.pool.core import resources_of
from plait.limits import GRACE_S
from plait.model.units import format_duration, is_utf8

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plait.executors.blocks import BlockKeeper
    from plait.executors.htex.driver import DriverLink
    from plait.executors.htex.expected import Expected
    from plait.model.jobs import JobStatus
    from plait.model.resources import Resources
    from plait.model.task import Task
    from plait.providers.base import ExecutionProvider
    from plait.scaling.view import Load

#: Seconds that the interchange has to answer a question.
_ANSWER_S: Final = 1.0


class Inspection(Executor):
    """What can be asked of a `HighThroughputExecutor`, and what it can be told."""

    provider: ExecutionProvider
    gives_nodes: bool
    cores_per_worker: float
    mem_per_worker: float | None
    max_workers_per_node: int | None
    available_accelerators: list[str]
    mpi_launcher: str
    _link: DriverLink | None
    _keeper: BlockKeeper | None
    _error: Exception | None
    _seen_blocks: list[str]
    _expected: Expected | None = None
    _judged_by: tuple[float, ...] | None = None  # what those that wait were compared with last

    def _blocks_failed(self, error: Exception) -> None:
        """Gives the executor up."""
        raise NotImplementedError

    def _running(self) -> DriverLink:
        link = self._link
        if link is None:
            raise ExecutorError(self, "it does not run: it was not started, or is shut down")
        if link.broken is not None:
            raise link.broken
        return link

    # ------------------------------------------------------------------ looking
    def status(self) -> ExecutorStatus:
        """How much it has to do."""
        link = self._link
        if link is None:
            return ExecutorStatus(0, 0, 0)
        return ExecutorStatus(link.hearing.slots, len(link.offers.places), link.offers.queued)

    @property
    def outstanding(self) -> int:
        """Tasks that were given to it and have not ended."""
        link = self._link
        if link is None:
            return 0
        return len(link.offers.queue) + len(link.offers.special) + len(link.offers.held)

    @property
    def tasks(self) -> dict[int, Task]:
        """Tasks that were given to it and have not ended, by number."""
        link = self._link
        if link is None:
            return {}
        waiting = [*link.offers.queue, *(entry[3] for entry in link.offers.special)]
        return {**{task.id: task for task in waiting}, **link.offers.held}

    @property
    def workers_per_node(self) -> int | None:
        """Workers of a node: of one that is connected, else what the hints say; None when nobody knows."""
        managers = list(self._link.hearing.managers.values()) if self._link is not None else []
        if managers:
            return max(manager.workers for manager in managers)
        return self._expected_workers()

    def _expected_workers(self) -> int | None:
        limits: list[float] = []
        node = self._expected_node()
        cores, memory_bytes = node.cores, node.memory_bytes
        if self.max_workers_per_node is not None:
            limits.append(self.max_workers_per_node)
        if cores is not None:
            limits.append(max(1, cores // self.cores_per_worker))
        if memory_bytes and self.mem_per_worker:
            limits.append(max(1, memory_bytes // (self.mem_per_worker * GIB)))
        if self.available_accelerators:
            limits.append(len(self.available_accelerators))
        return int(min(limits)) if limits else None

    def _expected_node(self) -> Expected:
        """What a node has, as far as it is known before one is there; looked up once in a run, because every call that asks for something is checked."""
        if self._expected is None:
            self._expected = expected_node(self.provider, len(self.available_accelerators), os.environ)
        return self._expected

    def _load(self) -> Load:
        from plait.scaling.view import Load, NodeSize

        link = self._link
        if link is None:
            return Load(0, self._expected_workers())
        offers = link.offers
        workers: float | None = self.workers_per_node
        if workers is not None and self.gives_nodes:  # one manager has the places of all nodes
            workers /= self.provider.nodes_per_block
        managers = list(link.hearing.managers.values())
        node = None
        if workers is not None:
            expected = self._expected_node()
            node = NodeSize(
                workers,
                max([up.cores for up in managers], default=expected.cores or 0.0),
                max([up.memory_bytes for up in managers], default=expected.memory_bytes or 0),
                float(max([len(up.gpus) for up in managers], default=expected.gpus or 0)),
            )
        used: dict[str, float] = {}
        for up in managers:
            asking, nodes = offers.wishes.on(up.manager, node) if node is not None and offers.wishes.of else (0, 0.0)
            plain = max(0, offers.counts.get(up.manager, 0) - asking) / max(1, up.workers)
            used[up.block] = used.get(up.block, 0.0) + max(min(1.0, plain + nodes), nodes)
        wants = offers.wishes.wants() if offers.wishes.of else ()
        return Load(
            self.outstanding,
            workers,
            link.hearing.idle_blocks(),
            waiting=offers.queued,
            wants=wants,
            node=node,
            used=used,
        )

    def connected_managers(self) -> list[dict[str, Any]]:
        """The managers that are connected, each as a dictionary: ``manager``, ``block_id``, ``worker_count``, ``tasks``, and more."""
        link = self._link
        if link is None:
            return []
        answer = link.ask("managers", _ANSWER_S)
        if isinstance(answer, list):
            return answer
        return [
            {"manager": up.manager, "block_id": up.block, "worker_count": up.workers, "hostname": up.hostname,
             "tasks": link.offers.counts.get(up.manager, 0), "python_version": up.python, "parsl_version": up.plait, "active": True}
            for up in list(link.hearing.managers.values())
        ]  # fmt: skip

    def connected_blocks(self) -> list[str]:
        """The blocks of which a manager was ever connected."""
        return list(self._seen_blocks)

    def block_status(self) -> dict[str, JobStatus]:
        """How each block is."""
        return self._keeper.status() if self._keeper is not None else {}

    @property
    def bad_state_is_set(self) -> bool:
        """Whether it was given up."""
        return self._error is not None

    @property
    def executor_exception(self) -> Exception | None:
        """Why it was given up, if so."""
        return self._error

    # ------------------------------------------------------------------ commands
    def hold_manager(self, manager: str) -> None:
        """Gives a manager no more tasks; what it has goes on."""
        message = Hold(_text("hold_manager", manager), on=True)
        self._running().command("tell", message)

    hold_worker = hold_manager

    def hold_block(self, block: str) -> None:
        """Has the managers of a block get no more tasks."""
        message = Hold(_text("hold_block", block), on=True)
        self._running().command("tell", message)

    def release(self, name: str) -> None:
        """Takes back a `hold_manager` or a `hold_block`."""
        message = Hold(_text("release", name), on=False)
        self._running().command("tell", message)

    def drain(self, block: str, reason: str = "it was told to") -> None:
        """Has the managers of a block do what they run, give back the rest, and end."""
        message = DrainBlock(_text("drain", block), _text("drain", reason))
        self._running().command("tell", message)

    def scale_out(self, blocks: int = 1) -> list[str]:
        """Requests blocks, as far as the provider's ``max_blocks`` allows; their names."""
        return self._blocks().scale_out(blocks)

    def scale_in(self, blocks: int | Iterable[str], max_idletime: float | None = None) -> list[str]:
        """Gives back blocks: so many, or those of these names; with ``max_idletime`` only such as have been idle for so many seconds."""
        return self._blocks().scale_in(blocks, max_idletime)

    def set_bad_state_and_fail_all(self, error: Exception) -> None:
        """Gives the executor up: every task that it has fails with this error."""
        self._running()
        if self._keeper is not None:
            self._keeper.set_bad_state_and_fail_all(error)
        else:
            self._blocks_failed(error)

    def _blocks(self) -> BlockKeeper:
        link = self._running()
        if self._keeper is None:
            raise ExecutorError(self, "its interchange is not up yet, so no block can be requested or given back")
        del link
        return self._keeper

    # ------------------------------------------------------------------ what can be had, and where a task stands
    def check(self, resources: Resources) -> None:
        """Refuses what no block can ever give, with the numbers; where the nodes are not known yet, nothing is refused."""
        limits = self._limits()
        if resources.nodes:
            check_gang(resources, self.label, self.provider)
        limits.check(replace(resources, nodes=0) if resources.nodes else resources, self.label)

    def check_walltime(self, walltime_s: float) -> None:
        """Refuses what takes longer than a block lasts, which needs a moment to begin and to end."""
        lasts_s = walltime_of(self.provider)
        if lasts_s is not None and walltime_s + 2 * GRACE_S >= lasts_s:
            raise InvalidResourceSpecification(
                {"walltime"},
                f"{format_duration(walltime_s)} asked, blocks of executor {self.label!r} end {format_duration(lasts_s)} after they began "
                "(walltime of its provider)",
            )

    def _limits(self) -> Capacity:
        """The most that a node has, of everything that is known; of what is not, without a limit."""
        node = self._expected_node()
        link = self._link
        managers = list(link.hearing.managers.values()) if link is not None else []
        known_all = bool(managers) and (stays_here(self.provider) or self._all_blocks_up(len(managers)))

        def most(expected: float | None, there: Iterable[float], unknown: float) -> float:
            known = [] if expected is None else [expected]
            if managers and (known or known_all):
                known += there
            return max(known, default=unknown)

        return Capacity(
            most(node.cores, (up.cores for up in managers), math.inf),
            int(most(node.memory_bytes, (up.memory_bytes for up in managers), 0)),
            most(node.gpus, (len(up.gpus) for up in managers), math.inf),
            int(most(node.disk_bytes, (up.disk_bytes for up in managers), 0)),
        )

    def _refuse_those_that_wait(self, link: DriverLink) -> None:
        """Refuses what was taken when nobody knew what nodes there would be, now that one shows it. On the link's thread."""
        limits = self._limits()
        there: tuple[float, ...] = (limits.cores, limits.memory_bytes, limits.gpus, limits.disk_bytes)
        if there == self._judged_by:
            return
        self._judged_by = there
        offers = link.offers
        for number in [number for number in offers.wishes.of if number not in offers.places]:
            task = offers.held.get(number)
            if task is not None:
                try:
                    self.check(resources_of(task))
                except InvalidResourceSpecification as error:
                    link.command("fail", (number, task.attempt), error)

    def _all_blocks_up(self, managers: int) -> bool:
        return managers >= self.provider.max_blocks * self.provider.nodes_per_block

    def explain(self, task: Task) -> str:
        """Where a launched task stands."""
        link = self._link
        if link is None:
            return super().explain(task)
        if link.broken is not None:
            return f"cannot run: {link.broken}"
        place = link.offers.places.get(task.id)
        manager = link.hearing.managers.get(place) if place is not None else None
        if manager is not None:
            since = (
                f", {format_duration(time.monotonic() - task.launch_s)} after it was launched" if task.launch_s else ""
            )
            return f"is with manager {manager.manager} on {manager.hostname} (block {manager.block}) of executor {self.label!r}{since}"
        if place is not None:
            return f"was given to manager {place} of executor {self.label!r}, which has not come back yet"
        return f"waits in executor {self.label!r}: {self._why_it_waits(link, task)}"

    def _why_it_waits(self, link: DriverLink, task: Task) -> str:
        blocks = self._keeper.explain() if self._keeper is not None else "its interchange is being started"
        if not link.hearing.managers:
            return f"no node is up yet; {blocks}"
        status = self.status()
        nodes = len(link.hearing.managers)
        text = (
            f"{status.running} tasks are with its {nodes} node{'s' if nodes != 1 else ''} ({status.workers} workers) "
            f"and {status.queued} wait"
        )
        reason = _reason(task, link.ask("queue", _ANSWER_S))
        return "; ".join(part for part in (text, reason, blocks) if part)


def _text(method: str, value: object) -> str:
    """A name or a reason that can be sent.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not is_utf8(value):
        raise ValueError(f"{method}({value!r}): expected text, as names of managers and blocks are")
    return value


def _reason(task: Task, answer: Any) -> str:
    """What the interchange says of tasks like this one; empty when it says nothing."""
    if not isinstance(answer, dict):
        return ""
    ask = ask_of(task)
    if ask is None:
        mean_s = answer.get("mean_s") or 0.0
        return f"tasks took {format_duration(mean_s)} lately" if mean_s else ""
    wants = describe(ask)
    for lane in answer.get("waiting", ()):
        if (lane["asks"], lane["label"], lane["priority"]) == (wants, ask.label, ask.priority):
            others = f", like {lane['tasks'] - 1} others" if lane["tasks"] > 1 else ""
            return f"it asks for {wants}{others}: {lane['why']}"
    return ""
