"""What the interchange tells the driver: outcomes, places, losses, managers that come and go. Used by the link's thread alone."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from plait.executors.htex import messages as m
from plait.executors.htex.outcomes import read_big, read_loss, read_outcomes
from plait.model.events import (
    ATTEMPT_STARTED,
    ATTEMPTS_STARTED,
    MANAGER_ENDED,
    MANAGER_STARTED,
    NOTE,
    WORKER_ENDED,
    WORKER_STARTED,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from plait.errors import ExecutorError
    from plait.executors.base import ExecutorContext, Outcome
    from plait.executors.htex.offers import Offers
    from plait.executors.htex.recovery import Lives
    from plait.executors.htex.stream import Frame

_logger = logging.getLogger("plait")
_Loss = TypeVar("_Loss", m.Lost, m.ManagerGone)


class Hooks:
    """Who wants to know what. Called by the link's thread, so they must not wait for anything. To be inherited."""

    def starting(self) -> None:
        """The interchange was started: a moment in which there is nothing to do."""

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


class Hearing:
    """Takes messages.

    Args:
        label: of the executor.
        context: where events go.
        offers: what was given away.
        lives: of the interchange.
        hooks: who wants to know.

    Attributes:
        managers: those that are connected, by name.
        slots: their workers.
        busy_s: for each, when it last got or did something.
        pulls: attempts whose segments are wanted.
        taken: the number up to which outcomes are to be acknowledged; 0 for none.
        unsaid: outcomes that were not acknowledged yet.
        answers: who waits for the answer to which question.
    """

    def __init__(self, label: str, context: ExecutorContext, offers: Offers, lives: Lives, hooks: Hooks) -> None:
        self.managers: dict[str, m.ManagerUp] = {}
        self.slots = 0
        self.busy_s: dict[str, float] = {}
        self.pulls: deque[m.AttemptId] = deque()
        self.taken = 0
        self.unsaid = 0
        self.answers: dict[int, tuple[threading.Event, list[bytes]]] = {}
        self._label = label
        self._emit = context.emit
        self._offers = offers
        self._lives = lives
        self._hooks = hooks
        self._workers: dict[str, dict[int, int]] = {}  # manager -> its number of a worker -> ours
        self._worker_count = 0
        self._takers: dict[type[m.Message], Callable[[Any, bytes, list[int], list[Outcome]], None]] = {
            m.Placed: self._placed,
            m.Delivered: self._delivered,
            m.BigDelivered: self._big,
            m.Pull: self._pull,
            m.Lost: self._lost,
            m.ManagerUp: self._manager_up,
            m.ManagerGone: self._manager_gone,
            m.Listening: self._listening,
            m.Broken: self._broken,
            m.Warn: self._warn,
            m.Answer: self._answer,
        }

    def take(self, frames: list[Frame], outcomes: list[Outcome]) -> None:
        """Takes what came; what became of tasks is appended to ``outcomes``."""
        takers = self._takers
        for message, payload, fds in frames:
            takers[type(message)](message, payload, fds, outcomes)

    def placed(self, message: m.Placed) -> None:
        """These attempts are about to be sent to a manager, or are there already."""
        self._lives.did_something()
        self._offers.placed(message.manager, message.items)
        if not message.manager:
            return
        now_s = self.busy_s[message.manager] = time.monotonic()
        emit = self._emit
        if emit is None:
            return
        wishes = self._offers.wishes.of
        if wishes and not wishes.keys().isdisjoint(number for number, _ in message.items):
            self._say_started(message, now_s)
            return
        first = [number for number, attempt in message.items if attempt == 1]
        if first:
            emit((ATTEMPTS_STARTED, now_s, self._label, -1, first, message.manager))
        if len(first) < len(message.items):
            for number, attempt in message.items:
                if attempt != 1:
                    emit((ATTEMPT_STARTED, now_s, number, attempt, self._label, -1, message.manager))

    def _say_started(self, message: m.Placed, now_s: float) -> None:
        """As `placed`, where some ask for cores of their own."""
        if self._emit is None:
            return
        manager = self.managers.get(message.manager)
        of = self._offers.wishes.of
        first: dict[float, list[int]] = {}
        for number, attempt in message.items:
            shape = of.get(number)
            cores = 0.0 if shape is None else shape.cores
            if shape is not None and shape.nodes:
                cores = shape.nodes * (manager.cores if manager is not None else shape.cores)
            if attempt == 1:
                first.setdefault(cores, []).append(number)
            else:
                self._emit((ATTEMPT_STARTED, now_s, number, attempt, self._label, -1, message.manager, cores))
        for cores, numbers in first.items():
            self._emit((ATTEMPTS_STARTED, now_s, self._label, -1, numbers, message.manager, cores))

    def forget_life(self) -> None:
        """Another life of the interchange begins: it wants and acknowledges by itself."""
        self.pulls.clear()
        self.taken = self.unsaid = 0

    def give_up_answers(self) -> None:
        """Nobody will answer any more what was asked."""
        for came, _ in list(self.answers.values()):
            came.set()
        self.answers.clear()

    def idle_blocks(self) -> dict[str, float]:
        """For each connected block without tasks: since how many seconds it has had none. From any thread."""
        now_s = time.monotonic()
        busy_s: dict[str, float] = {}
        for name, manager in list(self.managers.items()):
            last_s = now_s if self._offers.counts.get(name) else self.busy_s.get(name, now_s)
            busy_s[manager.block] = max(busy_s.get(manager.block, 0.0), last_s)
        return {block: now_s - last_s for block, last_s in busy_s.items() if last_s < now_s}

    def note(self, text: str) -> None:
        """Tells people."""
        _logger.warning("executor %r: %s", self._label, text)
        if self._emit is not None:
            self._emit((NOTE, time.monotonic(), f"executor {self._label!r}: {text}"))

    # ------------------------------------------------------------------ tasks
    def _placed(self, message: m.Placed, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        self.placed(message)

    def _delivered(self, message: m.Delivered, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds
        self.taken = message.seq
        self.unsaid += len(message.items)
        self.busy_s[message.manager] = time.monotonic()
        numbers = self._workers.setdefault(message.manager, {})

        def number_of(worker: int) -> int:
            number = numbers.get(worker)
            return self._new_worker(numbers, worker) if number is None else number

        read_outcomes(message.manager, message.items, self._offers, number_of, outcomes)

    def _big(self, message: m.BigDelivered, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        self.taken = message.seq
        self.unsaid += 1
        self.busy_s[message.manager] = time.monotonic()
        number, attempt, *_rest, worker = message.item
        task = self._offers.take(number, attempt)
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
        if self._emit is not None:
            self._emit((WORKER_STARTED, time.monotonic(), self._label, number, 0))
        return number

    def _pull(self, message: m.Pull, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        self.pulls.extend(message.items)

    def _lost(self, message: m.Lost, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds
        message = self._with_place(message)
        for number, attempt in message.items:
            task = self._offers.take(number, attempt)
            if task is not None:
                outcomes.append(read_loss(task, attempt, message))

    # ------------------------------------------------------------------ managers
    def _manager_up(self, message: m.ManagerUp, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        self._lives.did_something()
        known = message.manager in self.managers
        self.managers[message.manager] = message
        self._count()
        if not known:
            now_s = self.busy_s[message.manager] = time.monotonic()
            if self._emit is not None:
                self._emit((MANAGER_STARTED, now_s, self._label, message.manager, message.block, message.hostname, message.pid,
                            message.workers, message.cores * message.nodes))  # fmt: skip
        self._hooks.manager_up(message)

    def _manager_gone(self, message: m.ManagerGone, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        now_s = time.monotonic()
        message = self._with_place(message)
        self.managers.pop(message.manager, None)
        self.busy_s.pop(message.manager, None)
        self._offers.forget(message.manager)
        self._count()
        workers = self._workers.pop(message.manager, {})
        if self._emit is not None:
            self._emit((MANAGER_ENDED, now_s, self._label, message.manager, message.how, message.reason))
            for number in workers.values():
                why = f"its manager is gone: {message.reason or message.how}"
                self._emit((WORKER_ENDED, now_s, self._label, number, why))
        if message.how == "lost":  # of one that was refused a warning has told
            _logger.warning("executor %r: manager %s on %s (block %s) was lost: %s", self._label, message.manager, message.hostname,
                            message.block, message.reason)  # fmt: skip
        self._hooks.manager_gone(message)

    def _with_place(self, message: _Loss) -> _Loss:
        """A life of the interchange that a manager never came to knows nothing but its name; we know where it was."""
        up = self.managers.get(message.manager)
        if up is None or message.hostname:
            return message
        return msgspec.structs.replace(message, block=up.block, hostname=up.hostname)

    def _count(self) -> None:
        self.slots = sum(manager.workers for manager in self.managers.values())

    # ------------------------------------------------------------------ the interchange itself
    def _listening(self, message: m.Listening, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        first = not self._lives.ever_listened
        self._lives.listens(message)
        if first:
            self._hooks.listening(message.addresses, message.port)

    def _broken(self, message: m.Broken, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        self._lives.cannot = message.reason

    def _warn(self, message: m.Warn, _: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        self.note(message.text)

    def _answer(self, message: m.Answer, payload: bytes, fds: list[int], outcomes: list[Outcome]) -> None:
        del fds, outcomes
        came, answer = self.answers.pop(message.number, (None, None))
        if came is not None and answer is not None:
            answer.append(payload)
            came.set()


def read_answer(answer: list[bytes]) -> Any:
    """What the interchange answered; None when it did not, or not in JSON."""
    try:
        return msgspec.json.decode(answer[0]) if answer else None
    except msgspec.DecodeError:
        return None
