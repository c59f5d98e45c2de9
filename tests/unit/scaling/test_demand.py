from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import ConfigurationError
from plait.model.events import BLOCK_REQUESTED, BLOCKS_SCALED
from plait.model.jobs import JobState, JobStatus
from plait.scaling.block import Cancel, Drain, Request
from plait.scaling.check import check
from plait.scaling.core import BlockCore
from plait.scaling.demand import Demand
from plait.scaling.policy import policy_of
from plait.scaling.throttle import HOUR_S
from plait.scaling.view import BlockView, Limits, Load, NodeSize, Shape, View, Want

NODE = NodeSize(workers=4, cores=8.0, memory_bytes=100, gpus=2.0)
RUNNING = JobStatus(JobState.RUNNING)


def view(
    blocks=(), tasks=0, wants=(), now=1000.0, memory=None, waiting=None, node=NODE, quiet=0.0, fresh=None, **limits
):
    """Blocks are given as numbers of workers (None: not up yet), or as `BlockView`."""
    views = [b if isinstance(b, BlockView) else BlockView(str(n), b) for n, b in enumerate(blocks)]
    return View(
        views, tasks, None, quiet, None, Limits(**{"max_blocks": 10, **limits}), 120.0, 1, now, waiting, wants, node, fresh,
        {} if memory is None else memory,
    )  # fmt: skip


def looked_on(blocks, needed=1):
    """What a policy remembers that has seen for long that so many were needed."""
    return {"needed": [(0.0, needed)]}


def many(count, **shape):
    return [Want(Shape(**shape), waiting=count)]


# ------------------------------------------------------------------ more
@pytest.mark.parametrize(
    ("given", "add"),
    [
        (view(), 0),
        (view(tasks=1), 1),
        (view(tasks=8), 2),
        (view(tasks=9), 3),
        (view([4], tasks=9), 2),
        (view([None], tasks=9), 2),
        (view([4, 4], tasks=8), 0),
        (view([2], tasks=4), 1),
        (view(tasks=1000), 10),
        (view([4] * 10, tasks=1000), 0),
        (view(tasks=16, parallelism=0.5), 2),
        (view(tasks=1000, parallelism=0.0), 1),
        (view([4], tasks=1000, parallelism=0.0), 0),
        (view(tasks=6, wants=many(6, cores=8.0)), 6),
        (view(tasks=6, wants=many(6, cores=4.0)), 3),
        (view(tasks=6, wants=many(6, memory_bytes=51)), 6),
        (view(tasks=6, wants=many(6, gpus=1.0)), 3),
        (view(tasks=10, wants=many(6, cores=8.0)), 7),
        (view(tasks=8, nodes_per_block=2), 1),
        (view(tasks=3, wants=many(3, nodes=2), nodes_per_block=4), 2),
        (view(tasks=3, wants=many(3, nodes=3), nodes_per_block=4), 3),
        (view(tasks=3, wants=many(3, nodes=5), nodes_per_block=4), 0),
        (view(tasks=1000, node=None), 1),
        (view([None], tasks=1000, node=None), 0),
        (view(min_blocks=2), 2),
        (view([4], tasks=4, min_blocks=3), 2),
    ],
)  # fmt: skip
def test_blocks_follow_what_the_tasks_ask_for(given, add):
    assert Demand().decide(given).add == add


@pytest.mark.parametrize(
    ("places", "tasks", "nodes", "up", "add"),
    [(4, 4, 1, 0, 1), (4, 2, 2, 0, 1), (4, 3, 2, 1, 1), (1, 3, 1, 1, 2), (2, 4, 3, 0, 4), (4, 4, 1, 1, 0)],
)  # fmt: skip
def test_blocks_of_which_one_manager_gives_the_nodes(places, tasks, nodes, up, add):
    """Blocks of four nodes with so many places, of which some are up."""
    given = view(
        [places] * up, tasks=tasks, wants=many(tasks, nodes=nodes), nodes_per_block=4, node=NodeSize(places / 4)
    )
    assert Demand().decide(given).add == add


def test_each_decision_says_why():
    assert Demand().decide(view([4], tasks=10, wants=many(6, cores=8.0))).why == (
        "requests 6 blocks: 10 tasks want 7 nodes, and 1 block has 1 node (at most 10 blocks)"
    )
    assert "min_blocks keeps" in Demand().decide(view(min_blocks=2)).why
    assert "max_blocks=1 is reached" in Demand().decide(view([4], tasks=100, max_blocks=1)).why
    assert "not known before its first manager" in Demand().decide(view(tasks=100, node=None)).why
    held = view([BlockView("3", note="is held by the batch system")], tasks=2)
    assert Demand().decide(held).why.endswith("; block 3 is held by the batch system")


def test_a_block_that_is_held_or_of_which_nothing_is_known_counts():
    core = BlockCore("x", Limits(1, 0, 5), policy_of("demand"))
    core.start(0.0)
    assert core.may_submit("0", 0.0)
    core.submitted("0", "job0", 0.0)
    for state in (JobState.HELD, JobState.UNKNOWN):
        core.polled({"0": JobStatus(state, "who knows")}, 1.0)
        for second in range(10, 600, 10):
            core.tick(Load(4, 4, node=NODE), float(second))
        assert list(core.live) == ["0"]
        assert "block 0 is" in core.reason


# ------------------------------------------------------------------ walltimes
@pytest.mark.parametrize(
    ("left", "add"),
    [([1000.0, 1000.0], 0), ([1000.0, 10.0], 0), ([10.0, 10.0], 1), ([None, 10.0], 0)],
)
def test_a_block_that_ends_too_soon_does_not_count_for_tasks_that_take_longer(left, add):
    blocks = [BlockView(str(n), 4, left_s=each) for n, each in enumerate(left)]
    long = [Want(Shape(walltime_s=60.0), waiting=4)]
    decision = Demand().decide(view(blocks, tasks=4, wants=long, walltime_s=3600.0))
    assert decision.add == add
    if add:
        assert "4 tasks want 1 node for 1m00s or more, and of 2 blocks none will last so long" in decision.why


def test_what_others_use_of_a_block_that_lasts_is_not_free():
    blocks = [BlockView("0", 4, left_s=1000.0, used=0.75), BlockView("1", 4, left_s=10.0)]
    long = [Want(Shape(walltime_s=60.0), waiting=2)]
    assert Demand().decide(view(blocks, tasks=5, waiting=2, wants=long)).add == 1


def test_no_block_is_requested_for_what_it_could_not_do_either():
    """Without this each block that comes up a little late would call for another one."""
    long = [Want(Shape(walltime_s=3600.0), waiting=4)]
    blocks = [BlockView("0", 4, left_s=3590.0)]
    decision = Demand().decide(view(blocks, tasks=4, wants=long, walltime_s=3600.0, fresh=3590.0))
    assert decision.add == 0
    assert "no block would help 4 tasks" in decision.why
    assert Demand().decide(view([], tasks=4, wants=long, walltime_s=3000.0)).add == 0


def late_block(core, name, now):
    """A block whose first manager comes 250 s after its job began, and whose job ends 350 s later."""
    core.tick(LONG, now)
    if name not in core.live:
        return False
    assert core.may_submit(name, now)
    core.submitted(name, f"job{name}", now)
    core.polled({name: RUNNING}, now)
    core.manager_up(name, "m", 4, now + 250.0)
    core.tick(LONG, now + 300.0)
    core.manager_gone(name, "m", "left", now + 590.0)
    core.polled({name: JobStatus(JobState.TIMEOUT)}, now + 600.0)
    return True


LONG = Load(4, 4, waiting=4, wants=[Want(Shape(walltime_s=500.0), waiting=4)], node=NODE)


def test_blocks_that_came_up_late_do_not_keep_tasks_waiting_for_ever():
    limits = Limits(init_blocks=1, max_blocks=1, walltime_s=600.0)
    core = BlockCore("x", limits, Demand(), start_timeout_s=300.0)
    core.start(0.0)
    assert late_block(core, "0", 0.0)
    assert late_block(core, "1", 610.0)  # the first may have been held up
    assert not late_block(core, "2", 1220.0)
    assert "no block would help 4 tasks" in core.reason
    assert not late_block(core, "2", 3800.0)
    assert late_block(core, "2", 4500.0)  # an hour later it may be otherwise
    check(core)


# ------------------------------------------------------------------ fewer
def test_fewer_are_wanted_only_when_that_has_been_so_for_a_while():
    policy, memory = Demand(hold_down=60.0), {}
    up = [BlockView(str(n), 4, idle_s=999.0) for n in range(4)]
    assert policy.decide(view(up, tasks=16, now=0.0, memory=memory)).remove == ()
    for second in range(5, 65, 5):
        assert policy.decide(view(up, tasks=4, now=float(second), memory=memory)).remove == (), second
    decision = policy.decide(view(up, tasks=4, now=66.0, memory=memory))
    assert len(decision.remove) == 3
    assert decision.why == "gives back 3 blocks: for 1m00s no more than 1 were needed for the tasks, and there are 4"


def test_a_load_that_comes_and_goes_keeps_its_blocks():
    policy, memory = Demand(hold_down=60.0), {}
    up = [BlockView(str(n), 4, idle_s=None) for n in range(4)]
    for second in range(0, 3000, 10):
        tasks = 16 if second % 50 < 10 else 1
        assert policy.decide(view(up, tasks=tasks, now=float(second), memory=memory)).remove == ()


def test_the_cheapest_go_first():
    blocks = [
        BlockView("busy", 4, used=0.5), BlockView("resting", 4, idle_s=5.0), BlockView("idle", 4, idle_s=500.0),
        BlockView("ending", 4, idle_s=300.0, left_s=60.0), BlockView("queued"), BlockView("queued later"), BlockView("begun", runs=True),
    ]  # fmt: skip
    order = ["queued later", "queued", "begun", "ending", "idle"]
    for count in range(1, 6):
        decision = Demand().decide(view(blocks, tasks=1, waiting=0, memory=looked_on(blocks, 7 - count)))
        assert list(decision.remove) == order[:count]
    rest = Demand().decide(view(blocks[:2], tasks=2, waiting=0, memory=looked_on(blocks)))
    assert rest.remove == (), "one that rests has not been idle for long enough; one that works is no better"
    assert "have not been idle for 120 s" in rest.why


def test_blocks_that_have_little_to_do_are_drained_for_as_long_as_it_takes():
    blocks = [BlockView(str(n), 4, used=used) for n, used in enumerate((0.25, 0.75, 0.5))]
    given = view(blocks, tasks=6, waiting=0, memory=looked_on(blocks, 2))
    decision = Demand().decide(given)
    assert decision.remove == ("0",)
    assert decision.drain_s == math.inf
    assert "1 of them when what they run has ended" in decision.why
    assert Demand(drain_timeout=600.0).decide(given).drain_s == 600.0
    assert Demand(consolidate=False).decide(given).remove == ()


def test_what_a_block_that_leaves_still_runs_calls_for_no_other():
    blocks = [BlockView("0", 4, used=1.0), BlockView("1", 4, leaving=True, used=0.5)]
    assert Demand().decide(view(blocks, tasks=6, waiting=0)).add == 0


def test_none_is_given_back_that_waiting_tasks_need_because_it_lasts():
    blocks = [BlockView("0", 4, idle_s=500.0, left_s=5000.0), BlockView("1", 4, used=0.25, left_s=10.0)]
    long = [Want(Shape(walltime_s=600.0), waiting=1)]
    decision = Demand().decide(view(blocks, tasks=2, waiting=1, wants=long, memory=looked_on(blocks)))
    assert decision.remove in ((), ("1",))


def test_without_tasks_all_but_the_floor_go():
    blocks = [BlockView(str(n), 4, idle_s=500.0) for n in range(3)]
    decision = Demand().decide(view(blocks, min_blocks=1, memory=looked_on(blocks, 0), quiet=500.0))
    assert len(decision.remove) == 2
    assert "there has been no task for 8m20s" in decision.why


def test_one_policy_serves_several_executors():
    policy = Demand(hold_down=60.0)
    cores = [BlockCore(name, Limits(0, 0, 5), policy) for name in "ab"]
    for core in cores:
        core.start(0.0)
    cores[0].tick(Load(16, 4, node=NODE), 10.0)
    cores[1].tick(Load(0, 4, node=NODE), 10.0)
    assert len(cores[0].live) == 4
    assert cores[0].view(Load(0), 10.0).memory is not cores[1].view(Load(0), 10.0).memory


@pytest.mark.parametrize(
    "wrong",
    [{"hold_down": -1}, {"hold_down": "1m"}, {"max_submissions_per_hour": 0}, {"max_submissions_per_hour": 1.5}, {"consolidate": 1}, {"drain_timeout": 0}],
)  # fmt: skip
def test_what_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigurationError, match=f"Demand\\({next(iter(wrong))}="):
        Demand(**wrong)


# ------------------------------------------------------------------ with the core, over time
class World:
    """A batch system, nodes and tasks that do as one expects, one step of 5 s after the other."""

    def __init__(self, policy, limits, queue_s=20.0, fails=()):
        self.core = BlockCore("x", limits, policy, max_idletime_s=30.0)
        self.now, self.queue_s, self.fails = 0.0, queue_s, set(fails)
        self.jobs = {}  # block -> when it was begun
        self.up, self.idle, self.asked_s = set(), {}, []
        self.core.start(0.0)
        self.obey()

    def obey(self):
        while self.core.out:
            actions, self.core.out = self.core.out, []
            for action in actions:
                if isinstance(action, Request):
                    self.asked_s.append(self.now)
                    if self.core.may_submit(action.block, self.now):
                        self.core.submitted(action.block, f"job{action.block}", self.now)
                        self.jobs[action.block] = self.now
                elif isinstance(action, Drain) and action.block in self.up:
                    self.up.discard(action.block)
                    self.core.manager_gone(action.block, f"m{action.block}", "drained", self.now)
                elif isinstance(action, Cancel):
                    self.core.cancelled(dict.fromkeys(action.blocks, True), self.now)
                    for block in action.blocks:
                        self.jobs.pop(block, None)
                        self.core.polled({block: JobStatus(JobState.CANCELLED)}, self.now)
        check(self.core)

    def step(self, tasks, wants=()):
        self.now += 5.0
        for block, begun_s in list(self.jobs.items()):
            if self.now - begun_s < self.queue_s or block in self.up:
                continue
            if int(block) in self.fails:
                del self.jobs[block]
                self.core.polled({block: JobStatus(JobState.FAILED)}, self.now)
            else:
                self.core.polled({block: RUNNING}, self.now)
                self.core.manager_up(block, f"m{block}", 4, self.now)
                self.up.add(block)
        busy = sorted(self.up, key=int)[: math.ceil(tasks / 4)]
        self.idle = {b: self.idle.get(b, 0.0) + 5.0 for b in self.up if b not in busy}
        used = dict.fromkeys(busy, 1.0)
        self.core.tick(
            Load(tasks, 4, self.idle, waiting=max(0, tasks - 4 * len(self.up)), wants=wants, node=NODE, used=used),
            self.now,
        )
        self.obey()


@settings(max_examples=25)
@given(
    floor=st.integers(0, 2), most=st.integers(2, 6), cap=st.integers(3, 12), hold=st.sampled_from([0.0, 30.0, 300.0]),
    loads=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), min_size=1, max_size=6), fails=st.sets(st.integers(0, 20)),
)  # fmt: skip
def test_whatever_the_load_the_limits_hold(floor, most, cap, hold, loads, fails):
    world = World(Demand(hold_down=hold, max_submissions_per_hour=cap), Limits(floor, floor, most), fails=fails)
    for tasks, steps in loads:
        for _ in range(steps):
            world.step(tasks)
            live = [block for block in world.core.live.values() if not block.leaving]
            assert len(world.core.live) <= most
            if len(world.asked_s) < cap and not world.core.throttle.failures:
                assert len(live) >= floor
            assert sum(asked_s > world.now - HOUR_S for asked_s in world.asked_s) <= cap
    for _ in range(150):  # a load that stays: what is there stays, too
        world.step(10)
    world.core.events.clear()
    for _ in range(100):
        world.step(10)
    decisions = [event for event in world.core.events if event[0] == BLOCKS_SCALED]
    if len(world.asked_s) < cap and not fails:
        assert decisions == []
    assert not any(event[4] and event[3] for event in decisions), "never more and fewer at once"


def test_the_cap_on_submissions_is_said_and_ends_with_the_hour():
    world = World(Demand(max_submissions_per_hour=3), Limits(0, 0, 8))
    world.step(32)
    assert len(world.core.live) == 3
    assert world.core.reason.endswith(
        "; but waits 1h00m with 5 of them, because 3 within an hour are as many as may be (max_submissions_per_hour)"
    )
    assert world.core.scale_out(4, world.now) == [], "not for people either: the policy is theirs"
    for _ in range(int(HOUR_S / 5)):
        world.step(32)
    assert len(world.core.live) == 6
    assert len([event for event in world.core.events if event[0] == BLOCK_REQUESTED]) == 6
