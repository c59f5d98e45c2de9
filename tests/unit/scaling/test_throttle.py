from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.scaling.throttle import AWAY_S, BACKOFF_S, HOUR_S, STABLE_S, Allowed, Throttle


def test_pauses_are_doubled_up_to_a_minute_and_end_when_a_block_comes_up():
    throttle = Throttle()
    pauses = []
    for _ in range(8):
        throttle.ended(0.0, badly=True, up_for_s=None)
        pauses.append(throttle.allow(1, None, 0.0).until_s)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert throttle.allow(3, None, 0.5) == Allowed(
        0, "pause", "waits 59.5 s with that, because the last 8 blocks failed", 60.0
    )
    throttle.came_up(0.5)
    assert throttle.allow(3, None, 0.5) == Allowed(3)
    assert BACKOFF_S[1] == 60


@pytest.mark.parametrize(
    ("badly", "up_for_s", "failures"), [(False, None, 0), (True, None, 4), (True, 1.0, 4), (True, STABLE_S, 1)]
)
def test_what_ends_well_or_was_stable_ends_the_row(badly, up_for_s, failures):
    throttle = Throttle()
    throttle.failures = 3
    throttle.ended(0.0, badly=badly, up_for_s=up_for_s)
    assert throttle.failures == failures


@pytest.mark.parametrize(
    ("accepted", "is_away", "is_alone", "after_s", "away"),
    [
        (False, False, True, 0.0, False), (False, True, True, 0.0, True), (True, False, True, 0.0, True), (True, False, True, AWAY_S, False),
        (True, False, False, AWAY_S, True), (False, False, False, 0.0, False),
    ],
)  # fmt: skip
def test_whether_a_provider_is_away_or_something_is_wrong(accepted, is_away, is_alone, after_s, away):
    throttle = Throttle()
    if accepted:
        throttle.accepted()
    throttle.refused("no", 100.0, is_away=is_away, is_alone=is_alone)
    assert throttle.refused("no", 100.0 + after_s, is_away=is_away, is_alone=is_alone) == away
    assert throttle.refusal == ("no" if away else "")
    throttle.accepted()
    assert throttle.refusal == ""


def test_the_reason_is_one_line_that_fits_into_a_sentence():
    throttle = Throttle()
    throttle.accepted()
    throttle.refused(f"could not be begun: {'x' * 500}\nmore", 0.0, is_away=False, is_alone=True)
    throttle.ended(0.0, badly=True, up_for_s=None)
    why = throttle.allow(1, None, 0.0).why
    assert why.startswith("waits 1.0 s with that, because the last block could not be begun: xxx")
    assert why.endswith("x…")
    assert len(why) < 300


@given(st.lists(st.tuples(st.floats(0, 2000), st.integers(0, 9)), max_size=40), st.integers(1, 12))
def test_no_hour_has_more_than_may_be(wishes, most):
    throttle, now_s, times = Throttle(), 0.0, []
    for pause_s, add in wishes:
        now_s += pause_s
        allowed = throttle.allow(add, most, now_s)
        assert allowed.add <= add
        assert bool(allowed.kind) == (allowed.add < add)
        for _ in range(allowed.add):
            throttle.requested(now_s)
            times.append(now_s)
        assert sum(time_s + HOUR_S > now_s for time_s in times) <= most
        if allowed.kind:
            assert copy.deepcopy(throttle).room(most, allowed.until_s) > 0
    assert Throttle().room(None, 0.0) is None
