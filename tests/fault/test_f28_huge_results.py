"""F28: a result that is larger than is allowed is an error of its task; a large one that is allowed keeps nobody else waiting."""

from __future__ import annotations

import pytest

import plait
from plait.testing import tasks
from tests.fault.pilot import pilot_jobs, up
from tests.support import wait_until

MB = 1_000_000

echo = plait.python_app(tasks.echo)


@plait.python_app
def make(size):
    return bytes(size)


@plait.python_app
def raise_with(size):
    raise ValueError(bytes(size))


@pytest.mark.parametrize("limit", ["50kB", "1MB", "20MB"])
def test_a_result_above_the_limit(limit):
    size = int({"50kB": 50_000, "1MB": MB, "20MB": 20 * MB}[limit])
    with pilot_jobs(max_losses=0, retries=0, options={"max_result_size": limit}) as kernel:
        up(kernel)
        for _ in range(2):
            with pytest.raises(plait.errors.ResultTooLarge, match="max_result_size") as caught:
                make(2 * size).result(30)
            assert caught.value.limit_bytes == size
            assert 2 * size < caught.value.size_bytes < 2 * size + 1000
            assert len(make(size // 2).result(30)) == size // 2
        assert [future.result(30) for future in [echo(i) for i in range(100)]] == list(range(100))


def test_an_error_above_the_limit():
    with pilot_jobs(max_losses=0, retries=0, options={"max_result_size": "1MB"}) as kernel:
        up(kernel)
        error = raise_with(3 * MB).exception(30)
        assert isinstance(error, plait.errors.ResultTooLarge)
        assert echo(1).result(30) == 1


@plait.python_app
def make_and_tell(size, path):
    tasks.note(path, "made")
    return bytes(size)


def test_a_large_result_keeps_small_ones_not_waiting():
    """Chunks of the large one and outcomes of the small ones share the way: none of these waits for all of those."""
    with pilot_jobs(max_losses=0) as kernel:
        up(kernel)
        assert [future.result(30) for future in [echo(i) for i in range(20)]] == list(range(20))
        large = make_and_tell(60 * MB, "notes")
        wait_until(lambda: tasks.notes("notes"), 20)
        count = 0
        while not large.done():
            assert echo(1).result(30) == 1
            count += 1
        assert count >= 10
        assert len(large.result(0)) == 60 * MB
