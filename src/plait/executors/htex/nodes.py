"""What the interchange knows of a manager and its node: who it is, what it holds, what of its resources is given away.

How much a manager is given
    A plain task takes one worker and that worker's share of cores and memory. So that no worker idles for a round trip, a manager holds more
    plain tasks than it has workers: the larger of what it asked for (`prefetch`) and about `CREDIT_S` seconds of work per worker, as tasks took lately.
    Where tasks that ask for more leave workers without their share, it gets exactly as many plain tasks as still have one, none to wait.

What a task that asks is given
    A `Grant`: the GPUs by name, whole ones or a share of one; processor cores by index when it asks for more than one whole core; memory; its walltime.
    One that asks for whole nodes gets these (`gangs`), and nobody else gets anything there.
    It occupies one worker, and all of it stays taken until the manager says how the task ended, cancelled ones included:
    a process that is being killed still uses its GPU.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from plait.executors.capacity import TOLERANCE
from plait.executors.htex.messages import Ask, Grant
from plait.model.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from plait.executors.htex.gangs import Gang
    from plait.executors.htex.messages import AttemptId, GangItem, OfferedTask, Register

#: Seconds of expected work that a worker's manager holds for it beyond the task that it runs: some round trips of a busy network.
CREDIT_S: Final = 0.02
#: Tasks that a manager may hold for one worker beyond the one that it runs.
MAX_CREDIT: Final = 256


#: A share of a node that comes back: (expected, at the latest, cores, memory, disk, shares of GPUs by their numbers, whole nodes)
_End = tuple[float, float, float, int, int, tuple[tuple[int, float], ...], tuple[int, ...]]


class Granted:
    """What a task that asks has on a node.

    Attributes:
        ask: what it asked for.
        gpus: (index, share) of each accelerator.
        cores: indices of cores.
        ends_s: when it will have ended at the latest; infinite when not known.
        expected_s: when it will have ended if it is as others were.
        charged_s: core seconds that its label was charged in advance.
        sure: whether the indices are known; not after a restart of the interchange.
        hosts: indices of the manager's nodes that it has.
        gang: the managers that it has.
        weight: cores that its label is charged for.
    """

    __slots__ = ("ask", "charged_s", "cores", "ends_s", "expected_s", "gang", "gpus", "hosts", "sure", "weight")

    def __init__(self, ask: Ask, gpus: tuple[tuple[int, float], ...] = (), cores: tuple[int, ...] = ()) -> None:
        self.ask = ask
        self.gpus = gpus
        self.cores = cores
        self.ends_s = math.inf
        self.expected_s = 0.0
        self.charged_s = 0.0
        self.sure = True
        self.hosts: tuple[int, ...] = ()
        self.gang: Gang | None = None
        self.weight = ask.cores * max(1, ask.nodes)


class ManagerState:
    """One manager. Placement policies see it, and must not change it.

    Attributes:
        name, block, hostname, pid, plait, python: as it registered.
        conn: the connection that it speaks on.
        workers: tasks that it can run at once.
        cores, memory_bytes, disk_bytes, gpus: what there is to give; memory and disk are 0 when not known, and then not counted.
        ends_s: when its block ends; infinite when not known.
        held: tasks that it has, by number.
        granted: of these, what those have that asked.
        ghosts: cancelled attempts that asked, until the manager says that they ended.
        unclaimed: attempts that it says it has from before a restart, and the driver has not offered again yet.
        owes: attempts whose outcomes it had when it registered, and has not sent since.
        known: functions that it has.
        heard_s: when it last said anything.
        spoke_s: when it last delivered, gave back, or was sent tasks.
        moved_s: when it last registered, or a part of a big value came or was acknowledged.
        asked_s, audit_s: when it was last asked what it has, and after how long it is asked again.
        asks: how often it was asked that since it registered last.
        draining: why it gets nothing new; None if it does.
        drain_s: since when.
        on_hold: whether it is held back.
        stuck: it gave tasks back, so it gets no more than it has workers until it delivers.
        settles_s: until when something may run there of which nothing is known.
        kills_s: until when plain tasks that were cancelled may still be ended there.
        slots: plain tasks that have a worker and its share.
        tight: fewer than there are workers free, so that none may wait there.
        used_cores, used_memory_bytes, used_disk_bytes: what tasks that asked have.
        free_gpus: what is free of each accelerator, 0 to 1.
        node: the node's name as launchers know it.
        hosts: names of nodes that it gives to tasks; empty for one that speaks for its own node alone.
        free_hosts: indices of those that nobody has.
        kept_hosts: indices of those that are kept for the task that waits for so many.
        gang: the task over several nodes that it runs, or is kept empty for.
        lent: 1 while it is kept empty for a task that another runs.
        reserved: it is kept free for a task that waits.
        aside: it gets no plain tasks, for one of these reasons.
        claims: what tasks over whole nodes have that it says it has from before a restart.
    """

    __slots__ = (
        "_fits_at",
        "_free_cores",
        "ahead",
        "aside",
        "asked_s",
        "asks",
        "audit_s",
        "block",
        "claims",
        "conn",
        "cores",
        "cores_per_worker",
        "counted",
        "disk_bytes",
        "done",
        "drain_s",
        "draining",
        "ends_s",
        "free_gpus",
        "free_hosts",
        "gang",
        "ghosts",
        "gone",
        "gpus",
        "granted",
        "heard_s",
        "held",
        "hostname",
        "hosts",
        "idle_since_s",
        "kept_hosts",
        "kills_s",
        "known",
        "last_seq",
        "lent",
        "memory_bytes",
        "memory_per_worker",
        "moved_s",
        "name",
        "node",
        "nth",
        "on_hold",
        "owes",
        "pid",
        "plait",
        "prefetch",
        "python",
        "recalled_s",
        "reserved",
        "room",
        "settles_s",
        "slots",
        "spoke_s",
        "stuck",
        "taken_ahead",
        "taken_seq",
        "tight",
        "unclaimed",
        "unsure",
        "untaken",
        "used_cores",
        "used_disk_bytes",
        "used_memory_bytes",
        "version",
        "workers",
    )  # fmt: skip

    def __init__(
        self,
        register: Register,
        conn: Hashable,
        now_s: float,
        cores_per_worker: float = 1.0,
        memory_per_worker: int = 0,
    ) -> None:
        self.name = register.manager
        self.pid = register.pid
        self.cores_per_worker = cores_per_worker
        self.memory_per_worker = memory_per_worker
        self.held: dict[int, OfferedTask] = {}
        self.granted: dict[int, Granted] = {}
        self.ghosts: dict[AttemptId, Granted] = {}
        self.unclaimed: dict[int, int] = {}
        self.known: set[int] = set()
        self.done = 0
        self.counted = 0  # workers of it among those of `State.workers`
        self.draining: str | None = None
        self.drain_s = -math.inf
        self.on_hold = False
        self.stuck = False
        self.reserved = False
        self.gang: Gang | None = None
        self.lent = 0
        self.aside = False
        self.hosts: list[str] = list(register.hosts)
        self.free_hosts: set[int] = set(range(len(self.hosts)))
        self.kept_hosts: frozenset[int] = frozenset()
        self.claims: dict[AttemptId, GangItem] = {}
        self.gone = False
        self.room = False  # whether it stands in the line of those that have room for plain tasks
        self.version = 0  # of its rank
        self.recalled_s = -math.inf
        self.asked_s = -math.inf
        self.asks = 0
        self.settles_s = self.kills_s = -math.inf
        self.audit_s = math.inf
        self.idle_since_s = self.spoke_s = now_s
        # numbers of its messages with outcomes, see `accounts`
        self.last_seq = 0
        self.ahead: set[int] = set()
        self.owes: set[AttemptId] = set()
        self.taken_seq = 0
        self.taken_ahead: set[int] = set()
        self.untaken = 0
        self.unsure = 0  # tasks of which it is not known which GPUs and cores they have
        self.used_cores = 0.0
        self.used_memory_bytes = 0
        self.used_disk_bytes = 0
        self.free_gpus: list[float] = [1.0] * len(register.gpus)
        self._free_cores: list[int] | None = None
        self._fits_at: tuple[int, Ask, float, float] | None = None  # what `when_fits` found, for which version and what
        self.describe(register, conn, now_s)

    def describe(self, register: Register, conn: Hashable, now_s: float) -> None:
        """Takes over what it says of itself, again when it comes back."""
        self.conn = conn
        self.block = register.block
        self.hostname = register.hostname
        self.plait = register.plait
        self.python = register.python
        self.nth = register.nth
        self.node = register.node or register.hostname
        self.workers = register.workers
        self.prefetch = register.prefetch
        # What plain tasks may use is there in any case: workers may outnumber the cores that were found.
        self.cores = max(register.cores, self.workers * self.cores_per_worker)
        self.memory_bytes = register.memory_bytes and max(register.memory_bytes, self.workers * self.memory_per_worker)
        self.disk_bytes = register.disk_bytes
        self.gpus = list(register.gpus)
        self.ends_s = math.inf if register.walltime_left_s is None else now_s + register.walltime_left_s
        self.heard_s = self.moved_s = now_s
        if len(self.free_gpus) != len(self.gpus):
            self.free_gpus = [1.0] * len(self.gpus)
            for granted in (*self.granted.values(), *self.ghosts.values()):
                granted.gpus = tuple((index, share) for index, share in granted.gpus if index < len(self.gpus))
                for index, share in granted.gpus:
                    self.free_gpus[index] = max(0.0, self.free_gpus[index] - share)
        self._count()

    # ------------------------------------------------------------------ how busy it is
    @property
    def is_open(self) -> bool:
        """Whether it may get anything new."""
        return self.draining is None and not self.on_hold and not self.gone

    @property
    def load(self) -> int:
        """Tasks that it has, running or waiting."""
        return len(self.held) + len(self.ghosts) + len(self.unclaimed) + self.lent

    @property
    def plain(self) -> int:
        """Plain tasks that it has."""
        return len(self.held) - len(self.granted)

    @property
    def free_workers(self) -> int:
        """Workers without a task."""
        free = self.workers - self.load
        return max(0, free)

    @property
    def free_slots(self) -> int:
        """Plain tasks that would begin at once."""
        free = self.slots - self.plain
        return max(0, free)

    def expects(self, task: int, attempt: int) -> bool:
        """Whether it has this attempt, as far as is known."""
        mine = self.held.get(task)
        return (mine is not None and mine[1] == attempt) or self.unclaimed.get(task) == attempt

    def credit(self, each: int) -> int:
        """Plain tasks that it may hold, when each worker may have so many behind the one that it runs."""
        if self.aside:
            return 0
        if self.tight or self.stuck:
            return self.slots
        more = each * self.slots
        return self.slots + max(more, self.prefetch)

    # ------------------------------------------------------------------ whole nodes
    def reserve(self, on: bool) -> None:
        """It is kept free for a task that waits, or is not any more."""
        self.reserved = on
        self.aside = on or self.gang is not None

    def join(self, gang: Gang | None) -> None:
        """It belongs to a task over several nodes, or does not any more."""
        self.gang = gang
        self.lent = int(gang is not None and gang.head is not self)
        self.aside = self.reserved or gang is not None
        self._count()

    def is_empty(self, now_s: float) -> bool:
        """Whether nothing runs there, and nothing is known of that might."""
        return (
            not self.held
            and not self.ghosts
            and not self.unclaimed
            and self.gang is None
            and now_s >= max(self.settles_s, self.kills_s)
        )

    def when_empty(self, now_s: float, mean_s: float) -> tuple[float, float]:
        """When all that it has will have ended: as it is to be expected, and at the latest. Infinite when that is not known."""
        expected_s = latest_s = max(now_s, self.settles_s, self.kills_s)
        if self.unclaimed:
            return math.inf, math.inf
        if self.lent and self.gang is not None:
            return self.gang.head.when_empty(now_s, mean_s)
        if self.plain:
            expected_s, latest_s = max(expected_s, now_s + mean_s * self.plain / max(1, self.slots)), math.inf
        for granted in (*self.granted.values(), *self.ghosts.values()):
            expected_s, latest_s = max(expected_s, granted.expected_s), max(latest_s, granted.ends_s)
        return expected_s, latest_s

    @property
    def unkept_hosts(self) -> int:
        """How many of its nodes are free and not kept for anybody."""
        return len(self.free_hosts - self.kept_hosts)

    # ------------------------------------------------------------------ tasks that ask
    def could_ever(self, ask: Ask, now_s: float) -> bool:
        """Whether it would fit if nothing else ran here."""
        return not self.shortfall(ask, now_s)

    def shortfall(self, ask: Ask, now_s: float) -> list[str]:
        """What this node does not have of it, in words; empty when it could be taken."""
        found = []
        if self.hosts and ask.nodes > len(self.hosts):
            found.append(f"{ask.nodes} nodes asked, its block has {len(self.hosts)}")
        if ask.cores > self.cores + TOLERANCE:
            found.append(f"{ask.cores:g} cores asked, it has {self.cores:g}")
        if self.memory_bytes and ask.memory_bytes > self.memory_bytes:
            found.append(f"{format_bytes(ask.memory_bytes)} of memory asked, it has {format_bytes(self.memory_bytes)}")
        if ask.gpus > len(self.gpus) + TOLERANCE:
            found.append(f"{ask.gpus:g} GPUs asked, it has {len(self.gpus)}")
        if self.disk_bytes and ask.disk_bytes > self.disk_bytes:
            found.append(f"{format_bytes(ask.disk_bytes)} of disk asked, it has {format_bytes(self.disk_bytes)}")
        if ask.walltime_s is not None and now_s + ask.walltime_s > self.ends_s:
            left_s = max(0.0, self.ends_s - now_s)
            found.append(f"{format_duration(ask.walltime_s)} asked, its block ends in {format_duration(left_s)}")
        return found

    def fits(self, ask: Ask, now_s: float) -> bool:
        """Whether it can be given now."""
        held = len(self.held)
        plain = held - len(self.granted)
        return (
            held + len(self.ghosts) < self.workers
            and self.gang is None
            and (not ask.nodes or 0 < ask.nodes <= len(self.free_hosts))
            and not self.unclaimed
            and now_s >= self.settles_s
            and self.used_cores + plain * self.cores_per_worker + ask.cores <= self.cores + TOLERANCE
            and (
                not self.memory_bytes
                or self.used_memory_bytes
                + plain * self.memory_per_worker
                + (ask.memory_bytes or self.memory_per_worker)
                <= self.memory_bytes
            )
            and (not ask.disk_bytes or not self.disk_bytes or self.used_disk_bytes + ask.disk_bytes <= self.disk_bytes)
            and (not ask.gpus or self._pick_gpus(ask.gpus) is not None)
            and (ask.walltime_s is None or now_s + ask.walltime_s <= self.ends_s)
        )

    def take(self, ask: Ask, now_s: float, mean_s: float) -> tuple[Granted, Grant]:
        """Gives what `fits` said there is."""
        gpus = (self._pick_gpus(ask.gpus) or ()) if ask.gpus else ()
        granted = Granted(ask, gpus, () if ask.nodes else self._take_cores(ask.cores))
        if ask.nodes and self.hosts:
            granted.hosts = tuple(
                sorted(self.free_hosts, key=lambda index: (index in self.kept_hosts, index))[: ask.nodes]
            )
            self.free_hosts.difference_update(granted.hosts)
        for index, share in gpus:
            self.free_gpus[index] = max(0.0, self.free_gpus[index] - share)
        self._use(granted, now_s, mean_s)
        grant = Grant(
            granted.cores, tuple(self.gpus[index] for index, _ in gpus), ask.memory_bytes, ask.walltime_s,
            tuple(sorted_hosts(self.hosts, granted.hosts)), (), ask.ranks, ask.ranks_per_node, ask.launcher_options,
        )  # fmt: skip
        return granted, grant

    def when_fits(self, ask: Ask, now_s: float, mean_s: float) -> tuple[float, float]:
        """When it could be given, if nothing new came: as it is to be expected, and at the latest. Infinite when that is not known.

        What was found is good until the manager changes: the order in which its tasks end does not depend on when one asks.
        """
        known = self._fits_at
        if known is None or known[0] != self.version or known[1] is not ask:
            known = self._fits_at = (self.version, ask, *self._when_fits(ask, now_s, mean_s))
        expected_s, latest_s = max(known[2], now_s), max(known[3], now_s)
        if ask.walltime_s is not None and expected_s + ask.walltime_s > self.ends_s:
            return math.inf, math.inf
        return expected_s, latest_s

    def _when_fits(self, ask: Ask, now_s: float, mean_s: float) -> tuple[float, float]:
        left = min(self.plain, self.slots)
        plain_s = now_s + (mean_s * self.plain / left if left else 0.0)
        ends: list[_End] = [(plain_s, math.inf, self.cores_per_worker, self.memory_per_worker, 0, (), ())] * left
        ends += [
            (
                max(each.expected_s, now_s),
                each.ends_s,
                each.ask.cores,
                each.ask.memory_bytes or self.memory_per_worker,
                each.ask.disk_bytes,
                each.gpus,
                each.hosts,
            )
            for each in (*self.granted.values(), *self.ghosts.values())
        ]
        ends.sort(key=lambda end: end[0])
        workers = max(0, self.workers - left - len(self.granted) - len(self.ghosts) - len(self.unclaimed))
        cores = self.cores - self.used_cores - left * self.cores_per_worker
        memory = self.memory_bytes - self.used_memory_bytes - left * self.memory_per_worker
        disk = self.disk_bytes - self.used_disk_bytes
        gpus = list(self.free_gpus)
        hosts = len(self.free_hosts)
        expected_s, latest_s = now_s, now_s
        while True:
            if (
                workers
                and ask.cores <= cores + TOLERANCE
                and (not self.memory_bytes or (ask.memory_bytes or self.memory_per_worker) <= memory)
                and (not self.disk_bytes or ask.disk_bytes <= disk)
                and (not ask.gpus or pick_gpus(gpus, ask.gpus) is not None)
                and hosts >= ask.nodes
            ):
                return expected_s, latest_s
            if not ends:
                return math.inf, math.inf
            end_s, sure_s, its_cores, its_memory, its_disk, its_gpus, its_hosts = ends.pop(0)
            expected_s, latest_s = max(expected_s, end_s), max(latest_s, sure_s)
            workers += 1
            cores += its_cores
            memory += its_memory
            disk += its_disk
            hosts += len(its_hosts)
            for index, share in its_gpus:
                gpus[index] = min(1.0, gpus[index] + share)

    def take_unsure(self, ask: Ask, now_s: float, mean_s: float) -> Granted:
        """Counts a task that an earlier life of the interchange placed here: how much it has is known, which GPUs and cores is not."""
        granted = Granted(ask)
        granted.sure = bool(ask.nodes)  # it has whole nodes, and their names are known
        self.unsure += not granted.sure
        self._use(granted, now_s, mean_s)
        return granted

    def give_back(self, granted: Granted) -> None:
        """The task ended."""
        ask = granted.ask
        self.unsure -= not granted.sure
        self.used_cores -= ask.cores
        self.used_memory_bytes -= ask.memory_bytes or self.memory_per_worker
        self.used_disk_bytes -= ask.disk_bytes
        for index, share in granted.gpus:
            self.free_gpus[index] = min(1.0, self.free_gpus[index] + share)
        self.free_hosts.update(granted.hosts)
        if granted.cores and self._free_cores is not None:
            self._free_cores = sorted([*self._free_cores, *granted.cores])
        self._count()

    def _use(self, granted: Granted, now_s: float, mean_s: float) -> None:
        ask = granted.ask
        self.used_cores += ask.cores
        self.used_memory_bytes += ask.memory_bytes or self.memory_per_worker
        self.used_disk_bytes += ask.disk_bytes
        granted.ends_s = math.inf if ask.walltime_s is None else now_s + ask.walltime_s
        granted.expected_s = min(granted.ends_s, now_s + mean_s)

    def recount(self) -> None:
        """The tasks that ask are others now: so is what is left for plain ones."""
        self._count()

    def _count(self) -> None:
        """How many plain tasks have a worker and its share beside the tasks that asked."""
        others = len(self.granted) + len(self.ghosts) + len(self.unclaimed)
        slots = self.workers - others
        self.tight = False
        self._fits_at = None
        if self.gang is not None:
            self.slots = 0
            return
        if self.granted or self.ghosts:
            share = self.cores_per_worker
            if share > 0:
                slots = min(slots, int((self.cores - self.used_cores + TOLERANCE) / share))
            if self.memory_bytes and self.memory_per_worker:
                slots = min(slots, (self.memory_bytes - self.used_memory_bytes) // self.memory_per_worker)
            self.tight = slots < self.workers - others
        self.slots = max(0, slots)

    # ------------------------------------------------------------------ which GPUs, which cores
    def _pick_gpus(self, count: float) -> tuple[tuple[int, float], ...] | None:
        return None if self.unsure else pick_gpus(self.free_gpus, count)

    def _take_cores(self, count: float) -> tuple[int, ...]:
        """Indices for a task of several whole cores, the lowest free ones; none otherwise, and none when it is not known which are free."""
        number = int(count)
        if number < 2 or number != count or self.unsure:
            return ()
        if self._free_cores is None:
            self._free_cores = list(range(int(self.cores)))
        if len(self._free_cores) < number:
            return ()
        taken, self._free_cores = self._free_cores[:number], self._free_cores[number:]
        return tuple(taken)

    # ------------------------------------------------------------------ for users
    def facts(self, now_s: float) -> dict[str, Any]:
        """For users: the fields of upstream's MANAGERS command, and more."""
        return {
            "manager": self.name,
            "block_id": self.block,
            "worker_count": self.workers,
            "tasks": self.load,
            "idle_duration": 0.0 if self.load else max(0.0, now_s - self.idle_since_s),
            "active": not self.on_hold,
            "parsl_version": self.plait,
            "python_version": self.python,
            "draining": self.draining is not None,
            "hostname": self.hostname,
            "cores": self.cores,
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
            "gpus": list(self.gpus),
            "used_cores": self.used_cores + min(self.plain, self.slots) * self.cores_per_worker,
            "used_gpus": sum(1.0 - left for left in self.free_gpus),
            "nodes": list(self.hosts),
            "free_nodes": len(self.free_hosts),
            "kept_for_task": None if self.gang is None else self.gang.attempt[0],
            "waiting": max(0, self.plain - self.slots),
            "done": self.done,
            "walltime_left_s": None if self.ends_s == math.inf else max(0.0, self.ends_s - now_s),
            "pid": self.pid,
        }


def pick_gpus(free: list[float], count: float) -> tuple[tuple[int, float], ...] | None:
    """Whole ones that nobody uses, and for a fraction the fullest that still has it. None when there are not enough."""
    whole = int(count + TOLERANCE)
    part = count - whole
    picked = [(index, 1.0) for index, left in enumerate(free) if left >= 1.0 - TOLERANCE][:whole]
    if len(picked) < whole:
        return None
    if part > TOLERANCE:
        taken = {index for index, _ in picked}
        fitting = [(left, index) for index, left in enumerate(free) if index not in taken and left >= part - TOLERANCE]
        if not fitting:
            return None
        picked.append((min(fitting)[1], part))
    return tuple(picked)


def sorted_hosts(names: list[str], indices: Iterable[int]) -> list[str]:
    """Some of these names, in their order."""
    return [names[index] for index in sorted(indices)]
