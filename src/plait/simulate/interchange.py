"""The simulated interchange: the real core, in a process that is busy for as long as the real one would be.

What arrives while it works waits, and is taken together in the next turn, as from a real socket. So a run that asks too much of it shows that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plait.executors.htex import messages as m
from plait.executors.htex.core import InterchangeCore
from plait.simulate.node import FRAME_BYTES, ITEM_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.executors.htex.messages import Message
    from plait.simulate.clock import Clock
    from plait.simulate.driver import Driver
    from plait.simulate.machine import Machine
    from plait.simulate.node import Node

#: Seconds between two ticks: at least, at most, and as a part of what tasks take.
_TICK_S: Final = (0.02, 5.0)
_TICK_PART: Final = 0.1
#: What a node does nothing about.
_SILENT: Final = frozenset({m.Heartbeat, m.Taken, m.Welcome, m.Function})


class SimInterchange:
    """The interchange.

    Attributes:
        core: which decides.
        busy_s: seconds for which it worked.
        sent_bytes: to nodes.
        received_bytes: from nodes.
        incoming_s: until when its link is busy with what comes from nodes.
    """

    def __init__(self, machine: Machine, clock: Clock, policy: Any) -> None:
        self.core = InterchangeCore(
            epoch="simulated",
            cores_per_worker=machine.worker_cores,
            memory_per_worker=machine.worker_memory_bytes,
            heartbeat_period_s=machine.heartbeat_period_s,
            heartbeat_threshold_s=machine.heartbeat_threshold_s,
            policy=policy,
            plait="simulated",
        )
        self.driver: Driver
        self.busy_s = 0.0
        self.sent_bytes = 0
        self.received_bytes = 0
        self.incoming_s = 0.0
        self._machine = machine
        self._clock = clock
        self._inbox: list[tuple[Node | None, Message, int]] = []
        self._waits = False  # whether a turn is due
        self._free_s = 0.0
        self._link_free_s = 0.0
        clock.at(_TICK_S[0], self._tick)

    def arrive(self, now_s: float, letter: tuple[Node | None, Message, int]) -> None:
        """A message from a node."""
        self._inbox.append(letter)
        if not self._waits:
            if now_s >= self._free_s:
                self._turn(now_s, None)
            else:
                self._waits = True
                self._clock.at(self._free_s, self._turn)

    def from_driver(self, now_s: float, messages: Sequence[Message]) -> None:
        """Messages from the driver."""
        for message in messages[:-1]:
            self._inbox.append((None, message, 0))
        self.arrive(now_s, (None, messages[-1], 0))

    def _turn(self, now_s: float, _: Any) -> None:
        self._waits = False
        core = self.core
        inbox, self._inbox = self._inbox, []
        tasks = received = 0
        message: Any
        for node, message, size_bytes in inbox:
            if node is None:
                core.from_driver(message, b"", now_s)
            else:
                core.from_manager(node, message, b"", now_s)
                received += size_bytes
            kind = type(message)
            if kind is m.Outcomes or kind is m.Offer:
                tasks += len(message.items)
        more = core.place(now_s)
        costs = self._machine.costs
        cost_s = len(inbox) * costs.interchange_message_s + tasks * 0.5 * costs.interchange_task_s
        self.received_bytes += received
        self._worked(now_s, cost_s)
        if more and not self._waits:
            self._waits = True
            self._clock.at(self._free_s, self._turn)

    def _tick(self, now_s: float, _: Any) -> None:
        """Time passes, for losses, recalls and whatever else is due."""
        core = self.core
        core.tick(now_s)
        if core.out:
            core.place(now_s)
            self._worked(now_s, self._machine.costs.interchange_message_s)
        least_s, most_s = _TICK_S
        pause_s = min(most_s, max(least_s, _TICK_PART * (core.mean_s or 1.0))) if core.managers else most_s
        self._clock.at(now_s + pause_s, self._tick)

    def _worked(self, now_s: float, cost_s: float) -> None:
        """Sends what the core wants sent, when the work is done."""
        self.busy_s += cost_s
        end_s = self._free_s = max(self._free_s, now_s) + cost_s
        core = self.core
        out = core.out
        if not out:
            return
        core.out = []
        clock, machine = self._clock, self._machine
        link_s = max(self._link_free_s, end_s)
        to_driver: list[Message] = []
        node: Any  # nodes are the connections
        message: Any
        for node, message, _ in out:
            kind = type(message)
            if node is None:
                to_driver.append(message)
            elif kind is m.Tasks:
                items = message.items
                size_bytes = FRAME_BYTES + sum([len(item[3]) + ITEM_BYTES for item in items])
                self.sent_bytes += size_bytes
                link_s += size_bytes / machine.bandwidth_bytes_s
                clock.at(link_s + machine.latency_s, node.take, items)
            elif kind not in _SILENT:
                clock.at(link_s + machine.latency_s, node.told, message)
        self._link_free_s = link_s
        if to_driver:
            self.driver.told(end_s, to_driver)
