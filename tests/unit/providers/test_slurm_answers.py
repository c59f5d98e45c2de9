"""What Slurm 22.05 really wrote, and what it means; what else it may write, from its documentation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.model.jobs import TERMINAL_STATES, JobState
from plait.providers.slurm_answers import (
    Line,
    by_number,
    names_together,
    none_is_there,
    parse_accounting,
    parse_queue,
    parse_submitted,
)

# squeue --me --array --states=all --format=%i|%T|%r|%j|%k
QUEUE = """\
JOBID|STATE|REASON|NAME|COMMENT
10|COMPLETED|None|x.sh|(null)
15|CANCELLED|None|can|(null)
6|FAILED|BadConstraints|wrap|(null)
2|FAILED|JobLaunchFailure|plait.oom|(null)
4|FAILED|NonZeroExitCode|plait.bad|(null)
29|NODE_FAIL|NodeDown|nf|(null)
7|PENDING|ReqNodeNotAvail, UnavailableNodes:node4|plait.rq|(null)
21|PENDING|PartitionNodeLimit|wrap|(null)
16_3|PENDING|Resources|arr|(null)
18|PENDING|DependencyNeverSatisfied|dep|(null)
19|PENDING|BeginTime|beg|(null)
17|PENDING|JobHeldAdmin|adm|(null)
11|PENDING|JobHeldUser|held|(null)
28|PENDING|job requeued in held state|rh|(null)
22|PENDING|PartitionTimeLimit|wrap|(null)
3_0|RUNNING|None|plait.arr|plait:plait.block-{1,2,10}.x
3_2|RUNNING|None|plait.arr|plait:plait.block-{1,2,10}.x
14|SUSPENDED|None|run|a|b c
24|PREEMPTED|None|low|(null)
1|TIMEOUT|TimeLimit|plait.to|(null)
27|COMPLETING|None|rq|(null)
"""
# the same with --clusters=plait
QUEUE_OF_A_CLUSTER = """\
CLUSTER: plait
JOBID|STATE|REASON|NAME|COMMENT
4|RUNNING|None|plait.bad|(null)
5|RUNNING|None|sig|(null)
"""
# sacct --allocations --noheader --parsable2 --format=jobid,cluster,state,exitcode,jobname
ACCOUNTING = """\
1|plait|TIMEOUT|0:0|plait.to
4|plait|FAILED|3:0|plait.bad
5|plait|FAILED|0:9|sig
2|plait|COMPLETED|0:0|wrap
3_0|plait|RUNNING|0:0|plait.arr
14|plait|CANCELLED by 0|0:0|run
30|plait|PENDING|0:0|wrap
24|plait|PREEMPTED|0:0|low
29|plait|NODE_FAIL|0:0|nf
31|plait|OUT_OF_MEMORY|0:125|a|b
"""


@pytest.mark.parametrize(
    ("number", "state", "words"),
    [
        ("10", JobState.COMPLETED, None),
        ("15", JobState.CANCELLED, "somebody cancelled it"),
        ("2", JobState.FAILED, "its script was killed, or could not be started (JobLaunchFailure)"),
        ("4", JobState.FAILED, "its script failed (NonZeroExitCode)"),
        ("29", JobState.FAILED, "one of its nodes failed (NodeDown)"),
        ("7", JobState.PENDING, "a node that it needs is not there (ReqNodeNotAvail, UnavailableNodes:node4)"),
        ("21", JobState.HELD, "it asks for more nodes than the partition has or gives to one job (PartitionNodeLimit)"),
        ("16_3", JobState.PENDING, "the nodes that it needs are in use (Resources)"),
        ("18", JobState.HELD, "it depends on a job that did not end as it should (DependencyNeverSatisfied)"),
        ("19", JobState.PENDING, "its time has not come (BeginTime)"),
        ("17", JobState.HELD, "an administrator holds it (JobHeldAdmin)"),
        ("11", JobState.HELD, "its user holds it (JobHeldUser)"),
        ("28", JobState.HELD, "it was requeued, and is held (job requeued in held state)"),
        ("22", JobState.HELD, "its walltime is longer than the partition allows (PartitionTimeLimit)"),
        ("3_0", JobState.RUNNING, None),
        ("14", JobState.HELD, "it is suspended"),
        ("24", JobState.TIMEOUT, "its nodes were given to another job"),
        ("1", JobState.TIMEOUT, "its walltime was over (TimeLimit)"),
        ("27", JobState.RUNNING, "it is ending"),
    ],
)
def test_what_the_queue_says(number, state, words):
    report = parse_queue(QUEUE)[number].report(cancelled=False)
    assert (report.state, report.message) == (state, words)


def test_a_job_that_was_cancelled_from_here_is_not_somebody_elses():
    assert parse_queue(QUEUE)["15"].report(cancelled=True).message == "it was cancelled"


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("QOSMaxCpuPerUserLimit", JobState.PENDING),  # less of it runs, sooner or later
        ("AssocGrpCpuLimit", JobState.PENDING),
        ("AssocMaxWallDurationPerJobLimit", JobState.HELD),  # it will never be less
        ("QOSMaxWallDurationPerJobLimit", JobState.HELD),
        ("QOSMinGRES", JobState.HELD),
        ("SomethingNew", JobState.PENDING),
        ("launch failed requeued held", JobState.HELD),
    ],
)
def test_limits_that_pass_and_those_that_do_not(reason, state):
    assert Line("PENDING", reason, "x", "").report(cancelled=False).state == state


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("PENDING CONFIGURING POWER_UP_NODE REQUEUED REQUEUE_FED EXPEDITING", JobState.PENDING),
        ("RUNNING COMPLETING RESIZING REVOKED SIGNALING STAGE_OUT", JobState.RUNNING),
        ("SUSPENDED STOPPED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT", JobState.HELD),
        ("CANCELLED", JobState.CANCELLED),
        ("TIMEOUT DEADLINE PREEMPTED", JobState.TIMEOUT),
        ("FAILED NODE_FAIL BOOT_FAIL OUT_OF_MEMORY LAUNCH_FAILED", JobState.FAILED),
        ("COMPLETED", JobState.COMPLETED),
        ("POWER_UP_MOON", JobState.UNKNOWN),
    ],
)
def test_every_state_of_slurm_has_one(states, expected):
    reports = [Line(state, "None", "x", "").report(cancelled=False) for state in states.split()]
    assert {report.state for report in reports} == {expected}
    assert all(report.message for report in reports if expected in {JobState.HELD, JobState.FAILED, JobState.UNKNOWN})


def test_ids_of_a_cluster_have_it_behind_them():
    """Those of two clusters may have one number."""
    other = QUEUE_OF_A_CLUSTER.replace("plait\n", "other\n", 1)
    assert list(parse_queue(QUEUE_OF_A_CLUSTER + "\n" + other)) == ["4;plait", "5;plait", "4;other", "5;other"]
    assert set(by_number(parse_queue(QUEUE_OF_A_CLUSTER))) == {"4", "5", "4;plait", "5;plait"}


def test_lines_of_strange_jobs_are_not_ours():
    """The name of another job of this user may be anything."""
    strange = QUEUE + "99|RUNNING|None|a|b|c\nhalf a name\n98_[3-5]|PENDING|None|x|(null)\n"
    assert set(parse_queue(strange)) == {*parse_queue(QUEUE), "99"}


@pytest.mark.parametrize(
    "out", ["", QUEUE[:-1], QUEUE[: QUEUE.index("16_3")][:-9], "slurm is being tidied up\n", "{}\n"]
)
def test_half_an_answer_of_the_queue_is_none(out):
    with pytest.raises(ValueError, match="squeue wrote"):
        parse_queue(out)


def test_an_empty_queue_is_an_answer():
    assert parse_queue("JOBID|STATE|REASON|NAME|COMMENT\n") == {}


def test_what_accounting_says():
    """How jobs ended; a job that goes on is none of its business."""
    ends = parse_accounting(ACCOUNTING)
    said = {id_: (report.state, report.exit_code, name) for id_, (report, name) in ends.items()}
    assert said == {
        "1;plait": (JobState.TIMEOUT, None, "plait.to"),
        "4;plait": (JobState.FAILED, 3, "plait.bad"),
        "5;plait": (JobState.FAILED, -9, "sig"),
        "2;plait": (JobState.COMPLETED, 0, "wrap"),
        "14;plait": (JobState.CANCELLED, None, "run"),
        "24;plait": (JobState.TIMEOUT, None, "low"),
        "29;plait": (JobState.FAILED, None, "nf"),
        "31;plait": (JobState.FAILED, None, "a|b"),
    }
    assert ends["14;plait"][0].message == "the user with number 0 cancelled it"


@pytest.mark.parametrize("out", [ACCOUNTING[:-1], "sacct is tired\n"])
def test_half_an_answer_of_accounting_is_none(out):
    with pytest.raises(ValueError, match="sacct wrote"):
        parse_accounting(out)


@pytest.mark.parametrize(
    ("out", "id_"),
    [
        ("2\n", "2"),
        ("3;plait\n", "3;plait"),
        ("Welcome to the cluster!\n17\nPlease be kind.\n", "17"),
        ("Submitted batch job 1\n", "1"),
        ("Submitted batch job 4 on cluster plait\n", "4;plait"),
    ],
)
def test_ids_of_submitted_jobs(out, id_):
    assert parse_submitted(out) == id_


def test_a_sites_own_sbatch_has_a_pattern():
    assert parse_submitted("12 jobs before yours; yours is #77\n", r"#(?P<id>\d+)") == "77"


@pytest.mark.parametrize("out", ["", "\n", "Submitted batch job \n", "sbatch: ok\n"])
def test_no_id_is_an_error_with_what_was_written(out):
    with pytest.raises(ValueError, match="sbatch wrote no job id"):
        parse_submitted(out)


def test_scancel_complains_of_jobs_that_are_gone():
    gone = "scancel: error: Kill job error on job id 9999: Invalid job id specified\n"
    assert none_is_there(gone * 2)
    assert none_is_there("scancel: error: Kill job error on job id 9: Job/step already completing or completed\n")
    assert not none_is_there("")
    assert not none_is_there(
        gone + "scancel: error: Kill job error on job id 1: Unable to contact slurm controller (connect failure)\n"
    )


@given(st.lists(st.text("abc.-12", max_size=8), min_size=2, max_size=6))
def test_names_of_an_array_come_back(names):
    """The comment of an array has the names of all its jobs."""
    comment = names_together(names)
    assert [Line("RUNNING", "None", "x", comment).name_of(f"7_{number}") for number in range(len(names))] == names
    assert Line("RUNNING", "None", "x", comment).name_of("7") == "x"
    assert Line("RUNNING", "None", "x", comment).name_of(f"7_{len(names)};plait") == "x"


def test_names_of_an_array_are_short():
    names = [f"plait.0123abcd.cpu.block-{number}.f00dfa" for number in range(100)]
    assert len(names_together(names)) < 400


def test_every_end_has_a_state_that_is_one():
    assert all(report.state in TERMINAL_STATES for report, _ in parse_accounting(ACCOUNTING).values())
