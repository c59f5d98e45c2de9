"""The driver's end: its thread, between callers and the interchange's process.

```
callers ──queue, commands──▶ I/O thread ──Offer, Data, Cancel, Taken …──▶ interchange ──▶ managers
   ▲                            │    ▲
   └────────outcomes────────────┘    └──Placed, Delivered, Pull, Lost …── interchange
```

Callers append to the queue of `offers.Offers` and leave everything else in `_commands`; only the I/O thread (or whoever holds its lock while it
sleeps, see `nudge`) touches anything else. The thread sleeps in one poll(2), and a caller wakes it only when it sleeps.

When the interchange dies, its end of the socket closes. What it had said before is read, and another is started on the same port with the same keys:
managers find it again by themselves and say what they hold. It is offered everything that has no outcome once more (`offers.Offers.again`).
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait.errors import (
    BadMessage,
    ExecutorError,
    InterchangeLost,
    InvalidResourceSpecification,
    SerializationError,
    text_of,
)
from plait.executors.base import ERROR
from plait.executors.htex import messages as m
from plait.executors.htex.child import Child
from plait.executors.htex.offers import Offers, batches
from plait.executors.htex.outcomes import read_big, read_loss, read_outcomes
from plait.executors.pool.core import is_plain
from plait.ids import new_run_id
from plait.limits import GRACE_S, SHUTDOWN_S
from plait.model.events import (
    ATTEMPT_STARTED,
    ATTEMPTS_STARTED,
    INTERCHANGE_LOST,
    MANAGER_ENDED,
    MANAGER_STARTED,
    NOTE,
    WORKER_ENDED,
    WORKER_STARTED,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plait.executors.base import ExecutorContext, Outcome
    from plait.executors.htex.settings import InterchangeSettings
    from plait.model.task import Task

_logger = logging.getLogger("plait")

#: Deaths of the interchange in a row, without anything done in between, after which it is given up.
MAX_DEATHS: Final = 3
#: Seconds in which it must be listening.
START_S: Final = 60.0
#: Seconds between a death and the next start, times the deaths in a row before it.
_PAUSE_S: Final = 0.2
#: Bytes that may wait for the socket before nothing more is offered.
_MAX_PENDING: Final = 1 << 20
#: Seconds for which the thread gathers tasks before it sends them, while the interchange has plenty.
_GATHER_S: Final = 0.001
#: Tasks without a place, beyond two for each worker, that are plenty.
_PLENTY: Final = 64
#: Seconds between two hints that there are more tasks than workers.
_PRESSED_S: Final = 0.2
#: Attempts in one message.
_MAX_IDS: Final = 8192

_live: weakref.WeakSet[DriverLink] = weakref.WeakSet()


class Hooks:
    """Who wants to know what. Called by the I/O thread, so they must not wait for anything. To be inherited."""

    def listening(self, addresses: list[str], port: int) -> None:
        """Managers may be started; told once."""

    def manager_up(self, manager: m.ManagerUp) -> None:
        """A manager registered."""

    def manager_gone(self, manager: m.ManagerGone) -> None:
        """A manager is no more."""

    def pressed(self) -> None:
        """There are more tasks than workers."""

    def broken(self, error: ExecutorError) -> None:
        """Nothing more will be run."""


class DriverLink:
    """The link to a running interchange.

    Args:
        settings: makes the interchange's settings; called by the I/O thread, so that it may take its time.
        command: tokens that start the interchange; empty for plait's own.
        label: of the executor.
        context: where outcomes and events go.
        hooks: who wants to know.

    Attributes:
        offers: what waits and what was given away.
        managers: those that are connected, by name.
        broken: why nothing more is run, if so.
        sleeping: whether the I/O thread must be woken for what is appended to the queue.
        deaths: how often the interchange died.
    """

    def __init__(
        self,
        settings: Callable[[], InterchangeSettings],
        command: Sequence[str],
        label: str,
        context: ExecutorContext,
        hooks: Hooks,
    ) -> None:
        self.offers = Offers(self._function)
        self.managers: dict[str, m.ManagerUp] = {}
        self.broken: ExecutorError | None = None
        self.sleeping = False
        self.deaths = 0
        self._make_settings = settings
        self._settings: InterchangeSettings | None = None
        self._command = command
        self._label = label
        self._context = context
        self._hooks = hooks
        self._child: Child | None = None
        self._registered: tuple[int, int] | None = None  # descriptor and events, as the poll knows them
        self._listening = False
        self._was_listening = False
        self._deaths_in_row = 0
        self._deadline_s: float | None = None  # by which it must listen, or at which the next is started
        self._cannot = ""  # what it said itself about why it cannot work
        self._numbers: dict[bytes, int] = {}  # digest of a function -> its number
        self._sent: set[int] = set()  # numbers that this life of the interchange knows
        self._keys: dict[str, str] = {}  # block -> public key
        self._held_names: set[str] = set()
        self._drains: dict[str, str] = {}
        self._workers: dict[str, dict[int, int]] = {}  # manager -> its number of a worker -> ours
        self._worker_count = 0
        self._busy_s: dict[str, float] = {}  # manager -> when it last got or did something
        self._pressed_s = 0.0  # when somebody was told that there are more tasks than workers
        self._slots = 0
        self._pulls: deque[m.AttemptId] = deque()
        self._taken = 0  # what has to be acknowledged
        self._gathered = False  # nothing came while it waited for more
        self._answers: dict[int, tuple[threading.Event, list[bytes]]] = {}
        self._questions = 0
        self._commands: deque[tuple[str, Any, Any]] = deque()
        self._stopping = False
        self._done = False
        self._closed = False
        self._ended_thread = threading.Event()
        self._close_once = threading.Lock()
        self._poll = select.poll()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self._poll.register(self._wake_r, select.POLLIN)
        self._takers: dict[type[m.Message], Callable[[Any, bytes, list[int], list[Outcome]], None]] = {
            m.Placed: self._on_placed,
            m.Delivered: self._on_delivered,
            m.BigDelivered: self._on_big,
            m.Pull: self._on_pull,
            m.Lost: self._on_lost,
            m.Impossible: self._on_impossible,
            m.ManagerUp: self._on_manager_up,
            m.ManagerGone: self._on_manager_gone,
            m.Listening: self._on_listening,
            m.Broken: self._on_broken,
            m.Warn: self._on_warn,
            m.Answer: self._on_answer,
        }
        # held by the I/O thread except while it sleeps, and by a caller that sends for it meanwhile
        self._io = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"plait-htex-{label}", daemon=True)
        self._thread.start()
        _live.add(self)

    # ------------------------------------------------------------------ called from any thread
    def submit(self, task: Task) -> None:
        """A task that is ready, with its payload."""
        if is_plain(task):
            self.offers.queue.append(task)
            if self.sleeping:
                self.nudge()
        else:
            self.command("special", task)

    def command(self, what: str, subject: Any = None, detail: Any = None) -> None:
        """Leaves a request for the I/O thread."""
        self._commands.append((what, subject, detail))
        self.wake()

    def nudge(self) -> None:
        """Has a task that was just queued looked at: sends it from this thread when workers are idle, else wakes the I/O thread."""
        if len(self.offers.held) < self._slots and not self._commands and self._io.acquire(blocking=False):
            try:
                child = self._child
                if self.sleeping and child is not None and not self._done:
                    self._pump()
                    if not self.offers.queue and not child.stream.pending:
                        return
            except (
                BaseException
            ):  # a Ctrl-C in the middle of a message: another life of the interchange gets everything anew
                self.command("restart")
                raise
            finally:
                self._io.release()
        self.wake()

    def wake(self) -> None:
        """Makes the I/O thread look."""
        self.sleeping = False
        try:
            os.write(self._wake_w, b"x")
        except (BlockingIOError, OSError):
            pass  # it is awake, or gone

    def allow(self, block: str, public_key: str) -> None:
        """Managers with that key may connect, as members of the block; an empty key takes that back."""
        self.command("allow", block, public_key)

    def ask(self, what: str, timeout_s: float) -> Any:
        """The interchange's answer to a question of `messages.Query`; None when it does not come in time."""
        if threading.current_thread() is self._thread or self.broken is not None:
            return None
        came, answer = threading.Event(), list[bytes]()
        self.command("ask", what, (came, answer))
        if not came.wait(timeout_s) or not answer:
            return None
        try:
            return msgspec.json.decode(answer[0])
        except msgspec.DecodeError:
            return None

    def idle_blocks(self) -> dict[str, float]:
        """For each connected block without tasks: since how many seconds it has had none."""
        now_s = time.monotonic()
        busy_s: dict[str, float] = {}
        for name, manager in list(self.managers.items()):
            last_s = now_s if self.offers.counts.get(name) else self._busy_s.get(name, now_s)
            busy_s[manager.block] = max(busy_s.get(manager.block, 0.0), last_s)
        return {block: now_s - last_s for block, last_s in busy_s.items() if last_s < now_s}

    @property
    def slots(self) -> int:
        """Workers of all managers that are connected."""
        return self._slots

    def shutdown(self, timeout_s: float = SHUTDOWN_S) -> None:
        """Has the interchange end the managers and itself, and ends the thread. Continues where an interrupted call left off."""
        if self._closed:
            return
        deadline_s = time.monotonic() + timeout_s
        self.command("shutdown")
        here = threading.current_thread() is self._thread
        if here:  # a callback of the user's: the thread cannot end before it returns
            self._begin_to_stop()
        else:  # not Thread.join: interrupted by a Ctrl-C, it takes a thread that runs for one that has ended
            self._ended_thread.wait(max(0.05, timeout_s - GRACE_S / 2))
        child = self._child
        if child is not None:
            child.how_it_ended(max(0.05, deadline_s - time.monotonic() - GRACE_S / 2))
        if not here:
            self._ended_thread.wait(GRACE_S / 2)
        self._closed = True
        if self._ended_thread.is_set():
            self._thread.join(1.0)
            self._close()
        else:
            self.wake()  # what held the thread up is over some time; it closes what is open at its end

    # ------------------------------------------------------------------ the thread
    def _run(self) -> None:
        self._io.acquire()
        try:
            self._start()
            while not self._done:
                outcomes: list[Outcome] = []
                self._obey(outcomes)
                self._pump()
                if outcomes:
                    self._deliver(outcomes)
                elif not self._done:
                    self._wait()
        except BaseException as error:
            _logger.exception("the I/O thread of executor %r failed", self._label)
            self._give_up(
                ExecutorError(self._label, f"its I/O thread failed: {type(error).__name__}: {text_of(error)}")
            )
        finally:
            self.sleeping = False
            self._done = True
            for came, _ in list(self._answers.values()):
                came.set()
            self._ended_thread.set()
            if self._closed:  # shutdown could not wait for this thread
                self._close()

    def _give_up(self, error: ExecutorError) -> None:
        """After a failure of this thread: ends every task that it has, and those that others are about to leave here."""
        if self._child is not None:
            self._child.kill()
        outcomes: list[Outcome] = []
        self._break(error, outcomes)
        while not self._stopping:
            while self._commands:
                what, subject, detail = self._commands.popleft()
                if what == "special":
                    self.offers.add_special(subject)
                elif what == "ask":
                    detail[0].set()
                self._stopping |= what == "shutdown"
            self._refuse_all(outcomes)
            for outcome in outcomes:
                try:
                    self._context.deliver([outcome])
                except Exception:  # noqa: BLE001, S110 - it may be what made the thread fail; it was logged then
                    pass
            outcomes = []
            self.sleeping = True
            if not (self._stopping or self._commands or self.offers.queue):
                select.select([self._wake_r], [], [])
                os.read(self._wake_r, 4096)
            self.sleeping = False

    def _wait(self) -> None:
        """Sleeps until something comes, and takes it."""
        offers = self.offers
        self._watch()
        can_offer = not (self._is_full() or self._stopping)
        timeout_s = None if self._deadline_s is None else max(0.0, self._deadline_s - time.monotonic())
        gathers = can_offer and len(offers.unplaced) > _PLENTY + 2 * self._slots and not self._gathered
        if gathers:  # it has plenty: a batch of many saves more than what a task gains by being sent at once
            timeout_s = _GATHER_S
        else:
            self.sleeping = True
        if self._commands or (not gathers and can_offer and offers.has_next()):  # somebody came between the two lines
            self.sleeping = False
            return
        self._io.release()
        try:
            ready = self._poll.poll(None if timeout_s is None else timeout_s * 1000)
        finally:
            self._io.acquire()
        self.sleeping = False
        self._gathered = gathers and not ready and not offers.queue  # nobody submits: no need to look again soon
        outcomes: list[Outcome] = []
        for fd, events in ready:
            if fd == self._wake_r:
                try:
                    os.read(fd, 4096)
                except BlockingIOError:
                    pass
            elif self._child is not None and fd == self._child.stream.fileno():
                if events & select.POLLOUT:
                    self._child.stream.flush()
                if events & ~select.POLLOUT:
                    self._read(outcomes)
        if self._deadline_s is not None and time.monotonic() >= self._deadline_s:
            self._too_late(outcomes)
        self._deliver(outcomes)

    def _watch(self) -> None:
        """Has the poll look at the socket of the present life, and at room in it when something waits for that."""
        wanted: tuple[int, int] | None = None
        child = self._child
        if child is not None:
            stream = child.stream
            wanted = stream.fileno(), select.POLLIN | (select.POLLOUT if stream.pending else 0)
        if wanted == self._registered:
            return
        if self._registered is not None and (wanted is None or wanted[0] != self._registered[0]):
            self._forget_socket()
        if wanted is not None:
            self._poll.register(*wanted)
        self._registered = wanted

    def _forget_socket(self) -> None:
        if self._registered is not None:
            try:
                self._poll.unregister(self._registered[0])
            except (KeyError, ValueError):
                pass
            self._registered = None

    def _deliver(self, outcomes: list[Outcome]) -> None:
        if outcomes:
            self._context.deliver(outcomes)
        if self._taken and self._child is not None:
            taken, self._taken = self._taken, 0
            self._child.stream.send(m.Taken(taken))

    def _obey(self, outcomes: list[Outcome]) -> None:
        cancels: list[m.AttemptId] = []
        send = self._send
        while self._commands:
            what, subject, detail = self._commands.popleft()
            if what == "special":
                self.offers.add_special(subject)
            elif what == "cancel":
                if self.offers.take(subject.id, detail) is not None:
                    cancels.append((subject.id, detail))
            elif what == "allow":
                if detail:
                    self._keys[subject] = detail
                else:
                    self._keys.pop(subject, None)
                send(m.Allow(subject, detail))
            elif what == "hold":
                (self._held_names.add if detail else self._held_names.discard)(subject)
                send(m.Hold(subject, detail))
            elif what == "drain":
                self._drains[subject] = detail
                send(m.DrainBlock(subject, detail))
            elif what == "ask":
                self._questions += 1
                self._answers[self._questions] = detail
                send(m.Query(self._questions, subject))
            elif what == "fail":
                self._fail(subject, detail, outcomes)
            elif what == "restart" and self._child is not None and not self._stopping:
                self._child.kill()  # its end of the socket closes, and the rest follows
            elif what == "break":
                self._break(subject, outcomes)
            elif what == "shutdown":
                self._begin_to_stop()
        for start in range(0, len(cancels), _MAX_IDS):
            send(m.Cancel(cancels[start : start + _MAX_IDS]))
        if self.broken is not None:
            self._refuse_all(outcomes)

    # ------------------------------------------------------------------ sending
    def _send(self, message: m.Message, payload: bytes = b"") -> None:
        if self._child is not None:
            self._child.stream.send(message, payload)

    def _is_full(self) -> bool:
        return self._child is None or self._child.stream.pending > _MAX_PENDING

    def _pump(self) -> None:
        """Offers what there is, as far as there is room."""
        child = self._child
        if child is None or self._stopping:
            return
        stream, offers = child.stream, self.offers
        while stream.pending <= _MAX_PENDING:
            if self._pulls:
                self._serve(self._pulls.popleft())
                continue
            items = offers.next_batch()
            if not items:
                if not (offers.queue or offers.special) or not offers.has_next():
                    break
                continue  # all of these were cancelled
            stream.send(m.Offer(items))
        if len(offers.held) > self._slots:
            now_s = time.monotonic()
            if now_s >= self._pressed_s + _PRESSED_S:
                self._pressed_s = now_s
                self._hooks.pressed()

    def _serve(self, wanted: m.AttemptId) -> None:
        """Sends the segments of a task."""
        number, attempt = wanted
        task = self.offers.held.get(number)
        payload = task.payload if task is not None else None
        if task is None or task.attempt != attempt or payload is None or self._child is None:
            return  # cancelled: the interchange has been told, or will be
        try:
            fd = payload.file()
        except (OSError, MemoryError) as error:
            reason = f"{type(error).__name__}: {error}"
            self._commands.append(("fail", wanted, SerializationError(f"the arguments of {task}", reason)))
            return
        self._child.stream.send(m.Data(number, attempt), b"", [fd])

    def _fail(self, which: m.AttemptId, error: Exception, outcomes: list[Outcome]) -> None:
        """Ends a task that was offered, but cannot be sent."""
        task = self.offers.take(*which)
        if task is not None:
            self._send(m.Cancel([which]))
            outcomes.append((task, which[1], ERROR, error, 0.0, 0.0, -1))

    def _function(self, task: Task) -> int:
        """The number of a task's function, which is sent first when the interchange does not have it yet."""
        blob = task.app.blob
        number = self._numbers.get(blob.digest)
        if number is None:
            number = self._numbers[blob.digest] = len(self._numbers)
        if number not in self._sent:
            self._sent.add(number)
            self._send(m.Function(number), blob.data)
        return number

    # ------------------------------------------------------------------ receiving
    def _read(self, outcomes: list[Outcome]) -> bool:
        """Takes what the interchange sent; False when there is no more and never will be."""
        child = self._child
        if child is None:
            return False
        try:
            frames = child.stream.receive()
        except BadMessage as error:
            child.kill()
            self._lost_child(outcomes, f"it sent what cannot be read ({error})")
            return False
        if frames is None:
            self._lost_child(outcomes)
            return False
        takers = self._takers
        for message, payload, fds in frames:
            takers[type(message)](message, payload, fds, outcomes)
        return True

    def _on_placed(self, message: m.Placed, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        self._deaths_in_row = 0
        self.offers.placed(message.manager, message.items)
        emit = self._context.emit
        now_s = self._busy_s[message.manager] = time.monotonic()
        if emit is None:
            return
        first = [number for number, attempt in message.items if attempt == 1]
        if first:
            emit((ATTEMPTS_STARTED, now_s, self._label, -1, first, message.manager))
        if len(first) < len(message.items):
            for number, attempt in message.items:
                if attempt != 1:
                    emit((ATTEMPT_STARTED, now_s, number, attempt, self._label, -1, message.manager))

    def _on_delivered(self, message: m.Delivered, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds
        self._deaths_in_row = 0
        self._taken = message.seq
        self._busy_s[message.manager] = time.monotonic()
        numbers = self._workers.setdefault(message.manager, {})

        def number_of(worker: int) -> int:
            number = numbers.get(worker)
            return self._new_worker(numbers, worker) if number is None else number

        read_outcomes(message.manager, message.items, self.offers, number_of, outcomes)

    def _on_big(self, message: m.BigDelivered, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        self._deaths_in_row = 0
        self._taken = message.seq
        self._busy_s[message.manager] = time.monotonic()
        number, attempt, *_rest, worker = message.item
        task = self.offers.take(number, attempt)
        if task is None or not fds:
            for fd in fds:
                os.close(fd)
            return
        numbers = self._workers.setdefault(message.manager, {})
        known = numbers.get(worker)
        worker = self._new_worker(numbers, worker) if known is None else known
        outcomes.append(read_big(task, message.item, message.sizes, fds[0], worker))

    def _new_worker(self, numbers: dict[int, int], worker: int) -> int:
        """A number of the run's own for a worker of a manager, at its first outcome."""
        if worker < 0:
            return -1
        number = numbers[worker] = self._worker_count
        self._worker_count += 1
        if self._context.emit is not None:
            self._context.emit((WORKER_STARTED, time.monotonic(), self._label, number, 0))
        return number

    def _on_pull(self, message: m.Pull, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        self._pulls.extend(message.items)

    def _on_lost(self, message: m.Lost, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds
        for number, attempt in message.items:
            task = self.offers.take(number, attempt)
            if task is not None:
                outcomes.append(read_loss(task, attempt, message))

    def _on_impossible(self, message: m.Impossible, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds
        error = InvalidResourceSpecification({"resources"}, message.reason)
        for number, attempt in message.items:
            task = self.offers.take(number, attempt)
            if task is not None:
                outcomes.append((task, attempt, ERROR, error, 0.0, 0.0, -1))

    def _on_manager_up(self, message: m.ManagerUp, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        known = message.manager in self.managers
        if not known:
            self._busy_s[message.manager] = time.monotonic()
        self.managers[message.manager] = message
        self._count_slots()
        if not known and self._context.emit is not None:
            self._context.emit(
                (
                    MANAGER_STARTED,
                    time.monotonic(),
                    self._label,
                    message.manager,
                    message.block,
                    message.hostname,
                    message.pid,
                    message.workers,
                )
            )
        self._hooks.manager_up(message)

    def _on_manager_gone(self, message: m.ManagerGone, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        now_s = time.monotonic()
        self.managers.pop(message.manager, None)
        self._busy_s.pop(message.manager, None)
        self.offers.forget(message.manager)
        self._count_slots()
        emit = self._context.emit
        if emit is not None:
            emit((MANAGER_ENDED, now_s, self._label, message.manager, message.how, message.reason))
            for number in self._workers.pop(message.manager, {}).values():
                emit(
                    (WORKER_ENDED, now_s, self._label, number, f"its manager is gone: {message.reason or message.how}")
                )
        else:
            self._workers.pop(message.manager, None)
        if message.how in {"lost", "refused"}:
            _logger.warning("executor %r: manager %s on %s (block %s) was %s: %s", self._label, message.manager, message.hostname,
                            message.block, message.how, message.reason)  # fmt: skip
        self._hooks.manager_gone(message)

    def _count_slots(self) -> None:
        self._slots = sum(manager.workers for manager in self.managers.values())

    def _on_listening(self, message: m.Listening, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        self._listening = True
        self._deadline_s = None
        assert self._settings is not None  # noqa: S101 - made before the interchange was started
        self._settings = msgspec.structs.replace(self._settings, port=message.port)
        if not self._was_listening:
            self._was_listening = True
            self._hooks.listening(message.addresses, message.port)

    def _on_broken(self, message: m.Broken, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        self._cannot = message.reason

    def _on_warn(self, message: m.Warn, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        self._note(message.text)

    def _on_answer(self, message: m.Answer, payload: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        came, answer = self._answers.pop(message.number, (None, None))
        if came is not None and answer is not None:
            answer.append(payload)
            came.set()

    def _note(self, text: str) -> None:
        _logger.warning("executor %r: %s", self._label, text)
        if self._context.emit is not None:
            self._context.emit((NOTE, time.monotonic(), f"executor {self._label!r}: {text}"))

    # ------------------------------------------------------------------ lives of the interchange
    def _start(self) -> None:
        """Starts the interchange; after a death with all that it has to know."""
        try:
            if self._settings is None:
                self._settings = self._make_settings()
            settings = msgspec.structs.replace(self._settings, epoch=str(new_run_id()), expected=list(self.managers))
            child = Child(settings, self._command)
        except Exception as error:  # noqa: BLE001 - a missing library, no program, no memory: whatever it is, nothing can run
            outcomes: list[Outcome] = []
            wrapped = (
                error
                if isinstance(error, ExecutorError)
                else ExecutorError(self._label, f"{type(error).__name__}: {text_of(error)}")
            )
            self._break(wrapped, outcomes)
            self._deliver(outcomes)
            return
        self._child = child
        self._listening = False
        self._cannot = ""
        self._deadline_s = time.monotonic() + START_S
        self._sent.clear()
        self._pulls.clear()
        self._taken = 0
        for block, key in self._keys.items():
            self._send(m.Allow(block, key))
        for name in self._held_names:
            self._send(m.Hold(name, on=True))
        for block, reason in self._drains.items():
            self._send(m.DrainBlock(block, reason))
        placed, _ = self.offers.again(set(self.managers))
        for manager, items in placed.items():
            for batch in batches(items):
                self._send(m.OfferAgain(manager, list(batch)))

    def _too_late(self, outcomes: list[Outcome]) -> None:
        """The time is over: for the next start, or for the one that was to listen by now."""
        self._deadline_s = None
        if self._child is None:
            if self.broken is None and not self._stopping:
                self._start()
        elif not self._listening:
            self._child.kill()
            self._lost_child(outcomes, f"it did not listen within {START_S:g} s")

    def _lost_child(self, outcomes: list[Outcome], why: str = "") -> None:
        """The interchange is gone, and everything that it had said has been taken."""
        child = self._child
        if child is None:
            return
        self._forget_socket()
        how = child.how_it_ended()
        child.close()
        self._child = None
        self._deadline_s = None
        for came, _ in self._answers.values():
            came.set()
        self._answers.clear()
        if self._stopping:
            self._done = True
            return
        reason = self._cannot or (f"{why}; {how}" if why else how)
        self.deaths += 1
        self._deaths_in_row += 1
        if self._context.emit is not None:
            self._context.emit((INTERCHANGE_LOST, time.monotonic(), self._label, reason))
        if self._deaths_in_row >= MAX_DEATHS or (self._cannot and not self._was_listening):
            times = f" {self._deaths_in_row} times in a row" if self._deaths_in_row > 1 else ""
            self._break(InterchangeLost(self._label, f"the interchange ended{times}: {reason}"), outcomes)
            return
        self._note(f"the interchange ended ({reason}); it is started again")
        if self._deaths_in_row == 1:
            self._start()
        else:
            self._deadline_s = time.monotonic() + _PAUSE_S * self._deaths_in_row

    def _begin_to_stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._deadline_s = None
        if self._child is None:
            self._done = True
        else:
            self._child.stream.send(m.Stop("the run is over"))
            self._child.stream.flush()

    def _break(self, error: ExecutorError, outcomes: list[Outcome]) -> None:
        if self.broken is None:
            self.broken = error
            if self._context.emit is not None:
                self._context.emit((NOTE, time.monotonic(), str(error)))
            self._refuse_all(outcomes)
            self._hooks.broken(error)

    def _refuse_all(self, outcomes: list[Outcome]) -> None:
        """Gives up everything: nothing more will run."""
        offers = self.offers
        waiting = [*offers.queue, *(entry[3] for entry in offers.special)]
        offers.queue.clear()
        offers.special.clear()
        outcomes.extend((task, task.attempt, ERROR, self.broken, 0.0, 0.0, -1) for task in waiting if task.attempt)
        held = list(offers.held.values())
        for task in held:
            offers.take(task.id, task.attempt)
            outcomes.append((task, task.attempt, ERROR, self.broken, 0.0, 0.0, -1))
        if held:
            self._send(m.Cancel([(task.id, task.attempt) for task in held]))

    # ------------------------------------------------------------------ the end
    def _close(self) -> None:
        """Closes everything that is open; the thread has ended, or ends with this."""
        if not self._close_once.acquire(blocking=False):
            return
        _live.discard(self)
        if self._child is not None:
            self._child.close()
        for fd in (self._wake_r, self._wake_w):
            os.close(fd)

    def forget(self) -> None:
        """In a process that user code forked from the driver: the socket is the driver's; here it is closed."""
        if self._child is not None:
            self._child.stream.close()
        self._closed = True
        self.broken = ExecutorError(
            self._label, "this process was forked from the one that loaded plait; load a kernel of its own here"
        )


def _in_forked_child() -> None:
    for link in list(_live):
        link.forget()
    _live.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
