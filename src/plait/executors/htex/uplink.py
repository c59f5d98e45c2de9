"""The manager's side of the protocol: registers, takes tasks for the pool, tells how they ended, and obeys.

```
interchange ◀──Dealer──▶ Uplink ──queue──▶ PoolLink ──▶ workers
                            ▲                  │
                            └──── Outbox ◀─────┘
```

Everything happens in the pool's thread: `pump` is called in each of its rounds, timers are the pool's, and nothing here waits.

A lost connection costs nothing as long as the interchange's patience lasts: tasks run on, outcomes are kept, and over the next connection
the manager registers again with what it holds and what it has finished. One that was given up meanwhile hears `DeclaredLost`:
it ends all that it runs and comes back as somebody new. When the interchange is silent for too long, the manager ends.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from plait._util.version import other_versions, plait_version
from plait.executors.htex import messages as m
from plait.executors.htex.intake import Intake
from plait.executors.htex.messages import PROTOCOL, AttemptId, Message, OutcomeItem
from plait.executors.htex.outbox import Attempt, Big, Outbox, gang_item, has_nodes
from plait.executors.htex.sweep import mark_of, sweep
from plait.executors.htex.transfers import Outgoing, Sender
from plait.model.jobs import NEVER_STARTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plait.executors.htex.link import Dealer
    from plait.executors.htex.log import Log
    from plait.executors.htex.near import NearDealer
    from plait.executors.htex.node import Node
    from plait.executors.htex.settings import ManagerSettings
    from plait.executors.pool.link import PoolLink

#: Bytes of outcomes that are kept before workers have to wait, and down to which they wait.
KEPT_BYTES: Final = 64 * 1024 * 1024
_RELIEF_BYTES: Final = KEPT_BYTES // 2
#: Seconds in which the first registration must be answered, at most.
WELCOME_S: Final = 60.0
#: Seconds between two looks at the clock, before and after the interchange has told how patient it is.
_LOOK_S: Final = (0.1, 1.0)


def new_name() -> str:
    """A name for one life of a manager."""
    return os.urandom(6).hex()


def _nothing() -> None:
    """What a timer does that only has the loop go round."""


class Uplink:
    """The connection of a manager.

    Args:
        settings: what it was told.
        node: what it has.
        workers: tasks that it can run at once.
        name: of this life.
        log: where it says what it does.

    Attributes:
        name: of this life, which may have followed another.
        outbox: the outlet for the pool.
        exit_code, reason: how the manager is to end, and why; once the pool has stopped.
    """

    def __init__(self, settings: ManagerSettings, node: Node, workers: int, name: str, log: Log) -> None:
        self.name = name
        self.outbox = Outbox(node.hostname, self.deliver)
        self.exit_code = 0
        self.reason = ""
        self._settings = settings
        self._node = node
        self._packages = other_versions(settings.packages)
        self._workers = workers
        self._log = log
        self._dealer: Dealer | NearDealer
        self._due_s = 0.0  # when the dealer wants to be asked although nothing comes
        self._pool: PoolLink
        self._sender = Sender()
        self._intake = Intake(self.outbox.held, self._drop)
        self._ghosts: list[Attempt] = []  # cancelled, with resources that the interchange counts until they ended
        self._epoch = ""
        self._is_welcome = False
        self._is_asked = False  # who we are
        self._registrations = 0
        self._asked_s = 0.0  # when it registered last
        self._heard_s = 0.0
        self._period_s = 0.0
        self._threshold_s = min(WELCOME_S, settings.heartbeat_threshold_s)
        self._beat_s = 0.0  # when the next heartbeat is due
        self._draining = ""
        self._signal = 0
        self._obey: dict[type[Message], Callable[[Any, bytes], None]] = {
            m.Tasks: self._tasks, m.Function: self._intake.function, m.Taken: self._taken, m.Cancel: self._cancel, m.Recall: self._recall,
            m.Chunk: self._intake.chunk, m.ChunkTaken: self._chunk_taken, m.Heartbeat: self._heartbeat, m.Welcome: self._welcome,
            m.WhoAreYou: self._who_are_you, m.DeclaredLost: self._declared_lost, m.Drain: self._drain, m.Stop: self._stop, m.Refused: self._refused,
            m.SayAgain: self._say_again, m.Sweep: self._sweep,
        }  # fmt: skip

    def attach(self, dealer: Dealer | NearDealer, pool: PoolLink) -> None:
        """Tells it whom it stands between; `pump` follows."""
        self._dealer = dealer
        self._pool = pool
        self._intake.attach(pool, dealer.send)
        self._heard_s = self._asked_s = now_s = time.monotonic()
        self._look(now_s)
        if self._settings.drain_after_s is not None:
            pool.at(now_s + self._settings.drain_after_s, self._drain_by_itself)

    # ------------------------------------------------------------------ the pool's loop
    def fileno(self) -> int:
        """See `Feed`."""
        return self._dealer.fileno()

    def pump(self, readable: bool) -> None:
        """See `Feed`."""
        dealer, pool = self._dealer, self._pool
        if self._signal:
            self._leave(f"it received signal {self._signal}", 0)
            return
        if pool.broken is not None:
            how = "its workers cannot run" if pool.worked else NEVER_STARTED
            self._leave(f"{how}: {pool.broken.reason}", 1)
            return
        if readable and not dealer.has_input() and dealer.reconnected():
            self._register()
        if self._draining and pool.core.queued:  # a worker was to begin it, and did not
            pool.give_back(sys.maxsize, self._returned)
        if self._ghosts:
            self._lay_ghosts()
        while True:
            if len(self._sender) or dealer.backlog_bytes():
                self._send_more()
            if not dealer.has_input():  # asked last: what we send may take away the sign that something came
                break
            self._heard_s = time.monotonic()
            for message, payload in dealer.receive():
                self._obey[type(message)](message, payload)
        if self._is_asked:
            self._is_asked = False
            # Unless we know of a new connection, it is the answer to something from before our registration, which is on its way.
            if dealer.reconnected() or self._is_welcome:
                self._register()
        if dealer.due_s > self._due_s:
            self._due_s = dealer.due_s
            pool.at(self._due_s, _nothing)  # the round that follows asks

    def deliver(self, outcomes: list[Any]) -> None:
        """Tells how attempts ended; see `Outlet`."""
        sent = self._is_welcome
        for message, big in self.outbox.add(outcomes):
            if sent:
                self._send_outcomes(message, big)
        if self.outbox.bytes > KEPT_BYTES:
            self._pool.hold_up(on=True)

    def signalled(self, number: int) -> None:
        """A signal told it to end. May be called at any time."""
        self._signal = number
        self._pool.wake()

    # ------------------------------------------------------------------ registering
    def _register(self) -> None:
        """Says who we are and what we have; what is on its way over an earlier connection is lost."""
        self._registrations += 1
        self._is_welcome = False
        self._asked_s = time.monotonic()
        self._sender.clear()
        for task in self._intake.clear():  # the interchange sees that we do not hold them, and gives them to somebody
            self.outbox.drop(task.id, task.attempt)
        settings, node = self._settings, self._node
        self._dealer.send(
            m.Register(
                manager=self.name,
                block=settings.block,
                hostname=node.hostname,
                pid=os.getpid(),
                boot=node.boot,
                protocol=PROTOCOL,
                plait=plait_version(),
                python=".".join(map(str, sys.version_info[:3])),
                workers=self._workers,
                cores=float(max(node.cores, self._workers if node.hosts else 0)),
                memory_bytes=node.memory_bytes,
                disk_bytes=node.disk_bytes,
                gpus=list(node.gpus),
                walltime_left_s=node.walltime_left_s(),
                prefetch=settings.prefetch,
                draining=bool(self._draining),
                holds=[(held.id, held.attempt) for held in self.outbox.held.values()],
                finished=self.outbox.finished(),
                nth=self._registrations,
                node=node.name,
                hosts=list(node.hosts),
                packages=self._packages,
                gangs=[gang_item(held, node.hosts) for held in self.outbox.held.values() if has_nodes(held)],
            )
        )

    def _welcome(self, message: m.Welcome, _: bytes) -> None:
        if message.epoch != self._epoch:
            if self._epoch:
                self._log.info("a new interchange took over")
                self.outbox.renumber()
            self._epoch = message.epoch
        self._log.info("registered as %s", self.name)
        self._is_welcome = True
        self._period_s = message.heartbeat_period_s
        self._threshold_s = message.heartbeat_threshold_s
        self._beat_s = 0.0
        self._beat(time.monotonic())
        for each, big in self.outbox.all():
            self._send_outcomes(each, big)

    def _who_are_you(self, *_: Any) -> None:
        # Answered once nothing more is there to be read: behind it there may be tasks of an earlier connection, and what we say that we do not have goes to others.
        self._is_asked = True

    def _declared_lost(self, message: m.DeclaredLost, _: bytes) -> None:
        if message.manager and message.manager != self.name:  # it has been obeyed
            return
        old, self.name = self.name, new_name()
        self._log.warning("given up as %s: %s; it begins again as %s", old, message.reason, self.name)
        self._intake.clear()
        self.outbox.forget()
        self._ghosts.clear()
        self._pool.abandon("the manager was given up")
        self._pool.hold_up(on=False)
        self._register()

    def _refused(self, message: m.Refused, _: bytes) -> None:
        self._end(f"the interchange refused this manager: {message.reason}", 1)

    # ------------------------------------------------------------------ tasks in, and back
    def _tasks(self, message: m.Tasks, payload: bytes) -> None:
        if self._draining:
            self._dealer.send(m.Returned([(item[0], item[1]) for item in message.items]))
        else:
            self._intake.tasks(message, payload)

    def _cancel(self, message: m.Cancel, _: bytes) -> None:
        for number, attempt in message.items:
            self._drop(number, attempt)

    def _drop(self, number: int, attempt: int) -> None:
        task = self.outbox.drop(number, attempt)
        if task is None:
            return
        self._intake.drop(task)
        self._pool.command("cancel", task, attempt)
        if task.details is not None:
            self._ghosts.append(task)

    def _sweep(self, message: m.Sweep, _: bytes) -> None:
        settings = self._settings
        count = sweep([mark_of(settings.run_id, settings.label, *item) for item in message.items])
        if count:
            self._log.warning("%d processes were left of %s, and were ended", count, message.items)

    def _lay_ghosts(self) -> None:
        """Tells of cancelled attempts that ended: what they had is free."""
        running = {
            id(task) for worker in self._pool.core.workers.values() if worker.alone for task, _ in worker.held.values()
        }
        ended = [task for task in self._ghosts if id(task) not in running]
        if ended:
            self._ghosts = [task for task in self._ghosts if id(task) in running]
            self._dealer.send(m.Returned([(task.id, task.attempt) for task in ended]))

    def _recall(self, message: m.Recall, _: bytes) -> None:
        self._pool.give_back(message.count, self._returned)

    def _returned(self, tasks: Iterable[Attempt]) -> None:
        items: list[AttemptId] = [(task.id, task.attempt) for task in tasks]
        for item in items:
            self.outbox.drop(*item)
        self._dealer.send(m.Returned(items))

    def _drain(self, message: m.Drain, _: bytes) -> None:
        if self._draining:
            return
        self._draining = message.reason
        self._log.info("drains: %s", message.reason)
        self._pool.core.paused = True
        half = self._intake.clear()
        for task in half:
            self._dealer.send(m.ChunkTaken(task.id, task.attempt, -1))
        if half:
            self._returned(half)
        self._pool.give_back(sys.maxsize, self._returned)

    def _drain_by_itself(self) -> None:
        if not self._draining:
            reason = f"its drain_period of {self._settings.drain_after_s:g} s is over"
            self._dealer.send(m.Draining(reason))
            self._drain(m.Drain(reason), b"")

    # ------------------------------------------------------------------ outcomes out
    def _send_outcomes(self, message: m.Outcomes | m.BigOutcome, big: Big | None) -> None:
        self._dealer.send(message)
        if big is not None:
            item: OutcomeItem = big.item
            self._sender.add(Outgoing(item[0], item[1], big.total, big.read), time.monotonic(), asks=True)

    def _say_again(self, *_: Any) -> None:
        if self._is_welcome:
            for message, big in self.outbox.all():
                if big is None:
                    self._send_outcomes(message, None)

    def _send_more(self) -> None:
        """What had to wait for room."""
        dealer = self._dealer
        if len(self._sender) and self._is_welcome:
            for chunk, data in self._sender.pump(time.monotonic()):
                dealer.send(chunk, data)
        if dealer.backlog_bytes():
            dealer.flush()

    def _chunk_taken(self, message: m.ChunkTaken, _: bytes) -> None:
        self._sender.taken(message, time.monotonic())

    def _taken(self, message: m.Taken, _: bytes) -> None:
        for big in self.outbox.taken(message.seq):
            self._sender.remove((big.item[0], big.item[1]))
            big.close()
        if self.outbox.bytes < _RELIEF_BYTES:
            self._pool.hold_up(on=False)

    # ------------------------------------------------------------------ time
    def _heartbeat(self, message: m.Heartbeat, _: bytes) -> None:
        """Learns what the interchange's clock shows: a difference that the way there and back explains is none."""
        now_s = time.monotonic()
        way_s = now_s - message.sent_s
        offset_s = message.now_s - message.sent_s - way_s / 2
        self.outbox.offset_s = 0.0 if abs(offset_s) <= max(way_s, 0.001) else offset_s

    def _beat(self, now_s: float) -> None:
        if self._is_welcome and now_s >= self._beat_s:
            self._beat_s = now_s + self._period_s
            self._dealer.send(m.Heartbeat(now_s))

    def _look(self, due_s: float) -> None:
        now_s = time.monotonic()
        late_s = now_s - due_s
        if late_s > self._threshold_s / 8:  # we were stopped, rather than the interchange silent
            self._heard_s += late_s
            self._asked_s += late_s
        if now_s - self._heard_s > self._threshold_s:
            self._end(f"nothing was heard of the interchange for {now_s - self._heard_s:.1f} s", 1)
            return
        if not self._is_welcome and now_s - self._asked_s > max(5.0, self._threshold_s / 3):
            self._register()
        self._beat(now_s)
        wait_s = min(_LOOK_S[1], self._period_s / 2) if self._period_s else _LOOK_S[0]
        self._pool.at(now_s + wait_s, lambda: self._look(now_s + wait_s))

    # ------------------------------------------------------------------ the end
    def _stop(self, message: m.Stop, _: bytes) -> None:
        self._end(f"told to stop: {message.reason}", 0)

    def _leave(self, reason: str, code: int) -> None:
        self._dealer.send(m.Leaving(reason))
        self._end(reason, code)

    def _end(self, reason: str, code: int) -> None:
        self.reason = reason
        self.exit_code = code
        self._pool.stop()
