from __future__ import annotations

from plait.simulate.workload import Load


def test_it_is_as_long_as_the_call_that_it_stands_for():
    assert len(Load(3.0, input_bytes=1234)) == 1234


def test_attempts_that_fail_are_drawn():
    load = Load(1.0, fail_part=0.25, fail_key=7)
    failed = [load.fails(task, 1) for task in range(4000)]
    assert 900 < sum(failed) < 1100
    assert failed == [load.fails(task, 1) for task in range(4000)]
    assert failed != [load.fails(task, 2) for task in range(4000)]
    assert not Load(1.0).fails(0, 1)
