"""The simulated driver: offers what is ready, within the real one's window, and follows what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plait.executors.htex import messages as m
from plait.executors.htex.offers import BATCH_TASKS, WINDOW_TASKS
from plait.model.units import format_duration
from plait.scaling.view import Shape, Want

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plait.executors.htex.messages import Ask, Message, OfferedTask, OutcomeItem
    from plait.simulate.batch import Blocks
    from plait.simulate.clock import Clock
    from plait.simulate.interchange import SimInterchange
    from plait.simulate.machine import Machine
    from plait.simulate.result import Result
    from plait.simulate.workload import Source

#: Seconds of the way between driver and interchange, which are on one host.
_WAY_S: Final = 30e-6
#: Attempts after which a task that is lost with its block again and again is given up. In production nothing is: the user sees it and ends it.
_MOST_ATTEMPTS: Final = 50


class Driver:
    """The driver.

    Attributes:
        blocks: told of managers.
        live: what was offered and has not ended, by number.
        busy_s: seconds for which it worked.
    """

    def __init__(
        self, source: Source, machine: Machine, clock: Clock, interchange: SimInterchange, result: Result, finished: Callable[[float], None]
    ) -> None:  # fmt: skip
        self.blocks: Blocks
        self.live: dict[int, OfferedTask] = {}
        self.busy_s = 0.0
        self.unplaced: dict[int, int] = {}  # tasks without a place, with their class
        self._source = source
        self._machine = machine
        self._clock = clock
        self._interchange = interchange
        self._result = result
        self._finished = finished
        self._room = [WINDOW_TASKS] * (max(source.classes.values()) + 1)
        urgency = [float("inf")] * len(self._room)
        for ask, number in source.classes.items():
            if ask is not None and ask.priority is not None:
                urgency[number] = ask.priority
        self._order = sorted(range(len(self._room)), key=lambda number: urgency[number])
        self._asking: dict[Ask, int] = {}  # unfinished tasks that ask for something
        self._unplaced_asking: dict[Ask, int] = {}  # of these, those without a place
        self._again: list[OfferedTask] = []  # those to be offered once more
        self._spent: dict[tuple[int, str], int] = {}  # (task, losses or retries): how many
        self._free_s = 0.0
        self._next_s: float | None = None
        self._replying = False  # whether an answer is due
        self._gather_until_s = 0.0
        self._taken = self._told_taken = 0
        clock.at(0.0, self._reply)

    @property
    def unfinished(self) -> int:
        """Tasks that have not come to an end."""
        result = self._result
        return self._source.total - result.done - result.failed - self._source.skipped

    def outstanding(self, now_s: float) -> int:
        """Tasks that are ready, or run: those that a scaling policy sees."""
        return len(self.live) + self._source.waiting(now_s)

    def wants(self) -> list[Want]:
        """What tasks that were offered ask for. Those beyond the window are counted as if they asked for nothing."""
        waiting = self._unplaced_asking
        return [
            Want(shape_of(ask), waiting.get(ask, 0), count - waiting.get(ask, 0))
            for ask, count in self._asking.items()
            if count
        ]

    def drain_block(self, block: str, reason: str, now_s: float, *, over: bool) -> None:
        """A block is to be given back, or is over."""
        self._clock.at(now_s + _WAY_S, self._interchange.from_driver, [m.DrainBlock(block, reason, over)])

    def told(self, sent_s: float, messages: Sequence[Message]) -> None:
        """Messages from the interchange, sent at that time."""
        now_s = max(sent_s + _WAY_S, self._free_s)
        taken = count = 0
        clock_s = self._clock.now_s
        message: Any
        for message in messages:
            kind = type(message)
            if kind is m.Placed:
                if message.manager:  # else they have come back, and will be placed again
                    self._placed(message.items)
            elif kind is m.Delivered:
                taken = message.seq
                count += len(message.items)
                for item in message.items:
                    self._outcome(item)
            elif kind is m.Lost:
                self._lost(message)
            elif kind is m.ManagerUp:
                self.blocks.manager_up(message.block, message.manager, message.workers, clock_s)
            elif kind is m.ManagerGone:
                self.blocks.manager_gone(message.block, message.manager, f"{message.how}: {message.reason}", clock_s)
        self._taken = max(taken, self._taken)
        self._spend_time(now_s, count)
        self._reply_soon()
        if not self.unfinished:
            self._finished(self._free_s)

    def _spend_time(self, now_s: float, count: int) -> None:
        cost_s = count * self._machine.costs.driver_task_s
        self.busy_s += cost_s
        self._free_s = max(self._free_s, now_s) + cost_s

    def _reply_soon(self) -> None:
        """Answers when it has done what it does; together with what comes meanwhile when it has just answered."""
        if not self._replying:
            self._replying = True
            self._clock.at(max(self._free_s, self._gather_until_s, self._clock.now_s), self._reply)

    def _reply(self, now_s: float, _: Any) -> None:
        """Says what has been taken, and offers as many new tasks as fit into a message."""
        self._replying = False
        if now_s < self._free_s:  # it has got more to do meanwhile
            self._reply_soon()
            return
        self._gather_until_s = now_s + self._machine.costs.gather_s
        messages: list[Message] = []
        if self._taken > self._told_taken:
            self._told_taken = self._taken
            messages.append(m.Taken(self._taken))
        items = self._batch(now_s)
        if items:
            messages.append(m.Offer(items))
            self._spend_time(now_s, len(items))
        if messages:
            self._clock.at(self._free_s + _WAY_S, self._interchange.from_driver, messages)
        if len(items) >= BATCH_TASKS:
            self._gather_until_s = 0.0
            self._reply_soon()
        else:
            next_s = self._source.next_s(now_s)
            if next_s is not None and next_s != self._next_s:
                self._next_s = next_s
                self._clock.at(next_s, self._comes)

    def _comes(self, _: float, __: Any) -> None:
        """A task is submitted about now."""
        self._next_s = None
        self._reply_soon()

    def _batch(self, now_s: float) -> list[OfferedTask]:
        source, live, unplaced, room = self._source, self.live, self.unplaced, self._room
        items, self._again = self._again, []
        for number in self._order:
            free = room[number]
            # A full window is filled up in batches, not one by one.
            left = min(free, BATCH_TASKS - len(items))
            if left <= 0 or (free < BATCH_TASKS < WINDOW_TASKS - free):
                continue
            works = source.take(number, left, now_s)
            room[number] -= len(works)
            for task, load, ask in works:
                item: Any = (task, 1, 0, load, None, ask)  # the load stands for the bytes
                live[task] = item
                unplaced[task] = number
                if ask is not None:
                    self._asking[ask] = self._asking.get(ask, 0) + 1
                    self._unplaced_asking[ask] = self._unplaced_asking.get(ask, 0) + 1
                items.append(item)
        return items

    # ------------------------------------------------------------------ what became of them
    def _placed(self, items: Sequence[tuple[int, int]]) -> None:
        unplaced, room = self.unplaced, self._room
        for task, _ in items:
            number = unplaced.pop(task, None)
            if number is not None:
                room[number] += 1
                ask = self.live[task][5] if task in self.live else None
                if ask is not None:
                    self._unplaced_asking[ask] -= 1

    def _outcome(self, item: OutcomeItem) -> None:
        task, attempt, status, _, start_s, stop_s, _ = item
        offered = self.live.get(task)
        if offered is None or offered[1] != attempt:
            return
        load: Any = offered[3]
        result = self._result
        result.attempts += 1
        kind = result.kinds[load.kind]
        core_s = (stop_s - start_s) * (load.cores or self._machine.worker_cores)
        if start_s < kind.first_s:  # noqa: PLR1730 - a call costs, and this runs for every task
            kind.first_s = start_s
        if stop_s > kind.last_s:  # noqa: PLR1730 - likewise
            kind.last_s = stop_s
        if status == m.DONE:
            self._forget(task)
            result.done += 1
            kind.done += 1
            kind.useful_s += stop_s - start_s
            result.useful_core_s += core_s
            self._source.ended(task, load, ok=True)
            return
        result.failed_attempts += 1
        result.wasted_core_s += core_s
        if self._spend(task, "retries", self._machine.retries):
            self._offer_again(offered)
        else:
            self._failed(task, load)

    def _lost(self, message: m.Lost) -> None:
        for task, attempt in message.items:
            offered = self.live.get(task)
            if offered is None or offered[1] != attempt:
                continue
            if message.announced and attempt >= _MOST_ATTEMPTS:
                self._say_too_long(offered)
                self._failed(task, offered[3])
            elif message.announced or self._spend(task, "losses", self._machine.max_losses):
                self._offer_again(offered)
            else:
                self._failed(task, offered[3])

    def _say_too_long(self, offered: OfferedTask) -> None:
        load: Any = offered[3]
        kind, takes = self._result.kinds[load.kind].name, format_duration(load.duration_s)
        self._result.stuck = self._result.stuck or (
            f"a task of {kind} that takes {takes} was lost with its block {offered[1]} times; blocks do not last long enough for it"
        )

    def _spend(self, task: int, budget: str, limit: int) -> bool:
        """Whether the task may be tried again."""
        spent = self._spent[task, budget] = self._spent.get((task, budget), 0) + 1
        return spent <= limit

    def _offer_again(self, offered: OfferedTask) -> None:
        task, attempt, function, load, sizes, ask = offered
        self.live[task] = again = (task, attempt + 1, function, load, sizes, ask)
        self._again.append(again)

    def _failed(self, task: int, load: Any) -> None:
        self._forget(task)
        self._result.failed += 1
        self._result.kinds[load.kind].failed += 1
        self._source.ended(task, load, ok=False)

    def _forget(self, task: int) -> None:
        ask = self.live.pop(task)[5]
        if ask is not None:
            self._asking[ask] -= 1


def shape_of(ask: Ask) -> Shape:
    """What a scaling policy sees of what a task asks for."""
    return Shape(ask.cores, ask.memory_bytes, ask.gpus, getattr(ask, "nodes", 0), ask.walltime_s)
