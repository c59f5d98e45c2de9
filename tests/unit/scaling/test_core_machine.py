"""Any order of polls, managers, failures, lies, scaling and time: the blocks stay consistent, and all of them end."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plait.model.events import BLOCK_ENDED, BLOCK_REQUESTED
from plait.model.jobs import TERMINAL_STATES, JobState, JobStatus
from plait.scaling.block import Cancel, Drain, Gone, Request
from plait.scaling.check import check
from plait.scaling.core import BlockCore
from plait.scaling.explain import explain
from plait.scaling.policy import Limits, Load, policy_of

ENDS = st.sampled_from([JobState.COMPLETED, JobState.FAILED, JobState.TIMEOUT, JobState.CANCELLED])


class Blocks(RuleBasedStateMachine):
    """A provider that is told what to do by Hypothesis, and managers likewise."""

    @initialize(
        strategy=st.sampled_from(["none", "simple", "htex_auto_scale", "demand"]),
        numbers=st.lists(st.integers(0, 5), min_size=3, max_size=3).map(sorted),
        nodes=st.integers(1, 2),
        parallelism=st.sampled_from([0.0, 0.5, 1.0]),
        floor_first=st.booleans(),
    )
    def begin(self, strategy, numbers, nodes, parallelism, floor_first):
        low, middle, high = numbers
        init, least = (middle, low) if floor_first else (low, middle)
        self.core = BlockCore(
            "x", Limits(init, least, high, nodes, parallelism), policy_of(strategy), max_idletime_s=20.0, period_s=5.0,
            start_timeout_s=60.0, drain_timeout_s=30.0,
        )  # fmt: skip
        self.now = 0.0
        self.tasks = 0
        self.idle = {}
        self.to_submit = []  # requested and not begun
        self.jobs = {}  # block -> what really is with its job
        self.managers = {}  # block -> names
        self.names = 0
        self.gone = []
        self.drained = set()
        self.lied = False
        self.core.start(self.now)
        self.obey()

    # ------------------------------------------------------------------ the world does as it is told
    def obey(self, accept=True):
        while self.core.out:
            actions, self.core.out = self.core.out, []
            for action in actions:
                if isinstance(action, Request):
                    self.to_submit.append(action.block)
                elif isinstance(action, Cancel):
                    for block in action.blocks:
                        assert block in self.jobs, "only what has a job can be cancelled"
                        if accept and self.jobs[block] not in TERMINAL_STATES:
                            self.jobs[block] = JobState.CANCELLED
                    self.core.cancelled(dict.fromkeys(action.blocks, accept), self.now)
                elif isinstance(action, Drain):
                    self.drained.add(action.block)
                elif isinstance(action, Gone):
                    assert action.block not in self.gone, "it is said once"
                    assert not self.managers.get(action.block), "not while managers of it are connected"
                    assert action.block in self.core.ended
                    self.gone.append(action.block)

    def truth(self):
        return {block: JobStatus(state) for block, state in self.jobs.items()}

    # ------------------------------------------------------------------ what may happen
    @rule(seconds=st.floats(0, 70), accept=st.booleans())
    def time_passes(self, seconds, accept):
        self.now += seconds
        self.core.tick(Load(self.tasks, 4, self.idle), self.now)
        self.obey(accept)

    @rule(tasks=st.integers(0, 2) | st.integers(0, 200))
    def there_is_work(self, tasks):
        self.tasks = tasks
        self.idle = dict.fromkeys(self.core.live, 25.0) if tasks < 3 else {}
        self.core.hurry(self.now)

    @precondition(lambda self: self.to_submit)
    @rule(accept=st.booleans())
    def a_job_is_begun(self, accept):
        block = self.to_submit.pop(0)
        if not self.core.may_submit(block, self.now):
            pass
        elif accept:
            self.jobs[block] = JobState.PENDING
            self.core.submitted(block, f"job{block}", self.now)
        else:
            self.core.refused(block, "no", self.now)
        self.obey()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), state=st.sampled_from([JobState.PENDING, JobState.RUNNING, JobState.HELD]) | ENDS)
    def a_job_changes(self, data, state):
        block = data.draw(st.sampled_from(sorted(self.jobs)))
        if self.jobs[block] not in TERMINAL_STATES:
            self.jobs[block] = state

    @rule()
    def jobs_are_polled(self):
        self.core.polled(self.truth(), self.now)
        self.obey()

    @precondition(lambda self: self.core.live)
    @rule(data=st.data(), state=st.sampled_from(list(JobState)))
    def the_queue_lies(self, data, state):
        block = data.draw(st.sampled_from(sorted(self.core.live)))
        if self.core.live[block].job_id:
            self.lied = True
            self.core.polled({block: JobStatus(state, "a lie")}, self.now)
            self.obey()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), workers=st.integers(1, 8))
    def a_manager_comes(self, data, workers):
        block = data.draw(st.sampled_from(sorted(self.jobs)))
        if block not in self.gone:
            self.names += 1
            self.managers.setdefault(block, []).append(f"m{self.names}")
            self.core.manager_up(block, f"m{self.names}", workers, self.now)
            self.obey()

    @precondition(lambda self: any(self.managers.values()))
    @rule(data=st.data(), how=st.sampled_from(["lost", "lost: silent", "drained", "left", "refused: old"]))
    def a_manager_goes(self, data, how):
        block = data.draw(st.sampled_from(sorted(b for b, names in self.managers.items() if names)))
        name = self.managers[block].pop()
        self.core.manager_gone(block, name, how, self.now)
        self.obey()

    @rule(count=st.integers(-1, 3), more=st.booleans())
    def people_scale(self, count, more):
        if more:
            names = self.core.scale_out(count, self.now)
            assert len(names) <= max(0, count)
        else:
            names = self.core.scale_in(count, None, Load(self.tasks, 4, self.idle), self.now)
            assert len(names) <= max(0, count)
        self.obey()

    @rule()
    def it_is_given_up(self):
        self.core.give_up("for a test")
        before = len(self.core.live)
        self.time_passes(0.0, accept=True)
        assert len(self.core.live) <= before

    # ------------------------------------------------------------------ what always holds
    @invariant()
    def it_fits(self):
        check(self.core)
        assert len(explain(self.core, self.now)) > 10
        if not self.lied:
            alive = [block for block, state in self.jobs.items() if state not in TERMINAL_STATES]
            assert len(alive) + len(self.to_submit) <= self.core.limits.max_blocks + self.finished_requests()

    def finished_requests(self):
        """Requests that were taken back before their turn: `may_submit` says no to them."""
        return sum(self.core.live[block].verdict is not None for block in self.to_submit if block in self.core.live)

    @invariant()
    def every_block_ends_once(self):
        requested = [event[3] for event in self.core.events if event[0] == BLOCK_REQUESTED]
        ended = [event[3] for event in self.core.events if event[0] == BLOCK_ENDED]
        assert len(set(requested)) == len(requested)
        assert len(set(ended)) == len(ended)
        assert set(requested) - set(ended) == set(self.core.live)

    def teardown(self):
        if not hasattr(self, "core"):
            return
        self.core.stop(self.now)
        self.managers.clear()  # the executor has sent them away
        for block in self.to_submit:
            assert not self.core.may_submit(block, self.now), "nothing is begun after the end"
        self.obey(accept=False)
        for _ in range(3):
            self.core.finish(self.now)
            self.obey(accept=True)
        assert self.core.finish(self.now)
        self.obey()
        assert self.core.live == {}
        if not self.lied:
            assert [block for block, state in self.jobs.items() if state not in TERMINAL_STATES] == []
        self.every_block_ends_once()


TestBlocks = Blocks.TestCase
TestBlocks.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
