from __future__ import annotations

from concurrent.futures import Future

import pytest

import plait
from plait.dataflow.resolve import DEEP_DEPENDENCY_RESOLVER, SHALLOW_DEPENDENCY_RESOLVER
from plait.futures import FINISHED, AppFuture
from plait.kernel.inputs import Inputs, failures_among, results_of
from plait.model.task import AppSpec, Task


def spec():
    return AppSpec(abs, "abs")


def future_of(owner, result=None, error=None, number=1):
    task = Task(spec(), (), {}, owner, 0.0, id=number)
    future = AppFuture(task)
    task.future = future
    if result is not None or error is not None:
        future._publish(FINISHED, result, error)
    return future


@pytest.fixture
def inputs():
    return Inputs(DEEP_DEPENDENCY_RESOLVER, "me")


def test_futures_are_found_once_and_told_apart(inputs):
    ours, others, plain = future_of("me"), future_of("you"), Future()
    found = inputs.futures_of((1, [ours, {"a": others}], ours), {"x": (plain,)})
    assert found == [ours, others, plain]
    assert inputs.sort(found) == ([ours._task], [others, plain])


def test_a_resolver_of_ones_own_looks_where_it_likes():
    inputs = Inputs(SHALLOW_DEPENDENCY_RESOLVER, "me")
    one, two, three = future_of("me", 1), future_of("me", 2), future_of("me", 3)
    assert not inputs.deep
    assert inputs.futures_of((one, [two]), {"inputs": [three]}) == [one, three]
    task = Task(spec(), (one, [two]), {"inputs": [three]}, "me", 0.0)
    assert inputs.unwrap(task) == ((1, [two]), {"inputs": [3]})


def test_inputs_that_are_no_list_are_one_value():
    inputs = Inputs(SHALLOW_DEPENDENCY_RESOLVER, "me")
    table = {"a": future_of("me", 1)}
    assert inputs.futures_of((), {"inputs": table}) == []
    assert inputs.unwrap(Task(spec(), (), {"inputs": table}, "me", 0.0)) == ((), {"inputs": table})


def test_results_take_the_place_of_futures(inputs):
    task = Task(spec(), ([future_of("me", 1)],), {"x": {"y": future_of("me", 2)}}, "me", 0.0)
    assert inputs.unwrap(task) == (([1],), {"x": {"y": 2}})


def test_the_short_way_knows_what_it_cannot_do(inputs):
    done, failed = future_of("me", 5), future_of("me", error=ValueError("bad"))
    assert inputs.parents_among((done, 3)) == [done._task]
    assert inputs.parents_among((future_of("you", 1),)) is None
    assert inputs.parents_among(([done],)) is None
    assert results_of((done, 3)) == (5, 3)
    assert results_of((failed,)) is None
    assert results_of(([done],)) is None
    assert results_of(None) == ()


def test_failures_are_named_with_their_path():
    failed = future_of("me", error=ValueError("bad"), number=7)
    failed._task.more().error = failed.exception()
    cancelled = Future()
    cancelled.cancel()
    found = failures_among([failed, failed, future_of("me", 1), cancelled])
    assert [type(error).__name__ for error, _ in found] == ["ValueError", "CancelledError"]
    assert "7" in found[0][1]


def test_a_lifted_future_among_the_arguments_is_started():
    config = plait.Config([plait.ThreadPoolExecutor(max_threads=1)], initialize_logging=False, progress=False)
    with plait.load(config):
        pair = plait.python_app(lambda: {"a": 4})
        double = plait.python_app(lambda x: 2 * x)
        assert double(pair()["a"]).result() == 8
