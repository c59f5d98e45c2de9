from __future__ import annotations

import pytest

from plait.errors import InternalConsistencyError
from plait.model.jobs import JobState, JobStatus
from plait.scaling.block import Block
from plait.scaling.check import check
from plait.scaling.core import BlockCore
from plait.scaling.policy import Limits, Simple


def core_with(**known):
    core = BlockCore("x", Limits(max_blocks=1), Simple())
    core.live["0"] = Block("0", 0.0, **known)
    return core


def test_what_fits_passes():
    check(BlockCore("x", Limits(), Simple()))
    check(core_with(job_id="1", up_s=1.0, workers=4, managers={"m": 4}))


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({"status": JobStatus(JobState.FAILED)}, "among the living and FAILED"),
        ({"drain_by_s": 1.0}, "drained and takes tasks"),
        ({"verdict": JobStatus(JobState.FAILED)}, "cancelled and takes tasks"),
        ({"managers": {"m": 1}, "workers": 1, "up_s": 1.0, "deserted_s": 2.0}, "deserted and has managers"),
        ({"managers": {"m": 1}, "workers": 1}, "has managers and is not up"),
        ({"managers": {"m": 2}, "workers": 1, "up_s": 1.0}, "more workers than it ever had"),
        ({"verdict": JobStatus(JobState.FAILED), "leaving": "so"}, "nothing does it"),
    ],
)
def test_what_does_not_is_named(known, text):
    with pytest.raises(InternalConsistencyError, match=text):
        check(core_with(**known))


def test_too_many_blocks_are_seen():
    core = core_with()
    core.live["1"] = Block("1", 0.0)
    with pytest.raises(InternalConsistencyError, match="2 blocks, though there may be 1"):
        check(core)


def test_a_block_that_lives_and_has_ended_is_seen():
    core = core_with()
    core.ended["0"] = JobStatus(JobState.COMPLETED)
    with pytest.raises(InternalConsistencyError, match="both alive and ended"):
        check(core)
