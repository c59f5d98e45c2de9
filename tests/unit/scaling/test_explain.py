from __future__ import annotations

from plait.model.jobs import JobState, JobStatus
from plait.scaling.explain import explain
from tests.unit.scaling.test_core import Lab


def test_it_says_where_the_blocks_stand():
    lab = Lab(init_blocks=2).running("0")
    lab.core.polled({"1": JobStatus(JobState.FAILED, "no such queue")}, 0.0)
    lab.after(6, tasks=4)
    assert explain(lab.core, lab.now) == (
        "1 of at most 4 blocks: block 0 is up with 4 workers; one has failed: block 1: FAILED: no such queue; "
        "keeps 1 block with 4 workers: enough for 4 tasks"
    )
    assert explain(Lab().core, 0.0) == "0 of at most 4 blocks; nothing was decided yet"


def test_a_provider_that_takes_no_job_for_a_while_is_named():
    lab = Lab(init_blocks=2).running("0")
    lab.core.refused("1", "too many jobs of yours", 0.0)
    text = explain(lab.core, lab.now)
    assert "; the provider takes no job for the time being: too many jobs of yours; " in text
    assert "failed" not in text


def test_of_many_blocks_it_names_some():
    lab = Lab(init_blocks=9, max_blocks=9)
    lab.start()
    assert ", and 6 more" in explain(lab.core, 0.0)
