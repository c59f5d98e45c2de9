from __future__ import annotations

import pytest

from plait import faults


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("", {}),
        (" , ", {}),
        ("a", {"a": ""}),
        ("a:1", {"a": "1"}),
        (" a : 1 , b,c:x:y", {"a": "1", "b": "", "c": "x:y"}),
        ("a:1,a:2", {"a": "2"}),
    ],
)
def test_reading_a_plan(plan, expected):
    assert faults.parse(plan) == expected


def test_a_fault_is_there_when_planned(monkeypatch):
    assert faults.fault("pool.zygote_start") is None
    monkeypatch.setattr(faults, "_plan", faults.parse("pool.zygote_start:3,b"))
    assert faults.fault("pool.zygote_start") == "3"
    assert faults.fault("b") == ""
    assert faults.fault("c") is None
