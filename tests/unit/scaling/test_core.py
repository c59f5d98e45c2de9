from __future__ import annotations

import pytest

from plait.model.events import BLOCK_ENDED, BLOCK_REQUESTED, BLOCK_STATUS, BLOCK_UP, BLOCKS_SCALED
from plait.model.jobs import JobState, JobStatus
from plait.scaling.block import ENDING_S, LINGER_S, Cancel, Drain, Gone, Request
from plait.scaling.check import check
from plait.scaling.core import RECANCEL_S, REMEMBERED, BlockCore
from plait.scaling.policy import Limits, Load, policy_of
from plait.scaling.throttle import AWAY_S, BACKOFF_S, STABLE_S

PENDING, RUNNING, HELD = JobStatus(JobState.PENDING), JobStatus(JobState.RUNNING), JobStatus(JobState.HELD, "by hand")
COMPLETED, FAILED = JobStatus(JobState.COMPLETED, exit_code=0), JobStatus(JobState.FAILED, "broke", 1)
UNKNOWN = JobStatus(JobState.UNKNOWN, "no answer")


class Lab:
    """A core, a clock, and short words for what happens."""

    def __init__(self, strategy="simple", max_idletime_s=120.0, **limits):
        limits = {"init_blocks": 1, "max_blocks": 4, **limits}
        self.core = BlockCore(
            "x", Limits(**limits), policy_of(strategy), max_idletime_s=max_idletime_s, period_s=5.0, start_timeout_s=60.0,
            drain_timeout_s=30.0,
        )  # fmt: skip
        self.now = 0.0
        self.load = Load(0, workers_per_node=4)

    def out(self):
        check(self.core)
        actions, self.core.out = self.core.out, []
        return actions

    def events(self, kind):
        return [event for event in self.core.events if event[0] == kind]

    def start(self):
        self.core.start(self.now)
        return self.out()

    def begin(self, *names):
        for name in names:
            assert self.core.may_submit(name, self.now)
            self.core.submitted(name, f"job{name}", self.now)
        return self

    def poll(self, **statuses):
        self.core.polled({name.lstrip("b"): status for name, status in statuses.items()}, self.now)
        return self.out()

    def up(self, name, workers=4, manager="m"):
        self.core.manager_up(name, f"{manager}{name}", workers, self.now)
        return self.out()

    def gone(self, name, how, manager="m"):
        self.core.manager_gone(name, f"{manager}{name}", how, self.now)
        return self.out()

    def after(self, seconds, tasks=None, idle_s=None):
        """What is done after some more seconds."""
        self.now += seconds
        if tasks is not None:
            self.load = Load(tasks, 4, idle_s or {})
        self.core.tick(self.load, self.now)
        return self.out()

    def running(self, *names, tasks=100):
        """Up to where these blocks work."""
        self.start()
        self.load = Load(tasks, 4)
        self.begin(*names)
        for name in names:
            self.core.polled({name: RUNNING}, self.now)
            self.core.manager_up(name, f"m{name}", 4, self.now)
        self.core.out.clear()
        return self


# ------------------------------------------------------------------ more
@pytest.mark.parametrize(
    ("limits", "first"),
    [
        ({"init_blocks": 2}, 2),
        ({"init_blocks": 0}, 0),
        ({"init_blocks": 1, "min_blocks": 3}, 3),
        ({"init_blocks": 9}, 4),
    ],
)
def test_at_the_start_there_are_init_blocks_or_the_floor(limits, first):
    lab = Lab(**limits)
    assert lab.start() == [Request(str(n)) for n in range(first)]


def test_what_is_decided_is_an_event_with_its_reason():
    lab = Lab()
    lab.start()
    assert lab.core.events == [
        (BLOCKS_SCALED, 0.0, "x", ["0"], [], "requests 1 block to begin with"),
        (BLOCK_REQUESTED, 0.0, "x", "0"),
    ]
    lab = Lab().running("0")
    lab.core.events.clear()
    assert lab.after(6, tasks=12) == [Request("1"), Request("2")]
    assert lab.events(BLOCKS_SCALED) == [
        (BLOCKS_SCALED, 6.0, "x", ["1", "2"], [], "requests 2 blocks: 12 tasks for 4 workers in 1 block (at most 4 blocks)")
    ]  # fmt: skip


@pytest.mark.parametrize(("managers", "workers"), [(None, 8), (1, 4)])
def test_a_block_whose_nodes_come_up_one_by_one_and_one_with_a_single_manager(managers, workers):
    lab = Lab(nodes_per_block=2, managers=managers)
    lab.start()
    lab.begin("0").poll(b0=RUNNING)
    lab.up("0")
    assert lab.core.view(Load(4, 4), lab.now).blocks[0].workers == workers


def test_decisions_are_made_once_a_period_or_when_something_happened():
    lab = Lab(init_blocks=0)
    lab.start()
    assert lab.after(4.9, tasks=1) == []
    lab.core.hurry(lab.now)
    assert lab.core.next_s() == lab.now
    assert lab.after(0) == [Request("0")]
    lab.core.hurry(lab.now)
    assert lab.core.next_s() == lab.now + 0.1, "however often something happens, not one decision after the other"
    assert lab.after(0) == []


@pytest.mark.parametrize("status", [PENDING, HELD, UNKNOWN, RUNNING])
def test_blocks_that_may_still_come_are_not_requested_again(status):
    lab = Lab(max_blocks=9)
    lab.start()
    lab.begin("0").poll(b0=status)
    for _ in range(10):
        assert lab.after(5, tasks=4) == []


def test_a_load_that_stays_requests_no_more_and_gives_nothing_back():
    lab = Lab("htex_auto_scale", max_blocks=9).running("0")
    requested = [lab.after(5, tasks=20) for _ in range(20)]
    assert sum(map(len, requested)) == 4


def test_people_may_request_too_as_far_as_there_may_be_more():
    lab = Lab(max_blocks=3)
    lab.start()
    assert lab.core.scale_out(5, 0.0) == ["1", "2"]
    assert lab.core.scale_out(1, 0.0) == []
    assert lab.core.scale_out(-1, 0.0) == []


# ------------------------------------------------------------------ failures
def test_a_failed_block_is_replaced_after_a_pause_that_grows():
    lab = Lab(max_blocks=1)
    lab.start()
    pauses = []
    for number in range(9):
        lab.load = Load(1, 4)
        lab.core.refused(str(number), "no", lab.now)
        begin = lab.now
        while not [action for action in lab.after(0.25) if isinstance(action, Request)]:
            pass
        pauses.append(lab.now - begin)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert BACKOFF_S == (1.0, 60.0)


def test_meanwhile_the_reason_is_said():
    lab = Lab()
    lab.start()
    lab.core.refused("0", "no", 0.0)
    lab.after(0.2, tasks=1)
    assert (
        lab.core.reason
        == "requests 1 block: 1 task for no block (at most 4 blocks); but waits 800 ms with that, because the last block failed"
    )


def test_what_is_put_off_is_an_event_too_once_for_each_reason():
    lab = Lab(init_blocks=2).running("0")
    lab.core.events.clear()
    lab.core.refused("1", "could not be begun: SubmitException: QOSMaxSubmitJobPerUserLimit\nmore", lab.now)
    for _ in range(8):
        assert lab.after(0.11, tasks=9) in ([], [Gone("1")])
    ((*_, added, removed, why),) = lab.events(BLOCKS_SCALED)
    assert (added, removed) == ([], [])
    assert why.endswith("because the last block could not be begun: SubmitException: QOSMaxSubmitJobPerUserLimit")


def test_a_block_that_comes_up_ends_the_pause():
    lab = Lab(init_blocks=2)
    lab.start()
    lab.begin("0")
    for _ in range(5):
        lab.core.throttle.failures += 1
    lab.core.refused("1", "no", 0.0)
    assert lab.after(1, tasks=100) == [Gone("1")]
    lab.up("0")
    assert lab.after(0.2)[0] == Request("2")


def test_a_block_that_worked_for_long_does_not_make_the_pause_longer():
    lab = Lab(init_blocks=1).running("0")
    lab.core.throttle.failures = 5
    lab.now += STABLE_S
    lab.poll(b0=FAILED)
    assert lab.core.throttle.failures == 1


def test_blocks_that_come_up_and_die_do():
    """Otherwise a block that kills itself would be requested for ever, as fast as it can be."""
    lab = Lab(init_blocks=1).running("0")
    lab.poll(b0=FAILED)
    lab.after(1.1)
    lab.begin("1").poll(b1=RUNNING)
    lab.up("1")
    lab.poll(b1=FAILED)
    assert lab.core.throttle.failures == 2


@pytest.mark.parametrize("end", [COMPLETED, JobStatus(JobState.TIMEOUT), JobStatus(JobState.CANCELLED)])
def test_other_ends_are_no_failures(end):
    lab = Lab().running("0")
    lab.core.throttle.failures = 3
    lab.poll(b0=end)
    assert lab.core.throttle.failures == 0
    assert lab.after(0.2) != []


def test_when_it_was_given_up_nothing_is_requested_and_what_is_there_goes_on():
    lab = Lab(min_blocks=2).running("0", "1")
    lab.core.give_up("too many failures")
    lab.core.give_up("another reason")
    lab.poll(b0=COMPLETED)
    assert [a for a in lab.after(50) if isinstance(a, Request)] == []
    assert lab.core.scale_out(1, lab.now) == []
    assert list(lab.core.live) == ["1"]
    assert lab.core.reason == "requests no more blocks: too many failures"


def test_the_next_look_is_not_for_decisions_then():
    lab = Lab()
    lab.start()
    lab.core.give_up("x")
    assert lab.core.next_s() == float("inf")


# ------------------------------------------------------------------ a start that does not succeed
def test_a_block_whose_manager_does_not_come_is_cancelled_and_has_failed():
    lab = Lab()
    lab.start()
    lab.begin("0")
    assert lab.after(1000) == [], "it waits in the queue as long as the queue is"
    lab.poll(b0=RUNNING)
    assert lab.core.next_s() <= lab.now + 60
    lab.after(59)
    assert lab.after(1) == [Cancel(("0",))]
    lab.core.cancelled({"0": True}, lab.now)
    assert lab.poll(b0=JobStatus(JobState.CANCELLED, "by user", 143, "/o", "/e")) == [Gone("0")]
    text = "its job has run for 1m00s and no manager has connected"
    assert lab.core.ended["0"] == JobStatus(JobState.FAILED, text, 143, "/o", "/e")
    assert lab.core.throttle.failures == 1


def test_a_block_that_ends_without_a_manager_is_missing():
    lab = Lab()
    lab.start()
    lab.begin("0")
    assert lab.poll(b0=COMPLETED) == [Gone("0")]
    assert lab.core.ended["0"].state == JobState.MISSING
    assert lab.events(BLOCK_ENDED)[0][3:6] == ("0", "job0", JobState.MISSING)


def test_a_block_whose_manager_is_refused_has_failed():
    lab = Lab()
    lab.start()
    lab.begin("0").poll(b0=RUNNING)
    assert lab.gone("0", "refused: Python 3.8 here, 3.11 there") == []
    assert lab.after(0) == [Cancel(("0",))]
    lab.poll(b0=COMPLETED)
    assert lab.core.ended["0"].message == "its manager was refused: Python 3.8 here, 3.11 there"


def test_a_block_whose_workers_cannot_start_never_came_up():
    lab = Lab().running("0")
    reason = "left: its workers cannot start: 3 workers in a row could not start"
    assert lab.gone("0", reason) == []
    assert Cancel(("0",)) in lab.after(0)
    lab.poll(b0=COMPLETED)
    assert lab.core.ended["0"] == JobStatus(JobState.FAILED, f"its manager {reason}", exit_code=0)


# ------------------------------------------------------------------ fewer
def test_an_idle_block_is_drained_and_then_cancelled():
    lab = Lab("simple").running("0")
    drain = Drain("0", "gives back 1 block: there has been no task for 120 s (max_idletime 120 s)")
    lab.after(5, tasks=0)
    assert lab.after(120) == [drain]
    assert lab.after(5) == [], "it is waited for"
    assert lab.gone("0", "drained") == []
    assert lab.after(0) == [Cancel(("0",))]
    lab.core.cancelled({"0": True}, lab.now)
    assert lab.poll(b0=COMPLETED) == [Gone("0")]
    assert lab.core.ended["0"].state == JobState.SCALED_IN


def test_one_that_is_not_drained_in_time_is_cancelled_all_the_same():
    lab = Lab().running("0")
    assert lab.core.scale_in(1, None, lab.load, 0.0) == ["0"]
    assert lab.out() == [Drain("0", "gives back 1 block, as it was told to")]
    assert Cancel(("0",)) not in lab.after(29)
    assert Cancel(("0",)) in lab.after(1)
    lab.poll(b0=JobStatus(JobState.CANCELLED))
    assert "it was not drained in time" in lab.core.ended["0"].message


def test_one_that_is_queued_is_cancelled_at_once_and_drained_should_it_just_come_up():
    lab = Lab()
    lab.start()
    lab.begin("0")
    lab.core.scale_in(["0"], None, lab.load, 0.0)
    why = "gives back 1 block, as it was told to"
    assert lab.out() == [Drain("0", why), Cancel(("0",))]
    assert lab.up("0") == [Drain("0", why)]


def test_one_that_is_just_being_requested_is_not_begun():
    lab = Lab()
    lab.start()
    lab.core.scale_in(1, None, lab.load, 0.0)
    assert not lab.core.may_submit("0", 0.0)
    assert lab.out() == [Drain("0", "gives back 1 block, as it was told to"), Gone("0")]
    assert lab.core.ended["0"].state == JobState.SCALED_IN


def test_one_that_is_just_being_begun_is_cancelled_when_its_job_is_known():
    lab = Lab()
    lab.start()
    assert lab.core.may_submit("0", 0.0)
    lab.core.scale_in(1, None, lab.load, 0.0)
    assert Cancel(("0",)) not in lab.out()
    lab.core.submitted("0", "late", 1.0)
    assert lab.after(1) == [Cancel(("0",))]


def test_people_choose_blocks_by_name_by_number_and_by_idleness():
    lab = Lab(init_blocks=4).running("0", "1", "2")
    lab.load = Load(9, 4, {"0": 10.0, "1": 50.0})
    assert lab.core.scale_in(["2", "nonsense"], None, lab.load, 0.0) == ["2"]
    assert lab.core.scale_in(["2"], None, lab.load, 0.0) == [], "it is given back already"
    assert lab.core.scale_in(4, 40.0, lab.load, 0.0) == ["3", "1"], (
        "the one that is not up, and the one that is idle long enough"
    )
    assert lab.core.scale_in(0, None, lab.load, 0.0) == []
    assert lab.core.scale_in(5, None, lab.load, 0.0) == ["0"]


def test_idle_ones_come_first():
    lab = Lab(init_blocks=3).running("0", "1", "2")
    assert lab.core.scale_in(1, None, Load(9, 4, {"1": 5.0}), 0.0) == ["1"]


def test_with_strategy_none_people_decide_and_what_they_took_away_is_not_replaced():
    lab = Lab("none", init_blocks=2).running("0", "1")
    lab.core.scale_in(["0"], None, lab.load, 0.0)
    lab.out()
    lab.gone("0", "drained")
    lab.after(0)
    lab.poll(b0=COMPLETED)
    assert lab.after(50) == []
    lab.poll(b1=FAILED)
    lab.gone("1", "lost")
    assert lab.after(50) == [Request("2")]


# ------------------------------------------------------------------ cancelling
def test_a_cancel_that_was_not_accepted_is_made_again():
    lab = Lab().running("0")
    lab.core.stop(0.0)
    assert lab.out() == [Cancel(("0",))]
    lab.core.cancelled({"0": False}, lab.now)
    assert lab.core.next_s() == RECANCEL_S[0]
    assert lab.after(RECANCEL_S[0]) == [Cancel(("0",))]
    lab.core.cancelled({"0": True}, lab.now)
    assert lab.after(RECANCEL_S[1] - 1) == []
    assert lab.after(1) == [Cancel(("0",))], "accepted, and it goes on"


def test_the_end_cancels_all_in_one_call_queued_ones_too():
    lab = Lab(init_blocks=3).running("0", "1")
    lab.begin("2")
    lab.core.stop(0.0)
    assert lab.out() == [Cancel(("0", "1", "2"))]
    assert not lab.core.finish(0.0)
    lab.core.cancelled({"0": True, "1": True, "2": False}, lab.now)
    assert not lab.core.finish(0.0)
    assert sorted(lab.core.ended) == ["0", "1"]
    assert lab.out() == [Gone("0"), Gone("1"), Cancel(("2",))]
    lab.core.cancelled({"2": True}, lab.now)
    assert lab.core.finish(0.0)
    assert {status.state for status in lab.core.ended.values()} == {JobState.SCALED_IN}
    assert {status.message for status in lab.core.ended.values()} == {"the executor is shut down"}


# ------------------------------------------------------------------ the queue and the managers disagree
def test_the_queue_outranks_managers_about_jobs():
    """It says that the job is over, and a manager still talks: the block is replaced, and the manager told to leave."""
    lab = Lab(max_blocks=1).running("0")
    assert lab.poll(b0=JobStatus(JobState.MISSING)) == [
        Drain("0", "the batch system says that its job is over", over=True)
    ]
    assert lab.after(1.1) == [Request("1")]
    assert lab.up("0", manager="other") == [Drain("0", "the batch system says that its job is over", over=True)]
    assert lab.gone("0", "drained") == []
    assert lab.gone("0", "drained", manager="other") == [Gone("0")]
    assert lab.gone("0", "drained") == []


def test_managers_outrank_the_queue_about_tasks():
    """It says that the job runs, and no manager is left: the block does not count for the work, though it does for the limit."""
    lab = Lab(max_blocks=1).running("0")
    lab.gone("0", "lost: silent for 120 s")
    lab.poll(b0=RUNNING)
    assert lab.core.view(lab.load, lab.now).active == []
    assert lab.after(59) == []
    assert lab.after(1) == [Cancel(("0",))]
    lab.poll(b0=JobStatus(JobState.CANCELLED))
    assert "none came back within 1m00s" in lab.core.ended["0"].message


def test_one_that_comes_back_in_time_is_welcome():
    lab = Lab(max_blocks=1).running("0")
    lab.gone("0", "lost")
    lab.after(30)
    lab.up("0", manager="again")
    assert lab.after(500) == []
    assert lab.core.view(lab.load, lab.now).slots == 4


def test_managers_that_leave_by_themselves_have_their_job_ended_soon():
    lab = Lab(max_blocks=1).running("0")
    lab.gone("0", "drained: its time is over")
    assert lab.after(LINGER_S - 0.1) == []
    assert lab.after(0.1) == [Cancel(("0",))]
    lab.poll(b0=JobStatus(JobState.CANCELLED))
    assert lab.core.ended["0"].state == JobState.COMPLETED
    assert lab.core.throttle.failures == 0


def test_managers_that_are_told_to_leave_give_their_job_time_to_end():
    """Batch systems take some to end a job, and longer to put it back into the queue: cancelled meanwhile it would be lost there."""
    lab = Lab(max_blocks=1).running("0")
    lab.gone("0", "left: it received signal 15")
    assert lab.after(ENDING_S - 0.1) == []
    assert lab.after(0.1) == [Cancel(("0",))]


@pytest.mark.parametrize("how", ["left: it received signal 15", "lost: silent for 120 s"])
@pytest.mark.parametrize("status", [PENDING, HELD])
def test_a_job_that_is_in_the_queue_again_or_held_is_neither_lost_nor_replaced(how, status):
    """Requeued by the administrator or because of its node, or suspended: its managers are gone, and will come back."""
    lab = Lab(max_blocks=4).running("0", tasks=4)
    lab.gone("0", how)
    lab.poll(b0=status)
    assert lab.core.view(lab.load, lab.now).active[0].workers is None
    assert lab.after(3600) == []
    lab.poll(b0=RUNNING)
    assert lab.after(59) == []
    lab.core.events.clear()
    assert lab.up("0", manager="again") == []
    assert [event[0] for event in lab.core.events] == [BLOCK_UP]
    assert lab.after(3600) == []
    lab.gone("0", "lost", manager="again")
    lab.poll(b0=status)
    lab.poll(b0=RUNNING)
    assert Cancel(("0",)) in lab.after(60)
    lab.poll(b0=JobStatus(JobState.CANCELLED))
    assert lab.core.ended["0"].came_up


def test_a_job_that_is_suspended_before_its_manager_came_has_its_time_afterwards():
    lab = Lab(max_blocks=1)
    lab.start()
    lab.begin("0").poll(b0=RUNNING)
    lab.poll(b0=HELD)
    assert lab.after(3600) == []
    lab.poll(b0=RUNNING)
    assert lab.after(59) == []
    assert lab.after(1) == [Cancel(("0",))]


def test_not_knowing_is_not_the_end():
    lab = Lab().running("0", tasks=4)
    lab.poll(b0=UNKNOWN)
    assert lab.core.live["0"].status.state == JobState.RUNNING
    assert lab.core.live["0"].status.message == "no answer"
    assert lab.after(10_000) == []


def test_jobs_of_others_are_not_ours():
    lab = Lab()
    lab.start()
    assert lab.poll(b77=FAILED) == []
    assert lab.up("77") == []
    assert lab.gone("77", "lost") == []
    lab.core.cancelled({"77": True}, 0.0)


# ------------------------------------------------------------------ sizes
def test_the_size_of_a_block_is_learnt():
    lab = Lab(max_blocks=9)
    lab.start()
    lab.load = Load(100)
    lab.begin("0")
    assert lab.after(10) == []
    lab.up("0", workers=16)
    assert lab.after(5) == [Request(str(n)) for n in range(1, 7)]


def test_and_is_remembered_when_no_block_is_left():
    lab = Lab(max_blocks=9).running("0", tasks=1)
    lab.gone("0", "left")
    lab.poll(b0=COMPLETED)
    lab.load = Load(8)
    assert lab.after(5) == [Request("1"), Request("2")]


def test_blocks_of_several_nodes_have_the_workers_of_all():
    lab = Lab(max_blocks=9, nodes_per_block=3)
    lab.start()
    lab.begin("0").poll(b0=RUNNING)
    for n in range(3):
        lab.up("0", workers=2, manager=f"node{n}")
    assert lab.core.view(Load(1), 1e6).slots == 6
    lab.gone("0", "lost", manager="node1")
    assert lab.core.view(Load(1), 1e6).slots == 4
    assert lab.core.live["0"].takes_tasks


def test_managers_without_names_are_counted():
    lab = Lab()
    lab.start()
    lab.begin("0")
    lab.core.manager_up("0", "", 4, 0.0)
    lab.core.manager_up("0", "", 4, 0.0)
    assert lab.core.live["0"].connected == 8
    lab.core.manager_gone("0", "", "lost", 0.0)
    assert lab.core.live["0"].connected == 4


# ------------------------------------------------------------------ events, memory, sentences
def test_a_life_in_events():
    lab = Lab().running("0")
    lab.now = 7.0
    lab.poll(b0=COMPLETED)
    lab.gone("0", "left")
    kinds = [event[0] for event in lab.core.events]
    assert kinds == [BLOCKS_SCALED, BLOCK_REQUESTED, BLOCK_STATUS, BLOCK_STATUS, BLOCK_UP, BLOCK_ENDED]
    assert lab.core.events[2] == (BLOCK_STATUS, 0.0, "x", "0", "job0", 1, "")
    assert lab.core.events[-1] == (BLOCK_ENDED, 7.0, "x", "0", "job0", 4, "", 0)


def test_why_a_job_waits_is_an_event_when_it_changes():
    lab = Lab()
    lab.start()
    lab.begin("0")
    for status in (
        JobStatus(JobState.PENDING, "Priority"),
        JobStatus(JobState.PENDING, "Priority"),
        UNKNOWN,
        UNKNOWN,
        PENDING,
    ):
        lab.now += 1.0
        lab.poll(b0=status)
    assert [(event[1], *event[5:]) for event in lab.events(BLOCK_STATUS)] == [
        (0.0, JobState.PENDING, ""),
        (1.0, JobState.PENDING, "Priority"),
        (3.0, JobState.PENDING, "no answer"),
        (5.0, JobState.PENDING, ""),
    ]
    assert lab.core.live["0"].since_s == 0.0


def test_ended_blocks_are_forgotten_after_a_thousand():
    lab = Lab(max_blocks=REMEMBERED + 10, init_blocks=REMEMBERED + 10)
    lab.start()
    for n in range(REMEMBERED + 10):
        lab.core.refused(str(n), "no", 0.0)
    assert len(lab.core.ended) == REMEMBERED
    assert lab.core.ended_count == REMEMBERED + 10
    assert next(iter(lab.core.ended)) == "10"


def test_statuses_are_in_the_order_of_the_ends_then_the_living():
    lab = Lab(init_blocks=3).running("0", "1")
    lab.core.refused("2", "no", 0.0)
    lab.poll(b0=COMPLETED)
    statuses = lab.core.statuses()
    assert list(statuses) == ["2", "0", "1"]
    assert statuses["0"].came_up
    assert statuses["1"] == JobStatus(JobState.RUNNING, came_up=True)


def test_once_it_is_given_up_what_was_requested_and_not_begun_is_dropped():
    lab = Lab(init_blocks=3)
    lab.start()
    lab.begin("0")
    lab.core.give_up("they fail")
    assert not lab.core.may_submit("1", 1.0)
    assert lab.core.ended["1"] == JobStatus(JobState.CANCELLED, "no more blocks are requested: they fail")
    assert list(lab.core.live) == ["0", "2"]


# ------------------------------------------------------------------ a provider that takes no jobs for a while
def test_a_provider_that_took_jobs_and_takes_none_now_is_away_and_not_wrong():
    """The scheduler is down for half an hour: what runs goes on, and it recovers by itself."""
    lab = Lab(init_blocks=2, max_blocks=2).running("0", tasks=8)
    asked = []
    while lab.now < 1800:
        for action in lab.after(5, tasks=8):
            assert isinstance(action, (Request, Gone))
        for name in [name for name, block in lab.core.live.items() if not block.job_id]:
            asked.append(lab.now)
            lab.core.refused(name, "sbatch: error: Unable to contact slurm controller", lab.now)
    assert lab.core.live["0"].managers, "what runs goes on"
    assert 30 <= len(asked) <= 60, "and it is asked gently: not more than once a minute"
    assert {status.state for status in lab.core.ended.values()} == {JobState.CANCELLED}
    assert all(status.message.endswith("; it is tried again later") for status in lab.core.ended.values())
    lab.after(61, tasks=8)
    (name,) = (name for name, block in lab.core.live.items() if not block.job_id)
    lab.begin(name).poll(**{f"b{name}": RUNNING})
    lab.up(name)
    assert lab.core.throttle.failures == 0
    assert lab.core.throttle.refusal == ""


def test_when_nothing_is_left_and_it_lasts_it_is_a_failure_after_all():
    lab = Lab(init_blocks=1, max_blocks=1).running("0", tasks=8)
    lab.poll(b0=COMPLETED)
    lab.gone("0", "left")
    while lab.now < 2 * AWAY_S:
        lab.after(5, tasks=8)
        for name in list(lab.core.live):
            lab.core.refused(name, "no", lab.now)
    assert lab.core.ended.popitem()[1] == JobStatus(JobState.FAILED, "no")


@pytest.mark.parametrize(("is_away", "state"), [(True, JobState.CANCELLED), (False, JobState.FAILED)])
def test_one_that_never_took_a_job_is_wrong_unless_it_does_not_answer_at_all(is_away, state):
    lab = Lab()
    lab.start()
    lab.core.refused("0", "no such queue", 0.0, is_away=is_away)
    assert lab.core.ended["0"].state == state
