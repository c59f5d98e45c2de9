"""The pool's edge: its thread, between callers, workers (`peer`) and the zygote (`nursery`).

```
callers ──queue, commands──▶ I/O thread ──frames──▶ worker 0 … n        (a socket and a page each)
   ▲                            │    ▲
   └────────outcomes────────────┘    └──reports── zygote (forks and ends workers)
```

All decisions are `core.PoolCore`'s, and only the I/O thread touches it; callers append to its queue and leave everything else in `_commands`.
What outcomes look like and where they go is the `outlet`'s. A manager of pilot jobs has no callers but a `feed`, which speaks in the same thread.
The thread sleeps in one poll(2). A caller wakes it only when it sleeps with an empty queue: while there is more work than room, outcomes wake it anyway.
Nothing here waits for a worker: sockets do not block, what does not fit stays in the peer's `out`.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import threading
import time
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from plait.errors import BadMessage, ExecutorError, SerializationError, text_of
from plait.executors.pool import wire
from plait.executors.pool.core import GONE, READY, PoolCore, Runnable, Sent, is_plain, walltime_of
from plait.executors.pool.nursery import Nursery
from plait.executors.pool.page import REVOKED_FROM, REVOKED_TO, STARTED
from plait.executors.pool.peer import Peer
from plait.executors.pool.words import last_line
from plait.executors.turn import HandedOver, Turn
from plait.limits import BIG_BYTES, GATHER_S, GRACE_S, LONGEST_WAIT_S, MAX_FAILED_STARTS, RETRACT_S, SHUTDOWN_S
from plait.model.events import ATTEMPT_STARTED, ATTEMPTS_STARTED, NOTE, WORKER_ENDED, WORKER_STARTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plait.executors.pool.egg import Egg
    from plait.executors.pool.outlet import Outlet

#: Workers that each import for themselves sooner than they would wait for the zygote to do it.
_FEW = 4
#: Busy workers from which on it pays to wait for several of them.
_MANY = 8
#: Seconds between two tries of what the system has no files or memory for: sending, starting a worker; and for which the latter is tried.
_STALL_S = 0.01
_SHORT_S = (0.5, 30.0)
#: Bytes of arguments that go through the socket where no file can be opened for them: a frame has less than 4 GiB.
_MAX_INLINE_BYTES = 1 << 30
#: Seconds that a store into the shared page certainly needs less than, to be seen by the worker.
_SETTLE_S = 0.002

_live: weakref.WeakSet[PoolLink] = weakref.WeakSet()


class Feed(Protocol):
    """Another source of work, which the I/O thread serves beside workers."""

    def fileno(self) -> int:
        """What becomes readable when there may be something to do."""
        ...

    def pump(self, readable: bool) -> None:
        """Does it. Called in each round, before the thread sleeps: the descriptor need not stay readable until all is done.

        Args:
            readable: whether it was readable when the thread woke up.
        """
        ...


class PoolLink:
    """A running pool. `start` has a thread of its own serve it; a process that does nothing else calls `run`.

    Args:
        core: its decisions.
        workers: how many there are to be.
        config: what each worker is told (`initializer`, `max_tasks`), and the zygote (`path`, `cwd`, `output`, `preload`);
            ``cpus``: the cores of each worker by its rank, empty to bind none.
        env: environment of the zygote and so of all workers.
        label: of the executor.
        outlet: where outcomes and events go.
        egg: the zygote, if it was started before with that environment.
        env_of: variables of a worker, by its rank: the smallest number from 0 that no other has. One that replaces another gets its rank.
        binding_of: what a worker changes for the time of a task that runs alone: (variables, None to remove one; cores, empty for all of its own).

    Attributes:
        worked: whether any worker could be started.
        grace_s: seconds that tasks have to end by themselves when the pool ends.
    """

    def __init__(
        self,
        core: PoolCore,
        workers: int,
        config: dict[str, Any],
        env: dict[str, str],
        label: str,
        outlet: Outlet,
        *,
        egg: Egg | None = None,
        env_of: Callable[[int], Mapping[str, str]] | None = None,
        binding_of: Callable[[Any], tuple[Mapping[str, str | None], list[int]]] | None = None,
    ) -> None:
        self.core = core
        self.sleeping = False
        self.broken: ExecutorError | None = None
        self.worked = False
        self.grace_s = GRACE_S
        self._config = config
        self._label = label
        self._outlet = outlet
        self._feed: Feed | None = None
        self._feed_fd = -1
        self._feed_readable = True
        self._woke_s = 0.0
        self._env_of = env_of
        self._binding_of = binding_of
        self._commands: deque[tuple[str, Any, Any]] = deque()
        self._peers: dict[int, Peer] = {}  # by worker
        self._by_fd: dict[int, Peer] = {}
        self._numbers = itertools.count()
        self._ranks = list(range(workers))  # heap of those that are free
        self._function_numbers: dict[Any, int] = {}  # digest -> number
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._ties = itertools.count()
        self._failed_starts = 0
        self._watching = False  # for tasks that wait behind others while a worker has nothing to do
        self._held_up = False  # workers are not read
        self._closing = False
        self._ended_thread = threading.Event()
        self._closed = False
        self._close_once = threading.Lock()
        self._poll = select.poll()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self._poll.register(self._wake_r, select.POLLIN)
        self._unsent = False  # something waits in a peer's `out`
        self._stalled = False  # for no fault of the peer's
        self._short_s: float | None = None  # since when workers cannot be started
        self._untold: list[Any] = []  # outcomes that were taken from workers, while they are gathered and delivered
        self._nursery = Nursery(config, env, egg)
        self._poll.register(self._nursery, select.POLLIN)
        if workers > _FEW:  # then it pays to import before they are forked, once for all
            self._nursery.warm()
        for _ in range(workers):
            self._spawn()
        if workers <= _FEW:
            self._nursery.warm()
        # held by the I/O thread except while it sleeps, and by a caller that sends for it meanwhile
        self._io = threading.RLock()
        self._turn = Turn(f"plait-pool-{label}", self._run, self._io)
        _live.add(self)

    def start(self) -> None:
        """Serves it in a thread."""
        self._turn.start()

    def run(self, feed: Feed) -> None:
        """Serves it, and another source of work beside it, in this thread until `stop`; `shutdown` has to follow."""
        self._feed = feed
        self._feed_fd = feed.fileno()
        self._poll.register(self._feed_fd, select.POLLIN)
        self._io.acquire()
        try:
            self._serve()
        finally:
            self._nursery.exit(self.grace_s)

    # ------------------------------------------------------------------ called from any thread
    def submit(self, task: Runnable) -> None:
        """A task that is ready, with its payload."""
        if is_plain(task):
            self.core.queue.append(task)
            if self.sleeping:
                self.nudge()
        else:
            self.command("special", task)

    def command(self, what: str, subject: Any = None, detail: Any = None) -> None:
        """Leaves a request for the I/O thread."""
        self._commands.append((what, subject, detail))
        self.wake()

    def nudge(self) -> None:
        """Has a task that was just queued looked at: sends it from this thread when a worker is idle, else wakes the I/O thread.

        Sending it here saves the way through another thread, about a third of the time until a lone task begins.
        """
        core = self.core
        io = self._io
        if core.idle and not core.special and not self._commands and not io._is_owned():  # type: ignore[attr-defined] # noqa: SLF001 - a signal handler in the middle of this
            try:
                if io.acquire(blocking=False) and self.sleeping:
                    timers = len(self._timers)
                    self._fill()
                    if not core.queue and len(self._timers) == timers and not self._unsent:
                        return
            except (
                BaseException
            ):  # a Ctrl-C in the middle: workers end what they have, and what was not sent is sent again
                self.command("recycle", "sending to it was interrupted")
                raise
            finally:
                try:  # the first call here, before which no signal can be: between taking it and the next instruction it leaves no trace to ask for
                    io.release()
                except RuntimeError:  # it was not free
                    pass
        self.wake()

    def wake(self) -> None:
        """Makes the I/O thread look."""
        self.sleeping = False
        try:
            os.write(self._wake_w, b"x")
        except (BlockingIOError, OSError):
            pass  # it is awake, or gone

    def shutdown(self, timeout_s: float = SHUTDOWN_S) -> None:
        """Ends the workers and all that they started, the zygote and the thread. Continues where an interrupted call left off."""
        if self._closed:
            return
        deadline_s = time.monotonic() + timeout_s
        self.command("shutdown")
        if self._turn.thread is None or self._turn.is_mine:
            # it is over; or this is a callback of the user's, before whose end the thread cannot end
            self._nursery.exit(self.grace_s)
        else:  # not Thread.join: interrupted by a Ctrl-C, it takes a thread that runs for one that has ended
            self._ended_thread.wait(max(0.1, timeout_s - GRACE_S / 2))
        self._nursery.wait_end(max(0.1, deadline_s - time.monotonic()))
        self._closed = True
        if self._turn.thread is None:
            self._close()
        elif self._ended_thread.is_set():
            self._turn.thread.join(1.0)
            self._close()
        # else a callback holds the thread, which closes what is open at its end

    def running_since(self, task: Runnable) -> tuple[int, int, bool] | None:
        """Worker, its process and whether it runs (or waits behind another), for a task that was sent."""
        for worker in list(self.core.workers.values()):
            for sequence, (held, _) in list(worker.held.items()):
                if held is task:
                    peer = self._peers.get(worker.number)
                    started = peer is not None and peer.page.numbers[STARTED] == sequence
                    return worker.number, worker.pid, started
        return None

    # ------------------------------------------------------------------ the thread
    def _run(self) -> None:
        self._io.acquire()
        try:
            self._serve()
        except HandedOver:
            raise
        except BaseException as error:
            import logging

            logging.getLogger("plait").exception("the I/O thread of executor %r failed", self._label)
            self._break(f"its I/O thread failed: {type(error).__name__}: {text_of(error)}")
            self._nursery.exit(self.grace_s)
            self._give_up()
        finally:
            if self._turn.is_mine:
                self._nursery.exit(self.grace_s)
                self._ended_thread.set()
                if self._closed:  # shutdown could not wait for this thread
                    self._close()

    def _serve(self) -> None:
        feed = self._feed
        while not self._closing:
            outcomes: list[Any] = []
            self._untold = outcomes
            if feed is not None:
                readable, self._feed_readable = self._feed_readable, False
                feed.pump(readable)
            self._obey(outcomes)
            self._fill()
            if outcomes:
                self._turn.call(self._outlet.deliver, outcomes)
            elif not self._closing:  # told to end just now: nothing more will wake it
                self._wait()

    def _give_up(self) -> None:
        """After a failure of this thread: ends every task that it has, and those that others were about to leave here."""
        core = self.core
        held = [(task, attempt) for worker in list(core.workers.values()) for task, attempt in worker.held.values()]
        assert self.broken is not None  # noqa: S101 - the caller's
        outcomes = [*self._untold, *(self._outlet.refused(task, attempt, self.broken) for task, attempt in held)]
        while not self._closing:
            while self._commands:
                what, subject, detail = self._commands.popleft()
                if what == "special":
                    core.add_special(subject)
                elif what == "fail":
                    outcomes.append(self._outlet.refused(subject[0], subject[1], detail))
                self._closing |= what == "shutdown"
            self._refuse_all(outcomes)
            for outcome in outcomes:
                try:
                    self._outlet.deliver([outcome])
                except Exception:  # noqa: BLE001, S110 - it may be what made the thread fail; it was logged then
                    pass
            outcomes = []
            self.sleeping = True
            if not (self._closing or self._commands or core.queue):
                select.select([self._wake_r], [], [])
                os.read(self._wake_r, 4096)
            self.sleeping = False

    def _wait(self) -> None:
        core = self.core
        timeout_s = self._until_next_timer()
        if not core.queue:
            self.sleeping = True
            if core.queue or self._commands:  # somebody came between the two lines
                self.sleeping = False
                return
        elif self._commands:
            return
        if self._feed is not None:
            self._gather()
        self._io.release()
        try:
            ready = self._poll.poll(None if timeout_s is None else max(0.0, timeout_s * 1000))
        finally:
            self._io.acquire()
        self.sleeping = False
        if not ready:
            self._run_timers()
            return
        outcomes: list[Any] = []
        self._untold = outcomes
        for fd, events in ready:
            if fd == self._wake_r:
                try:
                    os.read(fd, 4096)
                except BlockingIOError:
                    pass
            elif fd == self._nursery.fileno():
                self._reports(outcomes)
            else:
                peer = self._by_fd.get(fd)
                if peer is None:
                    self._feed_readable |= fd == self._feed_fd
                    continue
                if events & select.POLLOUT:
                    peer.flush()
                    self._unsent = any(other.out for other in self._peers.values())
                if events & ~select.POLLOUT:
                    self._read(peer, outcomes)
        if self._timers:
            self._run_timers()
        if outcomes:
            if self._commands:  # a task with a priority may have come: it is before what waits in the queue
                self._obey(outcomes)
            if core.queue or core.special:
                self._fill()
            self._turn.call(self._outlet.deliver, outcomes)

    def _gather(self) -> None:
        """Lets a moment pass, so that the next round serves what many workers said meanwhile: a round costs as much as several tasks.

        A moment is short beside what tasks take, and workers that have one to go on with do not notice.
        """
        core = self.core
        now_s = time.monotonic()
        wait_s = self._woke_s + min(GATHER_S, core.mean_s / 5) - now_s
        if wait_s > 0 and len(core.workers) - len(core.idle) >= _MANY:
            time.sleep(wait_s)
            now_s += wait_s
        self._woke_s = now_s

    def _obey(self, outcomes: list[Any]) -> None:
        cancels: list[tuple[Runnable, int]] = []
        while self._commands:
            what, subject, detail = self._commands.popleft()
            if what == "special":
                self.core.add_special(subject)
            elif what == "cancel":
                cancels.append((subject, detail))
            elif what == "shutdown":
                self._closing = True
            elif what == "recycle":
                self._recycle_all(subject)
            elif what == "drop":
                self.core.drop(subject.state, detail)
            elif what == "fail":
                outcomes.append(self._outlet.refused(subject[0], subject[1], detail))
        if cancels:
            self._cancel(cancels)
        if self.broken is not None:
            self._refuse_all(outcomes)

    # ------------------------------------------------------------------ sending
    def _fill(self) -> None:
        core = self.core
        if self._stalled:
            return
        if not (core.queue or core.special):
            if core.idle:  # a worker became ready or idle while tasks wait behind the long task of another
                self._watch_stuck()
            return
        now_s = time.monotonic()
        for worker, batch in core.fill(now_s):
            peer = self._peers[worker.number]
            if worker.alone:
                if self._binding_of is not None:
                    binding = (batch[0][0], *self._binding_of(batch[0][1]))
                    self._send(peer, wire.frame(wire.BIND, wire.encode(binding)), [])
                self._watch_walltime(peer, batch[0], now_s)
            self._send_batch(peer, batch, now_s)
        if core.idle or core.has_waiting_behind():
            self._watch_stuck()

    def _send_batch(self, peer: Peer, batch: list[Sent], now_s: float) -> None:
        emit = self._outlet.emit
        items: list[wire.TaskItem] = []
        fds: list[int] = []
        size = 0
        first_attempts: list[int] = []
        known = peer.state.known
        numbers = self._function_numbers
        for sequence, task in batch:
            blob = task.app.blob
            function = numbers.get(blob.digest, -1)
            if function < 0:
                function = numbers[blob.digest] = len(numbers)
            if function not in known:
                known.add(function)
                self._send(peer, wire.frame(wire.FUNCTION, wire.encode((function, blob.data))), [])
            payload = task.payload
            if payload is None:  # cancelled since it was chosen
                self.command("drop", peer, sequence)
                continue
            if task.attempt == 1:
                first_attempts.append(task.id)
            elif emit is not None:
                emit((ATTEMPT_STARTED, now_s, task.id, task.attempt, self._label, peer.state.number))
            sizes = None
            if type(payload) is not bytes:
                sizes = payload.sizes
                try:
                    payload = _in_file(payload, fds)
                except (OSError, MemoryError) as error:
                    self.command("drop", peer, sequence)
                    self.command(
                        "fail",
                        (task, task.attempt),
                        SerializationError(f"the arguments of {task}", f"{type(error).__name__}: {error}"),
                    )
                    continue
            items.append((sequence, function, payload, sizes))
            size += len(payload)
            if size > 4 * BIG_BYTES:
                self._send_tasks(peer, items, fds)
                items, fds, size = [], [], 0
        if first_attempts and emit is not None:
            emit((ATTEMPTS_STARTED, now_s, self._label, peer.state.number, first_attempts))
        if items:
            self._send_tasks(peer, items, fds)

    def _send_tasks(self, peer: Peer, items: list[wire.TaskItem], fds: list[int]) -> None:
        self._send(peer, wire.frame(wire.TASKS, wire.encode(items), len(fds)), fds)

    def _send(self, peer: Peer, data: bytes, fds: list[int]) -> None:
        peer.send(data, fds)
        self._unsent |= bool(peer.out)
        if peer.stalled and not self._stalled:
            self._stalled = True
            self.at(time.monotonic() + _STALL_S, self._send_stalled)

    def _send_stalled(self) -> None:
        for peer in self._peers.values():
            if peer.stalled:
                peer.flush()
        self._unsent = any(peer.out for peer in self._peers.values())
        self._stalled = any(peer.stalled for peer in self._peers.values())
        if self._stalled:
            self.at(time.monotonic() + _STALL_S, self._send_stalled)

    # ------------------------------------------------------------------ receiving
    def _read(self, peer: Peer, outcomes: list[Any]) -> bool:
        """Takes what a worker sent; False when there is no more and never will be."""
        try:
            frames = peer.receive()
            for kind, body, files in frames or ():
                if kind == wire.OUTCOMES:
                    self._outcomes(peer, wire.decode_outcomes(body), files, outcomes)
                elif kind == wire.READY:
                    self._ready(peer)
                elif kind == wire.RETIRE:
                    peer.reason = wire.decode_text(body)
                    self.core.retires(peer.state)
        except (BadMessage, ValueError) as error:
            self._end(peer, f"it sent what cannot be read ({error})", 0.0)
            frames = None
        if frames is None:
            peer.unwatch()
        return frames is not None

    def _ready(self, peer: Peer) -> None:
        self._failed_starts = 0
        self.worked = True
        now_s = time.monotonic()
        self.core.ready(peer.state, peer.state.pid, now_s)
        if self._outlet.emit is not None:
            self._outlet.emit((WORKER_STARTED, now_s, self._label, peer.state.number, peer.state.pid))

    def _outcomes(self, peer: Peer, items: list[wire.OutcomeItem], files: list[int], outcomes: list[Any]) -> None:
        done, busy_s, skipped = self._outlet.take(peer.state, items, files, outcomes)
        for sequence in skipped:
            self.core.skipped(peer.state, sequence)
        self.core.heard(peer.state, time.monotonic(), done, busy_s)

    # ------------------------------------------------------------------ taking back and ending
    def _cancel(self, cancels: list[tuple[Runnable, int]]) -> None:
        where = {
            (id(task), attempt): (peer, sequence)
            for peer in self._peers.values()
            for sequence, (task, attempt) in peer.state.held.items()
        }
        for task, attempt in cancels:
            place = where.get((id(task), attempt))
            if place is not None:
                place[
                    0
                ].state.stuck = (
                    True  # until it is clear whether the worker must end, it gets nothing that would end with it
                )
                self._revoke(*place, partial(self._end_running, *place, "cancelled"))

    def _revoke(self, peer: Peer, first: int, then: Callable[[], None]) -> None:
        """Forbids the worker to start tasks from that number on; calls ``then`` when it certainly knows."""
        numbers = peer.page.numbers
        if (
            numbers[REVOKED_TO] > numbers[STARTED]
        ):  # an earlier range still holds: what was taken back must not begin after all
            first = min(first, numbers[REVOKED_FROM])
        numbers[REVOKED_FROM] = first
        numbers[REVOKED_TO] = peer.state.sequence
        self.at(time.monotonic() + _SETTLE_S, then)

    def _end_running(self, peer: Peer, sequence: int, reason: str) -> None:
        """Ends a worker if that task is what it runs; takes back what waits behind."""
        if peer.state.state != GONE and sequence in peer.state.held and peer.page.numbers[STARTED] == sequence:
            self._end(peer, reason, GRACE_S, sequence)

    def _end(self, peer: Peer, reason: str, grace_s: float, sequence: int = 0) -> None:
        if self.core.end(peer.state, reason, sequence):
            self._nursery.end(peer.state.number, grace_s)
            self._revoke_behind(peer)

    def _revoke_behind(self, peer: Peer) -> None:
        """Takes back what waits behind the task that the worker runs, unless it begins it meanwhile."""
        started, end = peer.page.numbers[STARTED], peer.state.sequence
        self._revoke(peer, started + 1, lambda: self._take_back(peer, started, end))

    def _take_back(self, peer: Peer, started: int, end: int) -> None:
        if peer.state.state != GONE and peer.page.numbers[STARTED] == started:
            self.core.take_back(peer.state, started + 1, end)  # what was sent since then is not revoked

    def _watch_stuck(self) -> None:
        if not self._watching and self.core.has_waiting_behind():
            self._watching = True
            self.at(time.monotonic() + RETRACT_S, self._look_for_stuck)

    def _look_for_stuck(self) -> None:
        self._watching = False
        if not self.core.has_waiting_behind():
            return
        for worker in self.core.stuck(time.monotonic()):
            self._revoke_behind(self._peers[worker.number])
        self._watch_stuck()

    def _watch_walltime(self, peer: Peer, sent: Sent, now_s: float) -> None:
        sequence, task = sent
        walltime_s = walltime_of(task)
        if walltime_s is not None and task.app.kind != "bash":
            self.at(now_s + walltime_s, lambda: self._end_running(peer, sequence, "walltime"))
        elif (
            walltime_s is not None
        ):  # the bash runner keeps it, and cleans up by itself; this is for a runner that cannot
            self.at(now_s + walltime_s + 2 * GRACE_S, lambda: self._end_running(peer, sequence, "walltime"))

    def give_back(self, count: int, returned: Callable[[list[Any]], None]) -> None:
        """Lets up to so many tasks go that were not begun, the last ones first. Only for the I/O thread.

        Args:
            count: how many at most; fewer when there are not so many, or when a worker begins some meanwhile.
            returned: is called with those that are certain not to be begun: at once, and again when workers gave up others.
        """
        tasks = self.core.unqueue(count)
        if tasks:
            returned(tasks)
        count -= len(tasks)
        for peer in sorted(self._peers.values(), key=lambda peer: -len(peer.state.held)):
            if count <= 0:
                return
            worker = peer.state
            last = self.core.unstarted(worker, peer.page.numbers[STARTED])[-count:] if worker.state == READY else []
            if last:
                count -= len(last)
                self._revoke(peer, last[0], partial(self._withdraw, peer, last[0], worker.sequence, returned))

    def _withdraw(self, peer: Peer, first: int, end: int, returned: Callable[[list[Any]], None]) -> None:
        if peer.state.state != GONE and peer.page.numbers[STARTED] < first:  # else it says what it skipped
            tasks = self.core.withdraw(peer.state, first, end)
            if tasks:
                returned(tasks)

    def hold_up(self, *, on: bool) -> None:
        """Stops, or goes on, reading what workers send: they wait when the sockets are full. Only for the I/O thread."""
        if on != self._held_up:
            self._held_up = on
            for peer in self._peers.values():
                peer.hold_up(on=on)

    def abandon(self, reason: str) -> None:
        """Ends every worker at once, whatever it runs, and forgets what waits; others take their places. Only for the I/O thread."""
        self.core.queue.clear()
        self.core.special.clear()
        for peer in list(self._peers.values()):
            self._end(peer, reason, 0.0)

    def stop(self) -> None:
        """Has `run` return."""
        self._closing = True

    def _recycle_all(self, reason: str) -> None:
        """Replaces the workers that have nothing to do now, and the others as soon as they have done what they hold."""
        for peer in list(self._peers.values()):
            if peer.sending:  # a signal ended it: the worker may have a part of the frame, and would wait for the rest
                self._end(peer, reason, 0.0)
            elif peer.state.state != GONE and self.core.end(peer.state, reason):
                peer.reason = reason
                self._send(peer, wire.frame(wire.STOP, wire.encode(None)), [])

    # ------------------------------------------------------------------ workers and the zygote
    def _spawn(self) -> None:
        number = next(self._numbers)
        sock, page = self._nursery.spawn(number)
        state = self.core.add_worker(number)
        rank = heapq.heappop(self._ranks)
        peer = self._peers[state.number] = Peer(state, sock, page, self._poll, rank)
        self._by_fd[peer.fd] = peer
        if self._held_up:
            peer.hold_up(on=True)
        cpus = self._config["cpus"]
        init = {
            "initializer": self._config["initializer"],
            "max_tasks": self._config["max_tasks"],
            "cpus": cpus[rank % len(cpus)] if cpus else [],
            "env": self._env_of(rank) if self._env_of is not None else {},
        }
        self._send(peer, wire.frame(wire.INIT, wire.encode(init)), [])

    def _replace(self) -> None:
        """Starts a worker in the place of one that ended; later, when the system has no files or memory for it now."""
        if self._closing or self.broken is not None:
            return
        try:
            self._spawn()
        except OSError as error:
            self._replace_later(str(error))

    def _replace_later(self, why: str) -> None:
        now_s = time.monotonic()
        self._short_s = self._short_s or now_s
        if not self.core.workers and now_s - self._short_s > _SHORT_S[1]:
            self._break(f"no worker could be started for {_SHORT_S[1]:g} s: {why}")
        else:
            self.at(now_s + _SHORT_S[0], self._replace)

    def _reports(self, outcomes: list[Any]) -> None:
        control = self._nursery.fileno()
        for what, number, detail in self._nursery.reports():
            if what == "lost":
                self._poll.unregister(control)
                self._zygote_lost(detail, outcomes)
                return
            peer = self._peers.get(number)
            if peer is None:
                continue
            if what == "started":
                peer.state.pid = detail
                self._short_s = None
            elif what == "refused":
                self._ended(peer, detail, outcomes, replace=False)
                self._replace_later(detail)
            elif what == "ended":
                self._ended(peer, detail, outcomes)

    def _zygote_lost(self, how: str, outcomes: list[Any]) -> None:
        if self._closing:
            return
        self._nursery.end_remains(peer.state.pid for peer in list(self._peers.values()) if peer.state.pid)
        if not self._failed_starts_exceeded(how, outcomes):
            self._nursery.start()
            self._poll.register(self._nursery, select.POLLIN)
        for peer in list(self._peers.values()):
            self._ended(
                peer, how, outcomes, replace=self.broken is None, counts=False
            )  # one failure, however many were starting

    def _ended(self, peer: Peer, how: str, outcomes: list[Any], *, replace: bool = True, counts: bool = True) -> None:
        """A worker's process is gone: take what it left, blame the task that ran, give the others back, start another worker."""
        worker = peer.state
        was_starting = worker.state == 0
        while peer.watched and peer.has_more() and self._read(peer, outcomes):
            pass
        count, data = peer.page.outcomes()
        if count:
            try:
                items = wire.decode_outcomes(b"\xdc" + count.to_bytes(2, "big") + data)
            except ValueError:  # it ended in the middle of writing
                items = []
            self._outcomes(peer, items, [], outcomes)
        started = peer.page.numbers[STARTED]
        reason = worker.end_reason or peer.reason
        ended_for = worker.ended_for
        blamed, _ = self.core.gone(worker, started)
        if blamed is not None:
            self._blame(blamed, started == ended_for, reason, how, worker.number, outcomes)
        self._drop(peer)
        now_s = time.monotonic()
        if self._outlet.emit is not None:
            self._outlet.emit((WORKER_ENDED, now_s, self._label, worker.number, reason or how))
        if was_starting and replace and counts and self._failed_starts_exceeded(peer.reason or how, outcomes):
            return
        if replace:
            self._replace()

    def _blame(
        self, blamed: tuple[Runnable, int], is_it: bool, reason: str, how: str, number: int, outcomes: list[Any]
    ) -> None:
        task, attempt = blamed
        if reason == "walltime" and is_it:
            outcomes.append(self._outlet.timed_out(task, attempt, number))
        elif reason in {"walltime", "cancelled"}:
            if not is_it:  # it was only in the way
                self.core.put_back([task])
        else:
            outcomes.append(self._outlet.lost(task, attempt, number, how))

    def _failed_starts_exceeded(self, how: str, outcomes: list[Any]) -> bool:
        self._failed_starts += 1
        if self._failed_starts < MAX_FAILED_STARTS:
            return False
        said, path = last_line(self._config["output"])
        wrote = f"; it wrote: {said} ({path})" if said and said not in how else ""
        self._break(f"{self._failed_starts} workers in a row could not start; the last one: {how}{wrote}")
        self._refuse_all(outcomes)
        return True

    def _break(self, reason: str) -> None:
        self.broken = ExecutorError(self._label, reason)
        if self._outlet.emit is not None:
            self._outlet.emit((NOTE, time.monotonic(), str(self.broken)))

    def _refuse_all(self, outcomes: list[Any]) -> None:
        """Gives up everything that waits: no worker will come."""
        waiting = [*self.core.queue, *(entry[3] for entry in self.core.special)]
        self.core.queue.clear()
        self.core.special.clear()
        assert self.broken is not None  # noqa: S101 - the caller's
        outcomes.extend(self._outlet.refused(task, task.attempt, self.broken) for task in waiting if task.attempt)

    def _drop(self, peer: Peer) -> None:
        del self._peers[peer.state.number]
        heapq.heappush(self._ranks, peer.rank)
        if self._by_fd.get(peer.fd) is peer:
            del self._by_fd[peer.fd]
        peer.close()

    # ------------------------------------------------------------------ timers
    def at(self, when_s: float, do: Callable[[], None]) -> None:
        """Has the I/O thread do something then. Only for that thread."""
        heapq.heappush(self._timers, (when_s, next(self._ties), do))

    def _until_next_timer(self) -> float | None:
        return min(self._timers[0][0] - time.monotonic(), LONGEST_WAIT_S) if self._timers else None

    def _run_timers(self) -> None:
        now_s = time.monotonic()
        while self._timers and self._timers[0][0] <= now_s:
            heapq.heappop(self._timers)[2]()

    # ------------------------------------------------------------------ the end
    def _close(self) -> None:
        """Closes everything that is open; the thread has ended, or ends with this."""
        if not self._close_once.acquire(blocking=False):
            return
        _live.discard(self)
        for peer in list(self._peers.values()):
            self._drop(peer)
        self._nursery.close()
        for fd in (self._wake_r, self._wake_w):
            os.close(fd)

    def forget(self) -> None:
        """In a process that user code forked from the driver: the sockets are the driver's; here they are closed."""
        for peer in self._peers.values():
            peer.forget()
        self._nursery.forget()
        self._closed = True
        self.broken = ExecutorError(
            self._label, "this process was forked from the one that loaded plait; load a kernel of its own here"
        )


def _in_file(payload: Any, fds: list[int]) -> bytes:
    """Adds the file of big arguments to those that travel along; what is left for the frame: all, where no file can be opened now."""
    try:
        fds.append(payload.file())
    except OSError as error:
        if error.errno not in wire.NO_FILES or wire.offsets(payload.sizes)[-1] > _MAX_INLINE_BYTES:
            raise
        return bytes(payload.whole())
    return b""


def _in_forked_child() -> None:
    for link in list(_live):
        link.forget()
    _live.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
