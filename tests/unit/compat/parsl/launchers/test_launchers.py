from __future__ import annotations

import pytest

from plait.compat.parsl.launchers import launchers


def test_those_that_need_a_batch_system_come_later():
    with pytest.raises(AttributeError, match=r"does not have parsl\.launchers\.SrunLauncher yet.*batch systems"):
        _ = launchers.SrunLauncher
    with pytest.raises(AttributeError, match="has no attribute 'Zork'"):
        _ = launchers.Zork


def test_what_they_compose():
    assert launchers.SimpleLauncher()("date", 1, 1) == "date"
    assert launchers.WrappedLauncher("nice -n 19", debug=False)("date", 1, 1) == "nice -n 19 date"
    assert "date" in launchers.SingleNodeLauncher(debug=True, fail_on_any=True)("date", 2, 1)
