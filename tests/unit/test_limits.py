"""Limits that must fit each other."""

from __future__ import annotations

from plait import limits


def test_leaving_leaves_room_for_the_grace():
    assert limits.GRACE_S < limits.INTERRUPT_EXIT_S <= limits.SHUTDOWN_S


def test_a_batch_fits_into_the_credit():
    assert limits.BATCH_TASKS <= limits.MAX_CREDIT


def test_mappings_stay_below_what_the_system_allows():
    assert limits.MAX_MAPPINGS < 65_530
    assert limits.FLUSH_S < limits.CREDIT_S <= limits.RETRACT_S


def test_every_limit_is_a_number_above_nothing_or_a_range():
    found = {name: value for name, value in vars(limits).items() if name.isupper() and name != "TYPE_CHECKING"}
    ranges = [value for value in found.values() if isinstance(value, tuple)]
    numbers = [value for value in found.values() if not isinstance(value, tuple)]
    assert numbers
    assert all(isinstance(value, (int, float)) and value > 0 for value in numbers), found
    assert all(0 < low < high for low, high in ranges), found
