"""The lives of the interchange: when it is started, what each life has to be told, and when it is given up.

```
start ──▶ starting ──Listening──▶ serves ──its socket closes──▶ dead ──▶ start (at once; then after pauses) … or given up
```

A life that did something (a manager came, a task was placed, or it just served for a while) ends the row of deaths that is counted.
"""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Final

import msgspec

from plait.executors.htex import messages as m
from plait.executors.htex.child import Child
from plait.ids import new_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from plait.executors.htex.settings import InterchangeSettings

#: Lives in a row that ended before they listened, after which the interchange is given up.
MAX_FAILED_STARTS: Final = 3
#: Lives in a row that ended without having done anything, likewise. Somebody may be killing them; or a task does, which must not go on for ever.
MAX_DEATHS: Final = 6
#: Seconds in which it must be listening.
START_S: Final = 60.0
#: Seconds of serving that count as having done something.
SERVED_S: Final = 10.0
#: Seconds between a death and the next start, times the deaths in a row before it.
PAUSE_S: Final = 0.2
#: Starts in a row that are put off because the system has nothing to give at the moment, and seconds between two of them.
MAX_PUT_OFF: Final = 60
RETRY_S: Final = 1.0
_SHORT: Final = {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Lives:
    """The interchange's process, again and again.

    Args:
        settings: makes its settings, before the first start.
        command: tokens that start it; empty for plait's own.

    Attributes:
        child: the present life; None when there is none.
        deaths: how many lives have ended before their time.
        listening: whether the present one listens.
        ever_listened: whether any did.
        deadline_s: when the present one must listen, or when the next is to be started; None for neither.
        cannot: what it said itself about why it cannot work.
        put_off: starts in a row that were put off.
    """

    def __init__(self, settings: Callable[[], InterchangeSettings], command: Sequence[str]) -> None:
        self.child: Child | None = None
        self.deaths = 0
        self.listening = False
        self.ever_listened = False
        self.deadline_s: float | None = None
        self.cannot = ""
        self.put_off = 0
        self._make_settings = settings
        self._settings: InterchangeSettings | None = None
        self._command = command
        self._in_row = 0
        self._failed_starts = 0
        self._since_s = 0.0
        self._keys: dict[str, m.Allow] = {}
        self._holds: dict[str, m.Hold] = {}
        self._drains: dict[str, m.DrainBlock] = {}

    @property
    def port(self) -> int | None:
        """Where it listens, and where later lives will."""
        return self._settings.port if self._settings is not None else None

    def start(self, managers: Iterable[str]) -> None:
        """Begins a life, and tells it what earlier ones knew.

        Args:
            managers: those that may come back.

        Raises:
            ConfigurationError: it cannot be started.
        """
        self.child = child = Child(self._command)
        try:
            if self._settings is None:
                self._settings = self._make_settings()
            child.tell(msgspec.structs.replace(self._settings, epoch=str(new_run_id()), expected=list(managers)))
        except BaseException:
            child.kill()
            child.how_it_ended()
            child.close()
            self.child = None
            raise
        self.listening = False
        self.cannot = ""
        self.put_off = 0
        self._since_s = time.monotonic()
        self.deadline_s = self._since_s + START_S
        for message in (*self._keys.values(), *self._holds.values(), *self._drains.values()):
            self.child.stream.send(message)

    def puts_off(self, error: BaseException) -> bool:
        """After a start that failed: whether another is to follow, at `deadline_s`.

        So it is where an earlier life has listened, and the system has no process, file or memory to give at the moment: others may give some back.
        """
        cause = error.__cause__ or error
        is_short = isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in _SHORT)
        if not (is_short and self.ever_listened) or self.put_off >= MAX_PUT_OFF:
            return False
        self.put_off += 1
        self.deadline_s = time.monotonic() + RETRY_S
        return True

    def tell(self, message: m.Allow | m.Hold | m.DrainBlock) -> None:
        """Says something that later lives must know too."""
        if isinstance(message, m.Allow):
            if message.public_key:
                self._keys[message.block] = message
            else:
                self._keys.pop(message.block, None)
                self._drains.pop(message.block, None)
        elif isinstance(message, m.Hold):
            if message.on:
                self._holds[message.name] = message
            else:
                self._holds.pop(message.name, None)
        else:
            self._drains[message.block] = message
        if self.child is not None:
            self.child.stream.send(message)

    def listens(self, message: m.Listening) -> None:
        """It is up."""
        self.listening = self.ever_listened = True
        self.deadline_s = None
        assert self._settings is not None  # noqa: S101 - made before it was started
        self._settings = msgspec.structs.replace(self._settings, port=message.port)

    def did_something(self) -> None:
        """It is of use."""
        self._in_row = 0

    def is_late(self) -> bool:
        """Whether the time for something is over."""
        return self.deadline_s is not None and time.monotonic() >= self.deadline_s

    def end(self, why: str = "") -> str:
        """The present life is over, and what it had said has been taken: how it ended."""
        child = self.child
        if child is None:
            return why
        how = child.how_it_ended()
        child.close()
        if self.listening and time.monotonic() - self._since_s >= SERVED_S:
            self._in_row = 0
        self.child = None
        self.deadline_s = None
        self.deaths += 1
        self._in_row += 1
        self._failed_starts = 0 if self.listening else self._failed_starts + 1
        return self.cannot or (f"{why}; {how}" if why else how)

    def verdict(self) -> str:
        """After a death: an empty text when there is to be another life, at `deadline_s` or now; else how often it ended."""
        if self._in_row >= MAX_DEATHS or self._failed_starts >= MAX_FAILED_STARTS:
            return f"the interchange ended {self._in_row} times in a row"
        if self.cannot and not self.ever_listened:
            return "the interchange cannot work"
        if self._in_row > 1:
            self.deadline_s = time.monotonic() + PAUSE_S * self._in_row
        return ""
