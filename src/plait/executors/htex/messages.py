"""Everything that driver, interchange and managers say to each other, one class a kind.

Each message is an array in msgpack with exactly these fields; `wire` puts it behind a prefix that names its kind.
Attempts are named by pairs of numbers, (task, attempt). Payloads of tasks and results are opaque bytes to the interchange and the managers.
Who may say what is in `FROM_MANAGER`, `TO_MANAGER`, `FROM_DRIVER` and `TO_DRIVER`: any other kind on that link is refused.

Times are seconds of the monotonic clock of the interchange's host: managers convert (`Heartbeat`).
"""

from __future__ import annotations

from typing import Final

import msgspec

#: Both ends of a link must have the same.
PROTOCOL: Final = 3

#: (task, attempt)
AttemptId = tuple[int, int]

# How an attempt ended. The first two are those of a worker (`pool.wire.DONE`, `RAISED`).
DONE: Final = 0  #: payload: the pickled result
RAISED: Final = 1  #: payload: the dumped error
WORKER_LOST: Final = 3  #: payload: msgpack (worker, hostname, how)
TIMED_OUT: Final = 4  #: payload: msgpack text, the sentence of `AppTimeout`
REFUSED_BY_POOL: Final = (
    5  #: payload: msgpack text; the manager cannot run anything, and leaves: another may run it, at no cost
)
RESULT_TOO_LARGE: Final = 6  #: payload: msgpack (bytes that it has, bytes that it may have)


class Ask(msgspec.Struct, array_like=True, frozen=True):
    """What a task asks for, when that is more than a worker.

    Attributes:
        cores: processor cores.
        memory_bytes: main memory; 0 for the executor's share of a worker.
        gpus: accelerators; fractions share one.
        disk_bytes: space in the node's scratch directory.
        walltime_s: limit of the attempt; also what must be left of the node's own walltime.
        priority: lower numbers run first; None after all that have one.
        label: tasks of different labels share the workers fairly.
        near: blocks, managers or host names that have the task's data: a hint.
        nodes: whole nodes of one block; 0 for a task that shares a node. What is asked of cores and the like is then asked of each node.
        ranks, ranks_per_node, launcher_options: for the task's own launcher of processes; the interchange passes them on.
    """

    cores: float = 1.0
    memory_bytes: int = 0
    gpus: float = 0.0
    disk_bytes: int = 0
    walltime_s: float | None = None
    priority: float | None = None
    label: str = ""
    near: tuple[str, ...] = ()
    nodes: int = 0
    ranks: int = 0
    ranks_per_node: int = 0
    launcher_options: str = ""


class Grant(msgspec.Struct, array_like=True, frozen=True):
    """What a task gets on its node.

    Attributes:
        cores: indices into the manager's list of cores; empty to bind none.
        gpus: names of accelerators.
        memory_bytes: likewise memory; 0 for no statement.
        walltime_s: limit of the attempt.
        hosts: names of the nodes that it has as a whole, as launchers know them.
        members: names of the other managers that are kept empty for it.
        ranks, ranks_per_node, launcher_options: as it asked.
    """

    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    memory_bytes: int = 0
    walltime_s: float | None = None
    hosts: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    ranks: int = 0
    ranks_per_node: int = 0
    launcher_options: str = ""


#: (task, attempt, function, payload, sizes of segments that the driver keeps until they are pulled, what it asks for)
OfferedTask = tuple[int, int, int, bytes, list[int] | None, Ask | None]
#: (task, attempt, function, payload, sizes of segments that follow as chunks, what it gets; None for just a worker)
SentTask = tuple[int, int, int, bytes, list[int] | None, Grant | None]
#: (task, attempt, names of other managers that are kept empty for it, indices into the manager's own list of hosts)
GangItem = tuple[int, int, list[str], list[int]]
#: (task, attempt, how it ended, payload, seconds when it began, when it ended, number of the worker)
OutcomeItem = tuple[int, int, int, bytes, float, float, int]


class Message(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Something that one process tells another."""


# ------------------------------------------------------------------ both ways, on the link of a manager
class Heartbeat(Message, frozen=True):
    """I am here. A manager sends its own time; the interchange answers with that and its own, from which the manager learns the difference."""

    sent_s: float
    now_s: float = 0.0


class Chunk(Message, frozen=True):
    """A part of the segments of a task or a result, as payload. Sent in order, no more than a window of them unacknowledged."""

    task: int
    attempt: int
    offset: int


class ChunkTaken(Message, frozen=True):
    """All bytes before this one have arrived and been put away; 0 when a result may begin to come; -1 when the rest is not wanted."""

    task: int
    attempt: int
    upto: int


# ------------------------------------------------------------------ manager to interchange
class Register(Message, frozen=True):
    """A manager comes, or comes back over a new connection.

    Attributes:
        manager: a random name, new for each life: one that was declared lost comes back under another.
        block: the block that it belongs to; must be that of its key.
        hostname: where it runs.
        pid: its process.
        boot: id of the running system, which tells whether its clock is the interchange's.
        protocol: `PROTOCOL`.
        plait, python: versions.
        workers: tasks that it can run at once.
        cores: processor cores that tasks may be given.
        memory_bytes: memory likewise; 0 when not known.
        disk_bytes: free space in its scratch directory; 0 when not known.
        gpus: names of accelerators.
        walltime_left_s: seconds until the block ends; None when not known.
        prefetch: plain tasks that it takes beyond one for each worker.
        draining: it will take no more.
        holds: attempts that it has, running or waiting.
        finished: attempts whose outcomes it has not been told were taken; they follow again.
        nth: how often it has registered in this life, so that an earlier one that arrives late is known for what it is; 0 when not counted.
        node: the node's name as launchers of processes know it; empty for the same as `hostname`.
        hosts: nodes of the block that it gives to tasks, where it is the only manager of the block; empty for its own node.
        gangs: of what it has, the attempts over whole nodes, with what they have.
        packages: what the driver has imported and the node has in another version, in words.
    """

    manager: str
    block: str
    hostname: str
    pid: int
    boot: str
    protocol: int
    plait: str
    python: str
    workers: int
    cores: float
    memory_bytes: int
    disk_bytes: int
    gpus: list[str]
    walltime_left_s: float | None
    prefetch: int
    draining: bool
    holds: list[AttemptId]
    finished: list[AttemptId]
    nth: int = 0
    node: str = ""
    hosts: list[str] = []
    gangs: list[GangItem] = []
    packages: list[str] = []


class Outcomes(Message, frozen=True):
    """How attempts ended. A manager numbers these messages from 1 and keeps each until it is acknowledged."""

    seq: int
    items: list[OutcomeItem]


class BigOutcome(Message, frozen=True):
    """One outcome whose payload is segments, which follow as chunks. Numbered as `Outcomes`."""

    seq: int
    item: OutcomeItem
    sizes: list[int]


class Returned(Message, frozen=True):
    """These attempts were not begun and will not be: somebody else may have them."""

    items: list[AttemptId]


class Draining(Message, frozen=True):
    """The manager wants no more tasks: it is to end soon."""

    reason: str


class Leaving(Message, frozen=True):
    """The manager ends; nothing of what it held goes on."""

    reason: str


# ------------------------------------------------------------------ interchange to manager
class Welcome(Message, frozen=True):
    """The answer to `Register`.

    Attributes:
        epoch: this life of the interchange.
        heartbeat_period_s, heartbeat_threshold_s: when to speak, and when to give up.
        now_s: the interchange's time.
    """

    epoch: str
    heartbeat_period_s: float
    heartbeat_threshold_s: float
    now_s: float


class Refused(Message, frozen=True):
    """The manager cannot work here and must end."""

    reason: str


class WhoAreYou(Message, frozen=True):
    """The interchange does not know this connection: register (again)."""


class DeclaredLost(Message, frozen=True):
    """A manager was silent for too long. What it holds is given up: end it, and register under a new name.

    Attributes:
        manager: the name that was given up: one that has another by now has obeyed already. Empty for whoever hears it.
    """

    reason: str
    manager: str = ""


class Function(Message, frozen=True):
    """A function, as payload; tasks name it by its number."""

    number: int


class Tasks(Message, frozen=True):
    """Attempts to run."""

    items: list[SentTask]


class Cancel(Message, frozen=True):
    """End these attempts, running or not; their outcomes do not matter. On the driver's link likewise."""

    items: list[AttemptId]


class Recall(Message, frozen=True):
    """Give back up to so many attempts that were not begun, the last first (`Returned`)."""

    count: int


class Taken(Message, frozen=True):
    """Outcomes up to this number have reached the driver. On the driver's link: the interchange's own numbers."""

    seq: int


class SayAgain(Message, frozen=True):
    """For a while outcomes could not be taken: send all `Outcomes` again that were not acknowledged. Big ones are not meant."""


class Sweep(Message, frozen=True):
    """These attempts over whole nodes have ended: what is left of them on this node is to be ended."""

    items: list[AttemptId]


class Drain(Message, frozen=True):
    """Finish what runs, give the rest back, take nothing new."""

    reason: str


class Stop(Message, frozen=True):
    """End now, with everything that was started."""

    reason: str


# ------------------------------------------------------------------ driver to interchange
class Offer(Message, frozen=True):
    """Attempts to place."""

    items: list[OfferedTask]


class OfferAgain(Message, frozen=True):
    """After a restart of the interchange: attempts that an earlier life had placed on this manager.

    They wait for its return for the heartbeat threshold; then they are `Lost`.
    """

    manager: str
    items: list[OfferedTask]


class Data(Message, frozen=True):
    """The segments of a task that was pulled; the file comes along."""

    task: int
    attempt: int


class Allow(Message, frozen=True):
    """Managers with this public key (Z85) may connect, as members of this block. An empty key takes the permission away."""

    block: str
    public_key: str


class Hold(Message, frozen=True):
    """A block or a manager gets no tasks, or gets some again."""

    name: str
    on: bool


class DrainBlock(Message, frozen=True):
    """Every manager of the block is to drain.

    Attributes:
        over: the block's job has ended, so one that says nothing now is not waited for until the threshold.
    """

    block: str
    reason: str
    over: bool = False


class Query(Message, frozen=True):
    """A question for `Answer`: ``managers`` or ``queue``."""

    number: int
    what: str


class Places(Message, frozen=True):
    """From now on `Placed` is written down in this memory, which both share, instead of being sent (`places.Ring`); the file comes along."""


# ------------------------------------------------------------------ interchange to driver
class Listening(Message, frozen=True):
    """The interchange is up and managers may dial these addresses."""

    epoch: str
    addresses: list[str]
    port: int


class Broken(Message, frozen=True):
    """The interchange cannot work; it ends."""

    reason: str


class Placed(Message, frozen=True):
    """These attempts are about to be sent to a manager; with an empty name: they have no place any more, and wait again."""

    manager: str
    items: list[AttemptId]


class Delivered(Message, frozen=True):
    """Outcomes, as they came from a manager; to be acknowledged by `Taken`."""

    seq: int
    manager: str
    items: list[OutcomeItem]


class BigDelivered(Message, frozen=True):
    """One outcome with segments; the file comes along. To be acknowledged by `Taken`."""

    seq: int
    manager: str
    item: OutcomeItem
    sizes: list[int]


class Pull(Message, frozen=True):
    """The segments of these attempts are wanted now."""

    items: list[AttemptId]


class Lost(Message, frozen=True):
    """Attempts were lost with a manager.

    Attributes:
        announced: the end was announced (drain, walltime, scale-in): it counts for no budget.
    """

    manager: str
    hostname: str
    block: str
    reason: str
    announced: bool
    items: list[AttemptId]


class ManagerUp(Message, frozen=True):
    """A manager registered, or is back."""

    manager: str
    block: str
    hostname: str
    pid: int
    workers: int
    cores: float
    memory_bytes: int
    disk_bytes: int
    gpus: list[str]
    plait: str
    python: str
    again: bool
    nodes: int = 1


class ManagerGone(Message, frozen=True):
    """A manager is no more: ``lost``, ``drained``, ``left`` or ``refused``."""

    manager: str
    block: str
    hostname: str
    how: str
    reason: str


class Warn(Message, frozen=True):
    """Something that the user should know, once."""

    text: str


class Answer(Message, frozen=True):
    """To `Query`: JSON as payload."""

    number: int


KINDS: Final[dict[int, type[Message]]] = {
    1: Heartbeat, 2: Chunk, 3: ChunkTaken,
    16: Register, 17: Outcomes, 18: BigOutcome, 19: Returned, 20: Draining, 21: Leaving,
    32: Welcome, 33: Refused, 34: WhoAreYou, 35: DeclaredLost, 36: Function, 37: Tasks, 38: Cancel, 39: Recall, 40: Taken, 41: Drain, 42: Stop, 43: SayAgain, 44: Sweep,
    48: Offer, 49: OfferAgain, 50: Data, 51: Allow, 52: Hold, 53: DrainBlock, 54: Query, 55: Places,
    64: Listening, 65: Broken, 66: Placed, 67: Delivered, 68: BigDelivered, 69: Pull, 70: Lost, 72: ManagerUp,
    73: ManagerGone, 74: Warn, 75: Answer,
}  # fmt: skip

FROM_MANAGER: Final[frozenset[type[Message]]] = frozenset(
    {Heartbeat, Chunk, ChunkTaken, Register, Outcomes, BigOutcome, Returned, Draining, Leaving}
)
TO_MANAGER: Final[frozenset[type[Message]]] = frozenset(
    {Heartbeat, Chunk, ChunkTaken, Welcome, Refused, WhoAreYou, DeclaredLost, Function, Tasks, Cancel, Recall, Taken, SayAgain, Sweep, Drain, Stop}
)  # fmt: skip
FROM_DRIVER: Final[frozenset[type[Message]]] = frozenset(
    {Function, Offer, OfferAgain, Data, Cancel, Taken, Allow, Hold, DrainBlock, Query, Places, Stop}
)
TO_DRIVER: Final[frozenset[type[Message]]] = frozenset(
    {Listening, Broken, Placed, Delivered, BigDelivered, Pull, Lost, ManagerUp, ManagerGone, Warn, Answer}
)
