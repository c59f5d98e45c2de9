"""What tests of blocks share: what an executor is to its `BlockKeeper`, and managers that are played."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait.executors.blocks import BlockKeeper, Load
from plait.model.jobs import JobState
from plait.testing import FakeProvider
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


class Owner:
    """What an executor is to its keeper; it remembers all that it was told.

    `play` plays the managers: one connects for each job that runs, and leaves when it has drained or its job is over.
    """

    def __init__(self, provider=None, tasks=0, **options):
        self.provider = provider if provider is not None else FakeProvider()
        self.tasks = tasks
        self.idle = {}
        self.launched, self.gone, self.drained, self.broken, self.events = [], [], [], [], []
        self.managers = set()
        self.stubborn = set()  # blocks whose managers do not leave
        self.ready: Callable[[str], bool] = lambda block: True
        options = {"period_s": 0.05, "max_idletime_s": 60.0, "start_timeout_s": 60.0, **options}
        self.keeper = BlockKeeper(
            self.provider, "x", options.pop("launch", self.launch), self.gone.append,
            lambda block, reason: self.drained.append((block, reason)),
            lambda: Load(self.tasks, 4, self.idle), self.broken.append, self.events.append, **options,
        )  # fmt: skip

    def launch(self, block):
        self.launched.append(block)
        return f"echo manager of {block}; sleep 600"

    # ------------------------------------------------------------------ looking
    def of(self, kind):
        """The events of a kind."""
        return [event for event in list(self.events) if event[0] == kind]

    def states(self):
        return {block: status.state for block, status in self.keeper.status().items()}

    def count(self, *states):
        """Blocks in one of these states."""
        return sum(state in states for state in self.states().values())

    # ------------------------------------------------------------------ managers
    def running(self, *blocks):
        """Waits until these jobs run, and connects a manager of each."""
        for block in blocks:
            wait_until(lambda block=block: self.states().get(block) == JobState.RUNNING)
            self.up(block)

    def up(self, block):
        self.managers.add(block)
        self.keeper.manager_up(block, 4, f"m{block}")

    def lost(self, block, how="lost"):
        self.managers.discard(block)
        self.keeper.manager_gone(block, how, f"m{block}")

    def play(self):
        """One look at the jobs, as managers would react to them."""
        told = {block for block, _ in list(self.drained)}
        for block, state in self.states().items():
            if state == JobState.RUNNING and block not in self.managers | told and self.ready(block):
                self.up(block)
        for block in sorted(self.managers - self.stubborn):
            job = self.provider.job(f"block-{block}")
            if block in told:
                self.lost(block, "drained")
            elif job is None or job.status.terminal:
                self.lost(block)

    def play_until(self, cond, timeout_s=10.0):
        """Plays until the condition holds; returns what it returned."""

        def look():
            self.play()
            return cond()

        return wait_until(look, timeout_s, lambda: (self.keeper.explain(), self.states()))
