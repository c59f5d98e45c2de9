"""Tasks on their way from the interchange to a manager's pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait.errors import BadMessage
from plait.executors.htex.messages import Chunk, ChunkTaken, Function, Tasks
from plait.executors.htex.outbox import Attempt, Code, Granted, Stored
from plait.executors.htex.transfers import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.executors.htex.messages import Message
    from plait.executors.pool.link import PoolLink


class Intake:
    """Makes what arrives into attempts, and gives them to the pool when they are whole.

    Args:
        held: attempts that the manager has, by number of the task.
        drop: forgets one of them.
    """

    def __init__(self, held: dict[int, Attempt], drop: Callable[[int, int], object]) -> None:
        self._held = held
        self._drop = drop
        self._send: Callable[[Message], object]
        self._pool: PoolLink
        self._functions: dict[int, Code] = {}
        self._receiver = Receiver()

    def attach(self, pool: PoolLink, send: Callable[[Message], object]) -> None:
        """Tells it whom tasks are for, and how to answer the interchange."""
        self._pool = pool
        self._send = send

    def function(self, message: Function, payload: bytes) -> None:
        """A function; the driver gives a number once."""
        if message.number not in self._functions:
            self._functions[message.number] = Code(message.number, payload)

    def tasks(self, message: Tasks, _: bytes) -> None:
        """Attempts to run, or announced, if their arguments follow as chunks."""
        held, functions = self._held, self._functions
        queue = self._pool.core.queue
        for number, attempt, function, payload, sizes, grant in message.items:
            if number in held:  # a later attempt than the one that we have
                self._drop(number, held[number].attempt)
            code = functions.get(function) or Code(-1, b"")
            task = held[number] = Attempt(number, attempt, code, payload)
            if grant is not None:
                task.details = Granted(grant)
            if code.blob.digest < 0:
                self._refuse(task, f"function {function} did not reach the manager")
            elif sizes is not None:
                self._open(task, sizes)
            elif grant is None:
                queue.append(task)
            else:
                self._pool.core.add_special(task)

    def _open(self, task: Attempt, sizes: list[int]) -> None:
        try:
            task.payload = stored = Stored(sizes)
        except (OSError, MemoryError) as error:
            self._refuse(task, f"its arguments cannot be put away: {error}")
            self._send(ChunkTaken(task.id, task.attempt, -1))
            return
        self._receiver.open(task.id, task.attempt, stored.total, stored.write)

    def chunk(self, message: Chunk, payload: bytes) -> None:
        """A part of the arguments of a task."""
        task = self._held.get(message.task)
        try:
            transfer, answer = self._receiver.chunk(message, payload)
        except (BadMessage, OSError) as error:
            self._receiver.remove((message.task, message.attempt))
            self._send(ChunkTaken(message.task, message.attempt, -1))
            if task is not None and task.attempt == message.attempt:
                self._refuse(task, f"its arguments cannot be put away: {error}")
            return
        if answer is not None:
            self._send(answer)
        if transfer is not None and task is not None:
            self._pool.submit(task)

    def _refuse(self, task: Attempt, reason: str) -> None:
        self._pool.command("fail", (task, task.attempt), BadMessage(reason))

    def drop(self, task: Attempt) -> None:
        """The rest of its arguments is not wanted."""
        if self._receiver.remove((task.id, task.attempt)) is not None:
            self._send(ChunkTaken(task.id, task.attempt, -1))

    def clear(self) -> list[Attempt]:
        """Gives up what is not whole; these attempts."""
        return [self._held[transfer.task] for transfer in self._receiver.clear()]
