"""Sentences for a log about what peers do wrong: each kind at most once in a while, so that nobody can fill the disk with them."""

from __future__ import annotations

import collections

from plait.limits import SAY_EVERY_S


class Problems:
    """What went wrong, counted by kind.

    Attributes:
        counts: kind -> how often.
        sentences: for the log; whoever takes them clears the list.
    """

    __slots__ = ("_every_s", "_said", "counts", "sentences")

    def __init__(self, every_s: float = SAY_EVERY_S) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.sentences: list[str] = []
        self._every_s = every_s
        self._said: dict[str, tuple[float, int]] = {}

    def add(self, kind: str, sentence: str, now_s: float) -> None:
        """Something of this kind happened. It is said unless another of its kind was, a short while ago."""
        self.counts[kind] += 1
        count = self.counts[kind]
        last = self._said.get(kind)
        if last is not None and now_s - last[0] < self._every_s:
            return
        self._said[kind] = (now_s, count)
        unsaid = count - last[1] - 1 if last is not None else 0
        self.sentences.append(f"{sentence} ({unsaid} more like this since the last time)" if unsaid else sentence)
