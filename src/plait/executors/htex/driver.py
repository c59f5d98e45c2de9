"""The driver's end: its thread, between callers and the interchange's process.

```
callers ──queue, commands──▶ I/O thread ──Offer, Data, Cancel, Taken …──▶ interchange ──▶ managers
   ▲                            │    ▲
   └────────outcomes────────────┘    └──Placed, Delivered, Pull, Lost …── interchange
```

Callers append to the queue of `offers.Offers` and leave everything else in `_commands`; only the I/O thread (or whoever holds its lock while it
sleeps, see `nudge`) touches anything else. The thread sleeps in one poll(2), and a caller wakes it only when it sleeps.

When the interchange dies, its end of the socket closes. What it had said before is read, and another is started on the same port with the same keys
(`recovery`): managers find it again by themselves and say what they hold. It is offered everything that has no outcome once more (`Offers.again`).
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

from plait.errors import BadMessage, ExecutorError, InterchangeLost, SerializationError, text_of
from plait.executors.base import ERROR
from plait.executors.htex import messages as m
from plait.executors.htex.hearing import Hearing, Hooks, read_answer
from plait.executors.htex.offers import Offers, batches
from plait.executors.htex.places import Ring, ring_file
from plait.executors.htex.recovery import START_S, Lives
from plait.executors.pool.core import is_plain
from plait.executors.turn import HandedOver, Turn
from plait.limits import GRACE_S, SHUTDOWN_S
from plait.model.events import INTERCHANGE_LOST, NOTE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plait.executors.base import ExecutorContext, Outcome
    from plait.executors.htex.settings import InterchangeSettings
    from plait.model.task import Task

_logger = logging.getLogger("plait")

#: Bytes that may wait for the socket before nothing more is offered.
_MAX_PENDING: Final = 1 << 20
#: Tasks without a place, beyond two for each worker, that are plenty.
_PLENTY: Final = 64
#: Seconds for which the thread gathers tasks before it sends them, while the interchange has plenty.
_GATHER_S: Final = 0.001
#: Outcomes, and seconds, after which they are acknowledged at the latest; each acknowledgement wakes two processes.
_UNSAID: Final = 256
_UNSAID_S: Final = 0.02
#: Seconds between two looks at places, while there are tasks without one, or were a moment ago.
_PLACES_S: Final = 0.1
#: Looks without anything new after which it sleeps until it is woken.
_QUIET: Final = 10
#: Seconds between two hints that there are more tasks than workers.
_PRESSED_S: Final = 0.2
#: Attempts in one message.
_MAX_IDS: Final = 8192

_live: weakref.WeakSet[DriverLink] = weakref.WeakSet()


class DriverLink:
    """The link to a running interchange.

    Args:
        settings: makes the interchange's settings; called by the I/O thread, so that it may take its time.
        command: tokens that start the interchange; empty for plait's own.
        label: of the executor.
        context: where outcomes and events go.
        hooks: who wants to know of managers and the end.

    Attributes:
        offers: what waits and what was given away.
        hearing: what the interchange told.
        lives: of the interchange.
        broken: why nothing more is run, if so.
        sleeping: whether the I/O thread must be woken for what is appended to the queue.
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
        self.lives = Lives(settings, command)
        self.hearing = Hearing(label, context, self.offers, self.lives, hooks)
        self.broken: ExecutorError | None = None
        self.sleeping = False
        self._label = label
        self._context = context
        self._hooks = hooks
        self._numbers: dict[bytes, int] = {}  # digest of a function -> its number
        self._sent: set[int] = set()  # numbers that this life of the interchange knows
        self._questions = 0
        self._commands: deque[tuple[str, Any, Any]] = deque()
        self._ring: Ring | None = None  # where this life of the interchange writes places down
        self._quiet = 0  # looks in a row that found nothing
        self._deep = False  # it sleeps without a limit: nobody looks at places
        self._gathered = False  # nothing came while it waited for more
        self._say_by_s: float | None = None  # when outcomes are to be acknowledged
        self._pressed_s = 0.0  # when somebody was told that there are more tasks than workers
        self._begun = self._stopping = self._done = False
        self._closed = False
        self._ended_thread = threading.Event()
        self._close_once = threading.Lock()
        self._poll = select.poll()
        self._registered: tuple[int, int] | None = None  # descriptor and events, as the poll knows them
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self._poll.register(self._wake_r, select.POLLIN)
        # held by the I/O thread except while it sleeps, and by a caller that sends for it meanwhile
        self._io = threading.RLock()
        self._turn = Turn(f"plait-htex-{label}", self._run, self._io)
        self._turn.start()
        _live.add(self)

    # ------------------------------------------------------------------ called from any thread
    def submit(self, task: Task) -> None:
        """A task that is ready, with its payload."""
        if is_plain(task):
            self.offers.queue.append(task)
            if self.sleeping:
                self.nudge()
        else:
            self._commands.append(("special", task, None))
            if self.sleeping:
                self.wake()

    def command(self, what: str, subject: Any = None, detail: Any = None) -> None:
        """Leaves a request for the I/O thread."""
        self._commands.append((what, subject, detail))
        self.wake()

    def nudge(self) -> None:
        """Has a task that was just queued looked at: sends it from this thread when workers are idle, else wakes the I/O thread."""
        io = self._io
        if len(self.offers.held) < self.hearing.slots and not self._commands and not io._is_owned():  # type: ignore[attr-defined] # noqa: SLF001 - a signal handler in the middle of this
            try:
                child = self.lives.child
                if io.acquire(blocking=False) and self.sleeping and child is not None and not self._done:
                    self._pump()
                    if not (self.offers.queue or child.stream.pending or self._deep):
                        return
            except (
                BaseException
            ):  # a Ctrl-C in the middle of a message: another life of the interchange gets everything anew
                self.command("restart")
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

    def ask(self, what: str, timeout_s: float) -> Any:
        """The interchange's answer to a question of `messages.Query`; None when it does not come in time."""
        if self._turn.is_mine or self.broken is not None:
            return None
        came, answer = threading.Event(), list[bytes]()
        self.command("ask", what, (came, answer))
        came.wait(timeout_s)
        return read_answer(answer)

    def shutdown(self, timeout_s: float = SHUTDOWN_S) -> None:
        """Has the interchange end the managers and itself, and ends the thread. Continues where an interrupted call left off."""
        if self._closed:
            return
        deadline_s = time.monotonic() + timeout_s
        self.command("shutdown")
        here = self._turn.is_mine
        if here:  # a callback of the user's: the thread cannot end before it returns
            self._begin_to_stop()
        else:  # not Thread.join: interrupted by a Ctrl-C, it takes a thread that runs for one that has ended
            self._ended_thread.wait(max(0.05, timeout_s - GRACE_S / 2))
        child = self.lives.child
        if child is not None:
            child.how_it_ended(max(0.05, deadline_s - time.monotonic() - GRACE_S / 2))
        if not here:
            self._ended_thread.wait(GRACE_S / 2)
        self._closed = True
        if self._ended_thread.is_set() and self._turn.thread is not None:
            self._turn.thread.join(1.0)
            self._close()
        else:
            self.wake()  # what holds the thread up is over some time; it closes what is open at its end

    # ------------------------------------------------------------------ the thread
    def _run(self) -> None:
        self._io.acquire()
        try:
            if not self._begun:
                self._begun = True
                self._start()
            while not self._done:
                outcomes: list[Outcome] = []
                self._obey(outcomes)
                self._pump()
                if outcomes:
                    self._deliver(outcomes)
                elif not self._done:
                    self._wait()
        except HandedOver:
            raise
        except BaseException as error:
            _logger.exception("the I/O thread of executor %r failed", self._label)
            self._give_up(
                ExecutorError(self._label, f"its I/O thread failed: {type(error).__name__}: {text_of(error)}")
            )
        finally:
            if self._turn.is_mine:
                self.sleeping = False
                self._done = True
                self.hearing.give_up_answers()
                self._ended_thread.set()
                if self._closed:  # shutdown could not wait for this thread
                    self._close()

    def _give_up(self, error: ExecutorError) -> None:
        """After a failure of this thread: ends every task that it has, and those that others are about to leave here."""
        if self.lives.child is not None:
            self.lives.child.kill()
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
        offers, lives = self.offers, self.lives
        self._watch()
        can_offer = not (self._is_full() or self._stopping)
        gathers = can_offer and not self._gathered and len(offers.unplaced) > _PLENTY + 2 * self.hearing.slots
        if not gathers:
            self.sleeping = True
        if self._commands or (not gathers and can_offer and offers.has_next()):  # somebody came between the two lines
            self.sleeping = False
            return
        # while it has plenty, a batch of many saves more than what a task gains by being sent at once
        timeout_s = _GATHER_S if gathers else self._until_next()
        self._io.release()
        try:
            ready = self._poll.poll(None if timeout_s is None else timeout_s * 1000)
        finally:
            self._io.acquire()
        self.sleeping = self._deep = False
        self._quiet = 0 if ready else self._quiet + 1
        self._gathered = gathers and not ready and not offers.queue  # nobody submits: no need to look again soon
        outcomes: list[Outcome] = []
        for fd, events in ready:
            if fd == self._wake_r:
                try:
                    os.read(fd, 4096)
                except BlockingIOError:
                    pass
            elif lives.child is not None and fd == lives.child.stream.fileno():
                if events & select.POLLOUT:
                    lives.child.stream.flush()
                if events & ~select.POLLOUT:
                    self._read(outcomes)
        if not ready:
            self._look_at_places()
        if lives.is_late():
            self._too_late(outcomes)
        self._deliver(outcomes)

    def _until_next(self) -> float | None:
        due_s = [at_s for at_s in (self.lives.deadline_s, self._say_by_s) if at_s is not None]
        wait_s = max(0.0, min(due_s) - time.monotonic()) if due_s else None
        if self._ring is not None and (self.offers.unplaced or self._quiet < _QUIET):
            return _PLACES_S if wait_s is None else min(wait_s, _PLACES_S)
        self._deep = True
        return wait_s

    def _watch(self) -> None:
        """Has the poll look at the socket of the present life, and at room in it when something waits for that."""
        wanted: tuple[int, int] | None = None
        child = self.lives.child
        if child is not None:
            stream = child.stream
            wanted = stream.fileno(), select.POLLIN | (select.POLLOUT if stream.pending else 0)
        if wanted == self._registered:
            return
        if self._registered is not None and (wanted is None or wanted[0] != self._registered[0]):
            self._poll.unregister(self._registered[0])
        if wanted is not None:
            self._poll.register(*wanted)
        self._registered = wanted

    def _deliver(self, outcomes: list[Outcome]) -> None:
        if outcomes:
            self._turn.call(self._context.deliver, outcomes)
        hearing = self.hearing
        if not hearing.taken:
            return
        now_s = time.monotonic()
        if hearing.unsaid >= _UNSAID or (self._say_by_s is not None and now_s >= self._say_by_s):
            self._acknowledge()
        elif self._say_by_s is None:
            self._say_by_s = now_s + _UNSAID_S

    def _acknowledge(self) -> None:
        hearing = self.hearing
        self._say_by_s = None
        if hearing.taken:
            self._send(m.Taken(hearing.taken))
            hearing.taken = hearing.unsaid = 0

    def _obey(self, outcomes: list[Outcome]) -> None:
        cancels: list[m.AttemptId] = []
        while self._commands:
            what, subject, detail = self._commands.popleft()
            if what == "special":
                self.offers.add_special(subject)
            elif what == "cancel":
                if self.offers.take(subject.id, detail) is not None:
                    cancels.append((subject.id, detail))
            elif what == "tell":
                self.lives.tell(subject)
            elif what == "ask":
                self._questions += 1
                self.hearing.answers[self._questions] = detail
                self._send(m.Query(self._questions, subject))
            elif what == "fail":
                self._fail(subject, detail, outcomes)
            elif what == "restart" and self.lives.child is not None and not self._stopping:
                self.lives.child.kill()  # its end of the socket closes, and the rest follows
            elif what == "break":
                self._break(subject, outcomes)
            elif what == "shutdown":
                self._begin_to_stop()
        for start in range(0, len(cancels), _MAX_IDS):
            self._send(m.Cancel(cancels[start : start + _MAX_IDS]))
        if self.broken is not None:
            self._refuse_all(outcomes)

    # ------------------------------------------------------------------ sending
    def _send(self, message: m.Message, payload: bytes = b"") -> None:
        child = self.lives.child
        if child is not None:
            child.stream.send(message, payload)

    def _is_full(self) -> bool:
        child = self.lives.child
        return child is None or child.stream.pending > _MAX_PENDING

    def _pump(self) -> None:
        """Offers what there is, as far as there is room."""
        child = self.lives.child
        if child is None or self._stopping:
            return
        stream, offers, pulls = child.stream, self.offers, self.hearing.pulls
        while stream.pending <= _MAX_PENDING:
            if pulls:
                self._serve(pulls.popleft())
                continue
            items = offers.next_batch()
            if items:
                stream.send(m.Offer(items))
            elif not offers.has_next():
                break
        if len(offers.held) > self.hearing.slots:
            now_s = time.monotonic()
            if now_s >= self._pressed_s + _PRESSED_S:
                self._pressed_s = now_s
                self._hooks.pressed()

    def _serve(self, wanted: m.AttemptId) -> None:
        """Sends the segments of a task."""
        number, attempt = wanted
        task = self.offers.held.get(number)
        payload = task.payload if task is not None else None
        if task is None or task.attempt != attempt or payload is None or self.lives.child is None:
            return  # cancelled: the interchange has been told, or will be
        try:
            fd = payload.file()
        except (OSError, MemoryError) as error:
            reason = f"{type(error).__name__}: {error}"
            self._commands.append(("fail", wanted, SerializationError(f"the arguments of {task}", reason)))
            return
        self.lives.child.stream.send(m.Data(number, attempt), b"", [fd])

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
    def _read(self, outcomes: list[Outcome]) -> None:
        """Takes what the interchange sent."""
        child = self.lives.child
        if child is None:
            return
        try:
            frames = child.stream.receive()
        except BadMessage as error:
            child.kill()
            self._lost(outcomes, f"it sent what cannot be read ({error})")
            return
        self._look_at_places()  # first: what came may be about tasks that got their places just before
        if frames is None:
            self._lost(outcomes)
        else:
            self.hearing.take(frames, outcomes)

    def _look_at_places(self) -> None:
        if self._ring is not None:
            for message in self._ring.noted():
                self.hearing.placed(message)

    # ------------------------------------------------------------------ lives of the interchange
    def _start(self) -> None:
        """Starts the interchange; after a death with everything that is unfinished."""
        hearing, lives = self.hearing, self.lives
        self._sent.clear()
        self._say_by_s = None
        hearing.forget_life()
        try:
            lives.start(hearing.managers)
        except Exception as error:  # noqa: BLE001 - a missing library, no program, no memory: whatever it is, nothing can run
            if lives.puts_off(error):
                if lives.put_off == 1:
                    hearing.note(
                        f"the interchange cannot be started now, which is tried again for a while: {text_of(error)}"
                    )
                return
            outcomes: list[Outcome] = []
            if not isinstance(error, ExecutorError):
                error = ExecutorError(self._label, f"{type(error).__name__}: {text_of(error)}")
            self._break(error, outcomes)
            self._deliver(outcomes)
            return
        self._ring = self._new_ring()
        for manager, items in self.offers.again(set(hearing.managers))[0].items():
            for batch in batches(items):
                self._send(m.OfferAgain(manager, list(batch)))
        if not lives.deaths:
            self._hooks.starting()

    def _new_ring(self) -> Ring | None:
        """Where the new life is to write places down; without one it sends them."""
        try:
            fd = ring_file()
            ring = Ring(fd)
        except (OSError, ValueError):
            return None
        assert self.lives.child is not None  # noqa: S101 - it was just started
        self.lives.child.stream.send(m.Places(), b"", [fd])
        return ring

    def _forget_ring(self) -> None:
        ring, self._ring = self._ring, None
        if ring is not None:
            ring.close()

    def _too_late(self, outcomes: list[Outcome]) -> None:
        """The time is over: for the next start, or for the one that was to listen by now."""
        lives = self.lives
        lives.deadline_s = None
        if lives.child is None:
            if self.broken is None and not self._stopping:
                self._start()
        elif not lives.listening:
            lives.child.kill()
            self._lost(outcomes, f"it did not listen within {START_S:g} s")

    def _lost(self, outcomes: list[Outcome], why: str = "") -> None:
        """The interchange is gone, and everything that it had said has been taken."""
        lives = self.lives
        if self._registered is not None:
            self._poll.unregister(self._registered[0])
            self._registered = None
        reason = lives.end(why)
        self._look_at_places()
        self._forget_ring()
        self.hearing.give_up_answers()
        if self._stopping:
            self._done = True
            return
        if self._context.emit is not None:
            self._context.emit((INTERCHANGE_LOST, time.monotonic(), self._label, reason))
        verdict = lives.verdict()
        if verdict:
            self._break(InterchangeLost(self._label, f"{verdict}: {reason}"), outcomes)
            return
        self.hearing.note(f"the interchange ended ({reason}); it is started again")
        if lives.deadline_s is None:
            self._start()

    def _begin_to_stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        child = self.lives.child
        self.lives.deadline_s = self._say_by_s = None
        if child is None:
            self._done = True
        else:
            child.stream.send(m.Stop("the run is over"))
            child.stream.flush()

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
        held = [(task.id, task.attempt) for task in offers.held.values()]
        for which in held:
            task = offers.take(*which)
            if task is not None:
                outcomes.append((task, which[1], ERROR, self.broken, 0.0, 0.0, -1))
        for start in range(0, len(held), _MAX_IDS):
            self._send(m.Cancel(held[start : start + _MAX_IDS]))

    # ------------------------------------------------------------------ the end
    def _close(self) -> None:
        """Closes everything that is open; the thread has ended, or ends with this."""
        if not self._close_once.acquire(blocking=False):
            return
        _live.discard(self)
        if self.lives.child is not None:
            self.lives.child.close()
        self._forget_ring()
        for fd in (self._wake_r, self._wake_w):
            os.close(fd)

    def forget(self) -> None:
        """In a process that user code forked from the driver: the socket is the driver's; here it is closed."""
        if self.lives.child is not None:
            self.lives.child.stream.close()
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
