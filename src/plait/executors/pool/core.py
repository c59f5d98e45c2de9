"""The pool's decisions: which worker gets which task, and what follows when a worker speaks, hangs or ends.

Pure: no socket, process, thread or clock. The link (`link.py`) calls it with what happened and does what it says.

How much a worker is given
    A worker holds the task that it runs and some that wait behind it, so that it never idles for a round trip.
    How many follows from how long tasks took lately: about `limits.CREDIT_S` of work.
    A guess that was wrong costs little: when a worker has nothing to do, tasks that wait behind others are taken back (`stuck`).

Which task is next
    Plain tasks (one core, no limits) wait in one queue and travel in batches.
    All others (`special`: cores, memory, GPUs, a priority, a walltime) run alone on a worker.
    The order is priority, then submission. A task that does not fit yet is not overtaken, so it cannot starve.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from plait.executors.capacity import TOLERANCE
from plait.limits import BATCH_TASKS, CREDIT_S, MAX_CREDIT, RETRACT_S
from plait.model.resources import DEFAULT, Resources
from plait.model.task import LAUNCHED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plait.executors.capacity import Capacity

STARTING: Final = 0
READY: Final = 1
ENDING: Final = 2  # told to end, or about to end by itself
GONE: Final = 3


class RunnableApp(Protocol):
    """What the tasks of one app have in common, as far as a pool needs to know."""

    @property
    def blob(self) -> Any:
        """The function: ``digest``, any hashable that names it, and ``data`` for `serialize.load_function`."""

    @property
    def kind(self) -> str:
        """``python``, or ``bash`` for one whose walltime its runner keeps."""

    @property
    def resources(self) -> Resources | None:
        """What its tasks ask for."""

    @property
    def walltime_s(self) -> float | None:
        """The limit of each attempt."""


class RunnableDetails(Protocol):
    """What only some tasks say; it goes before what their app says."""

    @property
    def resources(self) -> Resources | None:
        """What the task asks for."""

    @property
    def walltime_s(self) -> float | None:
        """The limit of its attempts."""


class Runnable(Protocol):
    """A task as a pool sees it: the kernel's `model.task.Task`, or a manager's smaller one.

    Attributes:
        id: tells the order of submission.
        state: `model.task.LAUNCHED` while it is to be run; whoever cancels it changes that.
        attempt: number of the attempt that is wanted.
    """

    id: int
    state: int
    attempt: int

    @property
    def app(self) -> RunnableApp:
        """Its app."""

    @property
    def details(self) -> RunnableDetails | None:
        """What is special about it; None for most."""

    @property
    def payload(self) -> Any:
        """Bytes, or something with ``sizes``, ``file()`` and ``whole()`` as `wire.Segments`; None once it is cancelled."""


#: A task and the number of the attempt that was sent.
Held = tuple[Runnable, int]
#: What is sent: (sequence number, task).
Sent = tuple[int, Runnable]


class WorkerState:
    """What the pool knows of one worker.

    Attributes:
        number: its name.
        state: STARTING, READY, ENDING or GONE.
        held: attempts that were sent and have not come back, by sequence number, oldest first.
        known: numbers of the functions that it has.
        cost: resources that it uses while it is busy.
        busy: whether they are counted as used: from the first task that is sent to it until it says that nothing is left.
        alone: whether it runs a special task, behind which nothing may wait.
        end_reason: why it is being ended, if it is.
        ended_for: sequence number of the task on whose account it is being ended.
    """

    __slots__ = (
        "alone", "busy", "cost", "end_reason", "ended_for", "heard_s", "held", "known", "number", "pid", "retract_s", "sequence", "state", "stuck", "tasks_done",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.state = STARTING
        self.pid = 0
        self.held: dict[int, Held] = {}
        self.known: set[int] = set()
        self.sequence = 1
        self.cost: Resources = DEFAULT
        self.alone = False
        self.busy = False
        self.end_reason = ""
        self.ended_for = 0
        self.heard_s = 0.0
        self.retract_s: float | None = None  # when taking back began
        self.stuck = False  # its waiting tasks were taken back; it gets no more until it speaks
        self.tasks_done = 0


class PoolCore:
    """The state of a pool.

    Args:
        capacity: what there is to give.
        prefetch: tasks that may wait behind a running one; None to follow the tasks' durations.

    Attributes:
        paused: whether nothing is given to workers.
    """

    def __init__(self, capacity: Capacity, prefetch: int | None = None) -> None:
        self.capacity = capacity
        self.prefetch = prefetch
        self.queue: deque[Runnable] = deque()
        self.special: list[tuple[float, int, int, Runnable]] = []  # heap of (priority, submission, tie, task)
        self.workers: dict[int, WorkerState] = {}
        self.idle: deque[WorkerState] = deque()
        self.mean_s = 0.0  # of a task, lately; 0 when none has run
        self.paused = False
        self._ties = 0

    # ------------------------------------------------------------------ tasks in
    def add_special(self, task: Runnable) -> None:
        """A task that is not plain waits for a worker of its own."""
        resources = resources_of(task)
        priority = float("inf") if resources.priority is None else resources.priority
        self._ties += 1
        heapq.heappush(self.special, (priority, task.id, self._ties, task))

    def put_back(self, tasks: Iterable[Runnable]) -> None:
        """Tasks that were sent, but not begun, wait again, before all others."""
        for task in reversed(list(tasks)):
            if task.state != LAUNCHED:
                continue
            if is_plain(task):
                self.queue.appendleft(task)
            else:
                self.add_special(task)

    @property
    def queued(self) -> int:
        """Tasks that wait for a worker, some of which may have been cancelled."""
        return len(self.queue) + len(self.special)

    @property
    def running(self) -> int:
        """Attempts that workers hold."""
        return sum([len(worker.held) for worker in list(self.workers.values())])  # asked from any thread

    # ------------------------------------------------------------------ tasks out
    def fill(self, now_s: float) -> list[tuple[WorkerState, list[Sent]]]:
        """What to send now."""
        out: list[tuple[WorkerState, list[Sent]]] = []
        while (self.special or self.queue) and not self.paused:
            if self.special:
                blocked = self._fill_special(now_s, out)
                if blocked is None:
                    break
                if blocked:
                    continue
            if not self.queue or not self._fill_plain(now_s, out):
                break
        return out

    def _fill_special(self, now_s: float, out: list[tuple[WorkerState, list[Sent]]]) -> bool | None:
        """Sends the first special task. None: it is its turn, but there is no room. False: a plain task is before it."""
        special = self.special
        while special and special[0][3].state != LAUNCHED:  # cancelled meanwhile
            heapq.heappop(special)
        if not special:
            return False
        priority, number, _, task = special[0]
        if priority == float("inf") and self.queue and self.queue[0].id < number:
            return False
        resources = resources_of(task)
        if not self.capacity.fits(resources):
            return None
        worker = self._next_idle()
        if worker is None:
            return None
        heapq.heappop(special)
        worker.alone = worker.busy = True
        worker.cost = resources
        self.capacity.take(resources)
        out.append((worker, [self._hold(worker, task)]))
        worker.heard_s = now_s
        return True

    def _fill_plain(self, now_s: float, out: list[tuple[WorkerState, list[Sent]]]) -> bool:
        """Sends a batch of plain tasks to the worker that has least to do. False when there is no room."""
        capacity = self.capacity
        credit = self._credit()
        worker = self._next_idle() if capacity.used_cores + 1 <= capacity.cores + TOLERANCE else None
        if worker is not None:
            worker.cost = DEFAULT
            worker.alone = False
            worker.busy = True
            worker.heard_s = now_s
            capacity.used_cores += 1
        else:
            worker = self._least_loaded(credit)
            if worker is None:
                return False
        queue = self.queue
        room = min(BATCH_TASKS, credit - len(worker.held), max(1, len(queue) // max(1, len(self.workers))))
        batch: list[Sent] = []
        held = worker.held
        sequence = worker.sequence
        while room > 0 and queue:
            task = queue[0]
            if task.state == LAUNCHED:
                held[sequence] = (task, task.attempt)
                del queue[0]  # no call in between, after which a Ctrl-C could find it in neither or in both
                batch.append((sequence, task))
                sequence += 1
                room -= 1
            else:
                del queue[0]
        worker.sequence = sequence
        if batch:
            out.append((worker, batch))
        elif not held:
            self._becomes_idle(worker)
        return True

    def _hold(self, worker: WorkerState, task: Runnable) -> Sent:
        sequence = worker.sequence
        worker.sequence += 1
        worker.held[sequence] = (task, task.attempt)
        return sequence, task

    def _credit(self) -> int:
        if self.prefetch is not None:
            return 1 + self.prefetch
        if self.mean_s <= 0:
            return 2
        return max(2, min(MAX_CREDIT, int(CREDIT_S / self.mean_s)))

    def _next_idle(self) -> WorkerState | None:
        idle = self.idle
        while idle:
            worker = idle.pop()  # the last that worked: what it needs is still near its processor
            if worker.state == READY and not worker.held:
                return worker
        return None

    def _least_loaded(self, credit: int) -> WorkerState | None:
        best: WorkerState | None = None
        load = credit
        for worker in self.workers.values():
            if (
                len(worker.held) < load
                and worker.held
                and worker.state == READY
                and not worker.alone
                and not worker.stuck
            ):
                best, load = worker, len(worker.held)
        return best

    def _becomes_idle(self, worker: WorkerState) -> None:
        if not worker.busy:  # it has said so before: of tasks that were taken back it tells as well, later
            return
        worker.busy = False
        self.capacity.give_back(worker.cost)
        worker.alone = False
        worker.cost = DEFAULT
        if worker.state == READY:
            self.idle.append(worker)

    # ------------------------------------------------------------------ workers
    def add_worker(self, number: int) -> WorkerState:
        """A worker is being started."""
        worker = self.workers[number] = WorkerState(number)
        return worker

    def ready(self, worker: WorkerState, pid: int, now_s: float) -> None:
        """It can be given tasks."""
        worker.pid = pid
        worker.heard_s = now_s
        if worker.state == STARTING:
            worker.state = READY
            self.idle.append(worker)

    def heard(self, worker: WorkerState, now_s: float, done: int, busy_s: float) -> None:
        """It sent outcomes of ``done`` tasks that took ``busy_s`` seconds together."""
        worker.heard_s = now_s
        worker.stuck = False
        worker.retract_s = None
        worker.tasks_done += done
        if done:
            mean_s = busy_s / done
            # Quick to believe in long tasks, slow to believe in short ones: a batch sent in error costs more than a round trip.
            weight = 0.5 if mean_s > self.mean_s else 0.2
            self.mean_s = mean_s if self.mean_s == 0 else self.mean_s + weight * (mean_s - self.mean_s)
        if not worker.held:
            self._becomes_idle(worker)

    def retires(self, worker: WorkerState) -> None:
        """It said that it will end by itself: it gets nothing more."""
        if worker.state == READY:
            worker.state = ENDING

    def end(self, worker: WorkerState, reason: str, sequence: int = 0) -> bool:
        """It is about to be ended, for that reason. False when that is under way already."""
        if worker.state in {ENDING, GONE}:
            return False
        worker.state = ENDING
        worker.end_reason = reason
        worker.ended_for = sequence
        return True

    def gone(self, worker: WorkerState, started: int) -> tuple[Held | None, list[Runnable]]:
        """It ended, and its last outcomes were taken.

        Args:
            worker: which one.
            started: sequence number of the last task that it began.

        Returns:
            The attempt that it was running, if any, and the tasks that it had not begun, which wait again.
        """
        blamed = worker.held.pop(started, None)
        rest = [task for task, attempt in worker.held.values() if task.state == LAUNCHED and task.attempt == attempt]
        worker.held.clear()
        worker.state = GONE
        del self.workers[worker.number]
        self._becomes_idle(worker)
        self.put_back(rest)
        return blamed, rest

    # ------------------------------------------------------------------ taking back
    def has_waiting_behind(self) -> bool:
        """Whether a worker has nothing to do while tasks wait behind a running one."""
        if self.queue:
            return False
        for (
            worker
        ) in self.workers.values():  # looked at in each round: plain loops, the condition that seldom holds first
            if len(worker.held) > 1 and worker.state == READY:
                return any(idle.state == READY and not idle.held for idle in self.idle)
        return False

    def stuck(self, now_s: float) -> list[WorkerState]:
        """Workers silent for so long that what waits behind their task should go to those that have nothing to do.

        One whose tasks were taken back is among them if it has got another meanwhile: on its way when they were, it would wait for as long as the task runs.
        """
        return [
            worker
            for worker in self.workers.values()
            if len(worker.held) > 1 and worker.state == READY and now_s - worker.heard_s >= RETRACT_S
        ]

    def take_back(self, worker: WorkerState, first: int, end: int) -> list[Runnable]:
        """Tasks with sequence numbers from ``first`` to before ``end`` will not be started by it: they wait again."""
        taken = self.withdraw(worker, first, end)
        self.put_back(taken)
        return taken

    def withdraw(self, worker: WorkerState, first: int, end: int) -> list[Runnable]:
        """As `take_back`, but the tasks leave the pool."""
        taken = []
        for sequence in [s for s in worker.held if first <= s < end]:
            task, attempt = worker.held.pop(sequence)
            if task.state == LAUNCHED and task.attempt == attempt:
                taken.append(task)
        worker.stuck = True
        return taken

    def unqueue(self, count: int) -> list[Runnable]:
        """Removes up to so many tasks that wait, the last ones first, plain ones before others."""
        taken: list[Runnable] = []
        while len(taken) < count and (self.queue or self.special):
            task = self.queue.pop() if self.queue else self.special.pop()[3]  # the last of a heap: what is left is one
            if task.state == LAUNCHED:
                taken.append(task)
        return taken

    def unstarted(self, worker: WorkerState, started: int) -> list[int]:
        """Sequence numbers of tasks that wait in a worker behind the one that runs, or that is about to."""
        held = [sequence for sequence in worker.held if sequence > started]
        return held if started in worker.held else held[1:]

    def drop(self, worker: WorkerState, sequence: int) -> None:
        """This one was not sent to it after all."""
        if worker.state != GONE and worker.held.pop(sequence, None) is not None and not worker.held:
            self._becomes_idle(worker)

    def skipped(self, worker: WorkerState, sequence: int) -> None:
        """It did not start this one: if nobody took it back yet, it waits again."""
        held = worker.held.pop(sequence, None)
        if held is not None and held[0].attempt == held[1]:
            self.put_back([held[0]])


def resources_of(task: Runnable) -> Resources:
    """What the task asks for."""
    details = task.details
    if details is not None and details.resources is not None:
        return details.resources
    return task.app.resources or DEFAULT


def walltime_of(task: Runnable) -> float | None:
    """The limit of each of its attempts, in seconds."""
    details = task.details
    if details is not None and details.walltime_s is not None:
        return details.walltime_s
    return task.app.walltime_s


def is_plain(task: Runnable) -> bool:
    """Whether any worker fits and nothing needs to be watched while it runs."""
    app = task.app
    if task.details is None:
        return app.resources is None and app.walltime_s is None
    return walltime_of(task) is None and resources_of(task) == DEFAULT
