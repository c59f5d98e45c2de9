"""The loop of the interchange: between the link to the driver, the links to the managers, and the core, which decides.

```
driver ◀──▶ Stream ──▶ core.py ──▶ Router ◀──▶ managers
              └──────▶ pulls.py, results.py: big values
```

What bounds its memory: the driver offers no more than a window of tasks; a manager holds no more than its credit; nothing is placed while the driver
does not read (`BACKLOG_BYTES`), and when even more has piled up (`DEFER_BYTES`), outcomes are left with the managers, who keep each until it is
acknowledged, and are asked for later.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait._util.allocator import keep_freed_memory
from plait.errors import BadMessage
from plait.executors.htex import messages as m
from plait.executors.htex.places import Ring
from plait.executors.htex.pulls import Pulls
from plait.executors.htex.results import Results
from plait.limits import BIG_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.executors.htex.core import InterchangeCore
    from plait.executors.htex.door import Links
    from plait.executors.htex.link import Conn, Router
    from plait.executors.htex.log import Log
    from plait.executors.htex.settings import InterchangeSettings
    from plait.executors.htex.stream import Stream

#: Seconds between two looks at what time alone brings about, while tasks are with managers, and otherwise.
TICK_S: Final = 0.025
IDLE_TICK_S: Final = 0.25
#: Bytes that wait for the driver to read them before no more tasks are placed.
BACKLOG_BYTES: Final = 4 * 1024 * 1024
#: Bytes that wait for the driver to read them before outcomes are left with their managers.
DEFER_BYTES: Final = 64 * 1024 * 1024
#: Messages of managers that are taken in a row.
MESSAGES: Final = 256
#: Seconds that saying goodbye may take.
GOODBYE_S: Final = 1.0
#: Of these, those after all is sent.
HANG_UP_S: Final = 0.3

_encode = msgspec.msgpack.Encoder().encode


class Exchange:
    """The loop.

    Args:
        settings: what it was told.
        driver: the link to the driver.
        router: the link to the managers.
        core: what decides.
        log: where it says what it does.
        clock: the time.
    """

    def __init__(
        self,
        settings: InterchangeSettings,
        driver: Stream,
        router: Router | Links,
        core: InterchangeCore,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.driver = driver
        self.router = router
        self.core = core
        self.log = log
        self.clock = clock
        self.pulls = Pulls(router.send, router.backlog_bytes, driver.send)
        self.results = Results(router.send, self._tell_core, settings.max_result_bytes)
        self.end = ""  # why it ends, if it does
        self._conns: dict[str, Conn] = {}  # managers that were welcomed
        self._names: dict[Conn, str] = {}
        self._nth: dict[str, int] = {}  # how often they have registered
        self._deferred: set[Conn] = set()
        self._limit = settings.max_result_bytes if settings.max_result_bytes < BIG_BYTES else 0
        self._next_tick_s = 0.0
        self._ring: Ring | None = None  # where places are written down
        self._again = False  # something may be there although poll would not say so
        self._router_fd, self._driver_fd = router.fileno(), driver.fileno()
        self._poll = select.poll()
        self._poll.register(router, select.POLLIN)
        self._driver_events = select.POLLIN
        self._poll.register(driver, select.POLLIN)

    # ------------------------------------------------------------------ the loop
    def run(self) -> None:
        """Serves until the driver says stop or is gone."""
        self.driver.send(m.Listening(self.settings.epoch, self.router.addresses, self.router.port))
        keep_freed_memory()
        self.log.info("listens on %s, port %d", ", ".join(self.router.addresses), self.router.port)
        while not self.end:
            self.step(*self._wait())
        self._say_goodbye()

    def _wait(self) -> tuple[bool, bool]:
        """Whether the driver said something, and whether managers did."""
        events = select.POLLIN | select.POLLOUT if self.driver.pending else select.POLLIN
        if events != self._driver_events:
            self._driver_events = events
            self._poll.modify(self.driver, events)
        wait_s = 0.0 if self._again else self._next_tick_s - self.clock()
        ready = [fd for fd, _ in self._poll.poll(max(0.0, wait_s) * 1000)]
        return self._driver_fd in ready, self._again or self._router_fd in ready

    def step(self, driver_spoke: bool, managers_spoke: bool) -> None:
        """Takes what has come, decides, and sends; waits for nothing."""
        now_s = self.clock()
        driver, router, core = self.driver, self.router, self.core
        if driver.pending:
            driver.flush()
        if driver_spoke:
            self._from_driver(now_s)
        if managers_spoke:
            self._from_managers(now_s)
        more = False
        if driver.pending < BACKLOG_BYTES:
            more = bool(core.place(now_s))
            if self._deferred:
                self._ask_deferred()
        if now_s >= self._next_tick_s:
            self._tick(now_s)
        self._dispatch()
        if len(self.results):
            self.results.forget_unused()
        if len(self.pulls):
            more |= self.pulls.pump(now_s)
        router.flush()
        self._again = more or router.has_input()

    def _tick(self, now_s: float) -> None:
        self.core.tick(now_s)
        self.results.tick(now_s)
        self._next_tick_s = now_s + (TICK_S if self.core.placed else IDLE_TICK_S)
        problems = self.router.problems
        if problems:
            for sentence in problems:
                self.log.warning("%s", sentence)
            problems.clear()

    # ------------------------------------------------------------------ in
    def _from_driver(self, now_s: float) -> None:
        frames = self.driver.receive()
        if frames is None:
            self.end = "the driver is gone"
            return
        core, pulls, results = self.core, self.pulls, self.results
        for message, payload, fds in frames:
            if isinstance(message, m.Data):
                pulls.data((message.task, message.attempt), fds, now_s)
                continue
            if isinstance(message, m.Places) and fds:
                with contextlib.suppress(OSError, ValueError):  # no memory for it: places are sent
                    self._ring = Ring(fds[0])
            for fd in fds:  # no other message has files that are to be kept
                os.close(fd)
            if isinstance(message, m.Places):
                continue
            if isinstance(message, m.Stop):
                self.end = message.reason
            elif isinstance(message, m.Allow):
                self._allow(message)
            else:
                if isinstance(message, m.Taken):
                    results.driver_took(message.seq)
                elif isinstance(message, m.Cancel):
                    pulls.over(message.items)
                    results.cancelled(message.items)
                core.from_driver(message, payload, now_s)

    def _allow(self, message: m.Allow) -> None:
        if message.public_key:
            self.router.allow(message.block, message.public_key)
        else:
            self.router.revoke(message.block)

    def _from_managers(self, now_s: float) -> None:
        messages = self.router.receive(MESSAGES)
        core = self.core
        defer = self.driver.pending > DEFER_BYTES
        for conn, _, message, payload in messages:
            if isinstance(message, m.Outcomes):
                if defer:
                    self._deferred.add(conn)
                    core.heard(conn, now_s)
                else:
                    self._outcomes(conn, message, now_s)
            elif isinstance(message, (m.Chunk, m.ChunkTaken, m.BigOutcome)):
                self._big(conn, message, payload, now_s)
            else:
                if isinstance(message, m.Returned):
                    self.pulls.over(message.items)
                elif isinstance(message, m.Register):
                    self._registers(conn, message, now_s)
                core.from_manager(conn, message, payload, now_s)

    def _outcomes(self, conn: Conn, message: m.Outcomes, now_s: float) -> None:
        if len(self.pulls):
            self.pulls.over([(item[0], item[1]) for item in message.items])
        limit = self._limit
        if limit and any(item[2] <= m.RAISED and len(item[3]) > limit for item in message.items):
            items = [limited(item, limit) for item in message.items]
            message = m.Outcomes(message.seq, items)
        self.core.from_manager(conn, message, b"", now_s)

    def _big(self, conn: Conn, message: m.Chunk | m.ChunkTaken | m.BigOutcome, payload: bytes, now_s: float) -> None:
        """A message about a big value."""
        if not self.core.connection_is_known(conn):
            if isinstance(message, m.BigOutcome):
                self.core.from_manager(conn, message, payload, now_s)  # it says what that connection should do
            return
        self.core.heard(conn, now_s)
        try:
            if isinstance(message, m.Chunk):
                self.results.chunk(conn, message, payload, now_s)
            elif isinstance(message, m.ChunkTaken):
                self.pulls.chunk_taken(conn, message, now_s)
            else:
                self.pulls.over([(message.item[0], message.item[1])])
                self.results.announced(conn, message)
        except BadMessage as error:
            self.log.warning("manager %s: %s", self._names.get(conn, "?"), error)

    def _tell_core(self, conn: Conn, message: m.Message) -> None:
        self.core.from_manager(conn, message, b"", self.clock())

    def _ask_deferred(self) -> None:
        """The driver reads again: outcomes that were left with their managers may come."""
        for conn in self._deferred:
            self.router.send(conn, m.SayAgain())
        self._deferred.clear()

    # ------------------------------------------------------------------ out
    def _dispatch(self) -> None:
        """Sends what the core wants sent."""
        out: list[Any] = self.core.out  # to the core, a connection is anything
        if not out:
            return
        driver, router, ring = self.driver, self.router, self._ring
        for conn, message, payload in out:
            if conn is None:
                if isinstance(message, m.Delivered):
                    driver.send(message, payload)
                elif isinstance(message, m.Placed):
                    # Once one did not fit, all are sent: what is in the ring is read before what was sent, whichever came first.
                    if ring is None or not ring.note(message):
                        self._ring = ring = None
                        driver.send(message)
                else:
                    self._tell_driver(message, payload)
                continue
            router.send(conn, message, payload)
            if isinstance(message, m.Tasks):
                self.pulls.placed(conn, message.items)
            elif isinstance(message, m.Taken):
                self.results.manager_told(conn, message.seq)
            elif isinstance(message, (m.Stop, m.Refused)):
                self._forget(conn)
        out.clear()

    def _tell_driver(self, message: m.Message, payload: bytes) -> None:
        fds: list[int] = []
        if isinstance(message, m.BigDelivered):
            fds = self.results.file((message.item[0], message.item[1]), message.seq)
        elif isinstance(message, m.Lost):
            self.pulls.over(message.items)
        elif isinstance(message, m.ManagerGone):
            conn = self._conns.get(message.manager)
            if conn is not None and self._names.get(conn) == message.manager:
                self._forget(conn)
        if isinstance(message, (m.ManagerUp, m.ManagerGone, m.Warn)):
            self.log.info("%s", message)
        self.driver.send(message, payload, fds)

    # ------------------------------------------------------------------ who is there
    def _registers(self, conn: Conn, message: m.Register, now_s: float) -> None:
        name = message.manager
        old = self._conns.get(name)
        if old is not None and message.nth < self._nth.get(name, 0):
            return  # of an earlier connection: read late
        earlier = self._names.get(conn)
        if earlier is not None and earlier != name:
            self._forget(conn)
        if old is not None:
            if old != conn:  # over the same connection nothing is lost, and tasks may be on their way
                self.pulls.manager_back(old, conn, message.holds, now_s)
            self.results.manager_back(old, conn)
            self._names.pop(old, None)
            self._deferred.discard(old)
        self._deferred.discard(conn)
        self._conns[name] = conn
        self._names[conn] = name
        self._nth[name] = message.nth

    def _forget(self, conn: Conn) -> None:
        name = self._names.pop(conn, None)
        if name is not None and self._conns.get(name) == conn:
            del self._conns[name]
            self._nth.pop(name, None)
        self._deferred.discard(conn)
        self.pulls.manager_gone(conn)
        self.results.manager_gone(conn)

    # ------------------------------------------------------------------ the end
    def _say_goodbye(self) -> None:
        """Tells the managers to end, and waits a little for them to hang up: a message that has come, and was not read when the connection ends, is lost."""
        self.log.info("ends: %s", self.end)
        deadline_s = self.clock() + GOODBYE_S
        router = self.router
        router.lock()  # before managers are told: whoever kills this process from now on finds nothing of it left
        for conn in self._names:
            router.send(conn, m.Stop(self.end))
        while self._names and router.connections and self.clock() < deadline_s:
            router.flush()
            self.driver.flush()
            if not router.receive():
                time.sleep(0.002)
            if not router.backlog_bytes():
                deadline_s = min(deadline_s, self.clock() + HANG_UP_S)
        self.pulls.close()
        self.results.close()
        router.close(max(0.0, deadline_s - self.clock()))


def limited(item: m.OutcomeItem, limit: int) -> m.OutcomeItem:
    """An outcome, or that its result is larger than that."""
    if item[2] > m.RAISED or len(item[3]) <= limit:
        return item
    return (item[0], item[1], m.RESULT_TOO_LARGE, _encode((len(item[3]), limit)), item[4], item[5], item[6])
