from __future__ import annotations

import json

import pytest

from plait.simulate.result import History, Kind, Result


def test_a_history_stays_small():
    history = History("a", "b")
    now_s, steps = 0.0, set()
    for number in range(100_000):
        history.add(now_s, number, 1)
        steps.add(history.step_s)
        now_s += history.step_s
    assert 400 < len(history.times) < 1000
    assert all(len(column) == len(history.times) for column in history.columns.values())
    assert history.times == sorted(history.times)
    assert history.times[0] == 0.0
    assert len(steps) > 10


def test_means_are_over_time():
    history = History("a")
    assert history.mean("a") == 0.0
    history.add(0.0, 10)
    assert history.mean("a") == 10
    history.add(3.0, 2)
    history.add(4.0, 99)
    assert history.mean("a") == pytest.approx((3 * 10 + 1 * 2) / 4)


def test_what_follows_from_the_rest():
    result = Result("w", "spread", 0, 2, 4, 10)
    assert (result.utilisation, result.tasks_per_s, result.us_per_task) == (0.0, 0.0, 0.0)
    result.done, result.failed, result.makespan_s, result.took_s = 8, 2, 4.0, 0.01
    result.useful_core_s, result.allocated_core_s = 3.0, 12.0
    assert (result.utilisation, result.tasks_per_s) == (0.25, 2.0)
    assert result.us_per_task == pytest.approx(1000)


def test_as_data():
    result = Result("w", "spread", 0, 2, 4, 10)
    result.kinds = [Kind("a"), Kind("b", done=1, first_s=2.0)]
    result.history.add(0.0, 1, 2, 3, 4)
    data = json.loads(json.dumps(result.data(), allow_nan=False))
    assert [kind["first_s"] for kind in data["kinds"]] == [None, 2.0]
    assert data["history"] == {"times": [0.0], "waiting": [1], "running": [2], "workers": [3], "nodes": [4]}
    assert data["utilisation"] == 0.0
