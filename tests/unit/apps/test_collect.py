"""Many futures: map, wait, as_completed."""

from __future__ import annotations

import concurrent.futures

import pytest

import plait


@pytest.fixture
def kernel():
    config = plait.Config([plait.ThreadPoolExecutor(max_threads=4)], initialize_logging=False, progress=False)
    with plait.load(config) as kernel:
        yield kernel


def add(x, y=100):
    return x + y


def test_map_gives_the_futures_in_order(kernel):
    futures = plait.map(plait.python_app(add), range(500))
    assert [f.result() for f in futures] == [n + 100 for n in range(500)]
    assert [f.tid for f in futures] == list(range(500))
    assert kernel.task_count == 500


def test_map_takes_several_iterables_up_to_the_end_of_the_shortest(kernel):
    assert [f.result() for f in plait.map(plait.python_app(add), [1, 2, 3], iter([10, 20]))] == [11, 22]
    assert plait.map(plait.python_app(add), []) == []


def test_map_takes_futures_and_options_as_a_call_does(kernel):
    app = plait.python_app(add)
    mixed = [1, app(0), 2, [app(1)]]
    results = [f.exception() or f.result() for f in plait.map(app.options(cores=2), mixed)]
    assert results[:3] == [101, 200, 102]
    assert isinstance(results[3], TypeError)  # a list plus a number


def test_map_wants_an_app():
    with pytest.raises(TypeError, match="expected an app; decorate the function"):
        plait.map(add, [1])


def test_map_wants_lists(kernel):
    with pytest.raises(TypeError, match="3.: expected lists, or other iterables, of arguments"):
        plait.map(plait.python_app(add), 3)


def test_the_standard_library_waits_for_our_futures(kernel):
    futures = plait.map(plait.python_app(add), range(50))
    assert plait.wait is concurrent.futures.wait
    done, not_done = plait.wait(futures, timeout=10)
    assert (len(done), len(not_done)) == (50, 0)
    assert {f.result() for f in plait.as_completed(futures, timeout=10)} == set(range(100, 150))
