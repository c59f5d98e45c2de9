"""When blocks may be requested: pauses after failures and refusals, and how many within an hour. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from plait.model.units import format_duration

#: Seconds before the first block after a failed one, doubled with each further failure in a row, and the longest such pause.
BACKOFF_S: Final = (1.0, 60.0)
#: Seconds for which a block must have been up for its failure not to count as one more in a row.
STABLE_S: Final = 60.0
#: Seconds within which a policy's `max_submissions_per_hour` counts.
HOUR_S: Final = 3600.0
#: Seconds for which a provider that took jobs before may take none before that is a failure of the blocks.
AWAY_S: Final = 3600.0
#: Characters of a reason that a sentence has.
_LINE: Final = 200


@dataclass(frozen=True)
class Allowed:
    """How many of the blocks that are wanted may be requested now.

    Attributes:
        add: so many.
        kind: what holds the others back: ``pause`` or ``cap``; empty when nothing does.
        why: the same as the end of a sentence.
        until_s: when to ask again.
    """

    add: int
    kind: str = ""
    why: str = ""
    until_s: float = float("inf")


class Throttle:
    """What has happened to requests of one executor.

    Attributes:
        failures: failed blocks in a row, and those that could not be begun.
        refusal: why the provider takes no job for the time being; empty when nothing is known of that.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.refusal = ""
        self._not_before_s = float("-inf")  # no block is requested before this time
        self._requested_s: deque[float] = deque()  # when blocks were requested, within the last hour
        self._has_accepted = False  # whether the provider ever took a job
        self._refused_since_s: float | None = None  # since when it has taken none

    # ------------------------------------------------------------------ what happened
    def requested(self, now_s: float) -> None:
        """A block was requested."""
        self._requested_s.append(now_s)
        self._forget(now_s)

    def accepted(self) -> None:
        """The provider took a job."""
        if self.refusal:
            self.failures = 0
        self._has_accepted, self._refused_since_s, self.refusal = True, None, ""

    def refused(self, reason: str, now_s: float, *, is_away: bool, is_alone: bool) -> bool:
        """The provider took no job. Whether it is away, or full, for the time being; else something is wrong with the blocks.

        Args:
            reason: what was said.
            now_s: the time.
            is_away: whether it does not answer other questions either.
            is_alone: whether there is no other block.
        """
        if self._refused_since_s is None:
            self._refused_since_s = now_s
        patient = not is_alone or now_s - self._refused_since_s < AWAY_S
        is_away = patient and (is_away or self._has_accepted)
        self.refusal = reason if is_away else ""
        return is_away

    def ended(self, now_s: float, *, badly: bool, up_for_s: float | None) -> None:
        """A block is over.

        Args:
            now_s: the time.
            badly: whether it failed, or could not be begun.
            up_for_s: for how long it was up; None when it never was.
        """
        if not badly or (up_for_s is not None and up_for_s >= STABLE_S):
            self.failures = 0
        if badly:
            self.failures += 1
            self._not_before_s = now_s + min(BACKOFF_S[1], BACKOFF_S[0] * 2.0 ** min(self.failures - 1, 10))

    def came_up(self, now_s: float) -> None:
        """A block came up, so blocks work."""
        self._not_before_s = now_s

    # ------------------------------------------------------------------ what follows
    def room(self, most: int | None, now_s: float) -> int | None:
        """How many more may be requested within this hour, of so many; None for any number."""
        self._forget(now_s)
        return None if most is None else max(0, most - len(self._requested_s))

    def allow(self, add: int, most: int | None, now_s: float) -> Allowed:
        """How many of the blocks that are wanted may be requested now.

        Args:
            add: how many are wanted.
            most: how many there may be within an hour; None for any number.
            now_s: the time.
        """
        if add > 0 and now_s < self._not_before_s:
            pause = format_duration(self._not_before_s - now_s)
            last = "block" if self.failures == 1 else f"{self.failures} blocks"
            how = f"could not be begun: {_first_line(self.refusal)}" if self.refusal else "failed"
            return Allowed(0, "pause", f"waits {pause} with that, because the last {last} {how}", self._not_before_s)
        room = self.room(most, now_s)
        if room is None or add <= room:
            return Allowed(max(0, add))
        again_s = (self._requested_s[0] if self._requested_s else now_s) + HOUR_S
        why = (
            f"waits {format_duration(again_s - now_s)} with {add - room} of them, because {room + len(self._requested_s)} within an hour are "
            "as many as may be (max_submissions_per_hour)"
        )
        return Allowed(room, "cap", why, again_s)

    def _forget(self, now_s: float) -> None:
        while self._requested_s and self._requested_s[0] + HOUR_S <= now_s:
            self._requested_s.popleft()


def _first_line(text: str) -> str:
    """For sentences: as much of a reason as fits into one."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    line = line.removeprefix("could not be begun: ")
    return line if len(line) <= _LINE else f"{line[: _LINE - 1]}…"
