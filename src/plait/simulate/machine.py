"""The machine that a run is simulated on: nodes, network, batch queue, what fails, and what plait itself costs there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from plait.errors import ConfigurationError
from plait.model.units import number_of
from plait.scaling.policy import STRATEGIES
from plait.simulate.draws import Draw, constant

if TYPE_CHECKING:
    from plait.scaling.policy import ScalingPolicy

_HOUR_S: Final = 3600.0
#: Nodes, workers and GPUs of a node: more than any machine has, and few enough to count.
_MOST: Final = {"nodes": 10_000_000, "workers": 10_000_000, "gpus": 100_000}
#: What may be infinite.
_ENDLESS: Final = frozenset({"max_idletime_s", "bandwidth_bytes_s"})


@dataclass(frozen=True)
class Failure:
    """A node that is lost: its power is gone, it says nothing more.

    Attributes:
        at_s: when.
        node: number of the node, from 0.
    """

    at_s: float
    node: int


@dataclass(frozen=True)
class Costs:
    """What plait itself takes, in seconds of a processor: as measured on one machine, good to a factor of two on others.

    Attributes:
        driver_task_s: for each task that the driver offers, and for each outcome that it takes.
        interchange_message_s: for each message that the interchange gets from a manager.
        interchange_task_s: for each task on its way through the interchange, there and back.
        worker_task_s: for each task in its worker.
        gather_s: for which a manager gathers outcomes when it has just sent some.
    """

    driver_task_s: float = 10e-6
    interchange_message_s: float = 15e-6
    interchange_task_s: float = 6e-6
    worker_task_s: float = 20e-6
    gather_s: float = 1e-3


@dataclass(frozen=True)
class Machine:
    """The machine.

    Attributes:
        nodes: how many there may be at once, in all blocks together.
        workers: on each node.
        cores: of each node; None for one for each worker.
        memory_bytes: of each node; 0 when it is not to be counted.
        disk_bytes: likewise.
        gpus: of each node.
        nodes_per_block: how many are obtained together; None for all.
        init_blocks: that are requested at the start; None for as many as there may be.
        min_blocks: that are kept.
        parallelism: workers that are wanted for each task.
        strategy: which scaling policy, by name or itself.
        max_idletime_s: after which idle blocks are given back.
        queue_wait: seconds for which a block waits in the batch queue.
        start: seconds from the begin of a block's job until a node's manager connects.
        walltime_s: that a block lasts; None for ever.
        drain_s: before its walltime is over, for which a node takes no new tasks.
        latency_s: of a message between a node and the interchange.
        bandwidth_bytes_s: of a node's link, and of the interchange's.
        failures_per_hour: of one node.
        failures: nodes that are lost at a given time.
        prefetch: tasks that a manager may hold beyond one for each worker.
        heartbeat_period_s: as the executor's.
        heartbeat_threshold_s: likewise.
        max_losses: attempts that a task may lose with its node.
        retries: attempts that may fail.
        costs: of plait itself.
    """

    nodes: int = 1
    workers: int = 1
    cores: float | None = None
    memory_bytes: int = 0
    disk_bytes: int = 0
    gpus: int = 0
    nodes_per_block: int | None = None
    init_blocks: int | None = None
    min_blocks: int = 0
    parallelism: float = 1.0
    strategy: str | ScalingPolicy = "simple"
    max_idletime_s: float = 120.0
    queue_wait: Draw = field(default_factory=lambda: constant(0.0))
    start: Draw = field(default_factory=lambda: constant(1.0))
    walltime_s: float | None = None
    drain_s: float = 0.0
    latency_s: float = 100e-6
    bandwidth_bytes_s: float = 1.25e9
    failures_per_hour: float = 0.0
    failures: tuple[Failure, ...] = ()
    prefetch: int = 0
    heartbeat_period_s: float = 30.0
    heartbeat_threshold_s: float = 120.0
    max_losses: int = 2
    retries: int = 0
    costs: Costs = field(default_factory=Costs)

    def __post_init__(self) -> None:
        for name, least in (
            ("nodes", 1),
            ("workers", 1),
            ("nodes_per_block", 1),
            ("gpus", 0),
            ("prefetch", 0),
            ("max_losses", 0),
            ("retries", 0),
            ("init_blocks", 0),
            ("min_blocks", 0),
        ):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise ConfigurationError(f"{name}={value!r}: expected a whole number, {least} or more")
        for name, most in _MOST.items():
            if getattr(self, name) > most:
                raise ConfigurationError(f"{name}={getattr(self, name)}: expected at most {most:,}")
        for name in (
            "latency_s",
            "failures_per_hour",
            "drain_s",
            "max_idletime_s",
            "parallelism",
            "memory_bytes",
            "disk_bytes",
        ):
            number = number_of(getattr(self, name))
            if number is None or not (0 <= number < math.inf or (number > 0 and name in _ENDLESS)):
                raise ConfigurationError(f"{name}={getattr(self, name)!r}: expected a number, 0 or more")
        for name in ("bandwidth_bytes_s", "heartbeat_period_s", "heartbeat_threshold_s", "walltime_s", "cores"):
            value = getattr(self, name)
            number = number_of(value)
            if value is not None and (
                number is None or not (0 < number < math.inf or (number > 0 and name in _ENDLESS))
            ):
                raise ConfigurationError(f"{name}={value!r}: expected a number, more than 0")
        for name in ("queue_wait", "start"):
            value = getattr(self, name)
            if not isinstance(value, Draw):
                raise ConfigurationError(f"{name}={value!r}: expected what parse_draw({value!r}, {name!r}) makes")
        known = self.strategy is None or callable(getattr(self.strategy, "decide", None))
        if not (self.strategy in STRATEGIES if isinstance(self.strategy, str) else known):
            raise ConfigurationError(
                f"strategy={self.strategy!r}: expected one of {', '.join(STRATEGIES)}, or a policy"
            )
        if self.nodes_per_block is not None and self.nodes_per_block > self.nodes:
            raise ConfigurationError(
                f"nodes_per_block={self.nodes_per_block}: expected no more than there are nodes ({self.nodes})"
            )

    @property
    def block_nodes(self) -> int:
        """Nodes of a block."""
        return self.nodes_per_block or self.nodes

    @property
    def max_blocks(self) -> int:
        """Blocks that there may be at once."""
        return self.nodes // self.block_nodes

    @property
    def node_cores(self) -> float:
        """Cores of a node."""
        return float(self.workers) if self.cores is None else self.cores

    @property
    def worker_cores(self) -> float:
        """Cores that belong to a worker."""
        return self.node_cores / self.workers

    @property
    def worker_memory_bytes(self) -> int:
        """Memory that belongs to a worker."""
        return self.memory_bytes // self.workers

    @property
    def failures_per_s(self) -> float:
        """Of one node."""
        return self.failures_per_hour / _HOUR_S
