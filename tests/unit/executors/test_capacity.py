"""What is given is what is taken back, and what can never be given is refused with both numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import InvalidResourceSpecification
from plait.executors.capacity import Capacity
from plait.model.resources import Resources

wants = st.builds(
    Resources,
    cores=st.sampled_from([0.1, 0.2, 0.3, 0.7, 1, 2]),
    memory_bytes=st.integers(0, 50),
    gpus=st.sampled_from([0, 0.5, 1]),
)


@given(st.lists(wants, max_size=30))
def test_never_more_than_there_is(asked):
    capacity = Capacity(4, 100, 1)
    taken = []
    for want in asked:
        if capacity.fits(want):
            capacity.take(want)
            taken.append(want)
        elif taken:
            capacity.give_back(taken.pop(0))
        assert capacity.used_cores <= 4 + 1e-6
        assert capacity.used_memory_bytes <= 100
        assert capacity.used_gpus <= 1 + 1e-6
    for want in taken:
        capacity.give_back(want)
    assert capacity.used_memory_bytes == 0
    assert capacity.fits(Resources(cores=4, memory_bytes=100, gpus=1))


def test_what_is_not_known_is_not_counted():
    assert Capacity(1, 0).fits(Resources(memory_bytes=1 << 60))
    Capacity(1, 0).check(Resources(memory_bytes=1 << 60), "x")


@pytest.mark.parametrize(
    ("want", "keys", "text"),
    [
        (Resources(cores=3), ["cores"], "3 cores asked, executor 'x' has 2"),
        (Resources(memory_bytes=2 << 30), ["memory"], "executor 'x' has 1"),
        (Resources(gpus=0.5), ["gpus"], "0.5 GPUs asked, executor 'x' has 0"),
        (Resources(disk_bytes=5 << 30), ["disk"], "5.4 GB of disk asked, executor 'x' has 4.3 GB"),
        (Resources(cores=3, gpus=1), ["cores", "gpus"], "; "),
        (Resources(nodes=2), ["nodes"], "2 whole nodes asked, executor 'x' has one machine for all"),
    ],
)
def test_refusals_have_the_numbers(want, keys, text):
    with pytest.raises(InvalidResourceSpecification) as raised:
        Capacity(2, 1 << 30, disk_bytes=4 << 30).check(want, "x")
    assert raised.value.invalid_keys == keys
    assert text in str(raised.value)


def test_what_just_fits_is_not_refused():
    Capacity(2, 1 << 30, 1).check(Resources(cores=2, memory_bytes=1 << 30, gpus=1), "x")
